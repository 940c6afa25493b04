/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a center is: https://HOST:PORT, or unix:PATH for its socket on this host. Pure. */
#pragma once

#include <glib.h>

#define GW_CENTER_PORT 7440

typedef struct {
    char *host; /* name or numeric address without brackets; NULL: a socket */
    unsigned port;
    char *socket; /* NULL: HTTPS */
    char *text;   /* how it is written, always the same way */
} GwCenterUrl;

/* "HOST" and "HOST:PORT" are taken for https too. GW_ERROR_INVALID_ARGUMENT otherwise. */
GwCenterUrl *gw_center_url_parse(const char *text, GError **error);
void gw_center_url_free(GwCenterUrl *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwCenterUrl, gw_center_url_free)
