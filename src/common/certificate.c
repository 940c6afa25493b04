/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An authority's certificates, over GnuTLS.
 *
 * The authority may sign certificates and may not make further authorities (path length 0), so a stolen key
 * of a host makes nobody else a host. A certificate begins some minutes before it was signed: the clocks of
 * hosts are not the center's. It never outlives its authority. */
#include "certificate.h"

#include "error.h"

#include <gio/gio.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <time.h>

#define DAY_S          (24 * 3600)
#define CLOCKS_APART_S 600
#define SERIAL_BYTES   16
#define KEY_ID_BYTES   20 /* SHA-1, as RFC 5280 4.2.1.2 has it; it is a label */
#define SHA256_BYTES   32
#define MAX_NAME_BYTES 64 /* ub-common-name and ub-organizational-unit-name of RFC 5280 */

G_DEFINE_AUTO_CLEANUP_FREE_FUNC(gnutls_x509_crt_t, gnutls_x509_crt_deinit, NULL)
G_DEFINE_AUTO_CLEANUP_FREE_FUNC(gnutls_x509_crq_t, gnutls_x509_crq_deinit, NULL)
G_DEFINE_AUTO_CLEANUP_FREE_FUNC(gnutls_x509_privkey_t, gnutls_x509_privkey_deinit, NULL)
G_DEFINE_AUTO_CLEANUP_FREE_FUNC(gnutls_pubkey_t, gnutls_pubkey_deinit, NULL)

static bool
ok(int result, GwError code, const char *what, GError **error)
{
    if (result >= 0)
        return true;
    g_set_error(error, GW_ERROR, code, "%s: %s", what, gnutls_strerror(result));
    return false;
}

/* Wipes what GnuTLS gave, a key perhaps, once it is copied. */
static char *
take_text(int result, gnutls_datum_t *pem, const char *what, GError **error)
{
    if (!ok(result, GW_ERROR_FAILED, what, error))
        return NULL;
    char *text = g_strndup((const char *)pem->data, pem->size);
    explicit_bzero(pem->data, pem->size);
    gnutls_free(pem->data);
    return text;
}

static gnutls_datum_t
datum(const char *text)
{
    return (gnutls_datum_t){.data = (unsigned char *)text, .size = (unsigned)strlen(text)};
}

static gnutls_x509_privkey_t
import_key(const char *pem, GError **error)
{
    g_auto(gnutls_x509_privkey_t) key = NULL;
    gnutls_datum_t text = datum(pem);
    if (!ok(gnutls_x509_privkey_init(&key), GW_ERROR_FAILED, "key", error) ||
        !ok(gnutls_x509_privkey_import(key, &text, GNUTLS_X509_FMT_PEM), GW_ERROR_INVALID_ARGUMENT,
            "this is no private key in PEM", error))
        return NULL;
    return g_steal_pointer(&key);
}

static gnutls_x509_crt_t
import_certificate(const char *pem, GError **error)
{
    g_auto(gnutls_x509_crt_t) certificate = NULL;
    gnutls_datum_t text = datum(pem);
    if (!ok(gnutls_x509_crt_init(&certificate), GW_ERROR_FAILED, "certificate", error) ||
        !ok(gnutls_x509_crt_import(certificate, &text, GNUTLS_X509_FMT_PEM), GW_ERROR_INVALID_ARGUMENT,
            "this is no certificate in PEM", error))
        return NULL;
    return g_steal_pointer(&certificate);
}

static gnutls_x509_crq_t
import_request(const char *pem, GError **error)
{
    g_auto(gnutls_x509_crq_t) request = NULL;
    gnutls_datum_t text = datum(pem);
    if (!ok(gnutls_x509_crq_init(&request), GW_ERROR_FAILED, "certificate request", error) ||
        !ok(gnutls_x509_crq_import(request, &text, GNUTLS_X509_FMT_PEM), GW_ERROR_INVALID_ARGUMENT,
            "this is no certificate request in PEM", error) ||
        !ok(gnutls_x509_crq_verify(request, 0), GW_ERROR_INVALID_ARGUMENT,
            "the certificate request is not signed with its own key", error))
        return NULL;
    return g_steal_pointer(&request);
}

