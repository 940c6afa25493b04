/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HTTP + JSON server over libsoup 3.
 *
 * Connections are accepted by a GSocketService and handed over: libsoup's own listeners leak each
 * connection's socket object, and the descriptor of one that its client closes while idle (seen in 3.2.3,
 * which Debian 12 has).
 *
 * libsoup reads a whole body before the handler runs, so the size is checked in the early handler, when only
 * the headers are there; a body of unannounced length is refused (411). A stream is a chunked answer that
 * libsoup pauses whenever it has written all; each piece unpauses it. How far a reader lags is what was
 * appended less what "wrote-body-data" has reported. libsoup notices a lost reader only when it writes, so
 * streams send something now and then even when nothing happens (the caller's business: the event stream has
 * a heartbeat). */
#include "http-server.h"

#include "error.h"
#include "json.h"
#include "unix-socket.h"

#include <gio/gunixsocketaddress.h>
#include <libsoup/soup.h>
#include <string.h>
#include <unistd.h>

G_STATIC_ASSERT(GW_HTTP_BODY_LIMIT == 1024 * 1024); /* the text of the 413 answer says so */

typedef struct {
    char *method;
    char **parts;
    GwHttpHandler handler;
    void *user_data;
} Route;

struct GwHttpServer {
    SoupServer *soup;
    GPtrArray *listeners;  /* owned GSocketService, one a socket, see listen_on() */
    GPtrArray *routes;     /* owned Route */
    GPtrArray *unix_paths; /* owned strings, unlinked at free */
};

struct GwHttpRequest {
    gatomicrefcount refs;
    SoupServerMessage *message; /* ref */
    GHashTable *query;          /* ref, may be NULL */
    GHashTable *params;         /* owned */
    JsonObject *json;           /* ref, parsed on demand */
    bool answered;
    bool paused;
    /* of a stream */
    bool streaming;
    size_t backlog; /* bytes appended and not yet written */
    GwHttpStreamClosed closed;
    void *closed_data;
    gulong wrote_handler, finished_handler;
};

static void
route_free(void *data)
{
    Route *route = data;
    g_free(route->method);
    g_strfreev(route->parts);
    g_free(route);
}

/* Said in every answer; why, see above. */
static void
announce_close(SoupServerMessage *message)
{
    soup_message_headers_replace(soup_server_message_get_response_headers(message), "Connection", "close");
}

static GwHttpRequest *
request_new(SoupServerMessage *message, GHashTable *query)
{
    announce_close(message);
    GwHttpRequest *self = g_new0(GwHttpRequest, 1);
    g_atomic_ref_count_init(&self->refs);
    self->message = g_object_ref(message);
    self->query = query ? g_hash_table_ref(query) : NULL;
    self->params = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
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
    g_object_unref(self->message);
    g_clear_pointer(&self->query, g_hash_table_unref);
    g_hash_table_unref(self->params);
    g_clear_pointer(&self->json, json_object_unref);
    g_free(self);
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
    /* flatten() keeps its own reference in the body, so the borrowed pointer lives as long as the message. */
    GBytes *bytes = soup_message_body_flatten(soup_server_message_get_request_body(self->message));
    g_bytes_unref(bytes);
    return bytes;
}

JsonObject *
gw_http_request_json(GwHttpRequest *self, GError **error)
{
    if (self->json)
        return self->json;
    size_t length = 0;
    const char *text = g_bytes_get_data(gw_http_request_body(self), &length);
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
    soup_message_headers_replace(soup_server_message_get_response_headers(self->message), name, value);
}

void
gw_http_reply_bytes(GwHttpRequest *self, unsigned status, const char *content_type, GBytes *bytes)
{
    g_return_if_fail(!self->answered);
    self->answered = true;
    size_t length = 0;
    const char *data = g_bytes_get_data(bytes, &length);
    soup_server_message_set_status(self->message, status, NULL);
    soup_server_message_set_response(self->message, content_type, SOUP_MEMORY_COPY, data, length);
    if (self->paused)
        soup_server_message_unpause(self->message);
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

static JsonObject *
error_body(const char *code, const char *message)
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
    gw_http_reply(self, gw_error_http_status(error), error_body(gw_error_name(error), error->message));
}

static void
stream_detach(GwHttpRequest *self)
{
    if (!self->streaming)
        return;
    self->streaming = false;
    g_signal_handler_disconnect(self->message, self->wrote_handler);
    g_signal_handler_disconnect(self->message, self->finished_handler);
}

