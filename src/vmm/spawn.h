/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starts a program as another user with chosen descriptors and nothing else of ours. */
#pragma once

#include "process.h"

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/* The user that QEMU runs as; its groups are those of the user database, so that "kvm" among them counts. */
typedef struct {
    char *name;
    uid_t uid;
    gid_t gid;
    gid_t groups[64];
    int n_groups;
} GwUser;

/* GW_ERROR_NOT_FOUND if there is no such user. */
bool gw_user_look_up(const char *name, GwUser *ret_user, GError **error);
void gw_user_clear(GwUser *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwUser, gw_user_clear)

/* Whether `user` can open `path` for reading and writing, found out by a child that tries. */
bool gw_user_can_open(const GwUser *user, const char *path);

typedef struct {
    char *const *argv; /* argv[0] is a path; no search */
    char *const *envp;
    const GwUser *user;  /* NULL: stay who we are */
    const int *keep_fds; /* inherited under the same numbers, otherwise close-on-exec as everything else */
    unsigned n_keep_fds;
    int stderr_fd; /* becomes stdout and stderr; stdin is /dev/null */
    int record_fd; /* the child writes record_before, its pid and record_after here before it becomes the */
    const char *record_before, *record_after; /* program; -1: none */
    const int *cgroup_fds;                    /* open cgroup.procs files that the child puts itself into */
    unsigned n_cgroup_fds;
} GwSpawn;

/* Forks and executes; returns when the program runs or could not be started (the error says which step
 * failed). The child is a session leader, has default signal handling and no parent-death signal: it outlives
 * us. */
bool gw_spawn(const GwSpawn *spawn, GwProcess *ret_process, GError **error);
