/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Motions as the API and the journal speak of them: requests and tickets read, progress written. Pure. */
#pragma once

#include "progress.h"
#include "ticket.h"

#include <json-glib/json-glib.h>

/* What POST /v1/motion asks for. */
typedef struct {
    bool outgoing;    /* "send"; else "receive" */
    GwTicket *ticket; /* owned. "receive": its endpoints have addresses only */
    bool tls;
    unsigned n_streams; /* 0: chosen by us */
    uint64_t goal_us, deadline_us;
} GwMotionRequest;

/* GW_ERROR_INVALID_ARGUMENT naming the member, what was got and what is expected. */
bool gw_motion_request_parse(JsonObject *body, GwMotionRequest *ret_request, GError **error);
void gw_motion_request_clear(GwMotionRequest *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwMotionRequest, gw_motion_request_clear)

/* {"session", "secret", "addresses": [{"address", "port", "local"?}], "tls"}: the answer to "receive", what
 * "send" takes, and a part of the journal's lines. */
JsonObject *gw_motion_ticket_to_json(const GwTicket *ticket, bool tls);
GwTicket *gw_motion_ticket_parse(JsonObject *object, GError **error);

/* GET /v1/motion. `error` may be NULL. */
JsonObject *gw_motion_progress_to_json(const GwProgressData *progress, bool outgoing,
                                       const uint8_t session[GW_WIRE_SESSION_BYTES], const GError *error);
