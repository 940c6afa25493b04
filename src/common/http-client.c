/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HTTP + JSON client over libsoup 3; the server's error objects become GErrors again. */
#include "http-client.h"

#include "error.h"
#include "json.h"

#include <fcntl.h>
#include <gio/gunixsocketaddress.h>
#include <libsoup/soup.h>
#include <string.h>
#include <unistd.h>

struct GwHttpClient {
    SoupSession *session;
    char *base;       /* "http://vm" or "http://ADDRESS:PORT" */
    int directory_fd; /* the socket's directory: the address goes through it, see unix-socket.c; -1 for TCP */
};

GwHttpClient *
gw_http_client_new_unix(const char *path, unsigned timeout_s, GError **error)
{
    g_autofree char *directory = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        gw_set_errno(error, errno == ENOENT ? GW_ERROR_NOT_FOUND : GW_ERROR_IO, errno, "%s", directory);
        return NULL;
    }
    g_autofree char *through = g_strdup_printf("/proc/self/fd/%d/%s", fd, name);
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(through);
    GwHttpClient *self = g_new0(GwHttpClient, 1);
    self->session = soup_session_new_with_options("remote-connectable", address, "timeout", timeout_s,
                                                  "proxy-resolver", NULL, NULL);
    self->base = g_strdup("http://vm");
    self->directory_fd = fd;
    return self;
}

GwHttpClient *
gw_http_client_new_tcp(const char *address, unsigned port, unsigned timeout_s)
{
    GwHttpClient *self = g_new0(GwHttpClient, 1);
    self->session = soup_session_new_with_options("timeout", timeout_s, "proxy-resolver", NULL, NULL);
    self->base = g_strdup_printf(strchr(address, ':') ? "http://[%s]:%u" : "http://%s:%u", address, port);
    self->directory_fd = -1;
    return self;
}

void
gw_http_client_free(GwHttpClient *self)
{
    if (!self)
        return;
    soup_session_abort(self->session);
    g_object_unref(self->session);
    if (self->directory_fd >= 0)
        close(self->directory_fd);
    g_free(self->base);
    g_free(self);
}

/* The whole of a stream, within the limit. */
static GBytes *
read_all(GInputStream *stream, GError **error)
{
    g_autoptr(GByteArray) all = g_byte_array_new();
    g_autofree guint8 *piece = g_malloc(65536);
    for (;;) {
        gssize n = g_input_stream_read(stream, piece, 65536, NULL, error);
        if (n < 0)
            return NULL;
        if (n == 0)
            return g_byte_array_free_to_bytes(g_steal_pointer(&all));
        if (all->len + (size_t)n > GW_HTTP_REPLY_LIMIT) {
            g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "the answer is longer than %d bytes",
                        GW_HTTP_REPLY_LIMIT);
            return NULL;
        }
        g_byte_array_append(all, piece, (guint)n);
    }
}

static void
set_error_from_reply(unsigned status, GBytes *reply, GError **error)
{
    size_t length = 0;
    const char *text = g_bytes_get_data(reply, &length);
    g_autoptr(JsonObject) object = gw_json_parse_object(text ? text : "", (gssize)length, NULL);
    JsonObject *inner = object ? gw_json_get_object(object, "error") : NULL;
    const char *message = inner ? gw_json_get_string(inner, "message") : NULL;
    if (message)
        g_set_error_literal(error, GW_ERROR, gw_error_code_from_name(gw_json_get_string(inner, "code")),
                            message);
    else
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "HTTP status %u without an error object", status);
}

/* Sends and returns the open answer if its status is 2xx. */
static GInputStream *
start(GwHttpClient *self, const char *method, const char *path, const char *content_type, GBytes *body,
      GError **error)
{
    g_autofree char *uri = g_strconcat(self->base, path, NULL);
    g_autoptr(SoupMessage) message = soup_message_new(method, uri);
    if (!message) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'%s' is no valid path", path);
        return NULL;
    }
    if (body)
        soup_message_set_request_body_from_bytes(message, content_type, body);
    g_autoptr(GInputStream) stream = soup_session_send(self->session, message, NULL, error);
    if (!stream)
        return NULL;
    unsigned status = soup_message_get_status(message);
    if (status >= 200 && status < 300)
        return g_steal_pointer(&stream);
    g_autoptr(GBytes) reply = read_all(stream, error);
    if (reply)
        set_error_from_reply(status, reply, error);
    return NULL;
}

static JsonObject *
reply_object(GInputStream *stream, GError **error)
{
    g_autoptr(GBytes) reply = read_all(stream, error);
    if (!reply)
        return NULL;
    size_t length = 0;
    const char *text = g_bytes_get_data(reply, &length);
    return length ? gw_json_parse_object(text, (gssize)length, error) : json_object_new();
}

JsonObject *
gw_http_call(GwHttpClient *self, const char *method, const char *path, JsonObject *body, GError **error)
{
    g_autoptr(GBytes) bytes = NULL;
    if (body) {
        char *line = gw_json_object_to_line(body);
        bytes = g_bytes_new_take(line, strlen(line));
        json_object_unref(body);
    }
    g_autoptr(GInputStream) stream = start(self, method, path, "application/json", bytes, error);
    return stream ? reply_object(stream, error) : NULL;
}

GInputStream *
gw_http_open(GwHttpClient *self, const char *path, GError **error)
{
    return start(self, "GET", path, NULL, NULL, error);
}

bool
gw_http_post_bytes(GwHttpClient *self, const char *path, const void *data, size_t length, GError **error)
{
    g_autoptr(GBytes) bytes = g_bytes_new(data, length);
    g_autoptr(GInputStream) stream = start(self, "POST", path, "application/octet-stream", bytes, error);
    g_autoptr(JsonObject) reply = stream ? reply_object(stream, error) : NULL;
    return reply != NULL;
}