static void
on_stream_wrote(SoupServerMessage *message, unsigned n_bytes, GwHttpRequest *self)
{
    self->backlog -= MIN(self->backlog, n_bytes);
}

static void
on_stream_finished(SoupServerMessage *message, GwHttpRequest *self)
{
    g_autoptr(GwHttpRequest) keep G_GNUC_UNUSED = gw_http_request_ref(self);
    stream_detach(self);
    if (self->closed)
        self->closed(self, self->closed_data);
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
    SoupMessageHeaders *headers = soup_server_message_get_response_headers(self->message);
    soup_server_message_set_status(self->message, 200, NULL);
    soup_message_headers_set_content_type(headers, content_type, NULL);
    soup_message_headers_replace(headers, "Cache-Control", "no-store");
    soup_message_headers_set_encoding(headers, SOUP_ENCODING_CHUNKED);
    soup_message_body_set_accumulate(soup_server_message_get_response_body(self->message), FALSE);
    self->wrote_handler =
        g_signal_connect(self->message, "wrote-body-data", G_CALLBACK(on_stream_wrote), self);
    self->finished_handler =
        g_signal_connect(self->message, "finished", G_CALLBACK(on_stream_finished), self);
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
    soup_server_message_unpause(self->message);
}

void
gw_http_stream_end(GwHttpRequest *self)
{
    if (!self->streaming)
        return;
    stream_detach(self);
    soup_message_body_complete(soup_server_message_get_response_body(self->message));
    soup_server_message_unpause(self->message);
}

static bool
route_matches(const Route *route, char **parts, GHashTable *params)
{
    g_hash_table_remove_all(params);
    size_t i = 0;
    for (; route->parts[i] && parts[i]; i++) {
        const char *want = route->parts[i];
        size_t length = strlen(want);
        if (want[0] == '{' && want[length - 1] == '}')
            g_hash_table_replace(params, g_strndup(want + 1, length - 2), g_strdup(parts[i]));
        else if (strcmp(want, parts[i]) != 0)
            return false;
    }
    return !route->parts[i] && !parts[i];
}

static void
reply_no_route(GwHttpRequest *request, const char *method, const char *path, GString *allowed)
{
    if (!allowed->len) {
        g_autofree char *text = g_strdup_printf("there is no %s here", path);
        gw_http_reply(request, 404, error_body("not-found", text));
        return;
    }
    g_autofree char *text = g_strdup_printf("%s is not possible on %s, only %s", method, path, allowed->str);
    soup_message_headers_replace(soup_server_message_get_response_headers(request->message), "Allow",
                                 allowed->str);
    gw_http_reply(request, 405, error_body("invalid-argument", text));
}

static void
on_request(SoupServer *soup, SoupServerMessage *message, const char *path, GHashTable *query, void *user_data)
{
    GwHttpServer *self = user_data;
    const char *method = soup_server_message_get_method(message);

    if (soup_server_message_get_status(message) != 0)
        return; /* refused by the early handler */

    g_auto(GStrv) parts = g_strsplit(path, "/", 32);
    g_autoptr(GString) allowed = g_string_new(NULL);
    g_autoptr(GwHttpRequest) request = request_new(message, query);

    for (guint i = 0; i < self->routes->len; i++) {
        const Route *route = self->routes->pdata[i];
        if (!route_matches(route, parts, request->params))
            continue;
        if (strcmp(route->method, method) != 0) {
            g_string_append_printf(allowed, "%s%s", allowed->len ? ", " : "", route->method);
            continue;
        }
        route->handler(request, route->user_data);
        if (!request->answered) {
            request->paused = true;
            soup_server_message_pause(message);
        }
        return;
    }
    reply_no_route(request, method, path, allowed);
}

static void
refuse_early(SoupServerMessage *message, unsigned status, const char *text)
{
    JsonObject *body = error_body("invalid-argument", text);
    g_autofree char *line = gw_json_object_to_line(body);
    json_object_unref(body);
    announce_close(message);
    soup_server_message_set_status(message, status, NULL);
    soup_server_message_set_response(message, "application/json", SOUP_MEMORY_COPY, line, strlen(line));
    /* libsoup reads the body to its end before it answers: let it fall through, kept nowhere. */
    soup_message_body_set_accumulate(soup_server_message_get_request_body(message), FALSE);
}