char *
gw_key_new(GError **error)
{
    g_auto(gnutls_x509_privkey_t) key = NULL;
    gnutls_datum_t pem = {0};
    unsigned curve = GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1);
    if (!ok(gnutls_x509_privkey_init(&key), GW_ERROR_FAILED, "making a key", error) ||
        !ok(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, curve, 0), GW_ERROR_FAILED, "making a key",
            error))
        return NULL;
    int result = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem);
    return take_text(result, &pem, "writing a key", error);
}

void
gw_secret_free(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    g_free(text);
}

/* What becomes a DNS name. No "*" above all: it would be a certificate for every name. */
static bool
check_dns_name(const char *name, GError **error)
{
    size_t length = name ? strlen(name) : 0;
    if (length > 0 && length <= MAX_NAME_BYTES &&
        strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-._") == length)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                "'%s' is no name for a certificate: letters, digits, '-', '_' and '.', at most %d of them",
                name ? name : "", MAX_NAME_BYTES);
    return false;
}

static bool
check_text(const char *text, GError **error)
{
    size_t length = text ? strlen(text) : 0;
    bool is_right = length > 0 && length <= MAX_NAME_BYTES;
    for (size_t i = 0; is_right && i < length; i++)
        is_right = g_ascii_isprint(text[i]);
    if (!is_right)
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "a name in a certificate has 1 to %d printable ASCII characters", MAX_NAME_BYTES);
    return is_right;
}

char *
gw_certificate_request_new(const char *key_pem, const char *name, GError **error)
{
    g_auto(gnutls_x509_privkey_t) key = NULL;
    g_auto(gnutls_x509_crq_t) request = NULL;
    gnutls_datum_t pem = {0};
    const char *what = "making a certificate request";
    if (!check_dns_name(name, error) || !(key = import_key(key_pem, error)) ||
        !ok(gnutls_x509_crq_init(&request), GW_ERROR_FAILED, what, error) ||
        !ok(gnutls_x509_crq_set_version(request, 1), GW_ERROR_FAILED, what, error) ||
        !ok(gnutls_x509_crq_set_dn_by_oid(request, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                          (unsigned)strlen(name)),
            GW_ERROR_FAILED, what, error) ||
        !ok(gnutls_x509_crq_set_key(request, key), GW_ERROR_FAILED, what, error) ||
        !ok(gnutls_x509_crq_sign2(request, key, GNUTLS_DIG_SHA256, 0), GW_ERROR_FAILED, what, error))
        return NULL;
    return take_text(gnutls_x509_crq_export2(request, GNUTLS_X509_FMT_PEM, &pem), &pem, what, error);
}

static int
set_dn(gnutls_x509_crt_t certificate, const char *oid, const char *text)
{
    return gnutls_x509_crt_set_dn_by_oid(certificate, oid, 0, text, (unsigned)strlen(text));
}

/* Version, serial number and the time of its validity. */
static bool
begin(gnutls_x509_crt_t certificate, time_t until, GError **error)
{
    const char *what = "making a certificate";
    unsigned char serial[SERIAL_BYTES];
    if (!ok(gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial), GW_ERROR_FAILED, what, error))
        return false;
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40); /* positive, and of this length */
    return ok(gnutls_x509_crt_set_version(certificate, 3), GW_ERROR_FAILED, what, error) &&
           ok(gnutls_x509_crt_set_serial(certificate, serial, sizeof serial), GW_ERROR_FAILED, what, error) &&
           ok(gnutls_x509_crt_set_activation_time(certificate, time(NULL) - CLOCKS_APART_S), GW_ERROR_FAILED,
              what, error) &&
           ok(gnutls_x509_crt_set_expiration_time(certificate, until), GW_ERROR_FAILED, what, error);
}

static bool
set_key_ids(gnutls_x509_crt_t certificate, gnutls_x509_crt_t authority, GError **error)
{
    const char *what = "making a certificate";
    unsigned char own[KEY_ID_BYTES], authority_id[64];
    size_t own_size = sizeof own, authority_size = sizeof authority_id;
    return ok(gnutls_x509_crt_get_key_id(certificate, 0, own, &own_size), GW_ERROR_FAILED, what, error) &&
           ok(gnutls_x509_crt_set_subject_key_id(certificate, own, own_size), GW_ERROR_FAILED, what, error) &&
           ok(gnutls_x509_crt_get_subject_key_id(authority, authority_id, &authority_size, NULL),
              GW_ERROR_FAILED, what, error) &&
           ok(gnutls_x509_crt_set_authority_key_id(certificate, authority_id, authority_size),
              GW_ERROR_FAILED, what, error);
}

