/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The server's end of TLS as a GIOStream that never blocks. The server's thread alone. */
#pragma once

#include "tls-files.h"

#include <gio/gio.h>
#include <stdbool.h>

/* What the files hold. Counted: connections keep what they began with. */
typedef struct GwTlsServerCredentials GwTlsServerCredentials;
GwTlsServerCredentials *gw_tls_server_credentials_load(const GwTlsFiles *files, GError **error);
GwTlsServerCredentials *gw_tls_server_credentials_ref(GwTlsServerCredentials *self);
void gw_tls_server_credentials_unref(GwTlsServerCredentials *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwTlsServerCredentials, gw_tls_server_credentials_unref)

/* A GIOStream. `connection` is closed with it. */
typedef struct GwTlsServerStream GwTlsServerStream;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwTlsServerStream, g_object_unref)
GwTlsServerStream *
gw_tls_server_stream_new(GSocketConnection *connection, GwTlsServerCredentials *credentials, bool wants_peer,
                         GError **error);

/* A step of the handshake; G_IO_ERROR_WOULD_BLOCK: again when `ret_wait` is possible on the socket. */
bool gw_tls_server_stream_handshake(GwTlsServerStream *self, GIOCondition *ret_wait, GError **error);

/* The peer's verified certificate in PEM; NULL if it was not asked for one. */
char *gw_tls_server_stream_peer_pem(GwTlsServerStream *self);
