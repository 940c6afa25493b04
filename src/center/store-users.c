/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Users and their sessions. */
#include "error.h"
#include "store-internal.h"

/* -- Users */

void
gw_user_record_clear(GwUserRecord *self)
{
    g_free(self->name);
    g_free(self->role);
    g_free(self->password_hash);
    *self = (GwUserRecord){0};
}

static void
read_user(GwSqlRow *row, void *record)
{
    *(GwUserRecord *)record = (GwUserRecord){
        .name = gw_sql_text(row, 0),
        .role = gw_sql_text(row, 1),
        .password_hash = gw_sql_text(row, 2),
        .created_us = gw_sql_int(row, 3),
    };
}

bool
gw_store_add_user(GwStore *self, const GwUserRecord *user, GError **error)
{
    int n = gw_sql_run(self, error,
                       "INSERT INTO users (name, role, password_hash, created_us) VALUES ($1, $2, $3, $4)"
                       " ON CONFLICT (name) DO NOTHING",
                       "sssi", user->name, user->role, user->password_hash, user->created_us);
    if (n == 0)
        g_set_error(error, GW_ERROR, GW_ERROR_EXISTS, "there is a user '%s' already", user->name);
    return n > 0;
}

bool
gw_store_set_password(GwStore *self, const char *name, const char *password_hash, GError **error)
{
    if (!gw_store_begin(self, error))
        return false;
    int n = gw_sql_run(self, error, "UPDATE users SET password_hash = $1 WHERE name = $2", "ss",
                       password_hash, name);
    bool ok = gw_store_found(n, "user", name, error) &&
              gw_sql_run(self, error, "DELETE FROM sessions WHERE user_name = $1", "s", name) >= 0;
    return gw_store_end(self, ok, error);
}

/* Within the transaction that takes a user's rights away: somebody must be left who can give them back. */
static bool
require_administrator(GwStore *self, const char *name, GError **error)
{
    int64_t n = 0;
    if (gw_sql_one(self, error, gw_sql_read_int, &n,
                   "SELECT count(*) FROM users WHERE role = 'administrator'", "") < 0)
        return false;
    if (n == 0)
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                    "user '%s' is the last administrator: make another one first", name);
    return n > 0;
}

bool
gw_store_set_role(GwStore *self, const char *name, const char *role, GError **error)
{
    if (!gw_store_begin(self, error))
        return false;
    int n = gw_sql_run(self, error, "UPDATE users SET role = $1 WHERE name = $2", "ss", role, name);
    bool ok = gw_store_found(n, "user", name, error) && require_administrator(self, name, error);
    return gw_store_end(self, ok, error);
}

bool
gw_store_remove_user(GwStore *self, const char *name, GError **error)
{
    if (!gw_store_begin(self, error))
        return false;
    int n = gw_sql_run(self, error, "DELETE FROM users WHERE name = $1", "s", name);
    bool ok = gw_store_found(n, "user", name, error) && require_administrator(self, name, error);
    return gw_store_end(self, ok, error);
}

#define COLUMNS "name, role, password_hash, created_us"

bool
gw_store_get_user(GwStore *self, const char *name, GwUserRecord *ret_user, GError **error)
{
    *ret_user = (GwUserRecord){0};
    int found = gw_sql_one(self, error, read_user, ret_user, "SELECT " COLUMNS " FROM users WHERE name = $1",
                           "s", name);
    return gw_store_found(found, "user", name, error);
}

GArray *
gw_store_users(GwStore *self, GError **error)
{
    static const GwSqlKind kind = {sizeof(GwUserRecord), read_user, (GDestroyNotify)gw_user_record_clear};
    return gw_sql_all(self, error, &kind, "SELECT " COLUMNS " FROM users ORDER BY name", "");
}

/* -- Sessions */

bool
gw_store_add_session(GwStore *self, const char *token_hash, const char *user, const char *address,
                     int64_t expires_us, GError **error)
{
    return gw_sql_run(
               self, error,
               "INSERT INTO sessions (token_hash, user_name, address, expires_us) VALUES ($1, $2, $3, $4)",
               "sssi", token_hash, user, address ? address : "", expires_us) > 0;
}

typedef struct {
    GwUserRecord user;
    int64_t expires_us;
} SessionState;

static void
read_session(GwSqlRow *row, void *record)
{
    SessionState *state = record;
    read_user(row, &state->user);
    state->expires_us = gw_sql_int(row, 4);
}

bool
gw_store_find_session(GwStore *self, const char *token_hash, int64_t now_us, GwUserRecord *ret_user,
                      GError **error)
{
    SessionState state = {0};
    *ret_user = (GwUserRecord){0};
    int found = gw_sql_one(self, error, read_session, &state,
                           "SELECT " COLUMNS ", expires_us FROM sessions JOIN users ON name = user_name"
                           " WHERE token_hash = $1",
                           "s", token_hash);
    if (found > 0 && state.expires_us > now_us) {
        *ret_user = state.user;
        return true;
    }
    if (found >= 0)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED,
                    found ? "the session has expired: log in again" : "there is no such session: log in");
    gw_user_record_clear(&state.user);
    return false;
}

bool
gw_store_remove_session(GwStore *self, const char *token_hash, GError **error)
{
    int n = gw_sql_run(self, error, "DELETE FROM sessions WHERE token_hash = $1", "s", token_hash);
    if (n == 0)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "there is no such session");
    return n > 0;
}

bool
gw_store_remove_expired(GwStore *self, int64_t now_us, GError **error)
{
    if (!gw_store_begin(self, error))
        return false;
    bool ok = gw_sql_run(self, error, "DELETE FROM sessions WHERE expires_us <= $1", "i", now_us) >= 0 &&
              gw_sql_run(self, error, "DELETE FROM join_tokens WHERE expires_us <= $1", "i", now_us) >= 0;
    return gw_store_end(self, ok, error);
}
