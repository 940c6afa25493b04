/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this process holds: descriptors and threads, counted before and after, so that a test notices what is
 * left behind. */
#pragma once

#include <glib.h>

typedef struct {
    unsigned n_fds, n_threads;
} Census;

Census census_take(void);

/* Fails unless there are as many as `before`. Threads and descriptors of detached threads need a moment to be
 * gone, so it is waited for, a few seconds at most. */
void census_check(const Census *before);
