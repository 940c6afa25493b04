/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HTTP + JSON server over libsoup 3: routes, and what is refused before it is read. The rest: connections are
 * http-connection.c, requests and answers http-request.c, works http-work.c.
 *
 * libsoup reads a whole body before the handler runs, so the size is checked in the early handler, when only
 * the headers are there; a body of unannounced length is refused (411). Each answer ends its connection: a
 * connection is one request, which is what http-connection.c counts and times. */
#include "http-server.h"

#include "error.h"
#include "http-server-internal.h"
#include "json.h"
#include "unix-socket.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

G_STATIC_ASSERT(GW_HTTP_BODY_LIMIT == 1024 * 1024); /* the text of the 413 answer says so */

#define DRAIN_MS 1000 /* for clients that take their last answer slowly, when the server ends */

typedef struct {
    char *method;
    char **parts;
    GwHttpHandler handler; /* or */
    GwHttpWork work;
    void *user_data;
} Route;

struct GwHttpServer {
    SoupServer *soup;
    GwHttpLobby *lobby;
    GwHttpWorks *works;    /* NULL until there is a route for one */
    GPtrArray *routes;     /* owned Route */
    GPtrArray *unix_paths; /* owned strings, unlinked at free */
    bool closed;
};

static void
route_free(void *data)
{
    Route *route = data;
    g_free(route->method);
    g_strfreev(route->parts);
    g_free(route);
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
reply_no_route(GwHttpRequest *request, GString *allowed)
{
    if (!allowed->len) {
        g_autofree char *text = g_strdup_printf("there is no %s here", request->path);
        gw_http_reply(request, 404, gw_http_error_body("not-found", text));
        return;
    }
    g_autofree char *text =
        g_strdup_printf("%s is not possible on %s, only %s", request->method, request->path, allowed->str);
    gw_http_set_header(request, "Allow", allowed->str);
    gw_http_reply(request, 405, gw_http_error_body("invalid-argument", text));
}

static void
take_route(GwHttpServer *self, const Route *route, GwHttpRequest *request)
{
    if (route->work) {
        gw_http_works_start(self->works, request, route->work, route->user_data);
        return;
    }
    route->handler(request, route->user_data);
    if (!request->answered)
        gw_http_request_pause(request);
}

static void
on_request(SoupServer *soup, SoupServerMessage *message, const char *path, GHashTable *query, void *user_data)
{
    GwHttpServer *self = user_data;
    if (soup_server_message_get_status(message) != 0)
        return; /* refused by libsoup */

    GwHttpConnection *connection = gw_http_connection_of(message);
    if (connection)
        gw_http_connection_asked(connection);
    soup_message_headers_replace(soup_server_message_get_response_headers(message), "Connection", "close");
    g_auto(GStrv) parts = g_strsplit(path, "/", 32);
    g_autoptr(GString) allowed = g_string_new(NULL);
    g_autoptr(GwHttpRequest) request = gw_http_request_new(message, path, query);
    if (self->closed) {
        gw_http_reply(request, 409, gw_http_error_body("wrong-state", "this program is about to end"));
        return;
    }

    for (guint i = 0; i < self->routes->len; i++) {
        const Route *route = self->routes->pdata[i];
        if (!route_matches(route, parts, request->params))
            continue;
        if (strcmp(route->method, request->method) == 0) {
            take_route(self, route, request);
            return;
        }
        g_string_append_printf(allowed, "%s%s", allowed->len ? ", " : "", route->method);
    }
    reply_no_route(request, allowed);
}

static void
refuse_early(SoupServerMessage *message, const char *status, const char *text)
{
    JsonObject *body = gw_http_error_body("invalid-argument", text);
    g_autofree char *line = gw_json_object_to_line(body);
    json_object_unref(body);
    g_autofree char *answer = g_strdup_printf("HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
                                              "Content-Length: %zu\r\nConnection: close\r\n\r\n%s\n",
                                              status, strlen(line) + 1, line);
    GwHttpConnection *connection = gw_http_connection_of(message);
    if (connection)
        gw_http_connection_refuse(connection, message, answer);
}

static void
on_request_headers(SoupServer *soup, SoupServerMessage *message, const char *path, GHashTable *query,
                   void *user_data)
{
    SoupMessageHeaders *headers = soup_server_message_get_request_headers(message);
    SoupEncoding encoding = soup_message_headers_get_encoding(headers);

    /* libsoup would cut the answer into the ranges asked for; nobody here needs that. */
    soup_message_headers_remove(headers, "Range");
    if (encoding == SOUP_ENCODING_CHUNKED)
        refuse_early(message, "411 Length Required", "a body needs a Content-Length");
    else if (encoding == SOUP_ENCODING_CONTENT_LENGTH &&
             soup_message_headers_get_content_length(headers) > GW_HTTP_BODY_LIMIT)
        refuse_early(message, "413 Request Entity Too Large", "the body is larger than 1 MiB");
}

GwHttpServer *
gw_http_server_new(const char *product)
{
    GwHttpServer *self = g_new0(GwHttpServer, 1);
    self->soup = soup_server_new("server-header", product, NULL);
    self->lobby = gw_http_lobby_new(self->soup);
    self->routes = g_ptr_array_new_with_free_func(route_free);
    self->unix_paths = g_ptr_array_new_with_free_func(g_free);
    soup_server_add_early_handler(self->soup, NULL, on_request_headers, self, NULL);
    soup_server_add_handler(self->soup, NULL, on_request, self, NULL);
    return self;
}

void
gw_http_server_close(GwHttpServer *self)
{
    self->closed = true;
    gw_http_lobby_stop(self->lobby);
}

void
gw_http_server_free(GwHttpServer *self)
{
    if (!self)
        return;
    gw_http_server_close(self);
    gw_http_works_free(self->works);
    /* An answer's last bytes are sent by a thread of GIO's: disconnecting at once would take them from the
     * client, and could close the socket under that thread, for the next file to get its number. */
    gw_http_lobby_drain(self->lobby, DRAIN_MS);
    soup_server_disconnect(self->soup);
    for (guint i = 0; i < self->unix_paths->len; i++)
        unlink(self->unix_paths->pdata[i]);
    g_object_unref(self->soup);
    gw_http_lobby_free(self->lobby);
    g_ptr_array_unref(self->routes);
    g_ptr_array_unref(self->unix_paths);
    g_free(self);
}

void
gw_http_server_set_limits(GwHttpServer *self, const GwHttpLimits *limits)
{
    gw_http_lobby_set_limits(self->lobby, limits);
}

static Route *
add_route(GwHttpServer *self, const char *method, const char *pattern, void *user_data)
{
    Route *route = g_new0(Route, 1);
    route->method = g_strdup(method);
    route->parts = g_strsplit(pattern, "/", 32);
    route->user_data = user_data;
    g_ptr_array_add(self->routes, route);
    return route;
}

void
gw_http_server_add_route(GwHttpServer *self, const char *method, const char *pattern, GwHttpHandler handler,
                         void *user_data)
{
    add_route(self, method, pattern, user_data)->handler = handler;
}

void
gw_http_server_add_work(GwHttpServer *self, const char *method, const char *pattern, GwHttpWork work,
                        void *user_data)
{
    if (!self->works)
        self->works = gw_http_works_new();
    add_route(self, method, pattern, user_data)->work = work;
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
    if (!gw_http_lobby_listen(self->lobby, socket, NULL, false, error))
        return false;
    g_ptr_array_add(self->unix_paths, g_strdup(path));
    return true;
}

static unsigned
listen_ip(GwHttpServer *self, const char *address, unsigned port, GwTlsServerCredentials *credentials,
          bool wants_peer, GError **error)
{
    g_autoptr(GSocketAddress) where = g_inet_socket_address_new_from_string(address, port);
    if (!where) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'%s' is no numeric IP address", address);
        return 0;
    }
    g_autoptr(GSocket) socket =
        g_socket_new(g_socket_address_get_family(where), G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, error);
    if (socket)
        g_socket_set_listen_backlog(socket, SOMAXCONN);
    if (!socket || !g_socket_bind(socket, where, TRUE, error) || !g_socket_listen(socket, error) ||
        !gw_http_lobby_listen(self->lobby, socket, credentials, wants_peer, error)) {
        g_prefix_error(error, "listening on %s port %u: ", address, port);
        return 0;
    }
    g_autoptr(GSocketAddress) local = g_socket_get_local_address(socket, error);
    return local ? g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(local)) : 0;
}

unsigned
gw_http_server_listen_tcp(GwHttpServer *self, const char *address, unsigned port, GError **error)
{
    return listen_ip(self, address, port, NULL, false, error);
}

unsigned
gw_http_server_listen_tls(GwHttpServer *self, const char *address, unsigned port, const GwTlsFiles *files,
                          bool wants_peer, GError **error)
{
    g_autoptr(GwTlsServerCredentials) credentials = gw_tls_server_credentials_load(files, error);
    return credentials ? listen_ip(self, address, port, credentials, wants_peer, error) : 0;
}

bool
gw_http_server_reload_tls(GwHttpServer *self, const GwTlsFiles *files, GError **error)
{
    g_autoptr(GwTlsServerCredentials) credentials = gw_tls_server_credentials_load(files, error);
    if (credentials)
        gw_http_lobby_set_credentials(self->lobby, credentials);
    return credentials != NULL;
}
