/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Deadlines on CLOCK_MONOTONIC. */
#define G_LOG_DOMAIN "godwit-vmm"

#include "deadline.h"

#include <errno.h>
#include <time.h>

gint64
gw_deadline_in(int timeout_ms)
{
    g_assert(timeout_ms >= 0);
    return g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
}

int
gw_deadline_ms_left(gint64 deadline_us)
{
    gint64 left_us = deadline_us - g_get_monotonic_time();
    return left_us <= 0 ? 0 : (int)MIN((left_us + 999) / 1000, G_MAXINT);
}

void
gw_deadline_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

bool
gw_deadline_wait(pthread_cond_t *cond, pthread_mutex_t *lock, gint64 deadline_us)
{
    struct timespec deadline = {
        .tv_sec = deadline_us / G_USEC_PER_SEC,
        .tv_nsec = deadline_us % G_USEC_PER_SEC * 1000,
    };
    return pthread_cond_timedwait(cond, lock, &deadline) != ETIMEDOUT;
}

char *
gw_deadline_format_timeout(int timeout_ms)
{
    return timeout_ms % 1000 == 0 ? g_strdup_printf("%d s", timeout_ms / 1000)
                                  : g_strdup_printf("%d ms", timeout_ms);
}
