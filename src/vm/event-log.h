/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VM's events: numbered, the last of them kept, handed to who listens. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>

#define GW_EVENT_LOG_KEPT 512

typedef struct GwEventLog GwEventLog;

/* In the main context's thread. `text` is the event as one line of JSON. */
typedef void (*GwEventListener)(guint64 id, const char *type, const char *text, void *user_data);

/* Made and freed in the thread whose main context calls the listener. The first event gets `first_id`; a
 * supervisor takes the time in microseconds, so that ids go on growing when another one adopts the VM. */
GwEventLog *gw_event_log_new(guint64 first_id, GwEventListener listener, void *user_data);

/* Records "type" with `data` (taken, may be NULL). Any thread. Members "id", "type", "at" (UTC, RFC 3339) and
 * "monotonic_us" are added; `monotonic_us` 0 means now. */
void gw_event_log_publish(GwEventLog *self, const char *type, JsonObject *data, gint64 monotonic_us);

/* Calls `listener` for each kept event whose id is greater than `after`. */
void gw_event_log_replay(GwEventLog *self, guint64 after, GwEventListener listener, void *user_data);

/* The newest event's id; the one before the first if there was none. Any thread. */
guint64 gw_event_log_last_id(GwEventLog *self);

void gw_event_log_free(GwEventLog *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwEventLog, gw_event_log_free)
