/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-vm check-host. */
#include "commands.h"
#include "host-check.h"
#include "options.h"

#include <json-glib/json-glib.h>
#include <stdio.h>

static void
print_table(const GArray *findings)
{
    for (guint i = 0; i < findings->len; i++) {
        const GwHostFinding *finding = &g_array_index(findings, GwHostFinding, i);
        printf("%-8s %-13s %s\n", gw_host_verdict_name(finding->verdict), finding->id, finding->text);
        if (finding->repair)
            printf("%-8s %-13s   → %s\n", "", "", finding->repair);
    }
}

static void
print_json(const GArray *findings)
{
    JsonArray *list = json_array_new();
    for (guint i = 0; i < findings->len; i++) {
        const GwHostFinding *finding = &g_array_index(findings, GwHostFinding, i);
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "id", finding->id);
        json_object_set_string_member(object, "verdict", gw_host_verdict_name(finding->verdict));
        json_object_set_string_member(object, "text", finding->text);
        json_object_set_string_member(object, "repair", finding->repair);
        json_array_add_object_element(list, object);
    }
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_ARRAY);
    json_node_take_array(node, list);
    g_autofree char *text = json_to_string(node, TRUE);
    puts(text);
}

int
gw_cmd_check_host(int argc, char **argv)
{
    gboolean json = FALSE;
    char *qemu = NULL, *user = NULL;
    const GOptionEntry entries[] = {
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, "print JSON", NULL},
        {"qemu", 0, 0, G_OPTION_ARG_FILENAME, &qemu, "QEMU's program", "FILE"},
        {"qemu-user", 0, 0, G_OPTION_ARG_STRING, &user, "the user that QEMU runs as", "USER"},
        {NULL}};
    if (!gw_parse_options(&argc, &argv, entries, "", 0,
                          "Probes for what godwit needs of this host. Exit status 0 if nothing is missing."))
        return 2;
    g_autoptr(GwVmSetup) setup = gw_default_setup();
    if (qemu) {
        g_free(setup->qemu_binary);
        setup->qemu_binary = qemu;
    }
    if (user) {
        g_free(setup->qemu_user);
        setup->qemu_user = user;
    }
    g_autoptr(GArray) findings = gw_host_check(setup);
    if (json)
        print_json(findings);
    else
        print_table(findings);
    for (guint i = 0; i < findings->len; i++)
        if (g_array_index(findings, GwHostFinding, i).verdict == GW_HOST_MISSING)
            return 1;
    return 0;
}
