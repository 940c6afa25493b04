/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit task. */
#include "cli.h"
#include "findings.h"
#include "follow.h"
#include "format.h"
#include "progress.h"
#include "task-id.h"

#include <stdio.h>
#include <string.h>

static void
append_filter(GwCli *cli, GString *path, const char *option, const char *name)
{
    const char *value = gw_args_text(cli->args, option);
    g_autofree char *escaped = value ? g_uri_escape_string(value, NULL, FALSE) : NULL;
    if (value)
        g_string_append_printf(path, "&%s=%s", name, escaped);
}

static bool
run_ls(GwCli *cli, GError **error)
{
    static const GwColumn columns[] = {
        {"TASK"},
        {"STARTED"},
        {"VM", .may_shrink = true},
        {"FROM", .may_shrink = true},
        {"TO", .may_shrink = true},
        {"STATE", .colour = gw_cli_state_colour},
        {"STEP"},
        {"USER", .may_shrink = true},
    };
    int64_t limit = 50;
    gw_args_number(cli->args, "limit", &limit);
    g_autoptr(GString) path = g_string_new(NULL);
    g_string_printf(path, "/v1/tasks?limit=%d", (int)limit);
    append_filter(cli, path, "vm", "vm");
    append_filter(cli, path, "host", "host");
    append_filter(cli, path, "state", "state");
    if (gw_args_flag(cli->args, "open"))
        g_string_append(path, "&open=1");
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "GET", path->str, NULL, error);
    if (!reply)
        return false;
    if (cli->json) {
        gw_cli_print_json(reply);
        return true;
    }
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    for (guint i = 0; i < gw_field_count(reply, "tasks"); i++) {
        JsonObject *task = gw_field_element(reply, "tasks", i);
        const char *since = gw_field_text(task, "started", gw_field_text(task, "created", NULL));
        g_autofree char *time = gw_format_time(since, zone),
                        *id = gw_task_id_short(gw_field_text(task, "id", "?"));
        gw_table_add(table, id, time, gw_field_text(task, "vm", NULL), gw_field_text(task, "source", NULL),
                     gw_field_text(task, "destination", NULL), gw_field_text(task, "state", "?"),
                     gw_field_text(task, "step", NULL), gw_field_text(task, "user", NULL));
    }
    gw_cli_print_table(cli, table);
    return true;
}

static void
print_times(GwCli *cli, JsonObject *task)
{
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    static const char *const members[] = {"created", "started", "ended"};
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
        const char *at = gw_field_text(task, members[i], NULL);
        g_autofree char *time = gw_format_time(at, zone);
        if (at)
            gw_cli_print_line(cli, members[i], "%s", time);
    }
}

static void
print_motion(GwCli *cli, JsonObject *task)
{
    JsonObject *motion = gw_field_object(task, "motion");
    JsonObject *client = gw_field_object(motion, "client");
    double gap_ms = 0;
    if (gw_field_number_or(motion, "bytes_on_wire", 0) <= 0)
        return; /* it did not come so far */
    gw_cli_print_line(
        cli, "pages", "%.0f sent, %.0f zero, %.0f sent again", gw_field_number_or(motion, "pages_sent", 0),
        gw_field_number_or(motion, "pages_zero", 0), gw_field_number_or(motion, "pages_resent", 0));
    gw_cli_print_line(cli, "streams", "%.0f, %s", gw_field_number_or(motion, "streams", 0),
                      gw_field_bool(motion, "encrypted") ? gw_field_text(motion, "cipher", "encrypted")
                                                         : "not encrypted");
    for (guint i = 0; i < gw_field_count(motion, "paths"); i++) {
        JsonObject *way = gw_field_element(motion, "paths", i);
        gw_cli_print_line(cli, i == 0 ? "ways" : "", "%s to %s", gw_field_text(way, "source_address", "?"),
                          gw_field_text(way, "destination_address", "?"));
    }
    if (gw_field_number(client, "gap_ms", &gap_ms)) {
        g_autofree char *gap = gw_format_ms(gap_ms);
        gw_cli_print_line(cli, "client", "%s saw a gap of %s", gw_field_text(client, "prober", "a prober"),
                          gap);
    }
}

static void
print_rounds(GwCli *cli, JsonObject *task)
{
    static const GwColumn columns[] = {
        {"ROUND", true}, {"PAGES WRITTEN", true}, {"SENT", true}, {"TIME", true}};
    JsonObject *motion = gw_field_object(task, "motion");
    guint n = gw_field_count(motion, "rounds");
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    for (guint i = 0; i < n; i++) {
        JsonObject *round = gw_field_element(motion, "rounds", i);
        gw_table_take(table, g_strdup_printf("%u", i + 1),
                      g_strdup_printf("%.0f", gw_field_number_or(round, "dirty_pages", 0)),
                      gw_format_bytes(gw_field_number_or(round, "sent_bytes", -1)),
                      gw_format_ms(gw_field_number_or(round, "ms", -1)));
    }
    if (n > 0) {
        putchar('\n');
        gw_cli_print_table(cli, table);
    }
}

