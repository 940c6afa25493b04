/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HTTP + JSON client for the servers of http-server.h, on a Unix socket or TCP. Blocking; one thread at a
 * time. */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

#define GW_HTTP_REPLY_LIMIT (64 * 1024 * 1024) /* bytes of an answer; a longer one is GW_ERROR_PROTOCOL */

typedef struct GwHttpClient GwHttpClient;

/* `timeout_s` bounds each wait for the other end, not the whole call. Nothing is connected yet. NULL with an
 * error only if the socket's directory is not there. */
GwHttpClient *gw_http_client_new_unix(const char *path, unsigned timeout_s, GError **error);
GwHttpClient *gw_http_client_new_tcp(const char *address, unsigned port, unsigned timeout_s);
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
