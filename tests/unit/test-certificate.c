/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The authority's certificates: what is in them, what GnuTLS thinks of them, what is refused. */
#include "certificate.h"

#include "error.h"

#include <gnutls/x509.h>
#include <string.h>
#include <time.h>

typedef struct {
    char *key, *authority;
} Authority;

static Authority
make_authority(void)
{
    g_autoptr(GError) error = NULL;
    Authority self = {.key = gw_key_new(&error)};
    g_assert_no_error(error);
    self.authority = gw_certificate_new_authority(self.key, "godwit authority", &error);
    g_assert_no_error(error);
    return self;
}

static void
authority_clear(Authority *self)
{
    gw_secret_free(self->key);
    g_free(self->authority);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Authority, authority_clear)

static const char *const more_names[] = {"center.example", NULL};
static const char *const addresses[] = {"192.0.2.7", "2001:db8::7", NULL};

static char *
sign_host(const Authority *authority, const GwCertificateSubject *subject, GError **error)
{
    char *key = gw_key_new(NULL);
    g_autofree char *request = gw_certificate_request_new(key, "whoever", NULL);
    gw_secret_free(key);
    return gw_certificate_sign(authority->authority, authority->key, request, subject, error);
}

static gnutls_x509_crt_t
import(const char *pem)
{
    gnutls_x509_crt_t certificate = NULL;
    gnutls_datum_t text = {(unsigned char *)pem, (unsigned)strlen(pem)};
    g_assert_cmpint(gnutls_x509_crt_init(&certificate), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_import(certificate, &text, GNUTLS_X509_FMT_PEM), ==, 0);
    return certificate;
}

/* What GnuTLS says of `pem` when it trusts `authority` alone. */
static unsigned
verify(const char *pem, const char *authority)
{
    unsigned status = 0;
    gnutls_x509_trust_list_t list = NULL;
    gnutls_x509_crt_t certificate = import(pem), root = import(authority);
    g_assert_cmpint(gnutls_x509_trust_list_init(&list, 0), ==, 0);
    g_assert_cmpint(gnutls_x509_trust_list_add_cas(list, &root, 1, 0), ==, 1);
    g_assert_cmpint(gnutls_x509_trust_list_verify_crt(list, &certificate, 1, 0, &status, NULL), ==, 0);
    gnutls_x509_crt_deinit(certificate);
    gnutls_x509_trust_list_deinit(list, 1);
    return status;
}

