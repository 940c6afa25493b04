/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a QEMU comes under us: started, or adopted from a supervisor that died.
 *
 * The QMP connection is made before the fork: the listening socket is inherited, QEMU accepts what already
 * waits in its backlog, and should it die before that the kernel resets our end at once; there is no moment
 * in which one has to poll for a socket to appear. Migration capabilities and parameters are set right after
 * the start, since a motion has no time for it later. */
#include "error.h"
#include "qemu-internal.h"
#include "trace.h"
#include "unix-socket.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define START_TIMEOUT_MS 10000
#define UFFD_LINK        "anon_inode:[userfaultfd]"
#define LAST_WORDS_BYTES 2048
#define LAST_WORDS_LINES 5

static void
on_event(const char *event, JsonObject *data, gint64 when_us, void *user_data)
{
    GwQemu *self = user_data;
    gw_qemu_migration_on_event(self, event, data, when_us);
    if (self->hooks.event)
        self->hooks.event(event, data, when_us, self->hooks.user_data);
}

static void
on_lost(const GError *why, void *user_data)
{
    GwQemu *self = user_data;
    g_debug("QMP connection lost: %s", why->message);
    gw_qemu_migration_on_lost(self);
}

/* The log is foreign text: it is cut to its last lines and to what is printable. */
char *
gw_qemu_last_words(const char *log_path)
{
    int fd = open(log_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    char tail[LAST_WORDS_BYTES + 1];
    off_t size = lseek(fd, 0, SEEK_END);
    ssize_t n = pread(fd, tail, LAST_WORDS_BYTES, MAX(size - LAST_WORDS_BYTES, 0));
    close(fd);
    if (n <= 0)
        return NULL;
    tail[n] = '\0';
    g_autofree char *text = g_utf8_make_valid(tail, n);
    g_auto(GStrv) lines = g_strsplit(g_strstrip(text), "\n", -1);
    guint n_lines = g_strv_length(lines);
    g_autofree char *words =
        g_strjoinv("; ", lines + (n_lines > LAST_WORDS_LINES ? n_lines - LAST_WORDS_LINES : 0));
    for (char *c = words; *c; c++)
        if (g_ascii_iscntrl(*c))
            *c = ' ';
    return *words ? g_steal_pointer(&words) : NULL;
}

static GwQemu *
qemu_new(const char *image_name, const GwImage *image, const GwQemuHooks *hooks)
{
    GwQemu *self = g_new0(GwQemu, 1);
    self->vmm.ops = &gw_qemu_ops;
    self->process = GW_PROCESS_NONE;
    self->uffd = -1;
    self->state_fd = -1;
    self->image_link = gw_image_proc_link(image_name);
    self->image_inode = gw_image_inode(image);
    self->hooks = *hooks;
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    return self;
}

/* Speaks QMP on `fd` (taken). */
static bool
open_qmp(GwQemu *self, int fd, GError **error)
{
    GwQmpCallbacks callbacks = {
        .event = on_event, .lost = on_lost, .user_data = self, .timeout_ms = START_TIMEOUT_MS};
    self->qmp = gw_qmp_new(fd, &callbacks, error);
    return self->qmp != NULL;
}

/* Everything that has to be closed when a start is over, however it ended. */
typedef struct {
    int log, preload, uffd_device, uffd_ours, uffd_theirs, qmp_listening, qmp;
} StartFds;

static void
start_fds_clear(StartFds *fds)
{
    int *all[] = {&fds->log,         &fds->preload,       &fds->uffd_device, &fds->uffd_ours,
                  &fds->uffd_theirs, &fds->qmp_listening, &fds->qmp};
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        if (*all[i] >= 0)
            close(*all[i]);
        *all[i] = -1;
    }
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StartFds, start_fds_clear)

static bool
open_or_say(int *ret_fd, const char *path, int flags, const char *what, GError **error)
{
    *ret_fd = open(path, flags | O_CLOEXEC, 0600);
    if (*ret_fd < 0)
        return gw_set_errno(error, errno == ENOENT ? GW_ERROR_NOT_FOUND : GW_ERROR_IO, errno, "%s %s", what,
                            path);
    return true;
}

