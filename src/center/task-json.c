/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tasks as JSON, and what of a task is kept: the result's text is {"findings": […], "motion": {…}}. */
#include "inventory-internal.h"
#include "task-internal.h"

static void
set_time(JsonObject *object, const char *member, int64_t us)
{
    g_autofree char *text = gw_utc_text(us);
    gw_json_set_text(object, member, text);
}

static void
set_error(JsonObject *object, const GwTaskRecord *record)
{
    if (!record->error_code) {
        json_object_set_null_member(object, "error");
        return;
    }
    JsonObject *error = json_object_new();
    json_object_set_string_member(error, "code", record->error_code);
    gw_json_set_text(error, "message", record->error_message);
    json_object_set_object_member(object, "error", error);
}

/* What a record alone tells; the rest follows. */
static JsonObject *
head(const GwTaskRecord *record)
{
    JsonObject *object = json_object_new();
    g_autoptr(JsonObject) request = record->request ? gw_json_parse_object(record->request, -1, NULL) : NULL;
    gw_json_set_text(object, "id", record->id);
    gw_json_set_text(object, "kind", record->kind);
    gw_json_set_text(object, "vm", record->vm);
    gw_json_set_text(object, "source", record->source);
    gw_json_set_text(object, "destination", record->destination);
    gw_json_set_text(object, "state", record->state);
    gw_json_set_text(object, "step", record->step);
    gw_json_set_text(object, "priority", request ? gw_json_get_string(request, "priority") : NULL);
    gw_json_set_text(object, "user", record->user);
    gw_json_set_text(object, "reason", record->reason);
    set_time(object, "created", record->created_us);
    set_time(object, "started", record->started_us);
    set_time(object, "ended", record->ended_us);
    set_error(object, record);
    return object;
}

JsonObject *
gw_task_json_locked(const GwTask *self, bool with_findings)
{
    JsonObject *object = head(&self->record);
    gw_json_set_text(object, "waits_for", self->waits_for);
    gw_json_set_parsed(object, "progress", self->progress);
    gw_json_set_parsed(object, "motion", self->motion);
    if (with_findings)
        gw_json_set_parsed(object, "findings", self->findings ? self->findings : "[]");
    return object;
}

static void
move_member(JsonObject *from, JsonObject *to, const char *member)
{
    JsonNode *node = from ? json_object_get_member(from, member) : NULL;
    if (node)
        json_object_set_member(to, member, json_node_copy(node));
    else
        json_object_set_null_member(to, member);
}

JsonObject *
gw_task_record_json(const GwTaskRecord *record)
{
    JsonObject *object = head(record);
    g_autoptr(JsonObject) result = record->result ? gw_json_parse_object(record->result, -1, NULL) : NULL;
    json_object_set_null_member(object, "waits_for");
    json_object_set_null_member(object, "progress");
    move_member(result, object, "motion");
    move_member(result, object, "findings");
    if (!gw_json_get_array(object, "findings"))
        json_object_set_array_member(object, "findings", json_array_new());
    return object;
}

void
gw_task_pack_result_locked(GwTask *self)
{
    JsonObject *result = json_object_new();
    gw_json_set_parsed(result, "findings", self->findings);
    gw_json_set_parsed(result, "motion", self->motion);
    g_free(self->record.result);
    self->record.result = gw_json_object_to_line(result);
    json_object_unref(result);
}
