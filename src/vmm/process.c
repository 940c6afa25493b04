/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes by pidfd and /proc. */
#include "process.h"

#include "autogroup.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

bool
gw_process_open(pid_t pid, GwProcess *ret_process, GError **error)
{
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0)
        return gw_set_errno(error, errno == ESRCH ? GW_ERROR_NOT_FOUND : GW_ERROR_IO, errno, "process %d",
                            pid);
    *ret_process = (GwProcess){.pid = pid, .pidfd = pidfd};
    return true;
}

bool
gw_process_is_alive(const GwProcess *self)
{
    return self->pidfd >= 0 && !gw_process_wait(self, 0);
}

void
gw_process_signal(const GwProcess *self, int signal_number)
{
    if (self->pidfd >= 0)
        pidfd_send_signal(self->pidfd, signal_number, NULL, 0);
}

bool
gw_process_wait(const GwProcess *self, int timeout_ms)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    struct pollfd ended = {.fd = self->pidfd, .events = POLLIN};
    int n;
    while ((n = poll(&ended, 1, timeout_ms)) < 0 && errno == EINTR)
        if (timeout_ms >= 0)
            timeout_ms = (int)(MAX(deadline - g_get_monotonic_time(), 0) / 1000);
    return n > 0;
}

char *
gw_process_reap(const GwProcess *self)
{
    siginfo_t info = {0};
    if (waitid(P_PIDFD, (id_t)self->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
        return g_strdup("ended");
    if (info.si_code == CLD_EXITED)
        return g_strdup_printf("exit status %d", info.si_status);
    const char *name = sigabbrev_np(info.si_status); /* NULL for real-time signals */
    return name ? g_strdup_printf("killed by SIG%s", name)
                : g_strdup_printf("killed by signal %d", info.si_status);
}

int
gw_process_take_fd(const GwProcess *self, int fd, GError **error)
{
    int copy = pidfd_getfd(self->pidfd, fd, 0);
    if (copy < 0)
        gw_set_errno(error, errno == EPERM ? GW_ERROR_NOT_PERMITTED : GW_ERROR_IO, errno,
                     "taking descriptor %d of process %d", fd, self->pid);
    return copy;
}

static int
compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

bool
gw_process_find_fds(const GwProcess *self, const char *link, GArray *ret_fds, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", self->pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    if (!dir) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "process %d has ended", self->pid);
        return false;
    }
    for (const char *name; (name = g_dir_read_name(dir));) {
        g_autofree char *entry = g_build_filename(path, name, NULL);
        g_autofree char *target = g_file_read_link(entry, NULL);
        int fd = atoi(name);
        if (g_strcmp0(target, link) == 0)
            g_array_append_val(ret_fds, fd);
    }
    g_array_sort(ret_fds, compare_ints);
    return true;
}

void
gw_process_set_nice(const GwProcess *self, int nice_value)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", self->pid);
    g_autoptr(GDir) dir = gw_process_is_alive(self) ? g_dir_open(path, 0, NULL) : NULL;
    for (const char *name; dir && (name = g_dir_read_name(dir));)
        setpriority(PRIO_PROCESS, (id_t)strtoul(name, NULL, 10), nice_value);
    if (dir && getsid(self->pid) == self->pid)
        gw_autogroup_set_nice(self->pid, nice_value);
}

static bool
is_open_for_writing(const GwProcess *self, const char *fd)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fdinfo/%s", self->pid, fd);
    g_autofree char *text = NULL;
    const char *flags = g_file_get_contents(path, &text, NULL, NULL) ? strstr(text, "flags:") : NULL;
    return flags && (strtol(flags + strlen("flags:"), NULL, 8) & O_ACCMODE) != O_RDONLY;
}

/* Through a descriptor of our own: the file's pages are the same, and whatever the process locked stays so.
 */
static void
flush_file(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)))
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fdatasync(fd) < 0)
        g_debug("flushing %s: %s, ignoring", path, g_strerror(errno));
    if (fd >= 0)
        close(fd);
}

void
gw_process_flush_files(const GwProcess *self)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", self->pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *entry = g_build_filename(path, name, NULL);
        if (is_open_for_writing(self, name))
            flush_file(entry);
    }
}

int
gw_process_take_fd_by_link(const GwProcess *self, const char *link, GError **error)
{
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
    if (!gw_process_find_fds(self, link, fds, error))
        return -1;
    if (fds->len == 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "process %d has no descriptor of %s", self->pid,
                    link);
        return -1;
    }
    return gw_process_take_fd(self, g_array_index(fds, int, 0), error);
}

/* One line of /proc/PID/maps: "start-end perms offset major:minor inode   path". */
static bool
parse_mapping(const char *line, ino_t inode, const char *link, GwMemRegion *ret_region)
{
    uint64_t start, end, offset, found_inode;
    int path_at = 0;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*s %" SCNu64 " %n", &start, &end, &offset,
               &found_inode, &path_at) != 4 ||
        !path_at || found_inode != inode || strcmp(line + path_at, link) != 0)
        return false;
    *ret_region = (GwMemRegion){.mem_off = offset, .size_bytes = end - start, .vmm_addr = start};
    return true;
}

bool
gw_process_find_mappings(pid_t pid, ino_t inode, const char *link, GArray *regions, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/maps", pid);
    g_autofree char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, error))
        return false;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        GwMemRegion region;
        if (parse_mapping(*line, inode, link, &region))
            g_array_append_val(regions, region);
    }
    return true;
}

void
gw_process_clear(GwProcess *self)
{
    if (self->pidfd >= 0)
        close(self->pidfd);
    *self = GW_PROCESS_NONE;
}
