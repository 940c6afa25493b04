/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the client's files share. */
#pragma once

#include "http-client.h"

#include <libsoup/soup.h>

struct GwHttpClient {
    SoupSession *session;
    char *base;       /* "http://vm", "http://ADDRESS:PORT", "https://HOST:PORT" */
    int directory_fd; /* the socket's directory: the address goes through it, see unix-socket.c; or -1 */
    unsigned timeout_s;
    GTlsDatabase *trust;  /* ref; NULL without TLS */
    GTlsCertificate *own; /* ref; NULL: none is shown */
    GCancellable *cancel; /* for good; any thread */
    char *bearer;         /* a secret; NULL: none */
};

/* GET; the answer's body as it comes if the status is 2xx. With `type` the answer has to be of it. */
GInputStream *gw_http_start_get(GwHttpClient *self, const char *path, const char *type, GError **error);

/* Makes what GIO, its TLS and libsoup say of a broken connection a GW_ERROR. */
void gw_http_settle_error(GwHttpClient *self, GError **error);
