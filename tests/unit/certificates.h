/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Authorities and certificates for tests, made on the spot with GnuTLS. A failure ends the test. */
#pragma once

#include "stream.h"

#include <glib.h>
#include <gnutls/x509.h>
#include <time.h>

/* With its own key, P-256. */
typedef struct {
    gnutls_x509_crt_t certificate;
    gnutls_x509_privkey_t key;
} TestAuthority;

TestAuthority *test_authority_new(const char *name);
void test_authority_free(TestAuthority *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestAuthority, test_authority_free)

/* DIR/ca.pem, cert.pem and key.pem (0600): a host that `issuer` vouches for, which trusts `trusted`. Valid
 * from `from_s` to `until_s`, seconds from now. */
void test_identity_make(const char *directory, const char *name, const TestAuthority *issuer,
                        const TestAuthority *trusted, time_t from_s, time_t until_s);
void test_identity_remove(const char *directory);

/* A host with an authority of its own, which it trusts; no file of it is left. */
GwTlsIdentity *test_identity_new(const char *name);

/* The test twice, as PATH/plain, with NULL for its data, and as PATH/tls, with "". */
void test_add_both(const char *path, GTestDataFunc test);
