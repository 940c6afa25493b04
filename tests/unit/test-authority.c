/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The authority's directory: made whole, opened again, renewed, refused. */
#include "authority.h"

#include "certificate.h"
#include "store-rig.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    char *parent, *directory; /* owned */
} Rig;

static const char *const names[] = {"center.example", "c2.example", NULL};
static const char *const addresses[] = {"10.70.0.254", "fd00::1", NULL};

static void
set_up(Rig *rig, const void *data)
{
    rig->parent = g_dir_make_tmp("godwit-authority-XXXXXX", NULL);
    g_assert_nonnull(rig->parent);
    rig->directory = g_build_filename(rig->parent, "tls", NULL);
}

static void
remove_all(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *below = g_build_filename(path, name, NULL);
        remove_all(below);
    }
    g_assert_cmpint(g_remove(path), ==, 0);
}

static void
tear_down(Rig *rig, const void *data)
{
    remove_all(rig->parent);
    g_free(rig->parent);
    g_free(rig->directory);
}

static GwAuthority *
open_with(Rig *rig, const char *const *with_names)
{
    g_autoptr(GError) error = NULL;
    GwAuthority *authority = gw_authority_open(rig->directory, with_names, addresses, &error);
    g_assert_no_error(error);
    return authority;
}

static void
assert_refused(Rig *rig, GwError code, const char *words)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(gw_authority_open(rig->directory, names, addresses, &error));
    gw_assert_error_says(&error, code, words);
}

static char *
path_of(Rig *rig, const char *name)
{
    return g_build_filename(rig->directory, name, NULL);
}

static char *
content(Rig *rig, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = path_of(rig, name);
    char *text = NULL;
    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    return text;
}

static void
write_content(Rig *rig, const char *name, const char *text)
{
    g_autofree char *path = path_of(rig, name);
    g_assert_true(g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
}

static void
assert_mode(Rig *rig, const char *name, int mode)
{
    struct stat st;
    g_autofree char *path = path_of(rig, name);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, mode);
}

static bool
is_for(const char *pem, const char *authority_pem, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GTlsCertificate) authority = g_tls_certificate_new_from_pem(authority_pem, -1, &error);
    g_assert_no_error(error);
    g_autoptr(GTlsCertificate) certificate = g_tls_certificate_new_from_pem(pem, -1, &error);
    g_assert_no_error(error);
    g_autoptr(GSocketConnectable) identity = g_network_address_new(name, 0);
    g_assert_cmpint(g_tls_certificate_verify(certificate, NULL, authority), ==, 0);
    return g_tls_certificate_verify(certificate, identity, authority) == 0;
}

static void
test_made(Rig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwAuthority) authority = open_with(rig, names);
    assert_mode(rig, ".", 0700);
    assert_mode(rig, "ca-key.pem", 0600);
    assert_mode(rig, "key.pem", 0600);
    g_autofree char *ca = content(rig, "ca.pem"), *own = content(rig, "cert.pem");
    g_assert_cmpstr(gw_authority_certificate(authority), ==, ca);
    g_autofree char *fingerprint = gw_certificate_fingerprint(ca, &error);
    g_assert_cmpstr(gw_authority_fingerprint(authority), ==, fingerprint);
    g_autofree char *own_path = path_of(rig, "cert.pem"), *key_path = path_of(rig, "key.pem"),
                    *ca_path = path_of(rig, "ca.pem");
    const GwTlsFiles *files = gw_authority_files(authority);
    g_assert_cmpstr(files->authority, ==, ca_path);
    g_assert_cmpstr(files->certificate, ==, own_path);
    g_assert_cmpstr(files->key, ==, key_path);
    g_assert_true(is_for(own, ca, "center.example"));
    g_assert_true(is_for(own, ca, "c2.example"));
    g_assert_true(is_for(own, ca, "10.70.0.254"));
    g_assert_true(is_for(own, ca, "fd00::1"));
    g_assert_false(is_for(own, ca, "other.example"));
    g_autofree char *name = NULL, *role = NULL;
    g_assert_true(gw_certificate_holder(own, &name, &role, &error));
    g_assert_cmpstr(role, ==, "center");
}

