/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whom a client trusts, as the database that GIO's TLS asks. Any thread. */
#pragma once

#include <gio/gio.h>

/* Servers that the authority in the file vouches for under this name, however they are called in the URL. */
GTlsDatabase *gw_tls_trust_new(const char *authority_path, const char *expected_name, GError **error);

/* Centers whose chain holds the certificate with this fingerprint and is signed by it; NULL: every server. */
GTlsDatabase *gw_tls_trust_new_pinned(const char *fingerprint);

/* From now on GIO trusts nobody where nothing else was said; by itself it trusts whom the system does. Not
 * only are these authorities none of ours: GIO 2.74 reads and parses all of their certificates twice for each
 * connection, before it is told whom to trust (20 of 24 ms that a center took for the calls at the end of a
 * motion). */
void gw_tls_trust_nobody_else(void);

/* Why a server is not trusted, for people. */
char *gw_tls_trust_explain(GTlsDatabase *self, GTlsCertificateFlags errors);
