/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Exit statuses: one for each kind of failure that a script would treat differently. Pure. */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef enum {
    GW_EXIT_DONE = 0,
    GW_EXIT_FAILED = 1,
    GW_EXIT_USAGE = 2,
    GW_EXIT_NOT_PERMITTED = 3,
    GW_EXIT_NOT_FOUND = 4,
    GW_EXIT_CHECK_FAILED = 5,
    GW_EXIT_MOTION_FAILED = 6,
    GW_EXIT_CANCELLED = 7,
    GW_EXIT_UNREACHABLE = 8,
    GW_EXIT_WRONG_STATE = 9,
    GW_EXIT_INTERRUPTED = 130,
} GwExit;

GwExit gw_exit_of_error(const GError *error);

/* Of a task whose error has this code's name: a motion that did not happen, whatever the cause, leaves its
 * VM. */
GwExit gw_exit_of_task(const char *state, const char *error_code);

/* A line for each status, for help texts. Owned. */
char *gw_exit_text(void);

/* The question may be asked again: the center was not reached, or ended while it answered. Not so where it
 * gave an answer that will be the same next time. */
bool gw_error_is_passing(const GError *error);
