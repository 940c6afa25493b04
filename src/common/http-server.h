/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HTTP + JSON server on Unix sockets and TCP: routes, bounded bodies, errors as JSON, streams.
 *
 * Everything runs in the main context of the thread that made the server; a handler that cannot answer at
 * once keeps a reference, and the answer is given later in that same thread. A request that is dropped
 * without an answer is answered 500, never left open. Errors have one form: {"error": {"code": "wrong-state",
 * "message": "…"}}. */
#pragma once

#include "tls-files.h"

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <sys/types.h>

#define GW_HTTP_BODY_LIMIT (1024 * 1024) /* bytes of a request's body; more is answered 413 unread */

/* Bytes that a slow reader of a stream may lag before it is cut off. An agent tells a center that begins to
 * listen of all its VMs at once, some 2.3 KB each. */
#define GW_HTTP_STREAM_BACKLOG (4 * 1024 * 1024)

typedef struct GwHttpServer GwHttpServer;
typedef struct GwHttpRequest GwHttpRequest;

typedef void (*GwHttpHandler)(GwHttpRequest *request, void *user_data);
/* The stream's reader is gone, or was too slow; the stream must not be used again. */
typedef void (*GwHttpStreamClosed)(GwHttpRequest *request, void *user_data);

/* `product` is what the Server header says, such as "godwit-vm/0.1.0". */
GwHttpServer *gw_http_server_new(const char *product);
/* From now on nobody is let in, and no route is taken by who is in already (wrong-state). Answers that are
 * due may still be given while the loop runs. What routes refer to may go away behind it. */
void gw_http_server_close(GwHttpServer *self);
/* Runs the loop until the answers that were given have left, for a second at most. */
void gw_http_server_free(GwHttpServer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwHttpServer, gw_http_server_free)

/* `pattern` is a path whose parts may be parameters: "/v1/console/{port}". Patterns are added before
 * listening; the first that matches is taken. */
void gw_http_server_add_route(GwHttpServer *self, const char *method, const char *pattern,
                              GwHttpHandler handler, void *user_data);

/* The same for work that may block: it runs in a thread of the server's pool and returns the answer's object
 * (the caller's), or NULL with an error. Of the request it may use every getter, gw_http_set_header() and
 * gw_http_set_status(), and must not reply. Several requests may be in the same `work` at once. */
typedef JsonObject *(*GwHttpWork)(GwHttpRequest *request, void *user_data, GError **error);
void gw_http_server_add_work(GwHttpServer *self, const char *method, const char *pattern, GwHttpWork work,
                             void *user_data);

/* Listens on a Unix socket made with `mode`. A socket file that nobody listens on is replaced; one that
 * somebody answers on is GW_ERROR_EXISTS. Paths longer than a sockaddr_un holds are fine. The file is
 * unlinked at free. */
bool gw_http_server_listen_unix(GwHttpServer *self, const char *path, mode_t mode, GError **error);

/* Listens on a numeric address; port 0 takes a free one. Returns the port, 0 on error. */
unsigned gw_http_server_listen_tcp(GwHttpServer *self, const char *address, unsigned port, GError **error);

/* Listens with TLS 1.2 or newer. The files are read at once. With `wants_peer` a client has to show a
 * certificate of the same authority, or the handshake fails. Returns the port, 0 on error. */
unsigned gw_http_server_listen_tls(GwHttpServer *self, const char *address, unsigned port,
                                   const GwTlsFiles *files, bool wants_peer, GError **error);

/* Reads the certificates anew, for connections to come. On an error the present ones stay. */
bool gw_http_server_reload_tls(GwHttpServer *self, const GwTlsFiles *files, GError **error);

/* Who asks. The address is numeric, "" on a Unix socket. Name (CN) and role (OU) are of a certificate that
 * was verified; NULL without one. The bearer is the token of "Authorization: Bearer …"; NULL without.
 * Borrowed. */
bool gw_http_request_is_local(GwHttpRequest *self); /* on a Unix socket */
const char *gw_http_request_address(GwHttpRequest *self);
const char *gw_http_request_peer_name(GwHttpRequest *self);
const char *gw_http_request_peer_role(GwHttpRequest *self);
const char *gw_http_request_bearer(GwHttpRequest *self);
const char *gw_http_request_last_event_id(GwHttpRequest *self); /* where a reader of events goes on */
const char *gw_http_request_method(GwHttpRequest *self);
const char *gw_http_request_path(GwHttpRequest *self);

/* Parts of the request; borrowed, NULL where absent. */
const char *gw_http_request_param(GwHttpRequest *self, const char *name);
const char *gw_http_request_query(GwHttpRequest *self, const char *name);
GBytes *gw_http_request_body(GwHttpRequest *self);

/* The body as a JSON object, an empty one if there is no body. Borrowed; NULL with GW_ERROR_INVALID_ARGUMENT.
 */
JsonObject *gw_http_request_json(GwHttpRequest *self, GError **error);

/* A header of the answer; before the answer is given. */
void gw_http_set_header(GwHttpRequest *self, const char *name, const char *value);

/* The status of a work's answer, 200 unless set; in a work only. */
void gw_http_set_status(GwHttpRequest *self, unsigned status);

/* An answer, once a request. `body` is taken. */
void gw_http_reply(GwHttpRequest *self, unsigned status, JsonObject *body);
void gw_http_reply_error(GwHttpRequest *self, const GError *error);
void gw_http_reply_bytes(GwHttpRequest *self, unsigned status, const char *content_type, GBytes *bytes);

/* Keeps the request open behind the handler's return; gw_http_reply… comes later, from the same thread. */
GwHttpRequest *gw_http_request_ref(GwHttpRequest *self);
void gw_http_request_unref(GwHttpRequest *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwHttpRequest, gw_http_request_unref)

/* The client has left: nothing that begins now would reach it, or be told of it. In the server's thread. */
bool gw_http_request_is_gone(GwHttpRequest *self);

/* Turns the answer into a stream that stays open; take a reference for as long as you send. */
void gw_http_stream_begin(GwHttpRequest *self, const char *content_type, GwHttpStreamClosed closed,
                          void *user_data);
void gw_http_stream_send(GwHttpRequest *self, const void *data, size_t length);
void gw_http_stream_end(GwHttpRequest *self);
