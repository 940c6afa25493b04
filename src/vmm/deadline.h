/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deadlines on CLOCK_MONOTONIC, in microseconds as g_get_monotonic_time() counts them, and waiting for them.
 */
#pragma once

#include <glib.h>
#include <pthread.h>
#include <stdbool.h>

/* `timeout_ms`: 0 or more. */
gint64 gw_deadline_in(int timeout_ms);

/* What poll() needs to sleep until the deadline; 0 once it has passed. */
int gw_deadline_ms_left(gint64 deadline_us);

/* A condition for gw_deadline_wait(). */
void gw_deadline_cond_init(pthread_cond_t *cond);

/* With the lock, which is released meanwhile. False once the deadline has passed. */
bool gw_deadline_wait(pthread_cond_t *cond, pthread_mutex_t *lock, gint64 deadline_us);

/* "5 s" or "50 ms", to be freed. */
char *gw_deadline_format_timeout(int timeout_ms);
