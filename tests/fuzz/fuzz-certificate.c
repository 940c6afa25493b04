/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: any bytes as a certificate request to be signed, and as a certificate whose holder is asked
 * for.
 *
 * An input that does not begin as PEM does is taken for DER and armoured here: a fuzzer does not learn
 * base64. */
#include "certificate.h"
#include "error.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *authority_key, *authority;

static void
make_authority(void)
{
    g_autoptr(GError) error = NULL;
    authority_key = gw_key_new(&error);
    g_assert_no_error(error);
    authority = gw_certificate_new_authority(authority_key, "fuzz", &error);
    g_assert_no_error(error);
}

static char *
armour(const uint8_t *data, size_t size, const char *what)
{
    if (size > 5 && memcmp(data, "-----", 5) == 0)
        return g_strndup((const char *)data, size);
    g_autofree char *base64 = g_base64_encode(data, size);
    GString *pem = g_string_new(NULL);
    g_string_printf(pem, "-----BEGIN %s-----\n", what);
    for (size_t i = 0, length = strlen(base64); i < length; i += 64)
        g_string_append_printf(pem, "%.64s\n", base64 + i);
    g_string_append_printf(pem, "-----END %s-----\n", what);
    return g_string_free(pem, FALSE);
}

/* What was let through is for whom the center says, whatever the request asked for. */
static void
check_request(const char *pem)
{
    static const char *const dns_names[] = {"host1.example", NULL};
    static const char *const addresses[] = {"10.70.0.1", NULL};
    const GwCertificateSubject subject = {"host1", "host", dns_names, addresses, 30};
    g_autoptr(GError) error = NULL;
    g_autofree char *name = NULL, *role = NULL;
    g_autofree char *certificate = gw_certificate_sign(authority, authority_key, pem, &subject, &error);
    if (!certificate) {
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
        g_assert_true(g_utf8_validate(error->message, -1, NULL));
        return;
    }
    g_assert_true(gw_certificate_holder(certificate, &name, &role, &error));
    g_assert_cmpstr(name, ==, "host1");
    g_assert_cmpstr(role, ==, "host");
}

static void
check_certificate(const char *pem)
{
    g_autoptr(GError) error = NULL, again = NULL;
    g_autofree char *name = NULL, *role = NULL;
    bool is_one = gw_certificate_holder(pem, &name, &role, &error);
    g_autofree char *fingerprint = gw_certificate_fingerprint(pem, &again);
    g_assert_true(is_one == (error == NULL) && (fingerprint != NULL) == (again == NULL));
    if (fingerprint)
        g_assert_cmpuint(strlen(fingerprint), ==, 64);
    g_assert_true(is_one || (!name && !role));
    g_assert_true(!name || g_utf8_validate(name, -1, NULL));
    g_assert_true(!role || g_utf8_validate(role, -1, NULL));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!authority)
        make_authority();
    g_autofree char *request = armour(data, size, "CERTIFICATE REQUEST");
    g_autofree char *certificate = armour(data, size, "CERTIFICATE");
    check_request(request);
    check_certificate(certificate);
    return 0;
}