static void
assert_fails(char *text, GError **error)
{
    g_assert_null(text);
    g_assert_error(*error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    g_clear_error(error);
}

static void
test_key(void)
{
    g_autoptr(GError) error = NULL;
    char *a = gw_key_new(&error), *b = gw_key_new(&error);
    g_assert_no_error(error);
    g_assert_true(g_str_has_prefix(a, "-----BEGIN PRIVATE KEY-----\n")); /* PKCS#8 */
    g_assert_cmpstr(a, !=, b);
    gw_secret_free(a);
    gw_secret_free(b);
    gw_secret_free(NULL);
    assert_fails(gw_certificate_request_new("no key", "host1", &error), &error);
    assert_fails(gw_certificate_new_authority("no key", "a", &error), &error);
}

static void
test_authority(void)
{
    g_auto(Authority) self = make_authority();
    gnutls_x509_crt_t certificate = import(self.authority);
    unsigned is_critical = 0, is_authority = 0, usage = 0;
    int path_length = -1;
    g_assert_cmpint(
        gnutls_x509_crt_get_basic_constraints(certificate, &is_critical, &is_authority, &path_length), >=, 0);
    g_assert_cmpint(is_authority, ==, 1);
    g_assert_cmpint(path_length, ==, 0);
    g_assert_cmpint(gnutls_x509_crt_get_key_usage(certificate, &usage, &is_critical), ==, 0);
    g_assert_cmpint(usage, ==, GNUTLS_KEY_KEY_CERT_SIGN);
    gnutls_x509_crt_deinit(certificate);
}

static bool
has_alt_name(gnutls_x509_crt_t certificate, unsigned type, const void *value, size_t length)
{
    for (unsigned i = 0;; i++) {
        char found[256];
        size_t size = sizeof found;
        int result = gnutls_x509_crt_get_subject_alt_name(certificate, i, found, &size, NULL);
        if (result < 0)
            return false;
        if ((unsigned)result == type && size == length && memcmp(found, value, length) == 0)
            return true;
    }
}

static void
test_host(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Authority) authority = make_authority();
    g_auto(Authority) other = make_authority();
    GwCertificateSubject subject = {"host1", "host", more_names, addresses, 30};
    g_autofree char *pem = sign_host(&authority, &subject, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(verify(pem, authority.authority), ==, 0);
    g_assert_cmpuint(verify(pem, other.authority) & GNUTLS_CERT_INVALID, !=, 0);

    gnutls_x509_crt_t certificate = import(pem);
    g_assert_true(has_alt_name(certificate, GNUTLS_SAN_DNSNAME, "host1", 5));
    g_assert_true(has_alt_name(certificate, GNUTLS_SAN_DNSNAME, "center.example", 14));
    g_assert_true(has_alt_name(certificate, GNUTLS_SAN_IPADDRESS, "\xc0\x00\x02\x07", 4));
    g_assert_false(has_alt_name(certificate, GNUTLS_SAN_DNSNAME, "whoever", 7));
    g_assert_true(gnutls_x509_crt_check_hostname(certificate, "2001:db8::7"));
    g_assert_false(gnutls_x509_crt_check_hostname(certificate, "whoever"));
    unsigned is_critical = 0;
    g_assert_cmpint(gnutls_x509_crt_get_ca_status(certificate, &is_critical), ==, 0);
    time_t now = time(NULL), until = gnutls_x509_crt_get_expiration_time(certificate);
    g_assert_cmpint(gnutls_x509_crt_get_activation_time(certificate), <, now - 60);
    g_assert_cmpint(ABS(until - (now + 30L * 24 * 3600)), <, 600);
    gnutls_x509_crt_deinit(certificate);

    g_autofree char *name = NULL, *role = NULL;
    g_assert_true(gw_certificate_holder(pem, &name, &role, &error));
    g_assert_cmpstr(name, ==, "host1");
    g_assert_cmpstr(role, ==, "host");
    g_autofree char *of = NULL, *no_role = NULL;
    g_assert_true(gw_certificate_holder(authority.authority, &of, &no_role, &error));
    g_assert_cmpstr(of, ==, "godwit authority");
    g_assert_null(no_role);
}

/* A host's key signs nothing that anybody believes. */
static void
test_no_second_authority(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Authority) authority = make_authority();
    char *key = gw_key_new(NULL), *victim_key = gw_key_new(NULL);
    g_autofree char *request = gw_certificate_request_new(key, "host1", NULL);
    GwCertificateSubject host = {"host1", "host", NULL, NULL, 30};
    g_autofree char *of_host =
        gw_certificate_sign(authority.authority, authority.key, request, &host, &error);
    g_assert_no_error(error);
    GwCertificateSubject forged = {"center", "center", NULL, NULL, 30};
    g_autofree char *center_request = gw_certificate_request_new(victim_key, "center", NULL);
    g_autofree char *chained = gw_certificate_sign(of_host, key, center_request, &forged, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(verify(chained, authority.authority) & GNUTLS_CERT_INVALID, !=, 0);
    g_assert_cmpuint(verify(chained, of_host) & GNUTLS_CERT_INVALID, !=, 0);
    gw_secret_free(key);
    gw_secret_free(victim_key);
}

static void
test_outlived(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Authority) authority = make_authority();
    GwCertificateSubject subject = {"host1", "host", NULL, NULL, 100 * 365};
    g_autofree char *pem = sign_host(&authority, &subject, &error);
    g_assert_no_error(error);
    gnutls_x509_crt_t certificate = import(pem), root = import(authority.authority);
    g_assert_cmpint(gnutls_x509_crt_get_expiration_time(certificate), ==,
                    gnutls_x509_crt_get_expiration_time(root));
    unsigned char serials[2][32] = {{0}};
    size_t sizes[2] = {32, 32};
    g_assert_cmpint(gnutls_x509_crt_get_serial(certificate, serials[0], &sizes[0]), ==, 0);
    g_assert_cmpint(gnutls_x509_crt_get_serial(root, serials[1], &sizes[1]), ==, 0);
    g_assert_cmpuint(sizes[0], ==, 16);
    g_assert_cmpint(memcmp(serials[0], serials[1], 16), !=, 0);
    gnutls_x509_crt_deinit(certificate);
    gnutls_x509_crt_deinit(root);
}

