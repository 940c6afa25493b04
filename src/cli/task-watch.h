/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks at a task five times a second, in a thread of its own, and lives through the center's restart.
 * Whoever waits for it can wait for other descriptors too. */
#pragma once

#include "session.h"

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

typedef struct GwTaskWatch GwTaskWatch;

/* What is new since the last gw_task_watch_take(). */
typedef struct {
    JsonObject *task; /* as it was seen last; NULL: not yet. The caller's */
    GError *trouble;  /* the center does not answer; it is tried again. The caller's */
    GError *error;    /* final: the center refuses, or did not answer for too long. The caller's */
} GwTaskNews;

void gw_task_news_clear(GwTaskNews *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwTaskNews, gw_task_news_clear)

/* `session` is borrowed until free. `patience_s`: how long a center may be away. */
GwTaskWatch *gw_task_watch_new(const GwSession *session, const char *task, unsigned patience_s);
/* Does not wait for an answer that does not come. */
void gw_task_watch_free(GwTaskWatch *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwTaskWatch, gw_task_watch_free)

/* Readable (poll) when there is news. Borrowed. */
int gw_task_watch_fd(const GwTaskWatch *self);
void gw_task_watch_take(GwTaskWatch *self, GwTaskNews *ret_news);
