/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit vm check. */
#include "cmd-vm.h"
#include "error.h"
#include "findings.h"

#include <stdio.h>
#include <string.h>

const GwOption gw_vm_check_options[] = {
    {"to", GW_OPTION_TEXT, "HOST", "where it would move"},
    {"all-hosts", GW_OPTION_FLAG, NULL, "check every other host"},
    {"override", GW_OPTION_LIST, "ID", "as if this finding were overridden; may be given several times"},
    {"no-probe", GW_OPTION_FLAG, NULL, "do not measure the ways between the hosts"},
    GW_JSON_OPTION,
    {NULL}};

/* Each once. */
static char *
ids_of(JsonObject *check)
{
    g_autoptr(GPtrArray) ids = g_ptr_array_new();
    for (guint i = 0; i < gw_field_count(check, "findings"); i++) {
        const char *id = gw_field_text(gw_field_element(check, "findings", i), "id", "?");
        if (!g_ptr_array_find_with_equal_func(ids, id, g_str_equal, NULL))
            g_ptr_array_add(ids, (char *)id);
    }
    g_ptr_array_add(ids, NULL);
    return g_strjoinv(", ", (char **)ids->pdata);
}

static void
print_matrix(GwCli *cli, JsonObject *reply)
{
    static const GwColumn columns[] = {
        {"TO HOST"}, {"RESULT", .colour = gw_cli_state_colour}, {"ERRORS", true}, {"WARNINGS", true}};
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    guint n_checks = gw_field_count(reply, "checks");
    for (guint i = 0; i < n_checks; i++) {
        JsonObject *check = gw_field_element(reply, "checks", i);
        unsigned n_errors = gw_findings_count(check, true), n_warnings = gw_findings_count(check, false);
        gw_table_take(table, g_strdup(gw_field_text(check, "destination", "?")),
                      g_strdup(n_errors     ? "errors"
                               : n_warnings ? "warnings"
                                            : "possible"),
                      g_strdup_printf("%u", n_errors), g_strdup_printf("%u", n_warnings));
    }
    gw_cli_print_table(cli, table);
    bool any = false;
    for (guint i = 0; i < n_checks; i++) {
        JsonObject *check = gw_field_element(reply, "checks", i);
        g_autofree char *ids = ids_of(check);
        if (*ids && !any)
            putchar('\n');
        if (*ids)
            gw_cli_print_line(cli, gw_field_text(check, "destination", "?"), "%s", ids);
        any = any || *ids;
    }
}

static bool
is_possible(JsonObject *check)
{
    return gw_field_bool(check, "possible") && gw_findings_count(check, true) == 0;
}

static void
print_check(GwCli *cli, JsonObject *check)
{
    unsigned n_errors = gw_findings_count(check, true), n_warnings = gw_findings_count(check, false);
    const char *vm = gw_field_text(check, "vm", "?"), *to = gw_field_text(check, "destination", "?");
    g_autofree char *text = gw_findings_text(check, cli->width, cli->colour);
    fputs(text, stdout);
    if (is_possible(check) && n_warnings == 0)
        printf("%s can move to %s.\n", vm, to);
    else if (is_possible(check))
        printf("%s can move to %s: %u warning%s.\n", vm, to, n_warnings, n_warnings == 1 ? "" : "s");
    else
        printf("%s cannot move to %s: %u error%s, %u warning%s.\n", vm, to, n_errors,
               n_errors == 1 ? "" : "s", n_warnings, n_warnings == 1 ? "" : "s");
}

/* Of all hosts, one that can take it is enough. */
static GwExit
verdict(JsonObject *reply)
{
    for (guint i = 0; i < gw_field_count(reply, "checks"); i++)
        if (is_possible(gw_field_element(reply, "checks", i)))
            return GW_EXIT_DONE;
    return GW_EXIT_CHECK_FAILED;
}

bool
gw_vm_check(GwCli *cli, GError **error)
{
    const char *to = gw_args_text(cli->args, "to");
    bool all_hosts = gw_args_flag(cli->args, "all-hosts");
    if (all_hosts == (to != NULL)) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "either --to HOST or --all-hosts");
        return false;
    }
    JsonObject *body = json_object_new();
    if (all_hosts)
        json_object_set_boolean_member(body, "all_hosts", TRUE);
    else
        json_object_set_string_member(body, "to", to);
    gw_findings_add_overrides(body, gw_args_list(cli->args, "override"));
    json_object_set_boolean_member(body, "probe", !gw_args_flag(cli->args, "no-probe"));
    g_autofree char *path = gw_cli_path_of_argument(cli, "vms", "check");
    g_autoptr(JsonObject) reply = gw_cli_call(cli, "POST", path, body, error);
    if (!reply)
        return false;
    cli->status = verdict(reply);
    if (cli->json)
        gw_cli_print_json(reply);
    else if (all_hosts)
        print_matrix(cli, reply);
    else
        print_check(cli, gw_field_element(reply, "checks", 0));
    return true;
}