static void
on_request_headers(SoupServer *soup, SoupServerMessage *message, const char *path, GHashTable *query,
                   void *user_data)
{
    SoupMessageHeaders *headers = soup_server_message_get_request_headers(message);
    SoupEncoding encoding = soup_message_headers_get_encoding(headers);

    if (encoding == SOUP_ENCODING_CHUNKED) {
        refuse_early(message, 411, "a body needs a Content-Length");
    } else if (encoding == SOUP_ENCODING_CONTENT_LENGTH &&
               soup_message_headers_get_content_length(headers) > GW_HTTP_BODY_LIMIT) {
        refuse_early(message, 413, "the body is larger than 1 MiB");
    }
}

static gboolean
on_connection(GSocketService *service, GSocketConnection *connection, GObject *source, gpointer user_data)
{
    GwHttpServer *self = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GSocketAddress) local = g_socket_connection_get_local_address(connection, NULL);
    g_autoptr(GSocketAddress) remote = g_socket_connection_get_remote_address(connection, NULL);
    if (!soup_server_accept_iostream(self->soup, G_IO_STREAM(connection), local, remote, &error))
        g_debug("a connection was not accepted: %s", error->message);
    return TRUE;
}

static void
listener_free(void *data)
{
    GSocketService *service = data;
    g_socket_service_stop(service);
    g_socket_listener_close(G_SOCKET_LISTENER(service));
    g_object_unref(service);
}

/* A service of its own for each socket: adding a socket to one that accepts already makes it begin anew, and
 * a connection that is just coming in is then dropped. */
static bool
listen_on(GwHttpServer *self, GSocket *socket, GError **error)
{
    GSocketService *service = g_socket_service_new();
    g_ptr_array_add(self->listeners, service);
    g_signal_connect(service, "incoming", G_CALLBACK(on_connection), self);
    return g_socket_listener_add_socket(G_SOCKET_LISTENER(service), socket, NULL, error);
}

GwHttpServer *
gw_http_server_new(const char *product)
{
    GwHttpServer *self = g_new0(GwHttpServer, 1);
    self->soup = soup_server_new("server-header", product, NULL);
    self->routes = g_ptr_array_new_with_free_func(route_free);
    self->unix_paths = g_ptr_array_new_with_free_func(g_free);
    self->listeners = g_ptr_array_new_with_free_func(listener_free);
    soup_server_add_early_handler(self->soup, NULL, on_request_headers, self, NULL);
    soup_server_add_handler(self->soup, NULL, on_request, self, NULL);
    return self;
}

void
gw_http_server_free(GwHttpServer *self)
{
    if (!self)
        return;
    g_ptr_array_unref(self->listeners);
    soup_server_disconnect(self->soup);
    for (guint i = 0; i < self->unix_paths->len; i++)
        unlink(self->unix_paths->pdata[i]);
    g_object_unref(self->soup);
    g_ptr_array_unref(self->routes);
    g_ptr_array_unref(self->unix_paths);
    g_free(self);
}

void
gw_http_server_add_route(GwHttpServer *self, const char *method, const char *pattern, GwHttpHandler handler,
                         void *user_data)
{
    Route *route = g_new0(Route, 1);
    route->method = g_strdup(method);
    route->parts = g_strsplit(pattern, "/", 32);
    route->handler = handler;
    route->user_data = user_data;
    g_ptr_array_add(self->routes, route);
}

bool
gw_http_server_listen_unix(GwHttpServer *self, const char *path, mode_t mode, GError **error)
{
    int fd = gw_unix_socket_listen(path, mode, error);
    if (fd < 0)
        return false;
    g_autoptr(GSocket) socket = g_socket_new_from_fd(fd, error);
    if (!socket) {
        close(fd);
        return false;
    }
    if (!listen_on(self, socket, error))
        return false;
    g_ptr_array_add(self->unix_paths, g_strdup(path));
    return true;
}

unsigned
gw_http_server_listen_tcp(GwHttpServer *self, const char *address, unsigned port, GError **error)
{
    g_autoptr(GSocketAddress) where = g_inet_socket_address_new_from_string(address, port);
    if (!where) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'%s' is no numeric IP address", address);
        return 0;
    }
    g_autoptr(GSocket) socket =
        g_socket_new(g_socket_address_get_family(where), G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, error);
    if (!socket || !g_socket_bind(socket, where, TRUE, error) || !g_socket_listen(socket, error) ||
        !listen_on(self, socket, error)) {
        g_prefix_error(error, "listening on %s port %u: ", address, port);
        return 0;
    }
    g_autoptr(GSocketAddress) local = g_socket_get_local_address(socket, error);
    return local ? g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(local)) : 0;
}
