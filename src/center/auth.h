/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may do what: passwords (yescrypt, crypt(5)), sessions by bearer token, roles. Any thread; but what
 * hashes a password (new, first_start, add_user, set_password, login) takes tens of milliseconds, a login up
 * to a second or two behind others: not in a main thread that has something else to do. */
#pragma once

#include "store.h"

typedef enum { GW_ROLE_READ_ONLY, GW_ROLE_OPERATOR, GW_ROLE_ADMINISTRATOR } GwRole;

const char *gw_role_name(GwRole role);
bool gw_role_parse(const char *name, GwRole *ret_role); /* false: no such role */

typedef struct GwAuth GwAuth;
GwAuth *gw_auth_new(GwStore *store /* borrowed */);
void gw_auth_free(GwAuth *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwAuth, gw_auth_free)

/* Makes the administrator "admin" if there is no user yet; returns the password, to be shown once (free it
 * with gw_secret_free()), NULL without an error if there are users. */
char *gw_auth_first_start(GwAuth *self, GError **error);

bool gw_auth_add_user(GwAuth *self, const char *name, GwRole role, const char *password, GError **error);
bool gw_auth_set_password(GwAuth *self, const char *name, const char *password, GError **error);

/* A new session's token (gw_secret_free()). A wrong name and a wrong password take as long and read the same
 * (GW_ERROR_NOT_AUTHENTICATED). After 5 wrong ones for a name or from an address within a minute further ones
 * are refused for a while (GW_ERROR_BUSY, which says how long). */
char *gw_auth_login(GwAuth *self, const char *name, const char *password, const char *address,
                    int64_t *ret_expires_us, GwRole *ret_role, GError **error);
bool gw_auth_logout(GwAuth *self, const char *token, GError **error);

/* Who a token stands for: name (owned) and role. */
bool gw_auth_check(GwAuth *self, const char *token, char **ret_user, GwRole *ret_role, GError **error);

/* A one-time token for a host: "SECRET.FINGERPRINT" (gw_secret_free()). */
char *gw_auth_new_join_token(GwAuth *self, const char *authority_fingerprint, const char *created_by,
                             unsigned valid_s, int64_t *ret_expires_us, GError **error);
/* One that only a host of that name may use (NULL: any), and which may replace it. */
char *
gw_auth_new_join_token_for(GwAuth *self, const char *authority_fingerprint, const char *host,
                           const char *created_by, unsigned valid_s, int64_t *ret_expires_us, GError **error);
/* The host that a token is for; owned, NULL: for any. Says nothing of whether the token is valid. */
bool gw_auth_join_token_host(GwAuth *self, const char *token, char **ret_host, GError **error);
bool gw_auth_use_join_token(GwAuth *self, const char *token, const char *host, GError **error);
