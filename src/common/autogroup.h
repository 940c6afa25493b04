/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the kernel groups tasks by session (sched_autogroup_enabled, sched(7)), a nice value counts among the
 * tasks of one session alone; among sessions it is their groups' that do. */
#pragma once

#include <sys/types.h>

/* The nice value of the session that `pid` is of. Where there are no such groups nothing happens. */
void gw_autogroup_set_nice(pid_t pid, int nice_value);