static void
print_task(GwCli *cli, JsonObject *task)
{
    const char *state = gw_field_text(task, "state", "?"), *reason = gw_field_text(task, "reason", NULL);
    JsonObject *why = gw_field_object(task, "error");
    bool completed = strcmp(state, "completed") == 0;
    g_autofree char *painted = gw_cli_paint(cli, gw_cli_state_colour(state), state);
    g_autofree char *line = completed ? gw_progress_summary(task) : gw_progress_line(task, 0);
    gw_cli_print_line(cli, "task", "%s, %s", gw_field_text(task, "id", "?"),
                      gw_field_text(task, "kind", "?"));
    gw_cli_print_line(cli, "motion", "%s from %s to %s, priority %s", gw_field_text(task, "vm", "?"),
                      gw_field_text(task, "source", "?"), gw_field_text(task, "destination", "?"),
                      gw_field_text(task, "priority", "?"));
    gw_cli_print_line(cli, "state", "%s%s%s", painted, completed ? "" : " in step ",
                      completed ? "" : gw_field_text(task, "step", "?"));
    if (completed || !gw_progress_has_ended(task))
        gw_cli_print_line(cli, completed ? "result" : "now", "%s", line);
    if (why) {
        /* What a check found is told below, better than in the message's further lines. */
        g_autofree char *message = g_strdup(gw_field_text(why, "message", "?"));
        if (gw_field_count(task, "findings") > 0)
            message[strcspn(message, "\n")] = '\0';
        gw_cli_print_line(cli, "error", "%s (%s)", message, gw_field_text(why, "code", "?"));
    }
    gw_cli_print_line(cli, "asked by", "%s%s%s", gw_field_text(task, "user", "?"), reason ? ": " : "",
                      reason ? reason : "");
    print_times(cli, task);
    print_motion(cli, task);
    print_rounds(cli, task);
    g_autofree char *findings = gw_findings_text(task, cli->width, cli->colour);
    if (*findings)
        printf("\n%s", findings);
}

static char *
path_of_task(GwCli *cli, GError **error)
{
    g_autofree char *id = gw_task_id_find(cli, gw_args_positional(cli->args, 0), error);
    return id ? gw_cli_path("tasks", id, NULL) : NULL;
}

static bool
run_show(GwCli *cli, GError **error)
{
    g_autofree char *path = path_of_task(cli, error);
    g_autoptr(JsonObject) task = path ? gw_cli_call(cli, "GET", path, NULL, error) : NULL;
    if (!task)
        return false;
    if (cli->json)
        gw_cli_print_json(task);
    else
        print_task(cli, task);
    return true;
}

static bool
run_watch(GwCli *cli, GError **error)
{
    g_autofree char *id = gw_task_id_find(cli, gw_args_positional(cli->args, 0), error);
    g_autoptr(JsonObject) task = id ? gw_follow_task(cli, id, error) : NULL;
    if (!task)
        return cli->status == GW_EXIT_INTERRUPTED;
    gw_follow_print_end(cli, task);
    return true;
}

static bool
run_cancel(GwCli *cli, GError **error)
{
    g_autofree char *path = path_of_task(cli, error);
    g_autoptr(JsonObject) task = path ? gw_cli_call(cli, "DELETE", path, gw_cli_body(cli), error) : NULL;
    if (!task)
        return false;
    gw_cli_print_done(cli, task, "%s: %s", gw_args_positional(cli->args, 0),
                      gw_progress_has_ended(task) ? gw_field_text(task, "state", "?") : "cancelling");
    return true;
}

static const GwOption ls_options[] = {
    {"vm", GW_OPTION_TEXT, "VM", "only those of this VM"},
    {"host", GW_OPTION_TEXT, "HOST", "only those from or to this host"},
    {"state", GW_OPTION_TEXT, "queued|running|completed|failed|cancelled", "only those in this state"},
    {"open", GW_OPTION_FLAG, NULL, "only those that have not ended"},
    {"limit", GW_OPTION_NUMBER, "N", "at most this many, the newest (50)", 1, 1000},
    GW_JSON_OPTION,
    {NULL}};
static const GwOption json_options[] = {GW_JSON_OPTION, {NULL}};
static const GwOption cancel_options[] = {GW_REASON_OPTION, GW_JSON_OPTION, {NULL}};

const GwCommand gw_task_commands[] = {
    {"ls", NULL, ls_options, "list the tasks", "Lists the motions that were asked for, the newest first.",
     "godwit task ls --open\ngodwit task ls --vm web1 --state failed\n", run_ls},
    {"show", "TASK", json_options, "show a task",
     "Shows a task: how far it is, or how it ended, round by round, and what the checks had found.",
     "godwit task show 3f0c9a52\n", run_show},
    {"watch", "TASK", json_options, "wait for a task's end",
     "Shows how far the task is until it ends, as 'godwit vm migrate' does. Ctrl-C asks whether to cancel it.",
     "godwit task watch 3f0c9a52\n", run_watch},
    {"cancel", "TASK", cancel_options, "cancel a task",
     "Cancels a motion, at any step before its handover. The VM stays where it is.",
     "godwit task cancel 3f0c9a52\n", run_cancel},
    {NULL}};
