/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One request on its way: who asks, may he, what does he say, then the work between two audit records. */
#include "api-internal.h"

#include "error.h"
#include "json.h"

#include <string.h>

/* Who may open the center's Unix socket is root on its machine. */
#define LOCAL_USER "root@local"

void
gw_call_clear(GwCall *self)
{
    g_clear_pointer(&self->user, g_free);
    g_clear_pointer(&self->reason, g_free);
    g_clear_pointer(&self->object, g_free);
    if (self->prepared)
        self->free_prepared(self->prepared);
    self->prepared = NULL;
}

static bool
authenticate(GwCall *self, GError **error)
{
    self->address = gw_http_request_address(self->request);
    if (gw_http_request_is_local(self->request)) {
        self->user = g_strdup(LOCAL_USER);
        self->role = GW_ROLE_ADMINISTRATOR;
        return true;
    }
    if (self->route->access == GW_ACCESS_OPEN)
        return true;
    const char *token = gw_http_request_bearer(self->request);
    if (token && gw_auth_check(self->api->parts.auth, token, &self->user, &self->role, error))
        return true;
    gw_http_set_header(self->request, "WWW-Authenticate", "Bearer realm=\"godwit\"");
    if (!token)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED,
                            "this needs a session: POST /v1/login gives a token, which is sent as "
                            "'Authorization: Bearer TOKEN' ('godwit login')");
    return false;
}

static bool
authorise(GwCall *self, GError **error)
{
    const GwRoute *route = self->route;
    if (route->access == GW_ACCESS_OPEN)
        return true;
    GwRole least = route->access == GW_ACCESS_READ      ? GW_ROLE_READ_ONLY
                   : route->access == GW_ACCESS_OPERATE ? GW_ROLE_OPERATOR
                                                        : GW_ROLE_ADMINISTRATOR;
    if (self->role >= least)
        return true;
    g_autofree char *read = g_strdup_printf("%s %s", route->method, route->pattern);
    g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED, "user '%s' is %s; '%s' needs %s", self->user,
                gw_role_name(self->role), route->action ? route->action : read, gw_role_name(least));
    return false;
}

static bool
read_body(GwCall *self, GError **error)
{
    if (self->route->is_raw)
        return true;
    self->body = gw_http_request_json(self->request, error);
    if (!self->body)
        return false;
    JsonNode *node = json_object_get_member(self->body, "reason");
    if (!node || JSON_NODE_HOLDS_NULL(node))
        return true;
    const char *reason = gw_json_get_string(self->body, "reason");
    if (!reason || strlen(reason) > GW_REASON_LIMIT) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "reason: expected a string of at most %d bytes", GW_REASON_LIMIT);
        return false;
    }
    self->reason = *reason ? g_strdup(reason) : NULL;
    return true;
}

bool
gw_call_begin(GwCall *self, GError **error)
{
    g_autoptr(GError) failure = NULL;
    bool good = authenticate(self, &failure) && authorise(self, &failure) && read_body(self, &failure);
    self->object = gw_audit_object(self->route, self->request, self->body);
    if (good)
        return true;
    gw_call_audit_refused(self, failure);
    g_propagate_error(error, g_steal_pointer(&failure));
    return false;
}

JsonObject *
gw_call_run(GwCall *self, GError **error)
{
    const GwRoute *route = self->route;
    g_autoptr(GError) failure = NULL;
    if (!gw_call_begin(self, error))
        return NULL;
    if (!route->action)
        return route->work(self, error);
    /* A person or host that has yet to show who it is: a record of each wrong password would wait for the
     * disk twice, and cost a stranger nothing. What the work changes is recorded in its own time. */
    if (route->access != GW_ACCESS_OPEN && !gw_call_audit_begin(self, error))
        return NULL;
    JsonObject *answer = route->work(self, &failure);
    if (self->audit_id)
        gw_call_audit_end(self, failure);
    else if (failure)
        gw_call_audit_refused(self, failure);
    if (!answer) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    if (route->status)
        gw_http_set_status(self->request, route->status);
    return answer;
}

bool
gw_call_no_arguments(GwCall *self, GError **error)
{
    g_auto(GwArguments) args;
    gw_arguments_init(&args, self->body);
    return gw_arguments_end(&args, error);
}

const char *
gw_call_param(GwCall *self, const char *name)
{
    return gw_http_request_param(self->request, name);
}

bool
gw_call_query_int(GwCall *self, const char *name, int64_t min, int64_t max, int64_t fallback,
                  int64_t *ret_value, GError **error)
{
    const char *text = gw_http_request_query(self->request, name);
    *ret_value = fallback;
    if (!text || g_ascii_string_to_signed(text, 10, min, max, ret_value, NULL))
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                "%s: got '%.40s', expected a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT,
                name, text, min, max);
    return false;
}

bool
gw_call_query_flag(GwCall *self, const char *name, bool *ret_value, GError **error)
{
    int64_t value = 0;
    bool good = gw_call_query_int(self, name, 0, 1, 0, &value, error);
    *ret_value = value == 1;
    return good;
}
