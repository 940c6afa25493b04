/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A host joins a center: one that keeps its word, and others. */
#include "certificate.h"
#include "error.h"
#include "http-rig.h"
#include "join.h"
#include "json.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

/* What the center answers with. */
typedef struct {
    const char *name, *role; /* of the certificate */
    const char *ca;          /* NULL: its authority's own */
    bool is_silent;          /* no certificate in the answer */
    bool refuses;
} Behaviour;

typedef struct {
    HttpTrust *trust;
    HttpRig *rig;
    Behaviour behaviour;
    unsigned port, n_asked;
    char *center, *token, *tls_dir, *asked; /* the request's body */
} Rig;

static JsonObject *
answer(Rig *rig, const char *request, GError **error)
{
    const Behaviour *b = &rig->behaviour;
    GwCertificateSubject subject = {.name = b->name, .role = b->role, .days = 1};
    g_autofree char *certificate =
        gw_certificate_sign(rig->trust->authority, rig->trust->key, request, &subject, error);
    if (!certificate)
        return NULL;
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "name", "host1");
    json_object_set_string_member(object, "ca", b->ca ? b->ca : rig->trust->authority);
    if (!b->is_silent)
        json_object_set_string_member(object, "certificate", certificate);
    return object;
}

static void
handle_join(GwHttpRequest *request, void *user_data)
{
    Rig *rig = user_data;
    g_autoptr(GError) error = NULL;
    JsonObject *body = gw_http_request_json(request, &error);
    rig->n_asked++;
    g_free(rig->asked);
    rig->asked = gw_json_object_to_line(body);
    if (rig->behaviour.refuses)
        g_set_error_literal(&error, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED, "the token is used up");
    JsonObject *object = error ? NULL : answer(rig, gw_json_get_string(body, "request"), &error);
    if (object)
        gw_http_reply(request, 200, object);
    else
        gw_http_reply_error(request, error);
}

static void
set_up(HttpRig *http, GwHttpServer *server, void *user_data)
{
    Rig *rig = user_data;
    g_autoptr(GError) error = NULL;
    gw_http_server_add_route(server, "POST", "/v1/join", handle_join, rig);
    GwTlsFiles files = http_trust_issue(rig->trust, "center", "center", false);
    rig->port = gw_http_server_listen_tls(server, "127.0.0.1", 0, &files, false, &error);
    g_assert_no_error(error);
}

static void
rig_init(Rig *rig)
{
    *rig = (Rig){.trust = http_trust_new(), .behaviour = {.name = "host1", .role = "host"}};
    rig->rig = http_rig_new(set_up, rig);
    g_autoptr(GError) error = NULL;
    g_autofree char *fingerprint = gw_certificate_fingerprint(rig->trust->authority, &error);
    g_assert_no_error(error);
    rig->token = g_strdup_printf("s3cret.%s", fingerprint);
    rig->center = g_strdup_printf("https://127.0.0.1:%u", rig->port);
    rig->tls_dir = g_build_filename(rig->trust->directory, "host-tls", NULL);
}

static void
rig_clear(Rig *rig)
{
    static const char *const files[] = {"key.pem", "cert.pem", "ca.pem"};
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(rig->tls_dir, files[i], NULL);
        g_unlink(path);
    }
    g_rmdir(rig->tls_dir);
    http_rig_free(rig->rig);
    http_trust_free(rig->trust);
    g_free(rig->center);
    g_free(rig->token);
    g_free(rig->tls_dir);
    g_free(rig->asked);
}

static GwJoin
join_of(const Rig *rig)
{
    return (GwJoin){.center = rig->center,
                    .token = rig->token,
                    .name = "host1",
                    .address = "10.70.0.1",
                    .port = 7441,
                    .tls_dir = rig->tls_dir};
}

static void
assert_refused(const Rig *rig, const GwJoin *join, int code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *name = NULL;
    g_assert_false(gw_join(join, &name, &error));
    g_assert_error(error, GW_ERROR, code);
    if (!strstr(error->message, part))
        g_error("'%s' is not in '%s'", part, error->message);
    g_assert_null(strstr(error->message, "s3cret"));
    g_assert_null(name);
}

static char *
contents(const Rig *rig, const char *file, mode_t mode)
{
    g_autofree char *path = g_build_filename(rig->tls_dir, file, NULL);
    char *text = NULL;
    struct stat st;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, mode);
    return text;
}

