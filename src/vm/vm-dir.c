/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The runtime directory and its lock.
 *
 * The lock is on a file that may be removed by who holds it: whoever gets it checks that the path still leads
 * to the same file. A child between fork and exec shares it (the descriptor is close-on-exec), so who gets
 * the lock after a supervisor's death knows that no QEMU is still about to appear. */
#include "vm-dir.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_WAIT_MS 2000 /* for a child to become QEMU: it takes a few milliseconds */
#define LOCK_STEP_MS 5

bool
gw_vm_name_is_valid(const char *name)
{
    size_t length = strlen(name);
    if (length < 1 || length > 63 || !g_ascii_isalnum(name[0]))
        return false;
    for (const char *c = name; *c; c++)
        if (!g_ascii_isalnum(*c) && !strchr("._-", *c))
            return false;
    return true;
}

char *
gw_vm_dir_path(const char *runtime_dir, const char *name, const char *file)
{
    return g_build_filename(runtime_dir, "vms", name, file, NULL);
}

char *
gw_vm_dir_file(const GwVmDir *self, const char *file)
{
    return g_build_filename(self->path, file, NULL);
}

bool
gw_vm_dir_has_vm(const GwVmDir *self)
{
    g_autofree char *path = gw_vm_dir_file(self, "config.json");
    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static bool
is_current(int fd, const char *path)
{
    struct stat held, there;
    return fstat(fd, &held) == 0 && stat(path, &there) == 0 && held.st_ino == there.st_ino &&
           held.st_dev == there.st_dev;
}

static bool
lock(GwVmDir *self, int flags, GError **error)
{
    g_autofree char *path = gw_vm_dir_file(self, "lock");
    int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return gw_set_errno(error, errno == ENOENT ? GW_ERROR_NOT_FOUND : GW_ERROR_IO, errno, "%s", path);
    /* flock(2) knows no time-out and a signal to cut it short would be worse than looking again. */
    int failed = 0;
    for (int waited = 0; (failed = flock(fd, LOCK_EX | LOCK_NB)) && waited < LOCK_WAIT_MS;
         waited += LOCK_STEP_MS)
        g_usleep(LOCK_STEP_MS * 1000);
    bool current = is_current(fd, path);
    if (failed || !current) {
        close(fd);
        if (current)
            g_set_error(error, GW_ERROR, GW_ERROR_EXISTS, "%s: the VM's supervisor is alive", self->path);
        else
            g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "%s: the VM has just been removed", self->path);
        return false;
    }
    self->lock_fd = fd;
    return true;
}

static GwVmDir *
dir_new(const char *runtime_dir, const char *name, GError **error)
{
    if (!gw_vm_name_is_valid(name)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'%s' cannot be a VM's name", name);
        return NULL;
    }
    GwVmDir *self = g_new0(GwVmDir, 1);
    self->path = gw_vm_dir_path(runtime_dir, name, NULL);
    self->lock_fd = -1;
    return self;
}

GwVmDir *
gw_vm_dir_create(const char *runtime_dir, const char *name, GError **error)
{
    g_autoptr(GwVmDir) self = dir_new(runtime_dir, name, error);
    if (!self)
        return NULL;
    g_autofree char *parent = g_path_get_dirname(self->path);
    if (g_mkdir_with_parents(parent, 0755) < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "making %s", parent);
        return NULL;
    }
    bool made = g_mkdir(self->path, 0700) == 0;
    if (!made && errno != EEXIST) {
        gw_set_errno(error, GW_ERROR_IO, errno, "making %s", self->path);
        return NULL;
    }
    if (made && !lock(self, O_CREAT, error)) {
        g_rmdir(self->path);
        return NULL;
    }
    if (made || (!gw_vm_dir_has_vm(self) && lock(self, O_CREAT, NULL) && !gw_vm_dir_has_vm(self)))
        return g_steal_pointer(&self);
    g_set_error(error, GW_ERROR, GW_ERROR_EXISTS,
                "there is a VM '%s' on this host already (%s): see 'godwit-vm status %s'; if its supervisor "
                "died, 'godwit-vm adopt %s' takes it over",
                name, self->path, name, name);
    return NULL;
}

GwVmDir *
gw_vm_dir_take_over(const char *runtime_dir, const char *name, GError **error)
{
    g_autoptr(GwVmDir) self = dir_new(runtime_dir, name, error);
    if (!self)
        return NULL;
    if (!g_file_test(self->path, G_FILE_TEST_IS_DIR)) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "there is no VM '%s' on this host (%s)", name,
                    self->path);
        return NULL;
    }
    return lock(self, O_CREAT, error) ? g_steal_pointer(&self) : NULL;
}

bool
gw_vm_dir_write(const GwVmDir *self, const char *file, const char *text, GError **error)
{
    g_autofree char *path = gw_vm_dir_file(self, file);
    return g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error);
}

char *
gw_vm_dir_read(const GwVmDir *self, const char *file, GError **error)
{
    g_autofree char *path = gw_vm_dir_file(self, file);
    char *text = NULL;
    g_file_get_contents(path, &text, NULL, error);
    return text;
}

/* All that a supervisor or QEMU puts there is flat; a directory in it is not ours and keeps it from going. */
bool
gw_vm_dir_remove(GwVmDir *self, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autoptr(GDir) dir = g_dir_open(self->path, 0, &cause);
    if (g_error_matches(cause, G_FILE_ERROR, G_FILE_ERROR_NOENT))
        return true; /* by who asked first */
    if (!dir) {
        g_propagate_error(error, g_steal_pointer(&cause));
        return false;
    }
    g_autofree char *lock_path = gw_vm_dir_file(self, "lock");
    for (const char *name; (name = g_dir_read_name(dir));) {
        g_autofree char *path = gw_vm_dir_file(self, name);
        if (strcmp(path, lock_path) != 0 && unlink(path) < 0)
            return gw_set_errno(error, GW_ERROR_IO, errno, "removing %s", path);
    }
    unlink(lock_path); /* last: until now nobody else can have taken the directory over */
    if (rmdir(self->path) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "removing %s", self->path);
    return true;
}

void
gw_vm_dir_free(GwVmDir *self)
{
    if (!self)
        return;
    if (self->lock_fd >= 0)
        close(self->lock_fd);
    g_free(self->path);
    g_free(self);
}
