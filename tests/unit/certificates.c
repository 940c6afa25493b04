/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Certificates for tests. */
#include "certificates.h"

#include <glib/gstdio.h>
#include <string.h>

#define DAY_S 86400

static gnutls_x509_privkey_t
make_key(void)
{
    gnutls_x509_privkey_t key;
    g_assert_cmpint(gnutls_x509_privkey_init(&key), ==, 0);
    unsigned curve = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1);
    g_assert_cmpint(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, curve, 0), ==, 0);
    return key;
}

static gnutls_x509_crt_t
make_certificate(const char *name, gnutls_x509_privkey_t key, time_t from_s, time_t until_s)
{
    static guint64 serial = 0;
    guint64 number = GUINT64_TO_BE(++serial);
    gnutls_x509_crt_t certificate;
    g_assert_cmpint(gnutls_x509_crt_init(&certificate), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_set_version(certificate, 3), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_set_key(certificate, key), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_set_serial(certificate, &number, sizeof number), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_set_activation_time(certificate, time(NULL) + from_s), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_set_expiration_time(certificate, time(NULL) + until_s), ==, 0);
    g_assert_cmpint(
        gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, name, strlen(name)), ==,
        0);
    return certificate;
}

TestAuthority *
test_authority_new(const char *name)
{
    TestAuthority *self = g_new0(TestAuthority, 1);
    self->key = make_key();
    self->certificate = make_certificate(name, self->key, -DAY_S, DAY_S);
    g_assert_cmpint(gnutls_x509_crt_set_ca_status(self->certificate, 1), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_set_key_usage(self->certificate, GNUTLS_KEY_KEY_CERT_SIGN), ==, 0);
    g_assert_cmpint(
        gnutls_x509_crt_sign2(self->certificate, self->certificate, self->key, GNUTLS_DIG_SHA256, 0), ==, 0);
    return self;
}

void
test_authority_free(TestAuthority *self)
{
    gnutls_x509_crt_deinit(self->certificate);
    gnutls_x509_privkey_deinit(self->key);
    g_free(self);
}

static void
write_pem(const char *directory, const char *name, int result, gnutls_datum_t *pem)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(directory, name, NULL);
    g_assert_cmpint(result, ==, 0);
    g_file_set_contents_full(path, (char *)pem->data, pem->size, G_FILE_SET_CONTENTS_CONSISTENT, 0600,
                             &error);
    g_assert_no_error(error);
    gnutls_free(pem->data);
}

void
test_identity_make(const char *directory, const char *name, const TestAuthority *issuer,
                   const TestAuthority *trusted, time_t from_s, time_t until_s)
{
    g_assert_cmpint(g_mkdir_with_parents(directory, 0700), ==, 0);
    gnutls_x509_privkey_t key = make_key();
    gnutls_x509_crt_t certificate = make_certificate(name, key, from_s, until_s);
    g_assert_cmpint(gnutls_x509_crt_set_key_usage(certificate, GNUTLS_KEY_DIGITAL_SIGNATURE), ==, 0);
    g_assert_cmpint(
        gnutls_x509_crt_sign2(certificate, issuer->certificate, issuer->key, GNUTLS_DIG_SHA256, 0), ==, 0);
    gnutls_datum_t pem = {0};
    write_pem(directory, "ca.pem", gnutls_x509_crt_export2(trusted->certificate, GNUTLS_X509_FMT_PEM, &pem),
              &pem);
    write_pem(directory, "cert.pem", gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &pem), &pem);
    write_pem(directory, "key.pem", gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem), &pem);
    gnutls_x509_crt_deinit(certificate);
    gnutls_x509_privkey_deinit(key);
}

void
test_identity_remove(const char *directory)
{
    static const char *const names[] = {"ca.pem", "cert.pem", "key.pem"};
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(directory, names[i], NULL);
        g_unlink(path);
    }
    g_assert_cmpint(g_rmdir(directory), ==, 0);
}

GwTlsIdentity *
test_identity_new(const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *directory = g_dir_make_tmp("test-identity-XXXXXX", &error);
    g_assert_no_error(error);
    g_autoptr(TestAuthority) authority = test_authority_new("the authority");
    test_identity_make(directory, name, authority, authority, -60, 3600);
    GwTlsIdentity *identity = gw_tls_identity_load(directory, &error);
    g_assert_no_error(error);
    test_identity_remove(directory);
    return identity;
}

void
test_add_both(const char *path, GTestDataFunc test)
{
    g_autofree char *plain = g_strconcat(path, "/plain", NULL);
    g_autofree char *tls = g_strconcat(path, "/tls", NULL);
    g_test_add_data_func(plain, NULL, test);
    g_test_add_data_func(tls, "", test);
}
