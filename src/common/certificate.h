/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keys and X.509 certificates of a cluster (RFC 5280): an authority, requests to it, what it signs. PEM text
 * in and out; nothing here touches a file. Any thread.
 *
 * Keys are ECDSA on P-256. A certificate carries its holder's name (CN, and subjectAltName as a DNS name) and
 * its role (OU), and is for both ends of TLS. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define GW_CERTIFICATE_DAYS (10 * 365)

/* A new private key, PKCS#8. The text is a secret: wipe it with gw_secret_free(). */
char *gw_key_new(GError **error);
void gw_secret_free(char *text); /* overwrites, then frees; NULL is fine */

/* A request (PKCS#10) for `name`, signed with the key. */
char *gw_certificate_request_new(const char *key_pem, const char *name, GError **error);

/* An authority's own certificate, which may sign others and nothing else. */
char *gw_certificate_new_authority(const char *key_pem, const char *name, GError **error);

/* What the authority vouches for; the request only proves who has the key: its own names are ignored. */
typedef struct {
    const char *name;             /* CN, and first DNS name */
    const char *role;             /* OU: "center" or "host" */
    const char *const *dns_names; /* more of them; NULL: none */
    const char *const *addresses; /* numeric; NULL: none */
    unsigned days;
} GwCertificateSubject;

/* GW_ERROR_INVALID_ARGUMENT if the request is none, or its signature is not its key's. */
char *gw_certificate_sign(const char *authority_pem, const char *authority_key_pem, const char *request_pem,
                          const GwCertificateSubject *subject, GError **error);

/* SHA-256 of the certificate's DER, 64 lower-case hexadecimal digits. */
char *gw_certificate_fingerprint(const char *pem, GError **error);

/* CN and OU of a certificate, owned by the caller; NULL where absent. False if it is no certificate. */
bool gw_certificate_holder(const char *pem, char **ret_name, char **ret_role, GError **error);
