/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HTTP + JSON client for the servers of http-server.h, on a Unix socket or TCP. Blocking; one thread at a
 * time. */
#pragma once

#include "tls-files.h"

#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

#define GW_HTTP_REPLY_LIMIT (64 * 1024 * 1024) /* bytes of an answer; a longer one is GW_ERROR_PROTOCOL */

typedef struct GwHttpClient GwHttpClient;

/* `timeout_s` bounds each wait for the other end, not the whole call. Nothing is connected yet. NULL with an
 * error only if the socket's directory is not there. */
GwHttpClient *gw_http_client_new_unix(const char *path, unsigned timeout_s, GError **error);
GwHttpClient *gw_http_client_new_tcp(const char *address, unsigned port, unsigned timeout_s);

/* HTTPS. `host` is a numeric address or a name. The server's certificate has to be of the authority in
 * `files` and be for `expected_name` (NULL: for `host`). A client certificate is shown if `files` has one.
 * Errors: the files', at once; a server that cannot be trusted is GW_ERROR_NOT_PERMITTED when it is called.
 */
GwHttpClient *gw_http_client_new_tls(const char *host, unsigned port, const GwTlsFiles *files,
                                     const char *expected_name, unsigned timeout_s, GError **error);

/* For who does not have the authority's certificate yet, but its fingerprint (gw_certificate_fingerprint()):
 * the server's chain has to hold that certificate (a server of http-server.h sends it) and be signed by it,
 * and its role be "center", whatever its name. NULL takes any server: only to ask it who it is, before
 * anything secret is sent. GW_ERROR_INVALID_ARGUMENT if it is no fingerprint. */
GwHttpClient *gw_http_client_new_pinned(const char *host, unsigned port, const char *fingerprint,
                                        unsigned timeout_s, GError **error);

/* Sent with each call from now on; NULL: none. */
void gw_http_client_set_bearer(GwHttpClient *self, const char *token);

/* Ends, from any thread, the call or stream that another thread waits in, and all later ones at once:
 * GW_ERROR_CANCELLED. */
void gw_http_client_cancel(GwHttpClient *self);

void gw_http_client_free(GwHttpClient *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwHttpClient, gw_http_client_free)

/* Sends `body` (taken, may be NULL) and returns the answer's object. An error of the server comes back as the
 * same GW_ERROR with its text; GW_ERROR_PEER_LOST when nobody listens. */
JsonObject *
gw_http_call(GwHttpClient *self, const char *method, const char *path, JsonObject *body, GError **error);

/* GET of an answer that is no JSON or has no end: the stream gives it as it comes. */
GInputStream *gw_http_open(GwHttpClient *self, const char *path, GError **error);

/* POST of raw bytes (borrowed). */
bool
gw_http_post_bytes(GwHttpClient *self, const char *path, const void *data, size_t length, GError **error);

/* Follows a stream of server-sent events until it ends, breaks, or `on_event` returns false (then true is
 * returned). `data` is borrowed; events whose data is no object are left out. `on_open` (may be NULL) is
 * called once, when the server has begun to answer. A server that says nothing for the client's timeout is
 * lost. */
typedef bool (*GwHttpOnEvent)(const char *id, const char *type, JsonObject *data, void *user_data);
typedef void (*GwHttpOnOpen)(void *user_data);
bool gw_http_follow(GwHttpClient *self, const char *path, GwHttpOnOpen on_open, GwHttpOnEvent on_event,
                    void *user_data, GError **error);
