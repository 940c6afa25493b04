/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HTTPS: who is trusted by whom, and who is not; old TLS; files that are wrong; certificates read anew. */
#include "certificate.h"
#include "error.h"
#include "http-rig.h"
#include "json.h"

#include <arpa/inet.h>
#include <glib/gstdio.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    HttpTrust *trust; /* the cluster's */
    GwTlsFiles server, client;
    bool wants_peer;
    unsigned port;
} Fixture;

static JsonObject *
work_who(GwHttpRequest *request, void *data, GError **error)
{
    JsonObject *reply = json_object_new();
    json_object_set_string_member(reply, "name", gw_http_request_peer_name(request));
    json_object_set_string_member(reply, "role", gw_http_request_peer_role(request));
    json_object_set_string_member(reply, "address", gw_http_request_address(request));
    return reply;
}

/* Much more than sockets hold, so that writing has to wait and go on. */
static void
handle_large(GwHttpRequest *request, void *data)
{
    g_autofree char *text = g_strnfill(20 * 1000 * 1000, 'x');
    JsonObject *reply = json_object_new();
    json_object_set_string_member(reply, "text", text);
    gw_http_reply(request, 200, reply);
}

static void
handle_stream_end(GwHttpRequest *request, void *data)
{
    gw_http_stream_begin(request, "text/plain", NULL, NULL);
    gw_http_stream_send(request, "hello", 5);
    gw_http_stream_end(request);
}

static void
handle_length(GwHttpRequest *request, void *data)
{
    JsonObject *reply = json_object_new();
    json_object_set_int_member(reply, "length", (gint64)g_bytes_get_size(gw_http_request_body(request)));
    gw_http_reply(request, 200, reply);
}

static void
set_up(HttpRig *rig, GwHttpServer *server, void *data)
{
    Fixture *f = data;
    g_autoptr(GError) error = NULL;
    gw_http_server_add_work(server, "GET", "/v1/who", work_who, NULL);
    gw_http_server_add_route(server, "GET", "/v1/large", handle_large, NULL);
    gw_http_server_add_route(server, "POST", "/v1/length", handle_length, NULL);
    gw_http_server_add_route(server, "GET", "/v1/stream-end", handle_stream_end, NULL);
    f->port = gw_http_server_listen_tls(server, "127.0.0.1", 0, &f->server, f->wants_peer, &error);
    g_assert_no_error(error);
}

static HttpRig *
start(Fixture *f, bool wants_peer, bool is_server_expired)
{
    f->trust = http_trust_new();
    f->server = http_trust_issue(f->trust, "host1", "host", is_server_expired);
    f->client = http_trust_issue(f->trust, "center", "center", false);
    f->wants_peer = wants_peer;
    return http_rig_new(set_up, f);
}

static void
finish(Fixture *f, HttpRig *rig)
{
    http_rig_free(rig);
    http_trust_free(f->trust);
}

static GwHttpClient *
client_new(const Fixture *f, const GwTlsFiles *files, const char *expected_name)
{
    g_autoptr(GError) error = NULL;
    GwHttpClient *client = gw_http_client_new_tls("127.0.0.1", f->port, files, expected_name, 10, &error);
    g_assert_no_error(error);
    return client;
}

static void
assert_good(GwHttpClient *client, const char *name, const char *role)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) reply = gw_http_call(client, "GET", "/v1/who", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(gw_json_get_string(reply, "name"), ==, name);
    g_assert_cmpstr(gw_json_get_string(reply, "role"), ==, role);
    g_assert_cmpstr(gw_json_get_string(reply, "address"), ==, "127.0.0.1");
}

/* `whole`: reads to the end, else leaves at once. */
static void
one_stream(const Fixture *f, bool whole)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHttpClient) client = client_new(f, &f->client, "host1");
    g_autoptr(GInputStream) stream = gw_http_open(client, "/v1/stream-end", &error);
    g_assert_no_error(error);
    char text[64];
    while (whole && g_input_stream_read(stream, text, sizeof text, NULL, NULL) > 0)
        ;
}

static void *
many_streams(void *data)
{
    for (unsigned i = 0; i < 40; i++)
        one_stream(data, i % 4 != 0);
    return NULL;
}

