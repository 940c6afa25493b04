/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TLS 1.3 on a stream's socket, for stream.c. Results as in stream.h. */
#pragma once

#include "stream-socket.h"
#include "stream.h"

typedef struct GwTls GwTls;

/* Does the handshake; the socket should have a deadline. `socket` and `identity` are borrowed while the
 * session lives. */
GwTls *gw_tls_new(GwStreamSocket *socket, const GwTlsIdentity *identity, bool is_server, GError **error);

/* The sending thread's. */
int gw_tls_send(GwTls *self, const struct iovec *parts, unsigned n_parts);

/* The receiving thread's: gw_stream_take() and gw_stream_has_pending(). */
ssize_t gw_tls_take(GwTls *self, const uint8_t **ret_bytes, size_t max);
bool gw_tls_has_pending(GwTls *self);

const char *gw_tls_cipher(const GwTls *self);
const char *gw_tls_peer_name(const GwTls *self);

void gw_tls_free(GwTls *self);
