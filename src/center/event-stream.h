/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GET /v1/events: what the hub tells, as server-sent events (HTML standard, section 9.2) to each follower.
 *
 * A follower that says what it has seen gets what it missed first. The store is read for that in another
 * thread, while the hub goes on telling: the last kept events stand in a ring, and what came between the
 * reading and the beginning is sent from there. */
#pragma once

#include "event-hub.h"
#include "http-server.h"
#include "session-watch.h"

#define GW_EVENT_REPLAY_MAX   1000         /* events … */
#define GW_EVENT_REPLAY_BYTES (512 * 1024) /* … and bytes of them that one who comes back is sent at most */

typedef struct GwEventStreams GwEventStreams;

/* Listens to the hub. Both are borrowed. All but gw_event_replay_read() in the thread that makes it. */
GwEventStreams *gw_event_streams_new(GwEventHub *hub, GwSessionWatch *sessions);
/* Ends the streams. The hub goes on calling: no main loop may run between this and its end. */
void gw_event_streams_free(GwEventStreams *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwEventStreams, gw_event_streams_free)

/* What a follower missed. */
typedef struct {
    GPtrArray *messages; /* owned text */
    int64_t last_id;     /* the newest that is not to be sent again */
} GwEventReplay;

/* Events behind `after_id`, -1: none. If there are more than the limits, the oldest are left out, and a first
 * event "events.missed" says so with "after" and "first". Any thread; blocking. */
GwEventReplay *gw_event_replay_read(GwStore *store, int64_t after_id, GError **error);
void gw_event_replay_free(GwEventReplay *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwEventReplay, gw_event_replay_free)

/* Begins the stream of a request; it ends with the session of `token` (NULL: never). */
void gw_event_streams_begin(GwEventStreams *self, GwHttpRequest *request, const char *token,
                            const GwEventReplay *replay);

/* A kept event as it was told, and its "id". */
JsonObject *gw_event_to_json(const GwEventRecord *event);
