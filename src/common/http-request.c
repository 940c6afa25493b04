/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A request: what is in it, its answer, and an answer that is a stream.
 *
 * A work reads its request in another thread, where libsoup's objects must not be touched; so all that a
 * request can be asked is copied when it is made, and the answer's headers are kept until it is given.
 *
 * A stream is a chunked answer that libsoup pauses whenever it has written all; each piece unpauses it. How
 * far a reader lags is what was appended less what "wrote-body-data" has reported. libsoup notices a lost
 * reader only when it writes, so streams send something now and then even when nothing happens (the caller's
 * business: the event stream has a heartbeat). */
#include "certificate.h"
#include "error.h"
#include "http-server-internal.h"
#include "json.h"

#include <string.h>

static void on_finished(SoupServerMessage *message, GwHttpRequest *self);

/* Without "finished" before it only when the server ends: nobody is told, all is being freed. */
static void
on_disconnected(SoupServerMessage *message, GwHttpRequest *self)
{
    self->finished = true;
}

static char *
get_bearer(SoupServerMessage *message)
{
    static const char scheme[] = "Bearer ";
    const char *value =
        soup_message_headers_get_one(soup_server_message_get_request_headers(message), "Authorization");
    if (!value || g_ascii_strncasecmp(value, scheme, strlen(scheme)) != 0)
        return NULL;
    return g_strstrip(g_strdup(value + strlen(scheme)));
}

GwHttpRequest *
gw_http_request_new(SoupServerMessage *message, const char *path, GHashTable *query)
{
    GwHttpRequest *self = g_new0(GwHttpRequest, 1);
    g_atomic_ref_count_init(&self->refs);
    self->message = g_object_ref(message);
    self->finished_handler = g_signal_connect(message, "finished", G_CALLBACK(on_finished), self);
    self->disconnected_handler = g_signal_connect(message, "disconnected", G_CALLBACK(on_disconnected), self);
    self->method = g_strdup(soup_server_message_get_method(message));
    self->path = g_strdup(path);
    self->query = query ? g_hash_table_ref(query) : NULL;
    self->params = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    self->body = soup_message_body_flatten(soup_server_message_get_request_body(message));
    self->bearer = get_bearer(message);
    self->last_event_id = g_strdup(
        soup_message_headers_get_one(soup_server_message_get_request_headers(message), "Last-Event-ID"));
    self->status = 200;
    GwHttpConnection *connection = gw_http_connection_of(message);
    self->address = g_strdup(connection ? gw_http_connection_address(connection) : "");
    self->is_local = connection && gw_http_connection_is_local(connection);
    self->peer_name = connection ? g_strdup(gw_http_connection_peer_name(connection)) : NULL;
    self->peer_role = connection ? g_strdup(gw_http_connection_peer_role(connection)) : NULL;
    return self;
}

GwHttpRequest *
gw_http_request_ref(GwHttpRequest *self)
{
    g_atomic_ref_count_inc(&self->refs);
    return self;
}

void
gw_http_request_unref(GwHttpRequest *self)
{
    if (!self || !g_atomic_ref_count_dec(&self->refs))
        return;
    if (!self->answered) {
        g_autoptr(GError) error =
            g_error_new_literal(GW_ERROR, GW_ERROR_FAILED, "the request was dropped without an answer");
        gw_http_reply_error(self, error);
    }
    g_signal_handler_disconnect(self->message, self->finished_handler);
    g_signal_handler_disconnect(self->message, self->disconnected_handler);
    g_object_unref(self->message);
    g_free(self->method);
    g_free(self->path);
    g_free(self->address);
    g_free(self->peer_name);
    g_free(self->peer_role);
    gw_secret_free(self->bearer);
    g_free(self->last_event_id);
    g_clear_pointer(&self->query, g_hash_table_unref);
    g_hash_table_unref(self->params);
    g_bytes_unref(self->body);
    g_clear_pointer(&self->json, json_object_unref);
    g_clear_pointer(&self->headers, g_hash_table_unref);
    g_free(self);
}

const char *
gw_http_request_method(GwHttpRequest *self)
{
    return self->method;
}

const char *
gw_http_request_path(GwHttpRequest *self)
{
    return self->path;
}

bool
gw_http_request_is_local(GwHttpRequest *self)
{
    return self->is_local;
}

const char *
gw_http_request_address(GwHttpRequest *self)
{
    return self->address;
}

const char *
gw_http_request_peer_name(GwHttpRequest *self)
{
    return self->peer_name;
}

const char *
gw_http_request_peer_role(GwHttpRequest *self)
{
    return self->peer_role;
}

const char *
gw_http_request_bearer(GwHttpRequest *self)
{
    return self->bearer;
}

const char *
gw_http_request_last_event_id(GwHttpRequest *self)
{
    return self->last_event_id;
}

bool
gw_http_request_is_gone(GwHttpRequest *self)
{
    return self->finished;
}

const char *
gw_http_request_param(GwHttpRequest *self, const char *name)
{
    return g_hash_table_lookup(self->params, name);
}

const char *
gw_http_request_query(GwHttpRequest *self, const char *name)
{
    return self->query ? g_hash_table_lookup(self->query, name) : NULL;
}

GBytes *
gw_http_request_body(GwHttpRequest *self)
{
    return self->body;
}

