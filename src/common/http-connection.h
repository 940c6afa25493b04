/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The server's connections: accepting, TLS, who waits how long, and how many there may be. The server's
 * thread alone. */
#pragma once

#include "tls-server.h"

#include <gio/gio.h>
#include <libsoup/soup.h>
#include <stdbool.h>

typedef struct {
    unsigned max_connections; /* on TCP; a Unix socket's clients are root's own */
    unsigned handshake_ms;    /* from accepting to the end of the handshake */
    unsigned request_ms;      /* from there to the end of the request */
    unsigned answer_ms;       /* from there, once it is answered, until the client has taken the answer */
    unsigned linger_ms;       /* how long a client that was refused early may go on sending */
} GwHttpLimits;

typedef struct GwHttpLobby GwHttpLobby;
typedef struct GwHttpConnection GwHttpConnection;

/* Hands each connection to `soup`, which is borrowed. */
GwHttpLobby *gw_http_lobby_new(SoupServer *soup);
void gw_http_lobby_set_limits(GwHttpLobby *self, const GwHttpLimits *limits);

/* No connection comes any more; what is libsoup's stays so. */
void gw_http_lobby_stop(GwHttpLobby *self);

/* Runs the thread's main context until every answer that was given has left, or for so long. */
void gw_http_lobby_drain(GwHttpLobby *self, unsigned limit_ms);
void gw_http_lobby_free(GwHttpLobby *self); /* after libsoup has let go of its connections */

/* `socket` listens. `credentials` (a reference is taken) NULL: without TLS. */
bool gw_http_lobby_listen(GwHttpLobby *self, GSocket *socket, GwTlsServerCredentials *credentials,
                          bool wants_peer, GError **error);

/* For the connections to come of every listener with TLS. */
void gw_http_lobby_set_credentials(GwHttpLobby *self, GwTlsServerCredentials *credentials);

/* The one that a message came on; NULL when it is gone. */
GwHttpConnection *gw_http_connection_of(SoupServerMessage *message);

/* A whole request is there: it is not in danger until its answer is given. */
void gw_http_connection_asked(GwHttpConnection *self);

/* The answer is given, the client has to take it. */
void gw_http_connection_answered(GwHttpConnection *self);

/* Answers `message`, of which only the head is there, past libsoup, and ends the connection without reading
 * the body, which libsoup would do to its end. */
void gw_http_connection_refuse(GwHttpConnection *self, SoupServerMessage *message, const char *answer);

const char *gw_http_connection_address(const GwHttpConnection *self); /* "" on a Unix socket */
bool gw_http_connection_is_local(const GwHttpConnection *self);
const char *gw_http_connection_peer_name(const GwHttpConnection *self);
const char *gw_http_connection_peer_role(const GwHttpConnection *self);
