/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What tls.c needs of an identity (stream.h has the rest). */
#pragma once

#include "stream.h"

#include <gnutls/gnutls.h>

struct GwTlsIdentity {
    gnutls_certificate_credentials_t credentials; /* owned; only read once loaded */
    gnutls_priority_t priority;                   /* owned; likewise */
};
