/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who did what: a record of every change, and of every attempt that was refused.
 *
 * What changes something is recorded before it is done (gw_store_begin_audit()) and with its result
 * afterwards: if the store cannot take the record, the change is refused. So none is ever made that nobody
 * can be asked about, not on a full disk and not when the center dies in between, either: what it was doing
 * is then in the log with the result "unknown".
 *
 * An attempt that was refused is recorded afterwards, since nothing hangs on it; for people who are not
 * known, only so many a minute, or they could fill the disk. */
#include "api-internal.h"

#include "error.h"
#include "json.h"

#include <string.h>

#define DETAILS_LIMIT   (64 * 1024) /* bytes of a body in a record; what is larger is a VM's configuration */
#define REFUSALS_LIMIT  60          /* a minute, of people who are not known */
#define OBJECT_NAME_MAX 100         /* characters */

static JsonNode *without_secrets(JsonNode *node);

static JsonNode *
list_without_secrets(JsonArray *list)
{
    JsonArray *copy = json_array_new();
    for (guint i = 0; i < json_array_get_length(list); i++)
        json_array_add_element(copy, without_secrets(json_array_get_element(list, i)));
    JsonNode *result = json_node_new(JSON_NODE_ARRAY);
    json_node_take_array(result, copy);
    return result;
}

static JsonNode *
object_without_secrets(JsonObject *object)
{
    /* "request" is a host's certificate request: no secret, but of no use in a log. "reason" has a place of
     * its own there. */
    static const char *const left_out[] = {"password", "old_password", "token", "request", "reason", NULL};
    JsonObject *copy = json_object_new();
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;
    json_object_iter_init_ordered(&iter, object);
    while (json_object_iter_next_ordered(&iter, &name, &value))
        if (!g_strv_contains(left_out, name))
            json_object_set_member(copy, name, without_secrets(value));
    JsonNode *result = json_node_new(JSON_NODE_OBJECT);
    json_node_take_object(result, copy);
    return result;
}

/* A copy. The body's depth is limited (GW_JSON_MAX_DEPTH). */
static JsonNode *
without_secrets(JsonNode *node)
{
    if (JSON_NODE_HOLDS_OBJECT(node))
        return object_without_secrets(json_node_get_object(node));
    if (JSON_NODE_HOLDS_ARRAY(node))
        return list_without_secrets(json_node_get_array(node));
    return json_node_copy(node);
}

char *
gw_audit_details(JsonObject *body)
{
    g_autoptr(JsonNode) whole = json_node_init_object(json_node_alloc(), body);
    g_autoptr(JsonNode) clean = without_secrets(whole);
    if (json_object_get_size(json_node_get_object(clean)) == 0)
        return NULL;
    g_autofree char *line = gw_json_node_to_line(clean);
    if (strlen(line) > DETAILS_LIMIT)
        return g_strdup_printf("{\"left_out\":\"%zu bytes\"}", strlen(line));
    return g_steal_pointer(&line);
}

static const char *
body_member(JsonObject *body, const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", 2);
    if (!parts[1])
        return gw_json_get_string(body, path);
    JsonObject *inner = gw_json_get_object(body, parts[0]);
    return inner ? gw_json_get_string(inner, parts[1]) : NULL;
}

char *
gw_audit_object(const GwRoute *route, GwHttpRequest *request, JsonObject *body)
{
    if (!route->kind)
        return NULL;
    const char *name = route->member ? (body ? body_member(body, route->member) : NULL)
                                     : gw_http_request_param(request, route->kind);
    if (!name)
        return NULL;
    g_autofree char *valid = g_utf8_make_valid(name, -1);
    g_autofree char *shortened = g_utf8_substring(valid, 0, MIN(g_utf8_strlen(valid, -1), OBJECT_NAME_MAX));
    return g_strdup_printf("%s/%s", route->kind, shortened);
}

static GwAuditRecord
record_of(GwCall *self, char *details)
{
    return (GwAuditRecord){
        .at_us = g_get_real_time(),
        .user = self->user ? self->user : (char *)"",
        .address = (char *)self->address,
        .action = (char *)self->route->action,
        .object = self->object,
        .details = details,
        .reason = self->reason,
    };
}

bool
gw_call_audit_begin(GwCall *self, GError **error)
{
    g_autofree char *details = self->body ? gw_audit_details(self->body) : NULL;
    GwAuditRecord record = record_of(self, details);
    if (gw_store_begin_audit(self->api->parts.store, &record, &self->audit_id, error))
        return true;
    g_prefix_error(error, "%s is not done, for it cannot be recorded: ", self->route->action);
    return false;
}

void
gw_call_audit_end(GwCall *self, const GError *failure)
{
    g_autoptr(GError) error = NULL;
    const char *result = self->route->status == 202 ? "accepted" : "done";
    if (!gw_store_end_audit(self->api->parts.store, self->audit_id, failure ? gw_error_name(failure) : result,
                            failure ? failure->message : NULL, &error))
        g_warning("the result of %s by %s is not in the audit log: %s", self->route->action, self->user,
                  error->message);
}

static bool
may_record_stranger(GwApi *api)
{
    int64_t now_us = g_get_monotonic_time();
    g_mutex_lock(&api->lock);
    if (now_us - api->minute_us > G_TIME_SPAN_MINUTE) {
        if (api->n_refusals > REFUSALS_LIMIT)
            g_warning("%u refused requests of people who are not known were not recorded",
                      api->n_refusals - REFUSALS_LIMIT);
        api->minute_us = now_us;
        api->n_refusals = 0;
    }
    bool may = ++api->n_refusals <= REFUSALS_LIMIT;
    g_mutex_unlock(&api->lock);
    return may;
}

void
gw_call_audit_refused(GwCall *self, const GError *failure)
{
    g_autoptr(GError) error = NULL;
    bool is_known = self->user && self->route->access != GW_ACCESS_OPEN;
    if (!self->route->action || (!is_known && !may_record_stranger(self->api)))
        return;
    g_autofree char *details = is_known && self->body ? gw_audit_details(self->body) : NULL;
    GwAuditRecord record = record_of(self, details);
    record.result = (char *)gw_error_name(failure);
    record.message = failure->message;
    if (!gw_store_add_audit(self->api->parts.store, &record, &error))
        g_warning("a refused %s by '%s' is not in the audit log: %s", self->route->action, record.user,
                  error->message);
}
