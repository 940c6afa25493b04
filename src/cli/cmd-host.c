/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit host. */
#include "cli.h"
#include "error.h"
#include "format.h"
#include "json.h"
#include "text.h"

#include <stdio.h>
#include <string.h>

static char *
memory_of(JsonObject *object, const char *member)
{
    double bytes = 0;
    return gw_field_number(object, member, &bytes) ? gw_format_memory(bytes) : g_strdup("-");
}

static char *
percent_of(JsonObject *object, const char *member)
{
    double percent = 0;
    return gw_field_number(object, member, &percent) ? g_strdup_printf("%.0f %%", percent) : g_strdup("-");
}

static char *
count_of(JsonObject *object, const char *member)
{
    double n = 0;
    return gw_field_number(object, member, &n) ? g_strdup_printf("%.0f", n) : g_strdup("-");
}

static const char *
host_state(JsonObject *host)
{
    const char *state = gw_field_text(host, "state", "unknown");
    return strcmp(state, "up") == 0 && gw_field_bool(host, "in_maintenance") ? "maintenance" : state;
}

static bool
run_ls(GwCli *cli, GError **error)
{
    static const GwColumn columns[] = {
        {"HOST"},      {"STATE", .colour = gw_cli_state_colour},
        {"CPU", true}, {"MEMORY FREE", true},
        {"VMS", true}, {"MOTIONS", true},
        {"ADDRESS"},   {"VERSION", .may_shrink = true},
    };
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "GET", "/v1/hosts", NULL, error);
    if (!reply)
        return false;
    if (cli->json) {
        gw_cli_print_json(reply);
        return true;
    }
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    for (guint i = 0; i < gw_field_count(reply, "hosts"); i++) {
        JsonObject *host = gw_field_element(reply, "hosts", i);
        JsonObject *load = gw_field_object(host, "load"), *facts = gw_field_object(host, "facts");
        gw_table_take(table, g_strdup(gw_field_text(host, "name", "?")), g_strdup(host_state(host)),
                      percent_of(load, "cpu_percent"), memory_of(load, "memory_available_bytes"),
                      count_of(host, "n_vms"), count_of(host, "n_motions"),
                      g_strdup(gw_field_text(host, "address", NULL)),
                      g_strdup(gw_field_text(facts, "version", NULL)));
    }
    gw_cli_print_table(cli, table);
    return true;
}

static void
print_interfaces(GwCli *cli, JsonObject *facts)
{
    for (guint i = 0; i < gw_field_count(facts, "motion_interfaces"); i++) {
        JsonObject *each = gw_field_element(facts, "motion_interfaces", i);
        double speed = 0;
        g_autofree char *rate = gw_field_number(each, "speed_bits_per_s", &speed) && speed > 0
                                    ? gw_format_bits_per_s(speed)
                                    : NULL;
        gw_cli_print_line(cli, i == 0 ? "motion" : "", "%s %s%s%s%s", gw_field_text(each, "name", "?"),
                          gw_field_text(each, "address", "without an address"), rate ? ", " : "",
                          rate ? rate : "", gw_field_bool(each, "up") ? "" : ", down");
    }
}

static void
print_networks(GwCli *cli, JsonObject *facts)
{
    for (guint i = 0; i < gw_field_count(facts, "switches"); i++) {
        JsonObject *each = gw_field_element(facts, "switches", i);
        g_autofree char *uplinks = gw_field_join(each, "uplinks", NULL);
        gw_cli_print_line(cli, i == 0 ? "switches" : "", "%s (%s), %s%s", gw_field_text(each, "name", "?"),
                          gw_field_text(each, "bridge", "?"), *uplinks ? "uplinks " : "no uplink", uplinks);
    }
    for (guint i = 0; i < gw_field_count(facts, "port_groups"); i++) {
        JsonObject *each = gw_field_element(facts, "port_groups", i);
        gw_cli_print_line(cli, i == 0 ? "port groups" : "", "%s on %s", gw_field_text(each, "name", "?"),
                          gw_field_text(each, "switch", "?"));
    }
}

