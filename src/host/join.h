/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a host becomes one of a center's: a one-time token and a certificate request go, a certificate comes.
 * The token is "SECRET.FINGERPRINT": who does not have the authority's certificate of that fingerprint is not
 * sent the secret. The key is made here and stays here. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define GW_CENTER_PORT 7440

typedef struct {
    const char *center; /* "https://HOST:PORT" */
    const char *token;
    const char *name;    /* what this host is to be called */
    const char *address; /* numeric: where its center reaches its agent */
    unsigned port;
    const char *tls_dir; /* where key.pem, cert.pem and ca.pem go */
    bool again;          /* also if there are some */
} GwJoin;

/* Blocks. The files are changed in the end, all three or none. `ret_name` is what the center calls the host.
 * GW_ERROR_EXISTS: it has joined already. */
bool gw_join(const GwJoin *join, char **ret_name, GError **error);

/* Pure. The parts of a center's address and of a token; GW_ERROR_INVALID_ARGUMENT. */
bool gw_join_parse_center(const char *text, char **ret_host, unsigned *ret_port, GError **error);
char *gw_join_parse_fingerprint(const char *token, GError **error);

/* Whether all three files are there. */
bool gw_join_is_done(const char *tls_dir);
