/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which center is spoken to, whom it is trusted by, and as whom: from a login's file, or the environment. */
#pragma once

#include "http-client.h"

#include <glib.h>
#include <stdbool.h>

#define GW_CENTER_SOCKET "/run/godwit-center/center.sock"

typedef struct {
    char *center;                /* as GwCenterUrl has it */
    char *ca;                    /* the authority's certificate, PEM; NULL on a socket */
    char *token;                 /* NULL: none is sent */
    char *user, *role, *expires; /* as the login answered; NULL where the token is the environment's */
} GwSession;

GwSession *gw_session_new(const char *center);
void gw_session_free(GwSession *self); /* overwrites the token */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwSession, gw_session_free)

char *gw_session_path(void); /* owned */

/* GW_ERROR_NOT_FOUND: there is none. GW_ERROR_NOT_PERMITTED: others can read it, or it is another user's.
 * GW_ERROR_INVALID_ARGUMENT: it is damaged. */
GwSession *gw_session_load(const char *path, GError **error);
/* Readable by its owner alone; the old one stays whole until the new one is. */
bool gw_session_save(const GwSession *self, const char *path, GError **error);
bool gw_session_remove(const char *path, GError **error); /* none there is fine */

/* The one to use: GODWIT_CENTER, GODWIT_TOKEN and GODWIT_CA over the login's file; without either, the
 * center's socket on this host if we may open it. A token or an authority of the file is only used for the
 * center that it is of. */
GwSession *gw_session_find(GError **error);

/* Nothing is connected yet. `timeout_s` as for gw_http_client_new_tls(). */
GwHttpClient *gw_session_connect(const GwSession *self, unsigned timeout_s, GError **error);
