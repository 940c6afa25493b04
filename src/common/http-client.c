/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HTTP + JSON client over libsoup 3; the server's error objects become GErrors again. */
#include "http-client.h"

#include "certificate.h"
#include "error.h"
#include "http-client-internal.h"
#include "json.h"
#include "tls-trust.h"

#include <fcntl.h>
#include <gio/gunixsocketaddress.h>
#include <string.h>
#include <unistd.h>

/* Takes the session. */
static GwHttpClient *
client_new(SoupSession *session, char *base, unsigned timeout_s)
{
    GwHttpClient *self = g_new0(GwHttpClient, 1);
    self->session = session;
    self->base = base;
    self->directory_fd = -1;
    self->timeout_s = timeout_s;
    self->cancel = g_cancellable_new();
    return self;
}

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
    SoupSession *session = soup_session_new_with_options("remote-connectable", address, "timeout", timeout_s,
                                                         "proxy-resolver", NULL, NULL);
    GwHttpClient *self = client_new(session, g_strdup("http://vm"), timeout_s);
    self->directory_fd = fd;
    return self;
}

static char *
make_base(const char *scheme, const char *host, unsigned port)
{
    return g_strdup_printf(strchr(host, ':') ? "%s://[%s]:%u" : "%s://%s:%u", scheme, host, port);
}

GwHttpClient *
gw_http_client_new_tcp(const char *address, unsigned port, unsigned timeout_s)
{
    SoupSession *session = soup_session_new_with_options("timeout", timeout_s, "proxy-resolver", NULL, NULL);
    return client_new(session, make_base("http", address, port), timeout_s);
}

/* Takes `trust`. */
static GwHttpClient *
client_new_https(const char *host, unsigned port, GTlsDatabase *trust, unsigned timeout_s)
{
    gw_tls_trust_nobody_else();
    SoupSession *session = soup_session_new_with_options("timeout", timeout_s, "proxy-resolver", NULL,
                                                         "tls-database", trust, NULL);
    GwHttpClient *self = client_new(session, make_base("https", host, port), timeout_s);
    self->trust = trust;
    return self;
}

static GTlsCertificate *
load_own(const GwTlsFiles *files, GError **error)
{
    g_autofree char *certificate = gw_tls_file_read(files->certificate, false, error);
    char *key = certificate ? gw_tls_file_read(files->key, true, error) : NULL;
    if (!key)
        return NULL;
    g_autoptr(GError) inner = NULL;
    char *both = g_strconcat(certificate, "\n", key, NULL);
    GTlsCertificate *own = g_tls_certificate_new_from_pem(both, -1, &inner);
    gw_secret_free(both);
    gw_secret_free(key);
    if (!own)
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG, "%s with the key %s: %s", files->certificate,
                    files->key, inner->message);
    return own;
}

GwHttpClient *
gw_http_client_new_tls(const char *host, unsigned port, const GwTlsFiles *files, const char *expected_name,
                       unsigned timeout_s, GError **error)
{
    g_autoptr(GTlsCertificate) own = files->certificate ? load_own(files, error) : NULL;
    if (files->certificate && !own)
        return NULL;
    GTlsDatabase *trust = gw_tls_trust_new(files->authority, expected_name ? expected_name : host, error);
    if (!trust)
        return NULL;
    GwHttpClient *self = client_new_https(host, port, trust, timeout_s);
    self->own = g_steal_pointer(&own);
    return self;
}

GwHttpClient *
gw_http_client_new_pinned(const char *host, unsigned port, const char *fingerprint, unsigned timeout_s,
                          GError **error)
{
    if (fingerprint && (strlen(fingerprint) != 64 || strspn(fingerprint, "0123456789abcdefABCDEF") != 64)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "'%s' is no fingerprint: 64 hexadecimal digits", fingerprint);
        return NULL;
    }
    return client_new_https(host, port, gw_tls_trust_new_pinned(fingerprint), timeout_s);
}

void
gw_http_client_set_bearer(GwHttpClient *self, const char *token)
{
    gw_secret_free(self->bearer);
    self->bearer = g_strdup(token);
}

void
gw_http_client_cancel(GwHttpClient *self)
{
    g_cancellable_cancel(self->cancel);
}

void
gw_http_client_free(GwHttpClient *self)
{
    if (!self)
        return;
    soup_session_abort(self->session);
    g_object_unref(self->session);
    g_object_unref(self->cancel);
    g_clear_object(&self->trust);
    g_clear_object(&self->own);
    if (self->directory_fd >= 0)
        close(self->directory_fd);
    gw_secret_free(self->bearer);
    g_free(self->base);
    g_free(self);
}

