/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors and threads of this process, as /proc has them. */
#include "census.h"

#define PATIENCE_US (5 * G_TIME_SPAN_SECOND)

static unsigned
count_entries(const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, &error);
    g_assert_no_error(error);
    unsigned n = 0;
    while (g_dir_read_name(dir))
        n++;
    return n;
}

Census
census_take(void)
{
    return (Census){count_entries("/proc/self/fd"), count_entries("/proc/self/task")};
}

void
census_check(const Census *before)
{
    gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
    for (;;) {
        Census now = census_take();
        if (now.n_fds == before->n_fds && now.n_threads == before->n_threads)
            return;
        if (g_get_monotonic_time() > until_us) {
            g_assert_cmpuint(now.n_fds, ==, before->n_fds);
            g_assert_cmpuint(now.n_threads, ==, before->n_threads);
        }
        g_usleep(1000);
    }
}