static char *
sign_and_write(gnutls_x509_crt_t certificate, gnutls_x509_crt_t authority, gnutls_x509_privkey_t key,
               GError **error)
{
    gnutls_datum_t pem = {0};
    if (!set_key_ids(certificate, authority, error) ||
        !ok(gnutls_x509_crt_sign2(certificate, authority, key, GNUTLS_DIG_SHA256, 0), GW_ERROR_FAILED,
            "signing a certificate", error))
        return NULL;
    return take_text(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &pem), &pem,
                     "writing a certificate", error);
}

char *
gw_certificate_new_authority(const char *key_pem, const char *name, GError **error)
{
    g_auto(gnutls_x509_privkey_t) key = NULL;
    g_auto(gnutls_x509_crt_t) certificate = NULL;
    const char *what = "making an authority";
    if (!check_text(name, error) || !(key = import_key(key_pem, error)) ||
        !ok(gnutls_x509_crt_init(&certificate), GW_ERROR_FAILED, what, error) ||
        !begin(certificate, time(NULL) + (time_t)GW_CERTIFICATE_DAYS * DAY_S, error) ||
        !ok(gnutls_x509_crt_set_key(certificate, key), GW_ERROR_FAILED, what, error) ||
        !ok(set_dn(certificate, GNUTLS_OID_X520_COMMON_NAME, name), GW_ERROR_FAILED, what, error) ||
        !ok(gnutls_x509_crt_set_basic_constraints(certificate, 1, 0), GW_ERROR_FAILED, what, error) ||
        !ok(gnutls_x509_crt_set_key_usage(certificate, GNUTLS_KEY_KEY_CERT_SIGN), GW_ERROR_FAILED, what,
            error))
        return NULL;
    return sign_and_write(certificate, certificate, key, error);
}

static bool
add_dns_name(gnutls_x509_crt_t certificate, const char *name, GError **error)
{
    return check_dns_name(name, error) &&
           ok(gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_DNSNAME, name,
                                                   (unsigned)strlen(name), GNUTLS_FSAN_APPEND),
              GW_ERROR_FAILED, name, error);
}

static bool
add_address(gnutls_x509_crt_t certificate, const char *text, GError **error)
{
    g_autoptr(GInetAddress) address = g_inet_address_new_from_string(text);
    if (!address) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'%s' is no numeric IP address", text);
        return false;
    }
    return ok(gnutls_x509_crt_set_subject_alt_name(
                  certificate, GNUTLS_SAN_IPADDRESS, g_inet_address_to_bytes(address),
                  (unsigned)g_inet_address_get_native_size(address), GNUTLS_FSAN_APPEND),
              GW_ERROR_FAILED, text, error);
}

static bool
set_subject(gnutls_x509_crt_t certificate, const GwCertificateSubject *subject, GError **error)
{
    const char *what = "making a certificate";
    if (!check_dns_name(subject->name, error) || !check_text(subject->role, error) ||
        !ok(set_dn(certificate, GNUTLS_OID_X520_COMMON_NAME, subject->name), GW_ERROR_FAILED, what, error) ||
        !ok(set_dn(certificate, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME, subject->role), GW_ERROR_FAILED,
            what, error) ||
        !add_dns_name(certificate, subject->name, error))
        return false;
    for (unsigned i = 0; subject->dns_names && subject->dns_names[i]; i++)
        if (!add_dns_name(certificate, subject->dns_names[i], error))
            return false;
    for (unsigned i = 0; subject->addresses && subject->addresses[i]; i++)
        if (!add_address(certificate, subject->addresses[i], error))
            return false;
    return true;
}

static bool
set_usage(gnutls_x509_crt_t certificate, GError **error)
{
    const char *what = "making a certificate";
    return ok(gnutls_x509_crt_set_basic_constraints(certificate, 0, -1), GW_ERROR_FAILED, what, error) &&
           ok(gnutls_x509_crt_set_key_usage(certificate, GNUTLS_KEY_DIGITAL_SIGNATURE), GW_ERROR_FAILED, what,
              error) &&
           ok(gnutls_x509_crt_set_key_purpose_oid(certificate, GNUTLS_KP_TLS_WWW_SERVER, 0), GW_ERROR_FAILED,
              what, error) &&
           ok(gnutls_x509_crt_set_key_purpose_oid(certificate, GNUTLS_KP_TLS_WWW_CLIENT, 0), GW_ERROR_FAILED,
              what, error);
}

