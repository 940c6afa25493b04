/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit event, audit. */
#include "cli.h"
#include "error.h"
#include "event-text.h"
#include "format.h"
#include "json-text.h"
#include "json.h"
#include "text.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define STREAM_TIMEOUT_S 20 /* the center says something every 5 s */
#define AGAIN_MS         1000

typedef struct {
    GwCli *cli;
    GTimeZone *zone;
    char *last; /* the newest id that was seen */
    bool away;
} Follow;

static bool
is_wanted(GwCli *cli, JsonObject *event)
{
    const char *vm = gw_args_text(cli->args, "vm"), *host = gw_args_text(cli->args, "host");
    return (!vm || strcmp(vm, gw_field_text(event, "vm", "")) == 0) &&
           (!host || strcmp(host, gw_field_text(event, "host", "")) == 0);
}

static void
print_event(GwCli *cli, GTimeZone *zone, JsonObject *event)
{
    g_autoptr(JsonObject) plain = gw_text_plain_object(event);
    g_autofree char *line = gw_event_text(plain, zone);
    puts(line);
}

static bool
run_ls(GwCli *cli, GError **error)
{
    int64_t limit = 50;
    gw_args_number(cli->args, "limit", &limit);
    g_autofree char *path = g_strdup_printf("/v1/events?history=1&limit=%d", (int)limit);
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "GET", path, NULL, error);
    if (!reply)
        return false;
    if (cli->json) {
        gw_cli_print_json(reply);
        return true;
    }
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    for (guint i = 0; i < gw_field_count(reply, "events"); i++) {
        JsonObject *event = gw_field_element(reply, "events", i);
        if (event && is_wanted(cli, event))
            print_event(cli, zone, event);
    }
    return true;
}

static void
on_open(void *data)
{
    Follow *self = data;
    if (self->away)
        fputs("godwit: the center answers again\n", stderr);
    self->away = false;
}

static bool
on_event(const char *id, const char *type, JsonObject *data, void *user_data)
{
    Follow *self = user_data;
    if (id && *id) {
        g_free(self->last);
        self->last = g_strdup(id);
    } else if (!gw_args_flag(self->cli->args, "passing") && g_strcmp0(type, "events.missed") != 0) {
        return true;
    }
    if (!is_wanted(self->cli, data))
        return true;
    if (self->cli->json) {
        g_autofree char *line = gw_json_object_text(data, false);
        puts(line);
    } else {
        print_event(self->cli, self->zone, data);
    }
    return fflush(stdout) == 0; /* who read us is gone */
}

/* From now on: behind the newest that there is. */
static bool
find_last(Follow *self, GError **error)
{
    g_autoptr(JsonObject) reply = gw_cli_call(self->cli, "GET", "/v1/events?history=1&limit=1", NULL, error);
    double id = 0;
    if (reply && gw_field_number(gw_field_element(reply, "events", 0), "id", &id))
        self->last = g_strdup_printf("%.0f", id);
    return reply != NULL;
}

/* Returns true when nobody listens to us any more. */
static bool
follow_once(Follow *self, GError **error)
{
    g_autofree char *path = g_strdup_printf("/v1/events?after=%s", self->last ? self->last : "0");
    g_autoptr(GwHttpClient) client = gw_cli_connect(self->cli, STREAM_TIMEOUT_S, error);
    return client && gw_http_follow(client, path, on_open, on_event, self, error);
}

static bool
run_follow(GwCli *cli, GError **error)
{
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    Follow self = {.cli = cli, .zone = zone};
    if (!find_last(&self, error))
        return false;
    for (;;) {
        g_autoptr(GError) cause = NULL;
        if (follow_once(&self, &cause))
            break;
        if (cause && !gw_error_is_passing(cause)) {
            gw_cli_explain(cli, &cause);
            g_propagate_error(error, g_steal_pointer(&cause));
            break;
        }
        if (!self.away)
            fprintf(stderr, "godwit: the center does not answer, trying again (%s)\n",
                    cause ? cause->message : "the stream ended");
        self.away = true;
        poll(NULL, 0, AGAIN_MS); /* how often somebody asks who is not there */
    }
    g_free(self.last);
    return !error || !*error;
}

