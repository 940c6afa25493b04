/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tasks. */
#include "api-internal.h"
#include "error.h"

#include <string.h>

#define LIST_MAX 1000

JsonObject *
gw_api_tasks(GwCall *call, GError **error)
{
    static const char *const states[] = {"queued", "running", "completed", "failed", "cancelled", NULL};
    GwTaskFilter filter = {
        .vm = gw_http_request_query(call->request, "vm"),
        .host = gw_http_request_query(call->request, "host"),
        .state = gw_http_request_query(call->request, "state"),
    };
    int64_t limit = 0;
    if (!gw_call_query_flag(call, "open", &filter.open_only, error) ||
        !gw_call_query_int(call, "limit", 1, LIST_MAX, 100, &limit, error))
        return NULL;
    if (filter.state && !g_strv_contains(states, filter.state)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "state: got '%.40s', expected queued, running, completed, failed or cancelled",
                    filter.state);
        return NULL;
    }
    filter.limit = (unsigned)limit;
    JsonArray *tasks = gw_tasks_list(call->api->parts.tasks, &filter, error);
    return tasks ? gw_answer_list("tasks", tasks) : NULL;
}

JsonObject *
gw_api_task(GwCall *call, GError **error)
{
    return gw_tasks_json(call->api->parts.tasks, gw_call_param(call, "task"), error);
}

JsonObject *
gw_api_task_cancel(GwCall *call, GError **error)
{
    GwTasks *tasks = call->api->parts.tasks;
    const char *id = gw_call_param(call, "task");
    if (!gw_call_no_arguments(call, error) || !gw_tasks_cancel(tasks, id, call->user, error))
        return NULL;
    return gw_tasks_json(tasks, id, error);
}

JsonObject *
gw_api_task_client_gap(GwCall *call, GError **error)
{
    GwTasks *tasks = call->api->parts.tasks;
    const char *id = gw_call_param(call, "task");
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    double gap_ms = gw_arguments_number(&args, "gap_ms", GW_REQUIRED, 0, 86400e3);
    const char *prober = gw_arguments_string(&args, "prober", GW_REQUIRED, 200);
    if (!gw_arguments_end(&args, error) || !gw_tasks_set_client_gap(tasks, id, gap_ms, prober, error))
        return NULL;
    return gw_tasks_json(tasks, id, error);
}
