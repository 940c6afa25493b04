/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long this guest's CPUs did not run, as a thread sees it that wants to run every millisecond. */
#pragma once

#include <stdio.h>

/* The thread runs only while it measures: a thousand wake-ups a second are a load of their own under TCG. */

/* "timer-gap start", "timer-gap", "timer-gap stop" or "timer-gap MS" (see ../README.md). Any thread; with MS
 * it blocks that long. */
void gw_timer_gap_command(char *const *words, unsigned n_words, FILE *reply);
