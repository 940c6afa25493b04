/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Another process, held by a pidfd so that a recycled pid is never taken for it, and what /proc tells of it.
 */
#pragma once

#include "image.h"

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct {
    pid_t pid;
    int pidfd; /* owned; readable once the process has ended; -1: none */
} GwProcess;

#define GW_PROCESS_NONE ((GwProcess){.pid = 0, .pidfd = -1})

/* Opens a live process; GW_ERROR_NOT_FOUND if there is none with this pid. */
bool gw_process_open(pid_t pid, GwProcess *ret_process, GError **error);

bool gw_process_is_alive(const GwProcess *self);

/* Sends a signal; one that comes too late is no error. */
void gw_process_signal(const GwProcess *self, int signal_number);

/* Waits for its end; false after the time-out (-1: none). */
bool gw_process_wait(const GwProcess *self, int timeout_ms);

/* How a child of ours ended ("exit status 1", "killed by SIGKILL"), which reaps it; for a process that is not
 * our child "ended" is all that can be known. To be called once, after its end. Free the text. */
char *gw_process_reap(const GwProcess *self);

/* A copy of its descriptor `fd` (close-on-exec); -1 on error. Needs CAP_SYS_PTRACE over it. */
int gw_process_take_fd(const GwProcess *self, int fd, GError **error);

/* Which of its descriptors /proc shows as `link`: numbers (of int) appended to an empty `ret_fds`, ascending.
 */
bool gw_process_find_fds(const GwProcess *self, const char *link, GArray *ret_fds, GError **error);

/* fdatasync(2) of every file and block device that it has open for writing. What cannot be flushed is left.
 */
void gw_process_flush_files(const GwProcess *self);

/* The nice value of each of its threads, and of its session (autogroup.h), which it leads. What does not work
 * is left. */
void gw_process_set_nice(const GwProcess *self, int nice_value);

/* Its lowest descriptor that /proc shows as `link`, copied; -1 with GW_ERROR_NOT_FOUND if there is none. */
int gw_process_take_fd_by_link(const GwProcess *self, const char *link, GError **error);

/* Where the file with this inode and the "/memfd:…" name `link` is mapped, appended to `regions` (of
 * GwMemRegion) in order of address. */
bool gw_process_find_mappings(pid_t pid, ino_t inode, const char *link, GArray *regions, GError **error);

/* Closes; the process itself is left alone. */
void gw_process_clear(GwProcess *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwProcess, gw_process_clear)