/* A certificate signed with a key that is not its authority's would only be found out by its holder's peers.
 */
static bool
check_pair(gnutls_x509_crt_t certificate, gnutls_x509_privkey_t key, GError **error)
{
    unsigned char ids[2][SHA256_BYTES];
    size_t size_0 = SHA256_BYTES, size_1 = SHA256_BYTES;
    const char *what = "authority";
    if (!ok(gnutls_x509_crt_get_key_id(certificate, GNUTLS_KEYID_USE_SHA256, ids[0], &size_0),
            GW_ERROR_FAILED, what, error) ||
        !ok(gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, ids[1], &size_1), GW_ERROR_FAILED,
            what, error))
        return false;
    if (memcmp(ids[0], ids[1], SHA256_BYTES) == 0)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                "the authority's key does not belong to the authority's certificate");
    return false;
}

/* The key alone: what else the request asks for is not its holder's to say. */
static bool
take_public_key(gnutls_x509_crt_t certificate, gnutls_x509_crq_t request, GError **error)
{
    g_auto(gnutls_pubkey_t) key = NULL;
    return ok(gnutls_pubkey_init(&key), GW_ERROR_FAILED, "public key", error) &&
           ok(gnutls_pubkey_import_x509_crq(key, request, 0), GW_ERROR_INVALID_ARGUMENT, "public key",
              error) &&
           ok(gnutls_x509_crt_set_pubkey(certificate, key), GW_ERROR_FAILED, "public key", error);
}

char *
gw_certificate_sign(const char *authority_pem, const char *authority_key_pem, const char *request_pem,
                    const GwCertificateSubject *subject, GError **error)
{
    g_auto(gnutls_x509_crt_t) authority = NULL;
    g_auto(gnutls_x509_privkey_t) key = NULL;
    g_auto(gnutls_x509_crq_t) request = NULL;
    g_auto(gnutls_x509_crt_t) certificate = NULL;
    if (!(authority = import_certificate(authority_pem, error)) ||
        !(key = import_key(authority_key_pem, error)) || !check_pair(authority, key, error) ||
        !(request = import_request(request_pem, error)))
        return NULL;
    time_t wanted = time(NULL) + (time_t)subject->days * DAY_S;
    time_t until = MIN(wanted, gnutls_x509_crt_get_expiration_time(authority));
    if (!ok(gnutls_x509_crt_init(&certificate), GW_ERROR_FAILED, "certificate", error) ||
        !begin(certificate, until, error) || !take_public_key(certificate, request, error) ||
        !set_subject(certificate, subject, error) || !set_usage(certificate, error))
        return NULL;
    return sign_and_write(certificate, authority, key, error);
}

char *
gw_certificate_fingerprint(const char *pem, GError **error)
{
    g_auto(gnutls_x509_crt_t) certificate = import_certificate(pem, error);
    unsigned char digest[SHA256_BYTES];
    size_t size = sizeof digest;
    if (!certificate || !ok(gnutls_x509_crt_get_fingerprint(certificate, GNUTLS_DIG_SHA256, digest, &size),
                            GW_ERROR_FAILED, "fingerprint", error))
        return NULL;
    GString *text = g_string_new(NULL);
    for (size_t i = 0; i < size; i++)
        g_string_append_printf(text, "%02x", digest[i]);
    return g_string_free(text, FALSE);
}

/* NULL where there is none, or one that is no text. */
static char *
get_dn(gnutls_x509_crt_t certificate, const char *oid)
{
    char text[4 * MAX_NAME_BYTES];
    size_t size = sizeof text;
    if (gnutls_x509_crt_get_dn_by_oid(certificate, oid, 0, 0, text, &size) < 0)
        return NULL;
    bool is_text = size < sizeof text && strlen(text) == size && g_utf8_validate(text, -1, NULL);
    return is_text ? g_strdup(text) : NULL;
}

bool
gw_certificate_holder(const char *pem, char **ret_name, char **ret_role, GError **error)
{
    g_auto(gnutls_x509_crt_t) certificate = import_certificate(pem, error);
    *ret_name = certificate ? get_dn(certificate, GNUTLS_OID_X520_COMMON_NAME) : NULL;
    *ret_role = certificate ? get_dn(certificate, GNUTLS_OID_X520_ORGANIZATIONAL_UNIT_NAME) : NULL;
    return certificate != NULL;
}