static bool
open_start_fds(StartFds *fds, const GwQemuLaunch *launch, const GwQemuHooks *hooks, GError **error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "socketpair");
    fds->uffd_ours = pair[0];
    fds->uffd_theirs = pair[1];
    if (!open_or_say(&fds->log, hooks->log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, "QEMU's log",
                     error) ||
        !open_or_say(&fds->preload, launch->preload_library, O_RDONLY, "the preload library", error) ||
        !open_or_say(&fds->uffd_device, "/dev/userfaultfd", O_RDWR,
                     "userfaultfd (Linux 6.1 or newer):", error))
        return false;
    fds->qmp_listening = gw_unix_socket_listen(hooks->qmp_path, 0600, error);
    if (fds->qmp_listening < 0)
        return false;
    fds->qmp = gw_unix_socket_connect(hooks->qmp_path, error);
    return fds->qmp >= 0;
}

static void
keep(GArray *kept, int fd)
{
    if (fd >= 0)
        g_array_append_val(kept, fd);
}

static GArray *
inherited_fds(const StartFds *fds, const GwQemuLaunch *launch)
{
    const GwQemuFds *vm = &launch->fds;
    const GwVmConfig *config = launch->config;
    GArray *kept = g_array_new(FALSE, FALSE, sizeof(int));
    keep(kept, fds->preload);
    keep(kept, fds->uffd_device);
    keep(kept, fds->uffd_theirs);
    keep(kept, fds->qmp_listening);
    keep(kept, gw_image_fd(launch->image));
    keep(kept, vm->kernel_fd);
    keep(kept, vm->initrd_fd);
    keep(kept, vm->uefi_vars_fd);
    for (unsigned i = 0; i < config->n_serials; i++)
        keep(kept, vm->serial_fds[i]);
    for (guint i = 0; i < config->disks->len; i++) {
        keep(kept, vm->disks[i].rw_fd);
        keep(kept, vm->disks[i].ro_fd);
    }
    for (guint i = 0; i < config->cdroms->len; i++)
        keep(kept, vm->cdrom_fds[i]);
    for (guint i = 0; i < config->nics->len; i++)
        keep(kept, vm->tap_fds[i]);
    return kept;
}

static bool
spawn_qemu(GwQemu *self, const StartFds *fds, const GwQemuLaunch *launch, GError **error)
{
    GwQemuFds vm_fds = launch->fds;
    vm_fds.memory_fd = gw_image_fd(launch->image);
    vm_fds.qmp_fd = fds->qmp_listening;
    g_auto(GStrv) argv =
        gw_qemu_args(launch->binary, launch->config, launch->accel, &vm_fds, launch->incoming);
    /* By descriptor: QEMU's user need not reach the folder in which the library lies. */
    g_autofree char *preload = g_strdup_printf("LD_PRELOAD=/proc/self/fd/%d", fds->preload);
    g_autofree char *device = g_strdup_printf("GODWIT_UFFD_DEVICE=%d", fds->uffd_device);
    g_autofree char *socket = g_strdup_printf("GODWIT_UFFD_SOCKET=%d", fds->uffd_theirs);
    const char *library_path = g_getenv("LD_LIBRARY_PATH");
    g_autofree char *libraries = library_path ? g_strconcat("LD_LIBRARY_PATH=", library_path, NULL) : NULL;
    const char *envp[] = {
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", preload, device, socket, libraries, NULL};
    g_autoptr(GArray) kept = inherited_fds(fds, launch);
    GwSpawn spawn = {
        .argv = argv,
        .envp = (char *const *)envp,
        .user = launch->user,
        .keep_fds = (const int *)(void *)kept->data,
        .n_keep_fds = kept->len,
        .stderr_fd = fds->log,
        .record_fd = launch->record_fd,
        .record_before = launch->record_before,
        .record_after = launch->record_after,
        .cgroup_fds = launch->cgroup_fds,
        .n_cgroup_fds = launch->n_cgroup_fds,
    };
    g_autofree char *line = g_strjoinv(" ", argv);
    g_debug("starting %s", line);
    return gw_spawn(&spawn, &self->process, error);
}

static bool
receive_uffd(GwQemu *self, int socket, GError **error)
{
    char byte;
    int received[GW_FDPASS_MAX];
    unsigned n_received = 0;
    ssize_t n = gw_fdpass_receive(socket, &byte, 1, received, &n_received, START_TIMEOUT_MS, error);
    if (n < 0)
        return false;
    for (unsigned i = 1; i < n_received; i++)
        close(received[i]);
    if (n_received < 1) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_VMM_FAILED, "QEMU did not hand over its userfaultfd");
        return false;
    }
    self->uffd = received[0];
    return gw_trace_negotiate(self->uffd, error);
}