void
gw_http_settle_error(GwHttpClient *self, GError **error)
{
    if (!error || !*error || (*error)->domain == GW_ERROR)
        return;
    g_autoptr(GError) raw = *error;
    *error = NULL;
    GwError code = gw_error_code_from_name(gw_error_name(raw));
    if (code == GW_ERROR_CANCELLED)
        g_set_error_literal(error, GW_ERROR, code, "the call was given up");
    else if (code == GW_ERROR_TIMED_OUT)
        g_set_error(error, GW_ERROR, code, "no answer in %u s", self->timeout_s);
    else if (self->directory_fd >= 0 && code == GW_ERROR_NOT_PERMITTED)
        g_set_error_literal(error, GW_ERROR, code, "its socket can be reached by root only");
    else if (raw->domain == G_TLS_ERROR && code == GW_ERROR_NOT_PERMITTED)
        g_set_error(error, GW_ERROR, code, "the server does not let this client in: %s", raw->message);
    else if (code == GW_ERROR_NOT_FOUND || code == GW_ERROR_FAILED || code == GW_ERROR_IO)
        /* What is not there, or cannot be spoken to in a way that has no name here, is lost to us. */
        g_set_error_literal(error, GW_ERROR, GW_ERROR_PEER_LOST, raw->message);
    else
        g_set_error_literal(error, GW_ERROR, code, raw->message);
}

/* The whole of a stream, within the limit. */
static GBytes *
read_all(GwHttpClient *self, GInputStream *stream, GError **error)
{
    g_autoptr(GByteArray) all = g_byte_array_new();
    g_autofree guint8 *piece = g_malloc(65536);
    for (;;) {
        gssize n = g_input_stream_read(stream, piece, 65536, self->cancel, error);
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

/* Only asked when the trust has found a fault: nothing is accepted here, only the fault kept. */
static gboolean
on_bad_certificate(SoupMessage *message, GTlsCertificate *certificate, GTlsCertificateFlags errors,
                   void *data)
{
    *(GTlsCertificateFlags *)data = errors;
    return FALSE;
}

static SoupMessage *
message_new(GwHttpClient *self, const char *method, const char *path, GError **error)
{
    g_autofree char *uri = g_strconcat(self->base, path, NULL);
    SoupMessage *message = soup_message_new(method, uri);
    if (!message) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'%s' is no valid path", path);
        return NULL;
    }
    /* A server of ours sends nobody elsewhere, the token above all. */
    soup_message_add_flags(message, SOUP_MESSAGE_NO_REDIRECT);
    if (self->own)
        soup_message_set_tls_client_certificate(message, self->own);
    if (self->bearer) {
        char *value = g_strconcat("Bearer ", self->bearer, NULL);
        soup_message_headers_replace(soup_message_get_request_headers(message), "Authorization", value);
        gw_secret_free(value);
    }
    return message;
}

/* The open answer, whatever its status. */
static GInputStream *
send_message(GwHttpClient *self, SoupMessage *message, GError **error)
{
    GTlsCertificateFlags faults = 0;
    gulong handler = g_signal_connect(message, "accept-certificate", G_CALLBACK(on_bad_certificate), &faults);
    GInputStream *stream = soup_session_send(self->session, message, self->cancel, error);
    g_signal_handler_disconnect(message, handler);
    if (!stream && faults) {
        g_autofree char *why = gw_tls_trust_explain(self->trust, faults);
        g_clear_error(error);
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED, "the server's certificate is not trusted: %s",
                    why);
    }
    return stream;
}

/* Sends and returns the open answer if its status is 2xx. */
static GInputStream *
start(GwHttpClient *self, SoupMessage *message, GError **error)
{
    g_autoptr(GInputStream) stream = send_message(self, message, error);
    if (!stream)
        return NULL;
    unsigned status = soup_message_get_status(message);
    if (status >= 200 && status < 300)
        return g_steal_pointer(&stream);
    g_autoptr(GBytes) reply = read_all(self, stream, error);
    if (reply)
        set_error_from_reply(status, reply, error);
    return NULL;
}

static JsonObject *
exchange(GwHttpClient *self, const char *method, const char *path, const char *content_type, GBytes *body,
         GError **error)
{
    g_autoptr(SoupMessage) message = message_new(self, method, path, error);
    if (!message)
        return NULL;
    if (body)
        soup_message_set_request_body_from_bytes(message, content_type, body);
    g_autoptr(GInputStream) stream = start(self, message, error);
    g_autoptr(GBytes) reply = stream ? read_all(self, stream, error) : NULL;
    if (!reply) {
        gw_http_settle_error(self, error);
        return NULL;
    }
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
    return exchange(self, method, path, "application/json", bytes, error);
}

bool
gw_http_post_bytes(GwHttpClient *self, const char *path, const void *data, size_t length, GError **error)
{
    g_autoptr(GBytes) bytes = g_bytes_new(data, length);
    g_autoptr(JsonObject) reply = exchange(self, "POST", path, "application/octet-stream", bytes, error);
    return reply != NULL;
}

GInputStream *
gw_http_start_get(GwHttpClient *self, const char *path, const char *type, GError **error)
{
    g_autoptr(SoupMessage) message = message_new(self, "GET", path, error);
    if (message && type)
        soup_message_headers_replace(soup_message_get_request_headers(message), "Accept", type);
    g_autoptr(GInputStream) stream = message ? start(self, message, error) : NULL;
    if (!stream) {
        gw_http_settle_error(self, error);
        return NULL;
    }
    const char *found =
        soup_message_headers_get_content_type(soup_message_get_response_headers(message), NULL);
    if (type && g_strcmp0(found, type) != 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "the answer to GET %s is %s, not %s", path,
                    found ? found : "of no type", type);
        return NULL;
    }
    return g_steal_pointer(&stream);
}