static void
test_opened_again(Rig *rig, const void *data)
{
    static const char *const more[] = {"center.example", "new.example", NULL};
    static const char *const files[] = {"ca.pem", "ca-key.pem", "cert.pem", "key.pem"};
    char *before[G_N_ELEMENTS(files)];
    gw_authority_free(open_with(rig, names));
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++)
        before[i] = content(rig, files[i]);
    gw_authority_free(open_with(rig, names));
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *after = content(rig, files[i]);
        g_assert_cmpstr(after, ==, before[i]);
    }
    gw_authority_free(open_with(rig, more)); /* a name is new: the certificate alone is made anew */
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *after = content(rig, files[i]);
        g_assert_cmpint(strcmp(after, before[i]) == 0, ==, i != 2);
        g_assert_true(i != 2 || is_for(after, before[0], "new.example"));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++)
        g_free(before[i]);
}

/* A certificate in place, signed by the authority itself, that ends in `days`. */
static void
replace_own(Rig *rig, unsigned days)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *ca = content(rig, "ca.pem");
    char *ca_key = content(rig, "ca-key.pem"), *key = content(rig, "key.pem");
    g_autofree char *request = gw_certificate_request_new(key, "center", &error);
    GwCertificateSubject subject = {
        .name = "center", .role = "center", .dns_names = names, .addresses = addresses, .days = days};
    g_autofree char *own = gw_certificate_sign(ca, ca_key, request, &subject, &error);
    g_assert_no_error(error);
    write_content(rig, "cert.pem", own);
    gw_secret_free(ca_key);
    gw_secret_free(key);
}

static void
test_renewed(Rig *rig, const void *data)
{
    gw_authority_free(open_with(rig, names));
    static const struct {
        unsigned days;
        bool is_kept;
    } cases[] = {{31, true}, {29, false}, {0, false}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        replace_own(rig, cases[i].days);
        g_autofree char *before = content(rig, "cert.pem");
        gw_authority_free(open_with(rig, names));
        g_autofree char *after = content(rig, "cert.pem");
        g_assert_cmpint(strcmp(before, after) == 0, ==, cases[i].is_kept);
    }
}

/* GnuTLS takes a certificate only with the key that belongs to it. */
static void
assert_pair(const char *certificate, const char *key)
{
    gnutls_certificate_credentials_t credentials;
    g_assert_cmpint(gnutls_certificate_allocate_credentials(&credentials), ==, 0);
    g_assert_cmpint(gnutls_certificate_set_x509_key_file(credentials, certificate, key, GNUTLS_X509_FMT_PEM),
                    >=, 0);
    gnutls_certificate_free_credentials(credentials);
}

/* Whatever a crash, or an administrator, has left of the center's own: a pair comes out. */
static void
test_own_mended(Rig *rig, const void *data)
{
    static const struct {
        const char *key, *certificate; /* NULL: as it was; "": gone */
    } cases[] = {{NULL, ""}, {"", NULL}, {"", ""}, {NULL, "rubbish"}};
    gw_authority_free(open_with(rig, names));
    g_autofree char *ca = content(rig, "ca.pem"), *key_path = path_of(rig, "key.pem"),
                    *own_path = path_of(rig, "cert.pem");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        if (cases[i].key)
            g_assert_cmpint(g_unlink(key_path), ==, 0);
        if (cases[i].certificate)
            write_content(rig, "cert.pem", cases[i].certificate);
        if (cases[i].certificate && !*cases[i].certificate)
            g_assert_cmpint(g_unlink(own_path), ==, 0);
        gw_authority_free(open_with(rig, names));
        assert_pair(own_path, key_path);
        g_autofree char *own = content(rig, "cert.pem");
        g_assert_true(is_for(own, ca, "center.example"));
        assert_mode(rig, "key.pem", 0600);
    }
}

