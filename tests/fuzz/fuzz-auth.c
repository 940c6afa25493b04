/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: nothing that is not a token opens a session or a cluster, and nothing breaks on it.
 *
 * The input is words, one a line: a token, a host's name. The store has one join token for any host and one
 * session, of which nobody here knows the secrets. */
#include "auth.h"
#include "certificate.h"
#include "store-rig.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static GwStoreRig rig;
static GwAuth *auth;

static void
tear_down(void)
{
    gw_auth_free(auth);
    gw_store_rig_tear_down(&rig, NULL);
}

static void
set_up(void)
{
    g_autoptr(GError) error = NULL;
    int64_t expires_us = 0;
    GwRole role;
    gw_store_rig_set_up(&rig, NULL);
    auth = gw_auth_new(rig.store);
    gw_secret_free(gw_auth_first_start(auth, &error));
    g_assert_no_error(error);
    gw_auth_add_user(auth, "olga", GW_ROLE_OPERATOR, "correct horse battery", &error);
    g_assert_no_error(error);
    gw_secret_free(gw_auth_login(auth, "olga", "correct horse battery", "", &expires_us, &role, &error));
    g_assert_no_error(error);
    gw_secret_free(gw_auth_new_join_token(auth, "0123", "admin", 3600, &expires_us, &error));
    g_assert_no_error(error);
    atexit(tear_down);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!auth)
        set_up();
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) words = g_strsplit(text, "\n", 2);
    const char *token = words[0], *host = token ? words[1] : NULL;
    g_autoptr(GError) by_session = NULL, by_logout = NULL, by_join = NULL, by_look = NULL;
    g_autofree char *user = NULL, *for_host = NULL;
    GwRole role;
    g_assert_false(gw_auth_check(auth, token, &user, &role, &by_session));
    g_assert_error(by_session, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED);
    g_assert_null(user);
    gw_auth_logout(auth, token, &by_logout);
    gw_auth_join_token_host(auth, token, &for_host, &by_look);
    g_assert_null(for_host);
    g_assert_false(gw_auth_use_join_token(auth, token, host, &by_join));
    g_assert_error(by_join, GW_ERROR, GW_ERROR_NOT_PERMITTED);
    gw_role_parse(token, &role);
    return 0;
}
