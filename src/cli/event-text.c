/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An event as a line: types are added with every version, so what has no words of its own is shown as
 * name=value. */
#include "event-text.h"

#include "fields.h"
#include "format.h"
#include "json-text.h"
#include "progress.h"
#include "text.h"

#include <string.h>

/* Of the line's beginning, or of no use to people. */
static bool
is_known(const char *name)
{
    static const char *const known[] = {"id",   "type",         "at",   "vm", "host",
                                        "task", "monotonic_us", "data", NULL};
    return g_strv_contains(known, name);
}

static void
append_member(JsonObject *object, const char *name, JsonNode *node, gpointer data)
{
    GString *line = data;
    if (is_known(name) || JSON_NODE_HOLDS_OBJECT(node) || JSON_NODE_HOLDS_ARRAY(node) ||
        JSON_NODE_HOLDS_NULL(node))
        return;
    g_autofree char *text = json_node_get_value_type(node) == G_TYPE_STRING
                                ? g_strdup(json_node_get_string(node))
                                : gw_json_text(node, false);
    g_string_append_printf(line, " %s=%s", name, text);
}

char *
gw_event_members(JsonObject *object)
{
    GString *line = g_string_new(NULL);
    if (object)
        json_object_foreach_member(object, append_member, line);
    return g_strchug(g_string_free(line, FALSE));
}

/* A motion's events carry the task. */
static char *
motion_text(JsonObject *event, JsonObject *data)
{
    JsonObject *task =
        gw_field_object(data, "task") ? gw_field_object(data, "task") : gw_field_object(event, "task");
    const char *message = gw_field_text(gw_field_object(task, "error"), "message", NULL);
    if (!task || !gw_field_text(task, "vm", NULL))
        return NULL;
    if (strcmp(gw_field_text(task, "state", ""), "completed") == 0)
        return gw_progress_summary(task);
    g_autofree char *line = gw_progress_line(task, 0);
    g_auto(GStrv) message_lines = g_strsplit(message ? message : "", "\n", 2); /* the task has the rest */
    return g_strconcat(line, message ? ": " : "", message_lines[0], NULL);
}

char *
gw_event_text(JsonObject *event, GTimeZone *zone)
{
    JsonObject *data = gw_field_object(event, "data") ? gw_field_object(event, "data") : event;
    g_autofree char *time = gw_format_time(gw_field_text(event, "at", NULL), zone);
    g_autofree char *motion = motion_text(event, data);
    const char *vm = gw_field_text(event, "vm", NULL), *host = gw_field_text(event, "host", NULL),
               *task = gw_field_text(event, "task", NULL);
    g_autoptr(GString) line = g_string_new(NULL);
    g_string_append_printf(line, "%s  %-18s", time, gw_field_text(event, "type", "?"));
    if (motion) {
        g_string_append_printf(line, " %s", motion);
        return gw_text_cut(line->str, 0);
    }
    if (vm)
        g_string_append_printf(line, " %s", vm);
    if (host)
        g_string_append_printf(line, "%s %s", vm ? " on" : "", host);
    if (task)
        g_string_append_printf(line, "%s task %s", vm || host ? "," : "", task);
    if (vm || host || task)
        g_string_append_c(line, ':');
    gsize length = line->len;
    json_object_foreach_member(data, append_member, line);
    if (line->len == length && line->str[length - 1] == ':')
        g_string_truncate(line, length - 1);
    return gw_text_cut(line->str, 0);
}
