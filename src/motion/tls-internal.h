/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A TLS session from within: for tls.c, which moves data, and tls-handshake.c, which begins it. */
#pragma once

#include "tls.h"

#include <gnutls/gnutls.h>

#define GW_TLS_RECORD_BYTES (16 * 1024) /* of text, the protocol's limit */

struct GwTls {
    /* set once */
    GwStreamSocket *socket; /* borrowed */
    char cipher[64];
    char peer_name[256];

    /* guarded by lock */
    GMutex lock;
    gnutls_session_t session; /* owned; push and pull run within its calls */
    bool may_push;            /* this call into the session is the sender's */

    /* the sender's */
    uint8_t *out; /* owned; records that have not left */
    size_t n_out;
    uint8_t *staged; /* owned; text of small parts, to share a record */
    size_t n_staged;
    bool is_broken; /* a send failed: no good-bye */

    /* the receiver's */
    uint8_t *in; /* owned; what has arrived and was not pulled */
    size_t in_start, in_end;
    bool is_starved;        /* GnuTLS pulled, and `in` was empty */
    gnutls_packet_t packet; /* owned; of which `text` is the rest */
    const uint8_t *text;
    size_t n_text;
    int failed; /* the first error, for every later call; 0: none */
};

/* 0 or -errno, with the socket's time-out. */
int gw_tls_flush(GwTls *self);
/* Only when all that was there has been pulled. */
int gw_tls_fill(GwTls *self);

/* On a session that is open and has our push and pull, within the socket's deadline. */
bool gw_tls_shake_hands(GwTls *self, GError **error);

/* Fills in cipher and peer_name, after the handshake. */
void gw_tls_describe(GwTls *self);

/* Whether that is an alert by which a peer says that it does not like our certificate. */
bool gw_tls_refuses_certificate(gnutls_alert_description_t alert);
