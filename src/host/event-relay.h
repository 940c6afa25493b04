/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stream of GET /v1/events: what any thread tells goes, in that order, to everybody who listens. Nothing
 * is kept for later listeners: they begin with what is so now ("host.hello"). */
#pragma once

#include "http-server.h"

#include <glib.h>
#include <json-glib/json-glib.h>

typedef struct GwEventRelay GwEventRelay;

/* All in the main thread but where it says any. */
GwEventRelay *gw_event_relay_new(void);
void gw_event_relay_free(GwEventRelay *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwEventRelay, gw_event_relay_free)

/* Ends every stream; for who frees the server first. */
void gw_event_relay_close(GwEventRelay *self);

/* Any thread. `event` (taken) has "type"; "at" (UTC, RFC 3339) is added if it has none. */
void gw_event_relay_tell(GwEventRelay *self, JsonObject *event);

/* Makes the request a stream that has everything told behind this call's snapshot: `hello` returns the first
 * event (the caller's), made when nothing told so far will be sent any more. */
typedef JsonObject *(*GwEventHello)(void *user_data);
void gw_event_relay_open(GwEventRelay *self, GwHttpRequest *request, GwEventHello hello, void *user_data);
