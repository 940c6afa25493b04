/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passwords, sessions, join tokens.
 *
 * A login hashes once, whether there is such a user or not: for a name that nobody has, against a hash that
 * nothing matches. Hashes are made one at a time, so that they cost one CPU and 16 MiB however many ask, and
 * so that an attempt is counted before the next one is looked at; who finds a long queue is told to come
 * back.
 *
 * Locks: `login`, then the store's. */
#include "auth-internal.h"
#include "certificate.h"
#include "error.h"
#include "login-throttle.h"
#include "password.h"
#include "secret.h"

#include <string.h>

#define TOKEN_PREFIX    "gws_"
#define TOKEN_LENGTH    (strlen(TOKEN_PREFIX) + 43) /* 32 bytes in base64 without padding */
#define SECRET_LENGTH   32
#define MAX_NAME_LENGTH 32
#define MAX_WAITING     16   /* logins in the queue: at most a second or two */
#define THROTTLED_KEYS  8192 /* more than one CPU can hash passwords in a minute */
#define FIRST_USER      "admin"

struct GwAuth {
    GwStore *store; /* borrowed */
    GwClock clock;
    char *nobody; /* owned: hash of a password that nobody knows; NULL if it could not be made */

    int n_waiting;             /* atomic: logins under way */
    GMutex login;              /* one login at a time; guards what follows */
    GwLoginThrottle *throttle; /* owned; keys "name NAME" and "address ADDRESS" */
};

/* -- Roles */

static const char *const role_names[] = {
    [GW_ROLE_READ_ONLY] = "read-only",
    [GW_ROLE_OPERATOR] = "operator",
    [GW_ROLE_ADMINISTRATOR] = "administrator",
};
G_STATIC_ASSERT(G_N_ELEMENTS(role_names) == GW_ROLE_ADMINISTRATOR + 1);

const char *
gw_role_name(GwRole role)
{
    return role_names[role];
}

bool
gw_role_parse(const char *name, GwRole *ret_role)
{
    for (size_t i = 0; name && i < G_N_ELEMENTS(role_names); i++)
        if (strcmp(name, role_names[i]) == 0) {
            *ret_role = (GwRole)i;
            return true;
        }
    return false;
}

/* -- Users */

GwAuth *
gw_auth_new(GwStore *store)
{
    g_autoptr(GError) error = NULL;
    char *password = gw_secret_new_password();
    GwAuth *self = g_new0(GwAuth, 1);
    self->store = store;
    self->clock = g_get_real_time;
    self->nobody = gw_password_hash(password, &error);
    if (!self->nobody)
        g_warning("nobody will be able to log in: %s", error->message);
    gw_secret_free(password);
    g_mutex_init(&self->login);
    self->throttle = gw_login_throttle_new(THROTTLED_KEYS);
    return self;
}

void
gw_auth_free(GwAuth *self)
{
    if (!self)
        return;
    gw_login_throttle_free(self->throttle);
    g_mutex_clear(&self->login);
    g_free(self->nobody);
    g_free(self);
}

void
gw_auth_set_clock(GwAuth *self, GwClock clock)
{
    self->clock = clock;
}

static bool
is_user_name(const char *name)
{
    size_t length = name ? strlen(name) : 0;
    return length > 0 && length <= MAX_NAME_LENGTH && (g_ascii_islower(name[0]) || name[0] == '_') &&
           strspn(name, G_CSET_a_2_z G_CSET_DIGITS "_.-") == length;
}

bool
gw_auth_add_user(GwAuth *self, const char *name, GwRole role, const char *password, GError **error)
{
    if (!is_user_name(name)) {
        g_set_error(
            error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
            "'%s' is no user name: a lower-case letter or '_', then those, digits, '.' and '-', %d at most",
            name ? name : "", MAX_NAME_LENGTH);
        return false;
    }
    g_autofree char *hash = gw_password_hash(password, error);
    if (!hash)
        return false;
    GwUserRecord user = {.name = (char *)name,
                         .role = (char *)gw_role_name(role),
                         .password_hash = hash,
                         .created_us = self->clock()};
    return gw_store_add_user(self->store, &user, error);
}

bool
gw_auth_set_password(GwAuth *self, const char *name, const char *password, GError **error)
{
    g_autofree char *hash = gw_password_hash(password, error);
    return hash && gw_store_set_password(self->store, name, hash, error);
}

char *
gw_auth_first_start(GwAuth *self, GError **error)
{
    g_autoptr(GArray) users = gw_store_users(self->store, error);
    if (!users || users->len > 0)
        return NULL;
    char *password = gw_secret_new_password();
    if (!gw_auth_add_user(self, FIRST_USER, GW_ROLE_ADMINISTRATOR, password, error))
        g_clear_pointer(&password, gw_secret_free);
    return password;
}

/* -- Login */

static bool
is_throttled(GwAuth *self, const char *key, GError **error)
{
    int64_t wait_us = key ? gw_login_throttle_wait_us(self->throttle, key, g_get_monotonic_time()) : 0;
    if (wait_us > 0)
        g_set_error(error, GW_ERROR, GW_ERROR_BUSY, "too many wrong passwords: try again in %d seconds",
                    (int)(wait_us / G_USEC_PER_SEC) + 1);
    return wait_us > 0;
}

/* The user, if the password is right. Takes as long and says the same for a name that nobody has. */
static bool
try_password(GwAuth *self, const char *name, const char *password, GwUserRecord *ret_user, GError **error)
{
    g_autoptr(GError) unknown = NULL;
    bool found = gw_store_get_user(self->store, name, ret_user, &unknown);
    if (!found && !g_error_matches(unknown, GW_ERROR, GW_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&unknown));
        return false;
    }
    bool matches = gw_password_matches(password, found ? ret_user->password_hash : self->nobody);
    if (!matches || !found)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED, "wrong name or password");
    return matches && found;
}

