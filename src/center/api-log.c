/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events, as a stream and as history, and the audit log. */
#include "api-internal.h"
#include "json.h"

#define LIST_MAX 1000

static JsonObject *
history(GwCall *call, int64_t after_id, GError **error)
{
    int64_t limit = 0;
    if (!gw_call_query_int(call, "limit", 1, LIST_MAX, 100, &limit, error))
        return NULL;
    g_autoptr(GArray) events = gw_store_events(call->api->parts.store, after_id, (unsigned)limit, error);
    if (!events)
        return NULL;
    JsonArray *list = json_array_new();
    for (guint i = 0; i < events->len; i++)
        json_array_add_object_element(list, gw_event_to_json(&g_array_index(events, GwEventRecord, i)));
    return gw_answer_list("events", list);
}

/* A browser that lost its stream comes back with the header and the address that it had first: the header is
 * the newer. */
static int64_t
last_event_id(GwCall *call, int64_t fallback)
{
    const char *text = gw_http_request_last_event_id(call->request);
    int64_t id = fallback;
    if (text && !g_ascii_string_to_signed(text, 10, 0, G_MAXINT64, &id, NULL))
        return fallback;
    return id;
}

JsonObject *
gw_api_events_prepare(GwCall *call, GError **error)
{
    bool is_history = false;
    int64_t after_id = -1;
    if (!gw_call_query_flag(call, "history", &is_history, error) ||
        !gw_call_query_int(call, "after", 0, G_MAXINT64, -1, &after_id, error))
        return NULL;
    if (is_history)
        return history(call, after_id, error);
    call->prepared = gw_event_replay_read(call->api->parts.store, last_event_id(call, after_id), error);
    call->free_prepared = (GDestroyNotify)gw_event_replay_free;
    return NULL;
}

void
gw_api_events_begin(GwCall *call)
{
    const char *token =
        gw_http_request_is_local(call->request) ? NULL : gw_http_request_bearer(call->request);
    gw_event_streams_begin(call->api->events, call->request, token, call->prepared);
}

static JsonObject *
audit_json(const GwAuditRecord *record)
{
    JsonObject *object = json_object_new();
    json_object_set_int_member(object, "id", record->id);
    gw_answer_set_time(object, "at", record->at_us);
    json_object_set_string_member(object, "user", record->user);
    json_object_set_string_member(object, "address", record->address);
    json_object_set_string_member(object, "action", record->action);
    gw_answer_set_text(object, "object", record->object);
    JsonObject *details = record->details ? gw_json_parse_object(record->details, -1, NULL) : NULL;
    if (details)
        json_object_set_object_member(object, "details", details);
    else
        json_object_set_null_member(object, "details");
    gw_answer_set_text(object, "reason", record->reason);
    json_object_set_string_member(object, "result", record->result);
    gw_answer_set_text(object, "message", record->message);
    return object;
}

JsonObject *
gw_api_audit(GwCall *call, GError **error)
{
    int64_t before_id = 0, limit = 0;
    if (!gw_call_query_int(call, "before", 0, G_MAXINT64, 0, &before_id, error) ||
        !gw_call_query_int(call, "limit", 1, LIST_MAX, 100, &limit, error))
        return NULL;
    g_autoptr(GArray) records = gw_store_audit(call->api->parts.store, before_id, (unsigned)limit, error);
    if (!records)
        return NULL;
    JsonArray *list = json_array_new();
    for (guint i = 0; i < records->len; i++)
        json_array_add_object_element(list, audit_json(&g_array_index(records, GwAuditRecord, i)));
    return gw_answer_list("audit", list);
}
