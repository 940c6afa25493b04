/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit network, datastore. */
#include "cli.h"
#include "format.h"

#include <stdio.h>

/* "host1 (guests, uplink0), host2 (guests, no uplink)" */
static char *
hosts_of_network(JsonObject *network)
{
    GString *hosts = g_string_new(NULL);
    for (guint i = 0; i < gw_field_count(network, "hosts"); i++) {
        JsonObject *host = gw_field_element(network, "hosts", i);
        g_autofree char *uplinks = gw_field_join(host, "uplinks", NULL);
        g_string_append_printf(hosts, "%s%s (%s, %s)", hosts->len ? ", " : "",
                               gw_field_text(host, "host", "?"), gw_field_text(host, "switch", "?"),
                               *uplinks ? uplinks : "no uplink");
    }
    return g_string_free(hosts, FALSE);
}

static bool
run_network_ls(GwCli *cli, GError **error)
{
    static const GwColumn columns[] = {
        {"PORT GROUP"}, {"HOSTS (SWITCH, UPLINKS)", .may_shrink = true}, {"VMS", .may_shrink = true}};
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "GET", "/v1/networks", NULL, error);
    if (!reply)
        return false;
    if (cli->json) {
        gw_cli_print_json(reply);
        return true;
    }
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    for (guint i = 0; i < gw_field_count(reply, "networks"); i++) {
        JsonObject *network = gw_field_element(reply, "networks", i);
        gw_table_take(table, g_strdup(gw_field_text(network, "name", "?")), hosts_of_network(network),
                      gw_field_join(network, "vms", NULL));
    }
    gw_cli_print_table(cli, table);
    return true;
}

static void
add_datastore(GwTable *table, JsonObject *datastore)
{
    g_autofree char *vms = gw_field_join(datastore, "vms", NULL);
    const char *shared = gw_field_bool(datastore, "shared") ? "yes" : "no";
    for (guint i = 0; i < gw_field_count(datastore, "hosts"); i++) {
        JsonObject *host = gw_field_element(datastore, "hosts", i);
        const char *state = gw_field_bool(host, "read_only") ? "read-only" : "up";
        bool known = gw_field_number_or(host, "capacity_bytes", 0) > 0; /* 0: it could not be asked */
        g_autofree char *free_bytes =
                            gw_format_bytes(known ? gw_field_number_or(host, "free_bytes", -1) : -1),
                        *capacity =
                            gw_format_bytes(known ? gw_field_number_or(host, "capacity_bytes", -1) : -1);
        gw_table_add(table, gw_field_text(datastore, "name", "?"), gw_field_text(host, "host", "?"), shared,
                     free_bytes, capacity, gw_field_text(host, "path", NULL),
                     gw_field_text(host, "error", state), vms);
    }
}

static bool
run_datastore_ls(GwCli *cli, GError **error)
{
    static const GwColumn columns[] = {
        {"DATASTORE"},
        {"HOST"},
        {"SHARED"},
        {"FREE", true},
        {"CAPACITY", true},
        {"PATH", .may_shrink = true},
        {"STATE", .may_shrink = true, .colour = gw_cli_state_colour},
        {"VMS", .may_shrink = true},
    };
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "GET", "/v1/datastores", NULL, error);
    if (!reply)
        return false;
    if (cli->json) {
        gw_cli_print_json(reply);
        return true;
    }
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    for (guint i = 0; i < gw_field_count(reply, "datastores"); i++)
        add_datastore(table, gw_field_element(reply, "datastores", i));
    gw_cli_print_table(cli, table);
    return true;
}

static const GwOption json_options[] = {GW_JSON_OPTION, {NULL}};

const GwCommand gw_network_commands[] = {
    {"ls", NULL, json_options, "list the port groups",
     "Lists the port groups: on which hosts they are, by which switch and uplinks, and the VMs in them. The same name on "
     "two hosts means the same network.",
     "godwit network ls\n", run_network_ls},
    {NULL}};

const GwCommand gw_datastore_commands[] = {
    {"ls", NULL, json_options, "list the datastores",
     "Lists the datastores on each host: whether they are shared, their room, and the VMs that use them.",
     "godwit datastore ls\n", run_datastore_ls},
    {NULL}};