static void
test_refused(Rig *rig, const void *data)
{
    gw_authority_free(open_with(rig, names));
    g_autofree char *ca = content(rig, "ca.pem"), *ca_key = content(rig, "ca-key.pem"),
                    *own_key = content(rig, "key.pem");
    g_autofree char *ca_key_path = path_of(rig, "ca-key.pem"), *ca_path = path_of(rig, "ca.pem");
    g_assert_cmpint(g_chmod(ca_key_path, 0640), ==, 0);
    assert_refused(rig, GW_ERROR_NOT_PERMITTED, "ca-key.pem may be read by others");
    write_content(rig, "ca-key.pem", own_key);
    assert_refused(rig, GW_ERROR_INVALID_ARGUMENT, "does not belong");
    write_content(rig, "ca-key.pem", "rubbish");
    assert_refused(rig, GW_ERROR_INVALID_ARGUMENT, "no private key");
    write_content(rig, "ca-key.pem", ca_key);
    write_content(rig, "ca.pem", "rubbish");
    assert_refused(rig, GW_ERROR_INVALID_ARGUMENT, "no certificate");
    g_assert_cmpint(g_unlink(ca_path), ==, 0);
    assert_refused(rig, GW_ERROR_IO, "has no ca.pem"); /* and no new authority over the old one's key */
    g_autofree char *still = content(rig, "ca-key.pem");
    g_assert_cmpstr(still, ==, ca_key);
    write_content(rig, "ca.pem", ca);
    gw_authority_free(open_with(rig, names));
    g_autoptr(GDir) parent = g_dir_open(rig->parent, 0, NULL); /* nothing half made is left */
    g_assert_cmpstr(g_dir_read_name(parent), ==, "tls");
    g_assert_null(g_dir_read_name(parent));
}

static void
test_places(Rig *rig, const void *data)
{
    g_assert_cmpint(g_mkdir(rig->directory, 0755), ==, 0); /* empty and readable: taken over */
    gw_authority_free(open_with(rig, names));
    assert_mode(rig, ".", 0700);
    g_free(rig->directory);
    rig->directory = g_build_filename(rig->parent, "missing", "tls", NULL);
    assert_refused(rig, GW_ERROR_IO, "missing");
}

static void
test_hosts(Rig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwAuthority) authority = open_with(rig, names);
    const char *ca = gw_authority_certificate(authority);
    char *key = gw_key_new(&error);
    /* what the request asks for is not what is signed */
    g_autofree char *request = gw_certificate_request_new(key, "center.example", &error);
    g_autofree char *host = gw_authority_sign_host(authority, request, "host1", "10.70.0.1", &error);
    g_assert_no_error(error);
    g_assert_true(is_for(host, ca, "host1"));
    g_assert_true(is_for(host, ca, "10.70.0.1"));
    g_assert_false(is_for(host, ca, "center.example"));
    g_autofree char *name = NULL, *role = NULL;
    g_assert_true(gw_certificate_holder(host, &name, &role, &error));
    g_assert_cmpstr(name, ==, "host1");
    g_assert_cmpstr(role, ==, "host");
    /* a host at the center's address does not get it into its certificate, however it is spelled */
    g_autofree char *near = gw_authority_sign_host(authority, request, "host2", "fd00:0::0:1", &error);
    g_assert_no_error(error);
    g_assert_true(is_for(near, ca, "host2"));
    g_assert_false(is_for(near, ca, "fd00::1"));
    g_autofree char *bare = gw_authority_sign_host(authority, request, "host3", NULL, &error);
    g_assert_no_error(error);
    static const char *const bad[] = {"center.example",
                                      "CENTER.example",
                                      "c2.example",
                                      "center",
                                      "10.70.0.254",
                                      "fd00::1",
                                      "10.70.0.9",
                                      "",
                                      "*",
                                      "a b",
                                      NULL};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_null(gw_authority_sign_host(authority, request, bad[i], "10.70.0.1", &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
        g_clear_error(&error);
    }
    g_assert_null(gw_authority_sign_host(authority, request, "host1", "host1.example", &error));
    gw_assert_error_says(&error, GW_ERROR_INVALID_ARGUMENT, "no numeric address");
    g_assert_null(gw_authority_sign_host(authority, "rubbish", "host1", "10.70.0.1", &error));
    gw_assert_error_says(&error, GW_ERROR_INVALID_ARGUMENT, "request");
    gw_secret_free(key);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add(path, Rig, NULL, set_up, function, tear_down)
    ADD("/authority/made", test_made);
    ADD("/authority/opened-again", test_opened_again);
    ADD("/authority/renewed", test_renewed);
    ADD("/authority/own-mended", test_own_mended);
    ADD("/authority/refused", test_refused);
    ADD("/authority/places", test_places);
    ADD("/authority/hosts", test_hosts);
    return g_test_run();
}
