/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Users, roles, passwords. */
#include "api-internal.h"
#include "certificate.h"
#include "error.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PASSWORD_MAX 1024

static const char *const roles[] = {"read-only", "operator", "administrator", NULL};

static JsonObject *
user_json(const GwUserRecord *user)
{
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "name", user->name);
    json_object_set_string_member(object, "role", user->role);
    gw_answer_set_time(object, "created", user->created_us);
    return object;
}

JsonObject *
gw_api_users(GwCall *call, GError **error)
{
    g_autoptr(GArray) users = gw_store_users(call->api->parts.store, error);
    if (!users)
        return NULL;
    JsonArray *list = json_array_new();
    for (guint i = 0; i < users->len; i++)
        json_array_add_object_element(list, user_json(&g_array_index(users, GwUserRecord, i)));
    return gw_answer_list("users", list);
}

static JsonObject *
show_user(GwCall *call, const char *name, GError **error)
{
    g_auto(GwUserRecord) user = {0};
    return gw_store_get_user(call->api->parts.store, name, &user, error) ? user_json(&user) : NULL;
}

JsonObject *
gw_api_user_add(GwCall *call, GError **error)
{
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    const char *name = gw_arguments_string(&args, "name", GW_REQUIRED, 64);
    int role = gw_arguments_choice(&args, "role", GW_REQUIRED, roles);
    const char *password = gw_arguments_string(&args, "password", GW_REQUIRED, PASSWORD_MAX);
    GwRole parsed = GW_ROLE_READ_ONLY;
    if (!gw_arguments_end(&args, error))
        return NULL;
    gw_role_parse(roles[role], &parsed);
    if (!gw_auth_add_user(call->api->parts.auth, name, parsed, password, error))
        return NULL;
    return show_user(call, name, error);
}

JsonObject *
gw_api_user_remove(GwCall *call, GError **error)
{
    if (!gw_call_no_arguments(call, error) ||
        !gw_store_remove_user(call->api->parts.store, gw_call_param(call, "user"), error))
        return NULL;
    gw_session_watch_look(call->api->sessions);
    return json_object_new();
}

JsonObject *
gw_api_user_role(GwCall *call, GError **error)
{
    const char *name = gw_call_param(call, "user");
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    int role = gw_arguments_choice(&args, "role", GW_REQUIRED, roles);
    if (!gw_arguments_end(&args, error) ||
        !gw_store_set_role(call->api->parts.store, name, roles[role], error))
        return NULL;
    gw_session_watch_look(call->api->sessions);
    return show_user(call, name, error);
}

/* The old password is tried as a login is: slowly, and not for ever. */
static bool
prove_old_password(GwCall *call, const char *old_password, GError **error)
{
    GwAuth *auth = call->api->parts.auth;
    if (!old_password) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                            "old_password: missing, expected the present password");
        return false;
    }
    g_autoptr(GError) failure = NULL;
    int64_t expires_us = 0;
    GwRole role = GW_ROLE_READ_ONLY;
    char *token = gw_auth_login(auth, call->user, old_password, call->address, &expires_us, &role, &failure);
    if (token) {
        gw_auth_logout(auth, token, NULL);
        gw_secret_free(token);
        return true;
    }
    /* Who asks is known: it is his password that is not. */
    if (g_error_matches(failure, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED))
        g_set_error_literal(error, GW_ERROR, GW_ERROR_NOT_PERMITTED, "old_password: it is a wrong one");
    else
        g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

static bool
may_set_password(GwCall *call, const char *name, const char *old_password, GError **error)
{
    if (strcmp(name, call->user) == 0 && (old_password || call->role < GW_ROLE_ADMINISTRATOR))
        return prove_old_password(call, old_password, error);
    if (call->role >= GW_ROLE_ADMINISTRATOR)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
                "user '%s' is %s; the password of '%s' needs administrator", call->user,
                gw_role_name(call->role), name);
    return false;
}

/* The file has served its purpose once its password is no longer valid. */
static void
forget_initial_password(GwCall *call, const char *name)
{
    const char *file = call->api->parts.initial_password;
    if (strcmp(name, "admin") == 0 && file && unlink(file) < 0 && errno != ENOENT)
        g_warning("the first password, which is no longer valid, is still in %s: %s", file,
                  g_strerror(errno));
}

JsonObject *
gw_api_user_password(GwCall *call, GError **error)
{
    const char *name = gw_call_param(call, "user");
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    const char *password = gw_arguments_string(&args, "password", GW_REQUIRED, PASSWORD_MAX);
    const char *old_password = gw_arguments_string(&args, "old_password", GW_OPTIONAL, PASSWORD_MAX);
    if (!gw_arguments_end(&args, error) || !may_set_password(call, name, old_password, error) ||
        !gw_auth_set_password(call->api->parts.auth, name, password, error))
        return NULL;
    forget_initial_password(call, name);
    gw_session_watch_look(call->api->sessions);
    return json_object_new();
}