static void
print_datastores(GwCli *cli, JsonObject *facts)
{
    for (guint i = 0; i < gw_field_count(facts, "datastores"); i++) {
        JsonObject *each = gw_field_element(facts, "datastores", i);
        g_autofree char *free_bytes = gw_format_bytes(gw_field_number_or(each, "free_bytes", -1)),
                        *capacity = gw_format_bytes(gw_field_number_or(each, "capacity_bytes", -1));
        const char *trouble = gw_field_text(each, "error", NULL);
        if (trouble) {
            gw_cli_print_line(cli, i == 0 ? "datastores" : "", "%s at %s: %s",
                              gw_field_text(each, "name", "?"), gw_field_text(each, "path", "?"), trouble);
            continue;
        }
        gw_cli_print_line(cli, i == 0 ? "datastores" : "", "%s at %s, %s of %s free%s",
                          gw_field_text(each, "name", "?"), gw_field_text(each, "path", "?"), free_bytes,
                          capacity, gw_field_bool(each, "read_only") ? ", read-only" : "");
    }
}

static void
print_problems(GwCli *cli, JsonObject *facts)
{
    for (guint i = 0; i < gw_field_count(facts, "problems"); i++) {
        JsonObject *each = gw_field_element(facts, "problems", i);
        const char *repair = gw_field_text(each, "repair", NULL);
        gw_cli_print_line(cli, i == 0 ? "problems" : "", "%s: %s%s%s",
                          gw_field_text(each, "severity", "error"), gw_field_text(each, "text", "?"),
                          repair ? "; repair: " : "", repair ? repair : "");
    }
}

static void
print_facts(GwCli *cli, JsonObject *facts)
{
    JsonObject *qemu = gw_field_object(facts, "qemu"), *cpu = gw_field_object(facts, "cpu");
    JsonObject *memory = gw_field_object(facts, "memory");
    g_autofree char *total = memory_of(memory, "total_bytes"),
                    *available = memory_of(memory, "available_bytes");
    gw_cli_print_line(cli, "version", "godwit %s, Linux %s", gw_field_text(facts, "version", "?"),
                      gw_field_text(facts, "kernel", "?"));
    gw_cli_print_line(cli, "QEMU", "%s, %s", gw_field_text(qemu, "version", "?"),
                      gw_field_text(qemu, "accel_why", gw_field_text(qemu, "accel", "?")));
    gw_cli_print_line(cli, "CPU", "%.0f × %s", gw_field_number_or(cpu, "count", 0),
                      gw_field_text(cpu, "model", "?"));
    gw_cli_print_line(cli, "memory", "%s, %s of it free", total, available);
    print_interfaces(cli, facts);
    print_networks(cli, facts);
    print_datastores(cli, facts);
    print_problems(cli, facts);
}

static bool
run_show(GwCli *cli, GError **error)
{
    g_autofree char *path = gw_cli_path_of_argument(cli, "hosts", NULL);
    g_autoptr(JsonObject) host = gw_cli_call(cli, "GET", path, NULL, error);
    if (!host)
        return false;
    if (cli->json) {
        gw_cli_print_json(host);
        return true;
    }
    const char *trouble = gw_field_text(host, "error", NULL),
               *state = gw_field_text(host, "state", "unknown");
    g_autofree char *painted = gw_cli_paint(cli, gw_cli_state_colour(state), state);
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    g_autofree char *joined = gw_format_time(gw_field_text(host, "joined", NULL), zone);
    gw_cli_print_line(cli, "host", "%s in %s", gw_field_text(host, "name", "?"),
                      gw_field_text(host, "cluster", "?"));
    gw_cli_print_line(cli, "state", "%s%s%s%s", painted,
                      gw_field_bool(host, "in_maintenance") ? ", in maintenance" : "", trouble ? ": " : "",
                      trouble ? trouble : "");
    gw_cli_print_line(cli, "agent", "%s port %.0f, joined %s", gw_field_text(host, "address", "?"),
                      gw_field_number_or(host, "port", 0), joined);
    g_autofree char *n_vms = count_of(host, "n_vms"), *n_motions = count_of(host, "n_motions");
    gw_cli_print_line(cli, "VMs", "%s, %s in motion", n_vms, n_motions);
    JsonObject *load = gw_field_object(host, "load"), *facts = gw_field_object(host, "facts");
    if (load) {
        g_autofree char *cpu = percent_of(load, "cpu_percent"),
                        *free_memory = memory_of(load, "memory_available_bytes");
        gw_cli_print_line(cli, "load", "CPU %s, %s of memory free", cpu, free_memory);
    }
    if (facts)
        print_facts(cli, facts);
    return true;
}