/* A stream's last bytes are written in a thread of their own, also while its server ends. */
static void
test_stream_ends(void)
{
    Fixture f;
    HttpRig *rig = start(&f, true, false);
    GThread *threads[4];
    for (unsigned i = 0; i < 4; i++)
        threads[i] = g_thread_new("client", many_streams, &f);
    for (unsigned i = 0; i < 4; i++)
        g_thread_join(threads[i]);
    finish(&f, rig);
    for (unsigned i = 0; i < 20; i++) {
        rig = start(&f, true, false);
        one_stream(&f, false);
        finish(&f, rig);
    }
}

static void
test_mutual(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    HttpRig *rig = start(&f, true, false);
    g_autoptr(GwHttpClient) client = client_new(&f, &f.client, "host1");
    for (unsigned i = 0; i < 3; i++)
        assert_good(client, "center", "center");

    g_autoptr(JsonObject) large = gw_http_call(client, "GET", "/v1/large", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(strlen(gw_json_get_string(large, "text")), ==, 20 * 1000 * 1000);
    g_autofree char *body = g_malloc0(GW_HTTP_BODY_LIMIT + 1);
    g_assert_true(gw_http_post_bytes(client, "/v1/length", body, GW_HTTP_BODY_LIMIT, &error));
    g_assert_no_error(error);
    g_assert_false(gw_http_post_bytes(client, "/v1/length", body, GW_HTTP_BODY_LIMIT + 1, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    g_assert_nonnull(strstr(error->message, "1 MiB"));
    finish(&f, rig);
}

/* A client whom the server does not want: the handshake itself says so. */
static void
test_unwanted_clients(void)
{
    Fixture f;
    HttpRig *rig = start(&f, true, false);
    g_autoptr(HttpTrust) other = http_trust_new();
    GwTlsFiles none = {.authority = f.trust->authority_path};
    GwTlsFiles foreign = http_trust_issue(other, "center", "center", false);
    GwTlsFiles expired = http_trust_issue(f.trust, "old", "center", true);
    foreign.authority = f.trust->authority_path;
    const GwTlsFiles *unwanted[] = {&none, &foreign, &expired};
    for (unsigned i = 0; i < G_N_ELEMENTS(unwanted); i++) {
        g_autoptr(GwHttpClient) client = client_new(&f, unwanted[i], "host1");
        http_assert_fails(client, "GET", "/v1/who", "not-permitted", "does not let this client in");
    }
    g_autoptr(GwHttpClient) good = client_new(&f, &f.client, "host1");
    assert_good(good, "center", "center");
    finish(&f, rig);
}

static void
test_untrusted_servers(void)
{
    Fixture f;
    HttpRig *rig = start(&f, false, false);
    GwTlsFiles files = {.authority = f.trust->authority_path};
    g_autoptr(GwHttpClient) good = client_new(&f, &files, "host1");
    assert_good(good, NULL, NULL);
    g_autoptr(GwHttpClient) other_name = client_new(&f, &files, "host2");
    http_assert_fails(other_name, "GET", "/v1/who", "not-permitted", "not for 'host2'");
    g_autoptr(GwHttpClient) by_address = client_new(&f, &files, NULL);
    http_assert_fails(by_address, "GET", "/v1/who", "not-permitted", "not for '127.0.0.1'");
    g_autoptr(HttpTrust) other = http_trust_new();
    files.authority = other->authority_path;
    g_autoptr(GwHttpClient) other_authority = client_new(&f, &files, "host1");
    http_assert_fails(other_authority, "GET", "/v1/who", "not-permitted", other->authority_path);
    finish(&f, rig);

    rig = start(&f, false, true);
    files.authority = f.trust->authority_path;
    g_autoptr(GwHttpClient) expired = client_new(&f, &files, "host1");
    http_assert_fails(expired, "GET", "/v1/who", "not-permitted", "expired");
    finish(&f, rig);
}

static void
test_pinned(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    f.trust = http_trust_new();
    f.server = http_trust_issue(f.trust, "it", "center", false);
    f.wants_peer = false;
    HttpRig *rig = http_rig_new(set_up, &f);
    g_autofree char *right = gw_certificate_fingerprint(f.trust->authority, &error);
    g_autoptr(GwHttpClient) client = gw_http_client_new_pinned("127.0.0.1", f.port, right, 10, &error);
    assert_good(client, NULL, NULL);
    g_autoptr(HttpTrust) other = http_trust_new();
    g_autofree char *wrong = gw_certificate_fingerprint(other->authority, &error);
    g_autoptr(GwHttpClient) stranger = gw_http_client_new_pinned("127.0.0.1", f.port, wrong, 10, &error);
    http_assert_fails(stranger, "GET", "/v1/who", "not-permitted", "fingerprint");
    g_autoptr(GwHttpClient) anybody = gw_http_client_new_pinned("127.0.0.1", f.port, NULL, 10, &error);
    assert_good(anybody, NULL, NULL);
    g_assert_null(gw_http_client_new_pinned("127.0.0.1", f.port, "abc", 10, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    finish(&f, rig);
}

/* A host is of the right authority too, and still not who gets tokens. */
static void
test_pinned_host(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    HttpRig *rig = start(&f, false, false);
    g_autofree char *right = gw_certificate_fingerprint(f.trust->authority, &error);
    g_autoptr(GwHttpClient) client = gw_http_client_new_pinned("127.0.0.1", f.port, right, 10, &error);
    http_assert_fails(client, "GET", "/v1/who", "not-permitted", "not a center's");
    finish(&f, rig);
}

/* Somebody shows the right authority's certificate, which is no secret, above a leaf of his own. */
static void
test_pinned_only_shown(void)
{
    Fixture f;
    g_autoptr(GError) error = NULL;
    g_autoptr(HttpTrust) real = http_trust_new();
    f.trust = http_trust_new();
    f.client = (GwTlsFiles){0};
    f.server = http_trust_issue(f.trust, "it", "center", false);
    f.wants_peer = false;
    g_autofree char *leaf = NULL;
    g_assert_true(g_file_get_contents(f.server.certificate, &leaf, NULL, &error));
    g_autofree char *chain = g_strconcat(leaf, f.trust->authority, real->authority, NULL);
    g_assert_true(g_file_set_contents(f.server.certificate, chain, -1, &error));
    HttpRig *rig = http_rig_new(set_up, &f);
    g_autofree char *fingerprint = gw_certificate_fingerprint(real->authority, &error);
    g_autoptr(GwHttpClient) client = gw_http_client_new_pinned("127.0.0.1", f.port, fingerprint, 10, &error);
    http_assert_fails(client, "GET", "/v1/who", "not-permitted", "");
    finish(&f, rig);
}

/* 0 if the handshake is done with these versions alone. */
static int
shake_hands(const Fixture *f, const char *versions)
{
    g_autofree char *priority = g_strconcat("NORMAL:-VERS-ALL:", versions, NULL);
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&where, sizeof where), ==, 0);
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    g_assert_cmpint(gnutls_init(&session, GNUTLS_CLIENT), ==, 0);
    g_assert_cmpint(gnutls_certificate_allocate_credentials(&credentials), ==, 0);
    g_assert_cmpint(gnutls_priority_set_direct(session, priority, NULL), ==, 0);
    g_assert_cmpint(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials), ==, 0);
    gnutls_transport_set_int(session, fd);
    int result;
    do
        result = gnutls_handshake(session);
    while (result < 0 && !gnutls_error_is_fatal(result));
    if (result < 0)
        g_test_message("%s: %s, alert %s", versions, gnutls_strerror(result),
                       gnutls_alert_get_name(gnutls_alert_get(session)));
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    close(fd);
    return result;
}

static void
test_versions(void)
{
    Fixture f;
    HttpRig *rig = start(&f, false, false);
    g_assert_cmpint(shake_hands(&f, "+VERS-TLS1.3"), ==, 0);
    g_assert_cmpint(shake_hands(&f, "+VERS-TLS1.2"), ==, 0);
    g_assert_cmpint(shake_hands(&f, "+VERS-TLS1.1"), ==, GNUTLS_E_FATAL_ALERT_RECEIVED);
    g_assert_cmpint(shake_hands(&f, "+VERS-TLS1.0"), ==, GNUTLS_E_FATAL_ALERT_RECEIVED);
    finish(&f, rig);
}

static void
reload(HttpRig *rig, GwHttpServer *server, void *data)
{
    g_autoptr(GError) error = NULL;
    gw_http_server_reload_tls(server, data, &error);
    g_assert_no_error(error);
}

static void
reload_in_vain(HttpRig *rig, GwHttpServer *server, void *data)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(gw_http_server_reload_tls(server, data, &error));
    g_assert_nonnull(error);
}

static void
test_reload(void)
{
    Fixture f;
    HttpRig *rig = start(&f, true, false);
    g_autoptr(HttpTrust) other = http_trust_new();
    GwTlsFiles server = http_trust_issue(other, "host1", "host", false);
    GwTlsFiles client_files = http_trust_issue(other, "center2", "center", false);
    GwTlsFiles mixed = server;
    mixed.key = f.server.key;
    http_rig_do(rig, reload_in_vain, &mixed);
    g_autoptr(GwHttpClient) before = client_new(&f, &f.client, "host1");
    assert_good(before, "center", "center");
    http_rig_do(rig, reload, &server);
    http_assert_fails(before, "GET", "/v1/who", "not-permitted", f.trust->authority_path);
    g_autoptr(GwHttpClient) after = client_new(&f, &client_files, "host1");
    assert_good(after, "center2", "center");
    finish(&f, rig);
}

static void
assert_client_refused(const GwTlsFiles *files, GwError code)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(gw_http_client_new_tls("127.0.0.1", 1, files, "host1", 10, &error));
    g_test_message("%s", error->message);
    g_assert_error(error, GW_ERROR, (int)code);
}