/* Ends a QEMU whose start failed and puts its own words behind the error. */
static void
give_up_start(GwQemu *self, const char *log_path, GError **error)
{
    if (self->process.pidfd < 0)
        return;
    bool ended_by_itself = gw_process_wait(&self->process, 500); /* it may be about to say why */
    if (!ended_by_itself)
        gw_qemu_kill(self);
    g_autofree char *how = gw_process_reap(&self->process);
    g_autofree char *words = gw_qemu_last_words(log_path);
    g_autoptr(GError) cause = *error;
    *error = NULL;
    g_set_error(error, GW_ERROR, ended_by_itself ? GW_ERROR_VMM_FAILED : cause->code,
                "starting QEMU: %s; QEMU (%s) said: %s", cause->message, how, words ? words : "nothing");
}

GwQemu *
gw_qemu_start(const GwQemuLaunch *launch, const GwQemuHooks *hooks, GError **error)
{
    g_auto(StartFds) fds = {-1, -1, -1, -1, -1, -1, -1};
    if (!open_start_fds(&fds, launch, hooks, error))
        return NULL;

    g_autoptr(GError) cause = NULL;
    g_autoptr(GwQemu) self = qemu_new(launch->config->uuid, launch->image, hooks);
    bool ok = spawn_qemu(self, &fds, launch, &cause);
    if (ok) {
        /* From here on its end of each socket is QEMU's alone: its death closes them. */
        close(g_steal_fd(&fds.uffd_theirs));
        close(g_steal_fd(&fds.qmp_listening));
        ok = receive_uffd(self, fds.uffd_ours, &cause) && open_qmp(self, g_steal_fd(&fds.qmp), &cause) &&
             gw_qemu_set_capabilities(self, &cause);
    }
    if (ok)
        return g_steal_pointer(&self);
    give_up_start(self, hooks->log_path, &cause);
    g_propagate_error(error, g_steal_pointer(&cause));
    return NULL;
}

/* Without it the guest runs as well; what is not possible then is to trace, and so to move it. */
static void
take_back_uffd(GwQemu *self)
{
    g_autoptr(GError) error = NULL;
    self->uffd = gw_process_take_fd_by_link(&self->process, UFFD_LINK, &error);
    if (self->uffd >= 0 && gw_trace_negotiate(self->uffd, &error))
        return;
    g_warning("%s, ignoring: the guest runs, but cannot be traced or moved", error->message);
    if (self->uffd >= 0)
        close(g_steal_fd(&self->uffd));
}

GwQemu *
gw_qemu_adopt(GwProcess *process, const char *image_name, const GwQemuHooks *hooks, GwImage **ret_image,
              GError **error)
{
    g_auto(GwProcess) taken = *process;
    *process = GW_PROCESS_NONE;
    g_autofree char *link = gw_image_proc_link(image_name);
    int memory_fd = gw_process_take_fd_by_link(&taken, link, error);
    if (memory_fd < 0)
        return NULL;
    g_autoptr(GwImage) image = gw_image_adopt(memory_fd, image_name, error);
    if (!image)
        return NULL;

    g_autoptr(GwQemu) self = qemu_new(image_name, image, hooks);
    self->process = taken;
    taken = GW_PROCESS_NONE;
    /* QMP first: a QEMU that has just been started may still be on its way to making its userfaultfd. */
    g_autoptr(GError) cause = NULL;
    int qmp_fd = gw_unix_socket_connect(hooks->qmp_path, &cause);
    if (qmp_fd < 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_PEER_LOST, "no QMP: %s", cause->message);
        return NULL;
    }
    if (!open_qmp(self, qmp_fd, error) || !gw_qemu_set_capabilities(self, error) ||
        !gw_qemu_find_left_over(self, error))
        return NULL;
    take_back_uffd(self);
    *ret_image = g_steal_pointer(&image);
    return g_steal_pointer(&self);
}