static bool
run_add_token(GwCli *cli, GError **error)
{
    JsonObject *body = gw_cli_body(cli);
    int64_t valid_s = 0;
    const char *host = gw_args_text(cli->args, "host");
    if (host)
        json_object_set_string_member(body, "host", host);
    if (gw_args_number(cli->args, "valid", &valid_s))
        json_object_set_int_member(body, "valid_s", valid_s);
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "POST", "/v1/hosts/tokens", body, error);
    if (!reply)
        return false;
    const char *center = gw_cli_session(cli, NULL)->center;
    g_autoptr(GTimeZone) zone = g_time_zone_new_local();
    g_autofree char *until = gw_format_time(gw_field_text(reply, "expires", NULL), zone);
    gw_cli_print_done(
        cli, reply,
        "On the host, as root:\n\n  godwit-host join %s --token %s\n\nIt is good for one host, until %s.",
        g_str_has_prefix(center, "unix:") ? "https://CENTER:7440" : center,
        gw_field_text(reply, "token", "?"), until);
    return true;
}

static bool
run_rm(GwCli *cli, GError **error)
{
    const char *name = gw_args_positional(cli->args, 0);
    g_autofree char *path = gw_cli_path_of_argument(cli, "hosts", NULL);
    if (!gw_cli_confirm(cli, error, "Take host %s out of the cluster? It has to join anew to come back.",
                        name))
        return false;
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "DELETE", path, gw_cli_body(cli), error);
    if (!reply)
        return false;
    gw_cli_print_done(cli, reply, "%s is no longer in the cluster", name);
    return true;
}

static bool
run_maintenance(GwCli *cli, GError **error)
{
    const char *name = gw_args_positional(cli->args, 0);
    g_autofree char *path = gw_cli_path_of_argument(cli, "hosts", "maintenance");
    bool enabled = strcmp(gw_args_positional(cli->args, 1), "on") == 0;
    JsonObject *body = gw_cli_body(cli);
    json_object_set_boolean_member(body, "enabled", enabled);
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "POST", path, body, error);
    if (!reply)
        return false;
    gw_cli_print_done(cli, reply, enabled ? "%s is in maintenance: no VM moves to it" : "%s takes VMs again",
                      name);
    return true;
}

static char *
rtt_of(JsonObject *way)
{
    double us = 0;
    return gw_field_number(way, "rtt_us", &us) ? gw_format_ms(us / 1000) : g_strdup("-");
}

static char *
rate_of(JsonObject *way)
{
    double bits = 0;
    return gw_field_number(way, "bits_per_s", &bits) && bits > 0 ? gw_format_bits_per_s(bits) : g_strdup("-");
}

static void
print_ways(GwCli *cli, JsonObject *reply)
{
    static const GwColumn columns[] = {
        {"FROM"},
        {"ADDRESS"},
        {"TO"},
        {"ADDRESS"},
        {"RTT", true},
        {"SPEED", true},
        {"RESULT", .may_shrink = true, .colour = gw_cli_state_colour},
    };
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    for (guint i = 0; i < gw_field_count(reply, "paths"); i++) {
        JsonObject *way = gw_field_element(reply, "paths", i);
        bool reachable = gw_field_bool(way, "reachable");
        gw_table_take(table, g_strdup(gw_field_text(way, "source_interface", NULL)),
                      g_strdup(gw_field_text(way, "source_address", NULL)),
                      g_strdup(gw_field_text(way, "destination_interface", NULL)),
                      g_strdup(gw_field_text(way, "destination_address", NULL)), rtt_of(way), rate_of(way),
                      g_strdup(reachable ? "up" : gw_field_text(way, "error", "unreachable")));
    }
    gw_cli_print_table(cli, table);
}