static void
test_names_refused(void)
{
    static const char *const bad_names[] = {"", "*", "*.example", "a b", "a\nb", "h\xc3\xb6st", "a/b", NULL};
    g_autoptr(GError) error = NULL;
    g_auto(Authority) authority = make_authority();
    for (unsigned i = 0; bad_names[i]; i++) {
        const char *dns[] = {bad_names[i], NULL};
        GwCertificateSubject as_name = {bad_names[i], "host", NULL, NULL, 1};
        GwCertificateSubject as_dns = {"host1", "host", dns, NULL, 1};
        GwCertificateSubject as_address = {"host1", "host", NULL, dns, 1};
        assert_fails(sign_host(&authority, &as_name, &error), &error);
        assert_fails(sign_host(&authority, &as_dns, &error), &error);
        assert_fails(sign_host(&authority, &as_address, &error), &error);
    }
    g_autofree char *long_name = g_strnfill(65, 'a');
    GwCertificateSubject as_name = {long_name, "host", NULL, NULL, 1};
    assert_fails(sign_host(&authority, &as_name, &error), &error);
    GwCertificateSubject no_role = {"host1", NULL, NULL, NULL, 1};
    assert_fails(sign_host(&authority, &no_role, &error), &error);
    assert_fails(gw_certificate_new_authority(authority.key, "", &error), &error);
}

/* One character of the signature, which is the request's end, becomes another. */
static void
spoil(char *pem)
{
    char *end = strstr(pem, "\n-----END");
    g_assert_nonnull(end);
    end[-12] = end[-12] == 'A' ? 'B' : 'A';
}

static void
test_requests_refused(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(Authority) authority = make_authority();
    g_auto(Authority) other = make_authority();
    GwCertificateSubject subject = {"host1", "host", NULL, NULL, 1};
    static const char *const bad[] = {"", "-----BEGIN",
                                      "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"
                                      "-----END CERTIFICATE REQUEST-----\n"};
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
        assert_fails(gw_certificate_sign(authority.authority, authority.key, bad[i], &subject, &error),
                     &error);
    char *key = gw_key_new(NULL);
    g_autofree char *request = gw_certificate_request_new(key, "host1", NULL);
    assert_fails(
        gw_certificate_sign(authority.authority, authority.key, authority.authority, &subject, &error),
        &error);
    assert_fails(gw_certificate_sign(authority.authority, other.key, request, &subject, &error), &error);
    spoil(request);
    assert_fails(gw_certificate_sign(authority.authority, authority.key, request, &subject, &error), &error);
    gw_secret_free(key);
}

static void
test_fingerprint(void)
{
    /* Of a certificate made by openssl(1); the digest is `openssl x509 -fingerprint -sha256`'s. */
    static const char pem[] = "-----BEGIN CERTIFICATE-----\n"
                              "MIIBbzCCARWgAwIBAgIUV2uwKk7nLgesRrvn5LDQgiKArH0wCgYIKoZIzj0EAwIw\n"
                              "DDEKMAgGA1UEAwwBeDAgFw0yNjExMjYwMzAxMTJaGA8yMTI2MTEwMjAzMDExMlow\n"
                              "DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOpzBHQNrMlL\n"
                              "CHR8uEAJbFFLC7Ti6zoOoPfYWIe8gjm4ihcsai5+7xd7D/eHjWo/LFUBJkgpPe2F\n"
                              "0+KwZbUUEjCjUzBRMB0GA1UdDgQWBBRSGY1JEGL8yMwwOXrc63F9P8mSfjAfBgNV\n"
                              "HSMEGDAWgBRSGY1JEGL8yMwwOXrc63F9P8mSfjAPBgNVHRMBAf8EBTADAQH/MAoG\n"
                              "CCqGSM49BAMCA0gAMEUCIE3ZOm3Po+GlHSBLuzbugv3wwdLls+u2lYU8xAao6H2o\n"
                              "AiEA9+PnRnSDk0JZnecVkc7QzEyLoIVqvVsZszugP//1MdQ=\n"
                              "-----END CERTIFICATE-----\n";
    g_autoptr(GError) error = NULL;
    g_autofree char *fingerprint = gw_certificate_fingerprint(pem, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(fingerprint, ==, "7a1a881c906751b06c7c8efc870a403ba35261fbc781fd93a6c5e49925da1c0c");
    assert_fails(gw_certificate_fingerprint("no certificate", &error), &error);
    char *name = NULL, *role = NULL;
    g_assert_false(gw_certificate_holder("no certificate", &name, &role, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    g_assert_null(name);
    g_assert_null(role);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/certificate/key", test_key);
    g_test_add_func("/certificate/authority", test_authority);
    g_test_add_func("/certificate/host", test_host);
    g_test_add_func("/certificate/no-second-authority", test_no_second_authority);
    g_test_add_func("/certificate/outlived", test_outlived);
    g_test_add_func("/certificate/names-refused", test_names_refused);
    g_test_add_func("/certificate/requests-refused", test_requests_refused);
    g_test_add_func("/certificate/fingerprint", test_fingerprint);
    return g_test_run();
}
