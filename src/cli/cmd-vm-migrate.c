/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit vm migrate. */
#include "cmd-vm.h"
#include "error.h"
#include "findings.h"
#include "follow.h"
#include "task-id.h"

#include <stdio.h>
#include <string.h>

const GwOption gw_vm_migrate_options[] = {
    {"to", GW_OPTION_TEXT, "HOST", "where it moves"},
    {"priority", GW_OPTION_TEXT, "normal|high",
     "high goes before others, reserves memory and CPU at the destination, and does not start without (normal)"},
    {"override", GW_OPTION_LIST, "ID", "move although the checks find this; may be given several times"},
    {"streams", GW_OPTION_NUMBER, "N", "connections that carry memory (as many as fit the hosts)", 1, 8},
    {"goal", GW_OPTION_NUMBER, "MS", "the longest acceptable downtime, in milliseconds (500)", 10, 60000},
    {"deadline", GW_OPTION_NUMBER, "S",
     "after how many seconds a motion that does not converge is given up (600)", 1, 7 * 86400},
    {"no-tls", GW_OPTION_FLAG, NULL, "let the guest's memory go unencrypted over the motion network"},
    {"no-wait", GW_OPTION_FLAG, NULL, "return as soon as the center has taken the task"},
    GW_REASON_OPTION,
    GW_JSON_OPTION,
    {NULL}};

static void
set_number(GwCli *cli, JsonObject *body, const char *option, const char *member)
{
    int64_t value = 0;
    if (gw_args_number(cli->args, option, &value))
        json_object_set_int_member(body, member, value);
}

static JsonObject *
request_body(GwCli *cli, const char *to)
{
    const char *priority = gw_args_text(cli->args, "priority");
    JsonObject *body = gw_cli_body(cli);
    json_object_set_string_member(body, "to", to);
    json_object_set_string_member(body, "priority", priority ? priority : "normal");
    gw_findings_add_overrides(body, gw_args_list(cli->args, "override"));
    set_number(cli, body, "streams", "streams");
    set_number(cli, body, "goal", "switchover_goal_ms");
    set_number(cli, body, "deadline", "deadline_s");
    json_object_set_boolean_member(body, "tls", !gw_args_flag(cli->args, "no-tls"));
    return body;
}

/* The center was lost while it answered: it may have taken the task. False if that cannot be learnt. */
static bool
find_taken(GwCli *cli, const char *vm, const char *to, JsonObject **ret_task)
{
    g_autofree char *name = g_uri_escape_string(vm, NULL, FALSE);
    g_autofree char *path = g_strdup_printf("/v1/tasks?vm=%s&open=1", name);
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "GET", path, NULL, NULL);
    for (guint i = 0; !*ret_task && i < gw_field_count(reply, "tasks"); i++) {
        JsonObject *task = gw_field_element(reply, "tasks", i);
        if (strcmp(gw_field_text(task, "destination", ""), to) == 0)
            *ret_task = json_object_ref(task);
    }
    return reply != NULL;
}

/* Asked for the VM first, the center is known to be there: what is lost after that was lost on the way. */
static JsonObject *
order(GwCli *cli, const char *vm, const char *to, GError **error)
{
    g_autofree char *path = gw_cli_path("vms", vm, NULL), *migrate = gw_cli_path("vms", vm, "migrate", NULL);
    g_autoptr(JsonObject) known = gw_cli_call(cli, "GET", path, NULL, error);
    g_autoptr(GError) cause = NULL;
    JsonObject *task = known ? gw_cli_call(cli, "POST", migrate, request_body(cli, to), &cause) : NULL;
    if (!cause)
        return task;
    bool lost = gw_exit_of_error(cause) == GW_EXIT_UNREACHABLE;
    if (lost && !find_taken(cli, vm, to, &task))
        g_prefix_error(&cause,
                       "it is not known whether the motion was ordered ('godwit task ls --vm %s'): ", vm);
    if (task)
        fprintf(stderr, "godwit: the center was lost while it answered, but it has the task\n");
    else
        g_propagate_error(error, g_steal_pointer(&cause));
    return task;
}

bool
gw_vm_migrate(GwCli *cli, GError **error)
{
    const char *vm = gw_args_positional(cli->args, 0), *to = gw_args_text(cli->args, "to");
    if (!to) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "--to HOST is missing");
        return false;
    }
    g_autoptr(JsonObject) taken = order(cli, vm, to, error);
    const char *id = gw_field_text(taken, "id", NULL);
    if (taken && !id)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_PROTOCOL, "the center's answer names no task");
    if (!id)
        return false;
    if (gw_args_flag(cli->args, "no-wait")) {
        g_autofree char *short_id = gw_task_id_short(id);
        gw_cli_print_done(cli, taken, "task %s; 'godwit task watch %s' shows it", short_id, short_id);
        return true;
    }
    g_autoptr(JsonObject) task = gw_follow_task(cli, id, error);
    if (!task)
        return cli->status == GW_EXIT_INTERRUPTED;
    gw_follow_print_end(cli, task);
    return true;
}