static bool
run_probe(GwCli *cli, GError **error)
{
    const char *to = gw_args_text(cli->args, "to"), *from = gw_args_positional(cli->args, 0);
    g_autofree char *path = gw_cli_path_of_argument(cli, "hosts", "probe");
    if (!to) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "--to HOST is missing");
        return false;
    }
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "to", to);
    int64_t duration_ms = 0;
    if (gw_args_number(cli->args, "duration", &duration_ms))
        json_object_set_int_member(body, "duration_ms", duration_ms);
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "POST", path, body, error);
    if (!reply)
        return false;
    if (cli->json)
        gw_cli_print_json(reply);
    else if (gw_field_count(reply, "paths") == 0)
        printf("There is no way from %s to %s: one of them has no motion interface ('godwit host show' lists "
               "them).\n",
               from, to);
    else
        print_ways(cli, reply);
    bool any = gw_field_count(reply, "paths") > 0;
    for (guint i = 0; i < gw_field_count(reply, "paths"); i++)
        any = any && gw_field_bool(gw_field_element(reply, "paths", i), "reachable");
    cli->status = any ? GW_EXIT_DONE : GW_EXIT_UNREACHABLE;
    return true;
}

static const GwOption json_options[] = {GW_JSON_OPTION, {NULL}};
static const GwOption token_options[] = {
    {"valid", GW_OPTION_NUMBER, "S", "how long the token can be used, in seconds (3600)", 1, 30 * 86400},
    {"host", GW_OPTION_TEXT, "HOST", "only for a host of this name, which it may replace"},
    GW_REASON_OPTION,
    GW_JSON_OPTION,
    {NULL}};
static const GwOption rm_options[] = {GW_YES_OPTION, GW_REASON_OPTION, GW_JSON_OPTION, {NULL}};
static const GwOption change_options[] = {GW_REASON_OPTION, GW_JSON_OPTION, {NULL}};
static const GwOption probe_options[] = {
    {"to", GW_OPTION_TEXT, "HOST", "the other end"},
    {"duration", GW_OPTION_NUMBER, "MS", "how long each way is measured, in milliseconds (200)", 10, 10000},
    GW_JSON_OPTION,
    {NULL}};

const GwCommand gw_host_commands[] = {
    {"ls", NULL, json_options, "list the hosts", "Lists the hosts of the cluster, with their load.",
     "godwit host ls\n", run_ls},
    {"show", "HOST", json_options, "show a host",
     "Shows a host: its CPU, memory, motion interfaces, switches, port groups, datastores, and what is wrong with it.",
     "godwit host show host1\n", run_show},
    {"add-token", NULL, token_options, "make a token with which a host joins",
     "Makes a one-time token and prints the command with which a host joins the cluster.",
     "godwit host add-token --valid 600\n", run_add_token},
    {"rm", "HOST", rm_options, "take a host out of the cluster",
     "Takes a host out of the cluster. It must not have VMs.", "godwit host rm host3\n", run_rm},
    {"maintenance", "HOST on|off", change_options, "let no VM move to a host, or let them again",
     "In maintenance, no VM moves to the host and none starts there. Those on it run on.",
     "godwit host maintenance host1 on --reason 'new memory'\n", run_maintenance},
    {"probe", "HOST", probe_options, "measure the ways to another host",
     "Connects every motion interface of HOST with those of the other host, and measures round-trip time and speed. "
     "Exit status 8 if a way is not reachable.",
     "godwit host probe host1 --to host2\n", run_probe},
    {NULL}};