/* "done", "accepted", "unknown", or the code of an error. */
static const char *
result_colour(const char *result)
{
    bool good = strcmp(result, "done") == 0 || strcmp(result, "accepted") == 0;
    return good ? "32" : strcmp(result, "unknown") == 0 ? "33" : "31";
}

static bool
run_audit(GwCli *cli, GError **error)
{
    static const GwColumn columns[] = {
        {"TIME"},
        {"USER"},
        {"FROM"},
        {"ACTION"},
        {"OBJECT", .may_shrink = true},
        {"DETAILS", .may_shrink = true},
        {"RESULT", .colour = result_colour},
        {"REASON", .may_shrink = true},
        {"MESSAGE", .may_shrink = true},
    };
    int64_t limit = 50, before = 0;
    gw_args_number(cli->args, "limit", &limit);
    g_autoptr(GString) path = g_string_new(NULL);
    g_string_printf(path, "/v1/audit?limit=%d", (int)limit);
    if (gw_args_number(cli->args, "before", &before))
        g_string_append_printf(path, "&before=%" G_GINT64_FORMAT, before);
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "GET", path->str, NULL, error);
    if (!reply)
        return false;
    if (cli->json) {
        gw_cli_print_json(reply);
        return true;
    }
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    for (guint i = 0; i < gw_field_count(reply, "audit"); i++) {
        JsonObject *entry = gw_field_element(reply, "audit", i);
        g_autofree char *time = gw_format_time(gw_field_text(entry, "at", NULL), zone);
        g_autofree char *details = gw_event_members(gw_field_object(entry, "details"));
        gw_table_add(table, time, gw_field_text(entry, "user", NULL),
                     gw_field_text(entry, "address", "local"), gw_field_text(entry, "action", NULL),
                     gw_field_text(entry, "object", NULL), details, gw_field_text(entry, "result", NULL),
                     gw_field_text(entry, "reason", NULL), gw_field_text(entry, "message", NULL));
    }
    gw_cli_print_table(cli, table);
    return true;
}

static const GwOption ls_options[] = {
    {"vm", GW_OPTION_TEXT, "VM", "only those of this VM (JSON always has all)"},
    {"host", GW_OPTION_TEXT, "HOST", "only those of this host (JSON always has all)"},
    {"limit", GW_OPTION_NUMBER, "N", "look at this many, the newest (50)", 1, 1000},
    GW_JSON_OPTION,
    {NULL}};
static const GwOption follow_options[] = {
    {"vm", GW_OPTION_TEXT, "VM", "only those of this VM"},
    {"host", GW_OPTION_TEXT, "HOST", "only those of this host"},
    {"passing", GW_OPTION_FLAG, NULL,
     "also what changes several times a second and is not kept: progress, load"},
    {"json", GW_OPTION_FLAG, NULL, "print an object of JSON on a line for each"},
    {NULL}};
static const GwOption audit_options[] = {
    {"limit", GW_OPTION_NUMBER, "N", "at most this many, the newest (50)", 1, 1000},
    {"before", GW_OPTION_NUMBER, "ID", "only those older than this one", 1, G_MAXINT64},
    GW_JSON_OPTION,
    {NULL}};

const GwCommand gw_event_commands[] = {
    {"ls", NULL, ls_options, "what has happened", "Lists what has happened.", "godwit event ls --vm web1\n",
     run_ls},
    {"follow", NULL, follow_options, "what happens, as it does",
     "Prints what happens, a line for each event, until Ctrl-C. It goes on when the center comes back, and leaves "
     "nothing out.",
     "godwit event follow\ngodwit event follow --json | jq -c 'select(.type == \"vm.state\")'\n", run_follow},
    {NULL}};

const GwCommand gw_audit_commands[] = {
    {"ls", NULL, audit_options, "who changed what, and why",
     "Lists all changes that were made or refused: when, by whom, from where, what, why, and with what result. For "
     "administrators.",
     "godwit audit ls --limit 20\n", run_audit},
    {NULL}};
