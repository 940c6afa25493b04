/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Standing still at a step, for tests. */
#include "hold.h"

#include <glib.h>
#include <string.h>
#include <unistd.h>

#define LIMIT_US (60 * G_TIME_SPAN_SECOND)

static const char *
variable(const char *prefix, const char *suffix)
{
    g_autofree char *name = g_strconcat(prefix, suffix, NULL);
    return g_getenv(name);
}

static bool
is_meant(const char *wanted, const char *file, const char *step)
{
    g_autofree char *text = NULL;
    if (!wanted && g_file_get_contents(file, &text, NULL, NULL))
        wanted = g_strstrip(text);
    return wanted && strcmp(wanted, step) == 0;
}

void
gw_hold(const char *prefix, const char *step, GwHoldEnds ends, void *user_data)
{
    const char *file = variable(prefix, "_HOLD_FILE");
    if (!file || !is_meant(variable(prefix, "_HOLD"), file, step))
        return;
    gint64 until_us = g_get_monotonic_time() + LIMIT_US;
    g_autofree char *reached = g_strconcat(file, ".reached", NULL);
    g_file_set_contents(reached, step, -1, NULL);
    while (access(file, F_OK) == 0 && g_get_monotonic_time() < until_us && !(ends && ends(user_data)))
        g_usleep(1000);
    unlink(reached);
}
