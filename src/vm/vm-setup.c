/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host's side of a VM. */
#include "vm-setup.h"

#include "error.h"
#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

GwVmSetup *
gw_vm_setup_new(void)
{
    GwVmSetup *self = g_new0(GwVmSetup, 1);
    self->datastores = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    self->port_groups = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return self;
}

void
gw_vm_setup_free(GwVmSetup *self)
{
    if (!self)
        return;
    g_free(self->runtime_dir);
    g_free(self->qemu_binary);
    g_free(self->qemu_user);
    g_free(self->preload_library);
    g_free(self->uefi_code);
    g_free(self->tls_dir);
    g_hash_table_unref(self->datastores);
    g_hash_table_unref(self->port_groups);
    g_free(self);
}

bool
gw_vm_setup_add(GHashTable *table, const char *option, const char *assignment, GError **error)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment || !equals[1]) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "%s: got '%s', expected NAME=VALUE", option,
                    assignment);
        return false;
    }
    g_hash_table_replace(table, g_strndup(assignment, (gsize)(equals - assignment)), g_strdup(equals + 1));
    return true;
}

/* The strings of a setup by their names in setup.json. */
static const struct {
    const char *name;
    size_t offset;
    const char *otherwise; /* where a setup.json of an earlier version has no such member */
} members[] = {
    {"runtime_dir", G_STRUCT_OFFSET(GwVmSetup, runtime_dir)},
    {"qemu_binary", G_STRUCT_OFFSET(GwVmSetup, qemu_binary)},
    {"qemu_user", G_STRUCT_OFFSET(GwVmSetup, qemu_user)},
    {"preload_library", G_STRUCT_OFFSET(GwVmSetup, preload_library)},
    {"uefi_code", G_STRUCT_OFFSET(GwVmSetup, uefi_code)},
    {"tls_dir", G_STRUCT_OFFSET(GwVmSetup, tls_dir), GW_DEFAULT_TLS_DIR},
};

static JsonObject *
table_to_object(GHashTable *table)
{
    JsonObject *object = json_object_new();
    GHashTableIter iter;
    void *key, *value;
    g_hash_table_iter_init(&iter, table);
    while (g_hash_table_iter_next(&iter, &key, &value))
        json_object_set_string_member(object, key, value);
    return object;
}

static void
object_to_table(JsonObject *object, GHashTable *table)
{
    JsonObjectIter iter;
    const char *name;
    JsonNode *node;
    json_object_iter_init(&iter, object);
    while (json_object_iter_next(&iter, &name, &node)) {
        const char *value = gw_json_get_string(object, name);
        if (value)
            g_hash_table_replace(table, g_strdup(name), g_strdup(value));
    }
}

char *
gw_vm_setup_to_text(const GwVmSetup *self)
{
    g_autoptr(JsonObject) object = json_object_new();
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
        json_object_set_string_member(object, members[i].name,
                                      G_STRUCT_MEMBER(const char *, self, members[i].offset));
    json_object_set_object_member(object, "datastores", table_to_object(self->datastores));
    json_object_set_object_member(object, "port_groups", table_to_object(self->port_groups));
    return gw_json_object_to_line(object);
}

GwVmSetup *
gw_vm_setup_parse(const char *text, GError **error)
{
    g_autoptr(JsonObject) object = gw_json_parse_object(text, -1, error);
    if (!object)
        return NULL;
    g_autoptr(GwVmSetup) self = gw_vm_setup_new();
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
        const char *value = gw_json_get_string(object, members[i].name);
        if (!value)
            value = members[i].otherwise;
        if (!value) {
            g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "no '%s'", members[i].name);
            return NULL;
        }
        G_STRUCT_MEMBER(char *, self, members[i].offset) = g_strdup(value);
    }
    JsonObject *datastores = gw_json_get_object(object, "datastores");
    JsonObject *port_groups = gw_json_get_object(object, "port_groups");
    if (datastores)
        object_to_table(datastores, self->datastores);
    if (port_groups)
        object_to_table(port_groups, self->port_groups);
    return g_steal_pointer(&self);
}

/* A path that climbs out of the datastore is refused by the kernel (RESOLVE_BENEATH), links included.
 * O_NONBLOCK: a FIFO in a datastore must not keep us waiting; it means nothing to files and disks. */
int
gw_vm_setup_open(const GwVmSetup *self, const GwFileRef *file, int flags, GError **error)
{
    const char *directory = g_hash_table_lookup(self->datastores, file->datastore);
    if (!directory) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND,
                    "datastore '%s' (wanted for %s) is not on this host; --datastore %s=DIRECTORY names it",
                    file->datastore, file->path, file->datastore);
        return -1;
    }
    int root = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        gw_set_errno(error, GW_ERROR_NOT_FOUND, errno, "datastore '%s': %s", file->datastore, directory);
        return -1;
    }
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC | O_NONBLOCK),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, root, file->path, &how, sizeof how);
    int errnum = errno;
    close(root);
    struct stat st;
    if (fd >= 0 && (fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "%s in datastore '%s' is neither a file nor a disk", file->path, file->datastore);
        close(fd);
        return -1;
    }
    GwError code = errnum == ENOENT                      ? GW_ERROR_NOT_FOUND
                   : errnum == EACCES || errnum == EPERM ? GW_ERROR_NOT_PERMITTED
                                                         : GW_ERROR_IO;
    if (fd < 0 && errnum == EXDEV)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED, "%s leads out of datastore '%s'", file->path,
                    file->datastore);
    else if (fd < 0)
        gw_set_errno(error, code, errnum, "%s in datastore '%s' (%s)", file->path, file->datastore,
                     directory);
    return fd;
}
