/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Joining a center. */
#include "join.h"

#include "certificate.h"
#include "error.h"
#include "http-client.h"
#include "json.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#define TIMEOUT_S          30
#define FINGERPRINT_DIGITS 64

bool
gw_join_parse_center(const char *text, char **ret_host, unsigned *ret_port, GError **error)
{
    g_autoptr(GUri) uri = g_uri_parse(text, G_URI_FLAGS_NONE, NULL);
    const char *path = uri ? g_uri_get_path(uri) : NULL;
    if (!uri || strcmp(g_uri_get_scheme(uri), "https") != 0 || !g_uri_get_host(uri) ||
        !*g_uri_get_host(uri) || (*path && strcmp(path, "/") != 0) || g_uri_get_query(uri) ||
        g_uri_get_userinfo(uri)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "'%s' is no center's address: expected https://HOST:PORT", text);
        return false;
    }
    int port = g_uri_get_port(uri);
    *ret_host = g_strdup(g_uri_get_host(uri));
    *ret_port = port > 0 ? (unsigned)port : GW_CENTER_PORT;
    return true;
}

char *
gw_join_parse_fingerprint(const char *token, GError **error)
{
    const char *dot = strrchr(token, '.');
    if (dot && dot != token && strlen(dot + 1) == FINGERPRINT_DIGITS &&
        strspn(dot + 1, "0123456789abcdef") == FINGERPRINT_DIGITS)
        return g_strdup(dot + 1);
    /* Not quoted: a part of it is a secret. */
    g_set_error_literal(
        error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
        "the token is none: expected SECRET.FINGERPRINT, as 'godwit host add-token' prints it");
    return NULL;
}

static const char *const file_names[] = {"key.pem", "cert.pem", "ca.pem"};

bool
gw_join_is_done(const char *tls_dir)
{
    for (size_t i = 0; i < G_N_ELEMENTS(file_names); i++) {
        g_autofree char *path = g_build_filename(tls_dir, file_names[i], NULL);
        if (!g_file_test(path, G_FILE_TEST_EXISTS))
            return false;
    }
    return true;
}

/* Whole files first, under other names; then they take their places in a row. */
static bool
write_files(const char *tls_dir, const char *const texts[3], GError **error)
{
    if (g_mkdir_with_parents(tls_dir, 0755) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "making %s", tls_dir);
    bool done = true;
    for (size_t i = 0; done && i < G_N_ELEMENTS(file_names); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s.new", tls_dir, file_names[i]);
        unlink(path); /* whose mode would stay */
        done = g_file_set_contents_full(path, texts[i], -1,
                                        G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE,
                                        i == 0 ? 0600 : 0644, error);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(file_names); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s", tls_dir, file_names[i]);
        g_autofree char *ready = g_strconcat(path, ".new", NULL);
        if (!done)
            unlink(ready);
        else if (rename(ready, path) < 0)
            done = gw_set_errno(error, GW_ERROR_IO, errno, "writing %s", path);
    }
    return done;
}

/* The center's words are checked against the token before anything is believed. */
static bool
verify(const char *ca, const char *certificate, const char *name, const char *fingerprint, GError **error)
{
    g_autofree char *found = gw_certificate_fingerprint(ca, error);
    g_autofree char *holder = NULL, *role = NULL;
    if (!found || !gw_certificate_holder(certificate, &holder, &role, error))
        return false;
    if (strcmp(found, fingerprint) != 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
                    "the authority's certificate has the fingerprint %s, the token says %s", found,
                    fingerprint);
        return false;
    }
    if (g_strcmp0(holder, name) != 0 || g_strcmp0(role, "host") != 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL,
                    "the center's certificate is for %s, role %s; expected %s, role host",
                    holder ? holder : "nobody", role ? role : "none", name);
        return false;
    }
    g_autoptr(GTlsCertificate) authority = g_tls_certificate_new_from_pem(ca, -1, error);
    g_autoptr(GTlsCertificate) ours =
        authority ? g_tls_certificate_new_from_pem(certificate, -1, error) : NULL;
    if (!ours)
        return false;
    GTlsCertificateFlags wrong = g_tls_certificate_verify(ours, NULL, authority);
    if (!wrong)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
                "the certificate that the center made is not valid%s",
                wrong & (G_TLS_CERTIFICATE_NOT_ACTIVATED | G_TLS_CERTIFICATE_EXPIRED)
                    ? " now: the clocks of center and host differ"
                    : ": its authority did not sign it");
    return false;
}

static JsonObject *
ask(const GwJoin *join, const char *key, const char *fingerprint, GError **error)
{
    g_autofree char *host = NULL;
    unsigned port = 0;
    if (!gw_join_parse_center(join->center, &host, &port, error))
        return NULL;
    g_autofree char *request = gw_certificate_request_new(key, join->name, error);
    g_autoptr(GwHttpClient) client =
        request ? gw_http_client_new_pinned(host, port, fingerprint, TIMEOUT_S, error) : NULL;
    if (!client)
        return NULL;
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "token", join->token);
    json_object_set_string_member(body, "name", join->name);
    json_object_set_string_member(body, "address", join->address);
    json_object_set_int_member(body, "port", join->port);
    json_object_set_string_member(body, "request", request);
    JsonObject *answer = gw_http_call(client, "POST", "/v1/join", body, error);
    if (!answer)
        g_prefix_error(error, "%s: ", join->center);
    return answer;
}

static bool
join_with_key(const GwJoin *join, const char *key, const char *fingerprint, char **ret_name, GError **error)
{
    g_autoptr(JsonObject) answer = ask(join, key, fingerprint, error);
    if (!answer)
        return false;
    const char *name = gw_json_get_string(answer, "name"), *ca = gw_json_get_string(answer, "ca"),
               *certificate = gw_json_get_string(answer, "certificate");
    if (!name || !ca || !certificate) {
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s: the answer has no %s", join->center,
                    !name ? "name"
                    : !ca ? "ca"
                          : "certificate");
        return false;
    }
    if (!verify(ca, certificate, name, fingerprint, error)) {
        g_prefix_error(error, "%s: ", join->center);
        return false;
    }
    if (!write_files(join->tls_dir, (const char *const[]){key, certificate, ca}, error))
        return false;
    *ret_name = g_strdup(name);
    return true;
}

bool
gw_join(const GwJoin *join, char **ret_name, GError **error)
{
    g_autofree char *fingerprint = gw_join_parse_fingerprint(join->token, error);
    if (!fingerprint)
        return false;
    if (gw_join_is_done(join->tls_dir) && !join->again) {
        g_set_error(error, GW_ERROR, GW_ERROR_EXISTS,
                    "this host has joined a center already (%s); --again replaces its certificate",
                    join->tls_dir);
        return false;
    }
    char *key = gw_key_new(error);
    bool joined = key && join_with_key(join, key, fingerprint, ret_name, error);
    gw_secret_free(key);
    return joined;
}
