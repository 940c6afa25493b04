/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a source needs to reach a destination that waits for it: where, and the secret that lets it in. */
#pragma once

#include "stream.h"
#include "wire.h"

#include <glib.h>
#include <stdbool.h>

typedef struct {
    char *address; /* numeric, of a motion interface of the destination */
    unsigned port;
    char *local; /* numeric, of the source's own interface; NULL: as the routes say */
} GwEndpoint;

typedef struct {
    uint8_t session[GW_WIRE_SESSION_BYTES];
    uint8_t secret[GW_WIRE_SECRET_BYTES];
    GArray *endpoints; /* of GwEndpoint, at least one */
} GwTicket;

/* A new session with a new secret and no endpoints. */
GwTicket *gw_ticket_new(GError **error);
GwTicket *gw_ticket_copy(const GwTicket *self);
void gw_ticket_add(GwTicket *self, const char *address, unsigned port, const char *local);
void gw_ticket_free(GwTicket *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwTicket, gw_ticket_free)

const GwEndpoint *gw_ticket_endpoint(const GwTicket *self, unsigned index);

/* Lower-case hexadecimal, and back; false if the text has another length or other digits. */
char *gw_hex_encode(const uint8_t *bytes, size_t n);
bool gw_hex_decode(const char *text, uint8_t *ret_bytes, size_t n);

/* Connects to an endpoint, says HELLO and takes the WELCOME. `identity` NULL: without TLS. Blocks for at most
 * some `timeout_ms`. */
GwStream *
gw_ticket_dial(const GwTicket *self, unsigned endpoint, GwStreamKind kind, unsigned index, unsigned n_streams,
               uint64_t memory_bytes, const GwTlsIdentity *identity, int timeout_ms, GError **error);