static bool
log_in_locked(GwAuth *self, const char *name, const char *password, const char *address,
              GwUserRecord *ret_user, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autofree char *by_name = g_strconcat("name ", name, NULL);
    g_autofree char *by_address = address && *address ? g_strconcat("address ", address, NULL) : NULL;
    if (is_throttled(self, by_name, error) || is_throttled(self, by_address, error))
        return false;
    if (try_password(self, name, password, ret_user, &failure))
        return true;
    if (g_error_matches(failure, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED)) {
        gw_login_throttle_failed(self->throttle, by_name, g_get_monotonic_time());
        if (by_address)
            gw_login_throttle_failed(self->throttle, by_address, g_get_monotonic_time());
    }
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static bool
log_in(GwAuth *self, const char *name, const char *password, const char *address, GwUserRecord *ret_user,
       GError **error)
{
    bool done = false;
    if (g_atomic_int_add(&self->n_waiting, 1) < MAX_WAITING) {
        g_mutex_lock(&self->login);
        /* a name that nobody can have shares one count with all such names: they may be long, and many */
        done = log_in_locked(self, is_user_name(name) ? name : "", password, address, ret_user, error);
        g_mutex_unlock(&self->login);
    } else {
        g_set_error(error, GW_ERROR, GW_ERROR_BUSY, "too many logins at once: try again in some seconds");
    }
    g_atomic_int_add(&self->n_waiting, -1);
    return done;
}

char *
gw_auth_login(GwAuth *self, const char *name, const char *password, const char *address,
              int64_t *ret_expires_us, GwRole *ret_role, GError **error)
{
    g_auto(GwUserRecord) user = {0};
    if (!log_in(self, name, password, address, &user, error))
        return NULL;
    if (!gw_role_parse(user.role, ret_role)) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED, "user '%s' has the unknown role '%s'", name,
                    user.role);
        return NULL;
    }
    *ret_expires_us = self->clock() + GW_SESSION_US;
    char *token = gw_secret_new_token(TOKEN_PREFIX);
    g_autofree char *hash = gw_secret_hash(token);
    if (!gw_store_add_session(self->store, hash, user.name, address, *ret_expires_us, error))
        g_clear_pointer(&token, gw_secret_free);
    return token;
}

/* -- Sessions */

/* NULL: no token of ours. */
static char *
hash_of_token(const char *token, GError **error)
{
    if (token && g_str_has_prefix(token, TOKEN_PREFIX) && strlen(token) == TOKEN_LENGTH)
        return gw_secret_hash(token);
    g_set_error(error, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED, "this is no session's token: log in");
    return NULL;
}

bool
gw_auth_logout(GwAuth *self, const char *token, GError **error)
{
    g_autofree char *hash = hash_of_token(token, error);
    return hash && gw_store_remove_session(self->store, hash, error);
}

bool
gw_auth_check(GwAuth *self, const char *token, char **ret_user, GwRole *ret_role, GError **error)
{
    g_auto(GwUserRecord) user = {0};
    g_autofree char *hash = hash_of_token(token, error);
    if (!hash || !gw_store_find_session(self->store, hash, self->clock(), &user, error))
        return false;
    if (!gw_role_parse(user.role, ret_role)) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED, "user '%s' has the unknown role '%s'", user.name,
                    user.role);
        return false;
    }
    *ret_user = g_steal_pointer(&user.name);
    return true;
}

/* -- Join tokens */

char *
gw_auth_new_join_token_for(GwAuth *self, const char *authority_fingerprint, const char *host,
                           const char *created_by, unsigned valid_s, int64_t *ret_expires_us, GError **error)
{
    char *secret = gw_secret_new_hex(), *token = NULL;
    g_autofree char *hash = gw_secret_hash(secret);
    *ret_expires_us = self->clock() + (int64_t)valid_s * G_USEC_PER_SEC;
    if (gw_store_add_join_token_for(self->store, hash, host, created_by, *ret_expires_us, error))
        token = g_strconcat(secret, ".", authority_fingerprint, NULL);
    gw_secret_free(secret);
    return token;
}

char *
gw_auth_new_join_token(GwAuth *self, const char *authority_fingerprint, const char *created_by,
                       unsigned valid_s, int64_t *ret_expires_us, GError **error)
{
    return gw_auth_new_join_token_for(self, authority_fingerprint, NULL, created_by, valid_s, ret_expires_us,
                                      error);
}

/* NULL: no token of ours. */
static char *
hash_of_join_token(const char *token, GError **error)
{
    size_t length = token ? strcspn(token, ".") : 0; /* with its fingerprint or without it */
    if (length != SECRET_LENGTH) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
                    "this is no join token: ask an administrator for one");
        return NULL;
    }
    char *secret = g_strndup(token, length);
    char *hash = gw_secret_hash(secret);
    gw_secret_free(secret);
    return hash;
}

bool
gw_auth_join_token_host(GwAuth *self, const char *token, char **ret_host, GError **error)
{
    g_autofree char *hash = hash_of_join_token(token, error);
    return hash && gw_store_join_token_host(self->store, hash, ret_host, error);
}

bool
gw_auth_use_join_token(GwAuth *self, const char *token, const char *host, GError **error)
{
    g_autofree char *hash = hash_of_join_token(token, error);
    return hash && gw_store_use_join_token(self->store, hash, host, self->clock(), error);
}
