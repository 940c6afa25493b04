/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The center's certificate authority, in a directory of its own (0700): ca.pem, ca-key.pem (0600), and the
 * center's own cert.pem and key.pem. Made at the first start, whole or not at all. */
#pragma once

#include "tls-files.h"

#include <glib.h>
#include <stdbool.h>

typedef struct GwAuthority GwAuthority;

/* Opens it, or makes it. `names` and `addresses` are what people call the center by; if its certificate lacks
 * one of them, or ends within 30 days, it is made anew (the authority stays). */
GwAuthority *gw_authority_open(const char *directory, const char *const *names, const char *const *addresses,
                               GError **error);
void gw_authority_free(GwAuthority *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwAuthority, gw_authority_free)

const GwTlsFiles *gw_authority_files(const GwAuthority *self); /* the center's own; borrowed */
const char *gw_authority_certificate(const GwAuthority *self); /* PEM; borrowed */
const char *gw_authority_fingerprint(const GwAuthority *self);

/* A host's certificate. */
char *gw_authority_sign_host(const GwAuthority *self, const char *request_pem, const char *name,
                             const char *address, GError **error);
