/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the center is, and sessions. */
#include "api-internal.h"
#include "certificate.h"
#include "error.h"
#include "version.h"

JsonObject *
gw_api_about(GwCall *call, GError **error)
{
    const GwApiParts *parts = &call->api->parts;
    JsonObject *about = json_object_new();
    json_object_set_string_member(about, "name", parts->name);
    json_object_set_string_member(about, "version", GW_VERSION);
    json_object_set_string_member(about, "fingerprint", gw_authority_fingerprint(parts->authority));
    json_object_set_string_member(about, "ca", gw_authority_certificate(parts->authority));
    return about;
}

static void
tell_session(GwCall *call, const char *type)
{
    JsonObject *data = json_object_new();
    json_object_set_string_member(data, "user", call->user);
    json_object_set_string_member(data, "address", call->address);
    gw_event_hub_tell(call->api->parts.hub, type, NULL, NULL, NULL, data);
}

static JsonObject *
session_json(const char *token, const char *user, GwRole role, int64_t expires_us)
{
    JsonObject *session = json_object_new();
    json_object_set_string_member(session, "token", token);
    json_object_set_string_member(session, "user", user);
    json_object_set_string_member(session, "role", gw_role_name(role));
    gw_answer_set_time(session, "expires", expires_us);
    return session;
}

JsonObject *
gw_api_login(GwCall *call, GError **error)
{
    GwAuth *auth = call->api->parts.auth;
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    const char *user = gw_arguments_string(&args, "user", GW_REQUIRED, 64);
    const char *password = gw_arguments_string(&args, "password", GW_REQUIRED, 1024);
    if (!gw_arguments_end(&args, error))
        return NULL;
    g_free(call->user);
    call->user = g_strdup(user);

    g_autoptr(GError) failure = NULL;
    int64_t expires_us = 0;
    GwRole role = GW_ROLE_READ_ONLY;
    char *token = gw_auth_login(auth, user, password, call->address, &expires_us, &role, &failure);
    if (!token) {
        /* Who is refused unheard, after too many, is no news. */
        if (!g_error_matches(failure, GW_ERROR, GW_ERROR_BUSY))
            tell_session(call, "session.failed");
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    JsonObject *session = NULL;
    if (gw_call_audit_begin(call, error)) {
        tell_session(call, "session.login");
        session = session_json(token, user, role, expires_us);
    } else {
        gw_auth_logout(auth, token, NULL);
    }
    gw_secret_free(token);
    return session;
}

JsonObject *
gw_api_logout(GwCall *call, GError **error)
{
    const char *token = gw_http_request_bearer(call->request);
    if (!gw_call_no_arguments(call, error))
        return NULL;
    /* On the Unix socket there is no session that could end. */
    if (!gw_http_request_is_local(call->request) && !gw_auth_logout(call->api->parts.auth, token, error))
        return NULL;
    gw_session_watch_look(call->api->sessions);
    return json_object_new();
}