static void
test_joins(void)
{
    Rig rig;
    rig_init(&rig);
    GwJoin join = join_of(&rig);
    g_autoptr(GError) error = NULL;
    g_autofree char *name = NULL, *holder = NULL, *role = NULL;
    g_assert_false(gw_join_is_done(rig.tls_dir));
    gw_join(&join, &name, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(name, ==, "host1");
    g_assert_true(gw_join_is_done(rig.tls_dir));
    g_autofree char *key = contents(&rig, "key.pem", 0600), *cert = contents(&rig, "cert.pem", 0644),
                    *ca = contents(&rig, "ca.pem", 0644);
    g_assert_cmpstr(ca, ==, rig.trust->authority);
    g_assert_true(gw_certificate_holder(cert, &holder, &role, &error));
    g_assert_cmpstr(holder, ==, "host1");
    g_assert_nonnull(strstr(rig.asked, "\"address\":\"10.70.0.1\",\"port\":7441"));
    g_assert_nonnull(strstr(rig.asked, "s3cret"));
    g_assert_null(strstr(rig.asked, "PRIVATE"));

    /* Key and certificate belong together: a pair that a TLS server takes. */
    g_autoptr(GwHttpServer) server = gw_http_server_new("test");
    g_autofree char *ca_path = g_build_filename(rig.tls_dir, "ca.pem", NULL),
                    *cert_path = g_build_filename(rig.tls_dir, "cert.pem", NULL),
                    *key_path = g_build_filename(rig.tls_dir, "key.pem", NULL);
    GwTlsFiles files = {ca_path, cert_path, key_path};
    g_assert_cmpuint(gw_http_server_listen_tls(server, "127.0.0.1", 0, &files, true, &error), !=, 0);

    unsigned n_asked = rig.n_asked;
    assert_refused(&rig, &join, GW_ERROR_EXISTS, "--again");
    g_assert_cmpuint(rig.n_asked, ==, n_asked);
    join.again = true;
    g_free(g_steal_pointer(&name));
    g_assert_true(gw_join(&join, &name, &error));
    g_autofree char *other_key = contents(&rig, "key.pem", 0600);
    g_assert_cmpstr(other_key, !=, key);
    rig_clear(&rig);
}

/* A center with another authority does not even hear the secret. */
static void
test_impostor(void)
{
    Rig rig;
    rig_init(&rig);
    GwJoin join = join_of(&rig);
    char *last = rig.token + strlen(rig.token) - 1;
    *last = *last == '0' ? '1' : '0';
    assert_refused(&rig, &join, GW_ERROR_NOT_PERMITTED, "");
    g_assert_cmpuint(rig.n_asked, ==, 0);
    g_assert_false(gw_join_is_done(rig.tls_dir));
    rig_clear(&rig);
}

static void
test_lies(void)
{
    Rig rig;
    rig_init(&rig);
    GwJoin join = join_of(&rig);
    g_autoptr(HttpTrust) elsewhere = http_trust_new();
    static const struct {
        Behaviour behaviour;
        int code;
        const char *part;
    } cases[] = {
        {{.name = "host2", .role = "host"}, GW_ERROR_PROTOCOL, "for host2"},
        {{.name = "host1", .role = "center"}, GW_ERROR_PROTOCOL, "role center"},
        {{.name = "host1", .role = "host", .is_silent = true}, GW_ERROR_PROTOCOL, "no certificate"},
        {{.name = "host1", .role = "host", .refuses = true}, GW_ERROR_NOT_AUTHENTICATED, "used up"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        rig.behaviour = cases[i].behaviour;
        assert_refused(&rig, &join, cases[i].code, cases[i].part);
    }
    rig.behaviour = (Behaviour){.name = "host1", .role = "host", .ca = elsewhere->authority};
    assert_refused(&rig, &join, GW_ERROR_NOT_PERMITTED, "fingerprint");
    rig.behaviour.ca = "no certificate at all";
    g_autoptr(GError) error = NULL;
    g_autofree char *name = NULL;
    g_assert_false(gw_join(&join, &name, &error));
    g_assert_false(gw_join_is_done(rig.tls_dir));
    rig_clear(&rig);
}

static void
test_words(void)
{
    g_autofree char *host = NULL;
    unsigned port = 0;
    static const char *const wrong_centers[] = {
        "center:7440", "http://center:7440", "https://", "https://a/b", "https://u@a", "https://a?x=1", ""};
    for (size_t i = 0; i < G_N_ELEMENTS(wrong_centers); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(gw_join_parse_center(wrong_centers[i], &host, &port, &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    }
    g_assert_true(gw_join_parse_center("https://[2001:db8::1]/", &host, &port, NULL));
    g_assert_cmpstr(host, ==, "2001:db8::1");
    g_assert_cmpuint(port, ==, GW_CENTER_PORT);

    static const char *const wrong_tokens[] = {
        "",
        ".",
        "secret",
        "secret.12ab",
        ".0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "s.0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"};
    for (size_t i = 0; i < G_N_ELEMENTS(wrong_tokens); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(gw_join_parse_fingerprint(wrong_tokens[i], &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/join/joins", test_joins);
    g_test_add_func("/join/impostor", test_impostor);
    g_test_add_func("/join/lies", test_lies);
    g_test_add_func("/join/words", test_words);
    return g_test_run();
}