static void
assert_server_refused(const GwTlsFiles *files, GwError code)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHttpServer) server = gw_http_server_new("test");
    g_assert_cmpuint(gw_http_server_listen_tls(server, "127.0.0.1", 0, files, true, &error), ==, 0);
    g_test_message("%s", error->message);
    g_assert_error(error, GW_ERROR, (int)code);
}

static void
test_files(void)
{
    g_autoptr(HttpTrust) trust = http_trust_new();
    GwTlsFiles good = http_trust_issue(trust, "host1", "host", false);
    GwTlsFiles second = http_trust_issue(trust, "host2", "host", false);
    GwTlsFiles files = good;
    files.authority = "/nonexistent/ca.pem";
    assert_client_refused(&files, GW_ERROR_NOT_FOUND);
    assert_server_refused(&files, GW_ERROR_NOT_FOUND);
    files = good;
    files.authority = good.key;
    assert_client_refused(&files, GW_ERROR_INVALID_CONFIG);
    assert_server_refused(&files, GW_ERROR_INVALID_CONFIG);
    files = good;
    files.certificate = "/etc";
    assert_client_refused(&files, GW_ERROR_INVALID_CONFIG);
    assert_server_refused(&files, GW_ERROR_INVALID_CONFIG);
    files = good;
    files.key = second.key;
    assert_server_refused(&files, GW_ERROR_INVALID_CONFIG);
    g_assert_cmpint(g_chmod(second.key, 0640), ==, 0);
    assert_client_refused(&second, GW_ERROR_NOT_PERMITTED);
    assert_server_refused(&second, GW_ERROR_NOT_PERMITTED);
}

/* Whoever speaks no TLS gets nothing, and the other way round. */
static void
test_no_tls(void)
{
    Fixture f;
    HttpRig *rig = start(&f, false, false);
    g_autoptr(GwHttpClient) plain = gw_http_client_new_tcp("127.0.0.1", f.port, 10);
    http_assert_fails(plain, "GET", "/v1/who", "peer-lost", "");
    finish(&f, rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/http-tls/stream-ends", test_stream_ends);
    g_test_add_func("/http-tls/mutual", test_mutual);
    g_test_add_func("/http-tls/unwanted-clients", test_unwanted_clients);
    g_test_add_func("/http-tls/untrusted-servers", test_untrusted_servers);
    g_test_add_func("/http-tls/pinned", test_pinned);
    g_test_add_func("/http-tls/pinned-host", test_pinned_host);
    g_test_add_func("/http-tls/pinned-only-shown", test_pinned_only_shown);
    g_test_add_func("/http-tls/versions", test_versions);
    g_test_add_func("/http-tls/reload", test_reload);
    g_test_add_func("/http-tls/files", test_files);
    g_test_add_func("/http-tls/no-tls", test_no_tls);
    return g_test_run();
}