JsonObject *
gw_http_request_json(GwHttpRequest *self, GError **error)
{
    if (self->json)
        return self->json;
    size_t length = 0;
    const char *text = g_bytes_get_data(self->body, &length);
    if (length == 0)
        self->json = json_object_new();
    else
        self->json = gw_json_parse_object(text, (gssize)length, error);
    if (!self->json)
        g_prefix_error(error, "request body: ");
    return self->json;
}

void
gw_http_set_header(GwHttpRequest *self, const char *name, const char *value)
{
    if (!self->headers)
        self->headers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_hash_table_replace(self->headers, g_strdup(name), g_strdup(value));
}

void
gw_http_set_status(GwHttpRequest *self, unsigned status)
{
    self->status = status;
}

void
gw_http_request_pause(GwHttpRequest *self)
{
    self->paused = true;
    soup_server_message_pause(self->message);
}

static void
unpause(GwHttpRequest *self)
{
    if (!self->finished)
        soup_server_message_unpause(self->message);
}

static void
apply_headers(GwHttpRequest *self)
{
    GHashTableIter iter;
    gpointer name, value;
    if (!self->headers)
        return;
    g_hash_table_iter_init(&iter, self->headers);
    while (g_hash_table_iter_next(&iter, &name, &value))
        soup_message_headers_replace(soup_server_message_get_response_headers(self->message), name, value);
}

void
gw_http_reply_bytes(GwHttpRequest *self, unsigned status, const char *content_type, GBytes *bytes)
{
    g_return_if_fail(!self->answered);
    self->answered = true;
    if (self->finished)
        return;
    size_t length = 0;
    const char *data = g_bytes_get_data(bytes, &length);
    apply_headers(self);
    soup_server_message_set_status(self->message, status, NULL);
    soup_server_message_set_response(self->message, content_type, SOUP_MEMORY_COPY, data, length);
    GwHttpConnection *connection = gw_http_connection_of(self->message);
    if (connection)
        gw_http_connection_answered(connection);
    if (self->paused)
        unpause(self);
}

void
gw_http_reply(GwHttpRequest *self, unsigned status, JsonObject *body)
{
    g_autofree char *line = gw_json_object_to_line(body);
    g_autofree char *text = g_strconcat(line, "\n", NULL);
    g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));
    json_object_unref(body);
    gw_http_reply_bytes(self, status, "application/json", bytes);
}

JsonObject *
gw_http_error_body(const char *code, const char *message)
{
    JsonObject *inner = json_object_new();
    json_object_set_string_member(inner, "code", code);
    json_object_set_string_member(inner, "message", message);
    JsonObject *body = json_object_new();
    json_object_set_object_member(body, "error", inner);
    return body;
}

void
gw_http_reply_error(GwHttpRequest *self, const GError *error)
{
    gw_http_reply(self, gw_error_http_status(error),
                  gw_http_error_body(gw_error_name(error), error->message));
}

static void
stream_detach(GwHttpRequest *self)
{
    if (!self->streaming)
        return;
    self->streaming = false;
    g_signal_handler_disconnect(self->message, self->wrote_handler);
    GwHttpConnection *connection = gw_http_connection_of(self->message);
    if (connection)
        gw_http_connection_answered(connection);
}

/* libsoup's own word for both: all is answered, or the connection broke. */
static void
on_finished(SoupServerMessage *message, GwHttpRequest *self)
{
    self->finished = true;
    if (!self->streaming)
        return;
    g_autoptr(GwHttpRequest) keep G_GNUC_UNUSED = gw_http_request_ref(self);
    stream_detach(self);
    if (self->closed)
        self->closed(self, self->closed_data);
}

static void
on_stream_wrote(SoupServerMessage *message, unsigned n_bytes, GwHttpRequest *self)
{
    self->backlog -= MIN(self->backlog, n_bytes);
}

void
gw_http_stream_begin(GwHttpRequest *self, const char *content_type, GwHttpStreamClosed closed,
                     void *user_data)
{
    g_return_if_fail(!self->answered);
    self->answered = true;
    self->streaming = true;
    self->closed = closed;
    self->closed_data = user_data;
    apply_headers(self);
    SoupMessageHeaders *headers = soup_server_message_get_response_headers(self->message);
    soup_server_message_set_status(self->message, 200, NULL);
    soup_message_headers_set_content_type(headers, content_type, NULL);
    soup_message_headers_replace(headers, "Cache-Control", "no-store");
    soup_message_headers_set_encoding(headers, SOUP_ENCODING_CHUNKED);
    soup_message_body_set_accumulate(soup_server_message_get_response_body(self->message), FALSE);
    self->wrote_handler =
        g_signal_connect(self->message, "wrote-body-data", G_CALLBACK(on_stream_wrote), self);
}

void
gw_http_stream_send(GwHttpRequest *self, const void *data, size_t length)
{
    if (!self->streaming || length == 0)
        return;
    if (self->backlog + length > GW_HTTP_STREAM_BACKLOG) {
        /* The reader may not read for hours: what it misses is its loss, our memory is not its store. */
        g_autoptr(GwHttpRequest) keep G_GNUC_UNUSED = gw_http_request_ref(self);
        gw_http_stream_end(self);
        if (self->closed)
            self->closed(self, self->closed_data);
        return;
    }
    self->backlog += length;
    soup_message_body_append(soup_server_message_get_response_body(self->message), SOUP_MEMORY_COPY, data,
                             length);
    unpause(self);
}

void
gw_http_stream_end(GwHttpRequest *self)
{
    if (!self->streaming)
        return;
    stream_detach(self);
    soup_message_body_complete(soup_server_message_get_response_body(self->message));
    unpause(self);
}
