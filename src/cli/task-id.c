/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tasks' ids. */
#include "task-id.h"

#include "error.h"

#include <string.h>

#define PREFIX       "task-"
#define SHORT_DIGITS 8

static bool
is_whole(const char *id)
{
    return g_str_has_prefix(id, PREFIX) && g_uuid_string_is_valid(id + strlen(PREFIX));
}

char *
gw_task_id_short(const char *id)
{
    return is_whole(id) ? g_strndup(id + strlen(PREFIX), SHORT_DIGITS) : g_strdup(id);
}

char *
gw_task_id_match(JsonObject *tasks, const char *text, GError **error)
{
    const char *found = NULL;
    for (guint i = 0; i < gw_field_count(tasks, "tasks"); i++) {
        const char *id = gw_field_text(gw_field_element(tasks, "tasks", i), "id", "");
        bool begins = g_str_has_prefix(id, text) ||
                      (g_str_has_prefix(id, PREFIX) && g_str_has_prefix(id + strlen(PREFIX), text));
        if (strcmp(id, text) == 0)
            return g_strdup(id);
        if (begins && found) {
            g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                        "more than one task begins with '%s': %s and %s", text, found, id);
            return NULL;
        }
        found = begins ? id : found;
    }
    if (!found)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND,
                    "there is no task '%s' ('godwit task ls' lists them)", text);
    return g_strdup(found);
}

char *
gw_task_id_find(GwCli *cli, const char *text, GError **error)
{
    g_autofree char *path = gw_cli_path("tasks", text, NULL);
    g_autoptr(GError) cause = NULL;
    g_autoptr(JsonObject) task = gw_cli_call(cli, "GET", path, NULL, &cause);
    if (task)
        return g_strdup(text);
    if (!g_error_matches(cause, GW_ERROR, GW_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&cause));
        return NULL;
    }
    g_autoptr(JsonObject) tasks = gw_cli_call(cli, "GET", "/v1/tasks?limit=1000", NULL, error);
    return tasks ? gw_task_id_match(tasks, text, error) : NULL;
}
