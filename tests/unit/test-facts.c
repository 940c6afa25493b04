/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts out of JSON: what agents say, and what no agent of ours would. */
#include "facts.h"

#include "error.h"
#include "json.h"

#include <string.h>

#define VM                                                                                                   \
    "{\"name\":\"web1\",\"uuid\":\"3f0c9a52-7b1e-4d58-8f43-0a6c2b9d1e70\",\"machine\":\"pc-q35-7.2\","       \
    "\"vcpus\":1,\"cpu_model\":\"qemu64\",\"memory_mib\":256,\"accel\":\"kvm\"}"

static JsonObject *
object_from(const char *text)
{
    g_autoptr(GError) error = NULL;
    JsonObject *object = gw_json_parse_object(text, -1, &error);
    g_assert_no_error(error);
    return object;
}

static GwHostFacts *
host_from(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) object = object_from(text);
    GwHostFacts *facts = gw_host_facts_from_json(object, &error);
    g_assert_no_error(error);
    return facts;
}

static GwVmFacts *
vm_from(const char *status)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) config = object_from(VM);
    g_autoptr(JsonObject) object = status ? object_from(status) : NULL;
    GwVmFacts *facts = gw_vm_facts_from_json(config, object, &error);
    g_assert_no_error(error);
    return facts;
}

static void
test_host(void)
{
    g_autoptr(GwHostFacts) host = host_from(
        "{\"name\": \"host1\", \"version\": \"0.1.0\", \"kernel\": \"6.18.44\","
        "\"qemu\": {\"version\": \"7.2.22\", \"machines\": [\"pc-q35-7.2\", \"pc-i440fx-7.2\"], \"accel\": \"kvm\","
        "  \"cpu_models\": [{\"name\": \"qemu64\", \"missing\": [\"svm\"]}]},"
        "\"cpu\": {\"model\": \"Xeon\", \"count\": 16, \"features\": [\"sse2\", \"avx2\"]},"
        "\"memory\": {\"total_bytes\": 25769803776, \"available_bytes\": 20000000000},"
        "\"switches\": [{\"name\": \"guests\", \"uplinks\": [\"eth1\"]}, {\"name\": \"inner\", \"uplinks\": []}],"
        "\"port_groups\": [{\"name\": \"lan\", \"switch\": \"guests\"}],"
        "\"motion_interfaces\": [{\"name\": \"motion0\", \"address\": \"10.71.0.1\", \"prefix_length\": 24,"
        "  \"speed_bits_per_s\": 10000000000, \"up\": true}, {\"name\": \"motion1\", \"address\": null, \"up\": "
        "false}],"
        "\"datastores\": [{\"name\": \"ds\", \"path\": \"/srv/ds\", \"identity\": \"i\", \"error\": null,"
        "  \"read_only\": true, \"capacity_bytes\": 100, \"free_bytes\": 50}],"
        "\"problems\": [{\"id\": \"kernel.trace\", \"severity\": \"error\", \"text\": \"t\", \"repair\": \"r\"}]}");
    g_assert_cmpstr(host->name, ==, "host1");
    g_assert_true(host->is_reachable);
    g_assert_false(host->in_maintenance);
    g_assert_cmpstr(host->version, ==, "0.1.0");
    g_assert_cmpstr(host->kernel, ==, "6.18.44");
    g_assert_cmpstr(host->qemu_version, ==, "7.2.22");
    g_assert_cmpstr(host->cpu_model, ==, "Xeon");
    g_assert_cmpint(host->accel, ==, GW_ACCEL_KVM);
    g_assert_cmpuint(host->n_cpus, ==, 16);
    g_assert_cmpuint(host->memory_bytes, ==, 25769803776);
    g_assert_cmpuint(host->memory_available_bytes, ==, 20000000000);
    g_assert_cmpstr(host->machines[1], ==, "pc-i440fx-7.2");
    g_assert_cmpuint(g_strv_length(host->cpu_features), ==, 2);
    const GwCpuModelFact *model = &g_array_index(host->cpu_models, GwCpuModelFact, 0);
    g_assert_cmpstr(model->name, ==, "qemu64");
    g_assert_cmpstr(model->missing[0], ==, "svm");
    g_assert_cmpstr(g_array_index(host->switches, GwSwitch, 0).uplinks[0], ==, "eth1");
    g_assert_null(g_array_index(host->switches, GwSwitch, 1).uplinks[0]);
    g_assert_cmpstr(g_array_index(host->port_groups, GwPortGroup, 0).switch_name, ==, "guests");
    const GwMotionInterface *interface = &g_array_index(host->interfaces, GwMotionInterface, 0);
    g_assert_cmpstr(interface->address, ==, "10.71.0.1");
    g_assert_cmpuint(interface->prefix_length, ==, 24);
    g_assert_cmpuint(interface->speed_bits_per_s, ==, 10000000000);
    g_assert_true(interface->is_up);
    g_assert_null(interface[1].address);
    g_assert_false(interface[1].is_up);
    const GwDatastore *datastore = &g_array_index(host->datastores, GwDatastore, 0);
    g_assert_cmpstr(datastore->path, ==, "/srv/ds");
    g_assert_cmpstr(datastore->identity, ==, "i");
    g_assert_null(datastore->error);
    g_assert_true(datastore->is_read_only);
    g_assert_cmpuint(datastore->capacity_bytes, ==, 100);
    g_assert_cmpuint(datastore->free_bytes, ==, 50);
    g_assert_cmpstr(g_array_index(host->problems, GwFinding, 0).id, ==, "kernel.trace");
}

/* A host of which nothing is told but its name has empty lists, and no NULL ones. */
static void
expect_bare(const GwHostFacts *host)
{
    const GArray *lists[] = {host->interfaces, host->switches,   host->port_groups,
                             host->datastores, host->cpu_models, host->problems};
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        g_assert_nonnull(lists[i]);
        g_assert_cmpuint(lists[i]->len, ==, 0);
    }
    g_assert_cmpuint(g_strv_length(host->machines), ==, 0);
    g_assert_cmpuint(g_strv_length(host->cpu_features), ==, 0);
    g_assert_null(host->qemu_version);
    g_assert_cmpuint(host->n_cpus, ==, 0);
    g_assert_cmpuint(host->memory_bytes, ==, 0);
    g_assert_cmpint(host->accel, ==, GW_ACCEL_AUTO);
}

static void
test_bare_host(void)
{
    static const char *const texts[] = {
        "{\"name\": \"h\"}",
        /* every member of another type */
        "{\"name\": \"h\", \"version\": 1, \"kernel\": [], \"qemu\": \"q\", \"cpu\": [], \"memory\": 7,"
        "\"switches\": {}, \"port_groups\": \"x\", \"motion_interfaces\": 1, \"datastores\": null, \"problems\": "
        "true}",
        /* and of those within */
        "{\"name\": \"h\", \"qemu\": {\"version\": 7, \"machines\": {}, \"accel\": 3, \"cpu_models\": [1, null, "
        "[], {}, {\"name\": 1}]}, \"cpu\": {\"count\": \"many\", \"features\": [1, null, {}]},"
        "\"memory\": {\"total_bytes\": \"1\", \"available_bytes\": -1}, \"switches\": [null, {\"uplinks\": []}],"
        "\"port_groups\": [[]], \"motion_interfaces\": [{\"name\": null}], \"datastores\": [1.5],"
        "\"problems\": [{\"severity\": \"error\"}]}",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GwHostFacts) host = host_from(texts[i]);
        expect_bare(host);
    }
}

static void
test_odd_values(void)
{
    g_autoptr(GwHostFacts) host = host_from(
        "{\"name\": \"h\", \"cpu\": {\"count\": 9223372036854775807, \"features\": [\"a\", 1, \"b\"]},"
        "\"memory\": {\"total_bytes\": -5},"
        "\"motion_interfaces\": [{\"name\": \"m\", \"address\": 4, \"prefix_length\": -1, \"up\": \"yes\"}],"
        "\"switches\": [{\"name\": \"s\"}], \"port_groups\": [{\"name\": \"p\"}],"
        "\"datastores\": [{\"name\": \"d\", \"read_only\": 1, \"free_bytes\": -3}]}");
    g_assert_cmpuint(host->n_cpus, ==, G_MAXINT);
    g_assert_cmpuint(g_strv_length(host->cpu_features), ==, 2);
    g_assert_cmpuint(host->memory_bytes, ==, 0);
    const GwMotionInterface *interface = &g_array_index(host->interfaces, GwMotionInterface, 0);
    g_assert_null(interface->address);
    g_assert_cmpuint(interface->prefix_length, ==, 0);
    g_assert_false(interface->is_up);
    g_assert_nonnull(g_array_index(host->switches, GwSwitch, 0).uplinks);
    g_assert_null(g_array_index(host->port_groups, GwPortGroup, 0).switch_name);
    g_assert_false(g_array_index(host->datastores, GwDatastore, 0).is_read_only);
    g_assert_cmpuint(g_array_index(host->datastores, GwDatastore, 0).free_bytes, ==, 0);
}

static void
test_no_host(void)
{
    static const char *const texts[] = {"{}", "{\"name\": 1}", "{\"name\": null}", "{\"name\": \"\"}"};
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(JsonObject) object = object_from(texts[i]);
        g_assert_null(gw_host_facts_from_json(object, &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_PROTOCOL);
    }
}

/* Lists that no host has are cut. */
static void
test_huge(void)
{
    g_autoptr(GString) text = g_string_new("{\"name\": \"h\", \"motion_interfaces\": [");
    for (guint i = 0; i < 20000; i++)
        g_string_append_printf(text, "%s{\"name\": \"m%u\", \"address\": \"10.0.0.1\", \"up\": true}",
                               i ? "," : "", i);
    g_string_append(text, "], \"port_groups\": [");
    for (guint i = 0; i < 20000; i++)
        g_string_append_printf(text, "%s{\"name\": \"p%u\"}", i ? "," : "", i);
    g_string_append(text, "], \"problems\": [");
    for (guint i = 0; i < 20000; i++)
        g_string_append_printf(text, "%s{\"id\": \"p%u\"}", i ? "," : "", i);
    g_string_append(text, "]}");
    g_autoptr(GwHostFacts) host = host_from(text->str);
    g_assert_cmpuint(host->interfaces->len, ==, GW_FACTS_MAX_INTERFACES);
    g_assert_cmpstr(g_array_index(host->interfaces, GwMotionInterface, 63).name, ==, "m63");
    g_assert_cmpuint(host->port_groups->len, ==, 4096);
    g_assert_cmpuint(host->problems->len, ==, 4096);
}

/* --- VMs ----------------------------------------------------------------------------------------------- */

static void
test_vm(void)
{
    g_autoptr(GwVmFacts) vm =
        vm_from("{\"state\": \"running\", \"supervised\": true, \"memory\": {\"resident_bytes\": 121565184},"
                "\"qemu\": {\"version\": \"10.0.2\", \"accel\": \"tcg\"}}");
    g_assert_cmpstr(vm->name, ==, "web1");
    g_assert_cmpstr(vm->uuid, ==, "3f0c9a52-7b1e-4d58-8f43-0a6c2b9d1e70");
    g_assert_cmpstr(vm->state, ==, "running");
    g_assert_cmpint(vm->accel, ==, GW_ACCEL_TCG); /* as it runs, not as it was configured */
    g_assert_cmpstr(vm->qemu_version, ==, "10.0.2");
    g_assert_cmpuint(vm->memory_resident_bytes, ==, 121565184);
    g_assert_cmpuint(vm->config->memory_bytes, ==, 256 << 20);
    g_assert_null(vm->activity);
    g_assert_null(vm->duplicate_at);
    g_assert_cmpuint(vm->findings->len, ==, 0);
}

static void
test_vm_states(void)
{
    static const struct {
        const char *status, *state, *activity;
    } cases[] = {
        {NULL, "off", NULL},
        {"{}", "unknown", NULL},
        {"{\"state\": 5, \"qemu\": 1, \"memory\": [], \"motion\": \"x\"}", "unknown", NULL},
        {"{\"state\": \"crashed\", \"qemu\": null, \"motion\": null}", "crashed", NULL},
        {"{\"state\": \"running\", \"supervised\": false}", "unsupervised", NULL},
        {"{\"state\": \"running\", \"motion\": {\"state\": \"pre-copy\"}}", "running", "a motion (pre-copy)"},
        {"{\"state\": \"paused\", \"motion\": {\"state\": \"unresolved\"}, \"memory\": {\"trace_armed\": true}}",
         "paused", "a motion (unresolved)"},
        {"{\"state\": \"running\", \"motion\": {\"state\": \"completed\"}}", "running", NULL},
        {"{\"state\": \"running\", \"motion\": {\"state\": \"failed\"}}", "running", NULL},
        {"{\"state\": \"running\", \"motion\": {\"state\": \"cancelled\"}}", "running", NULL},
        {"{\"state\": \"running\", \"motion\": {\"state\": 1}}", "running", NULL},
        {"{\"state\": \"running\", \"memory\": {\"trace_armed\": true}}", "running",
         "a trace of its memory, which somebody began by hand"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GwVmFacts) vm = vm_from(cases[i].status);
        g_assert_cmpstr(vm->state, ==, cases[i].state);
        g_assert_cmpstr(vm->activity, ==, cases[i].activity);
        g_assert_cmpint(vm->accel, ==, GW_ACCEL_KVM); /* as configured: none of them says how it runs */
    }
}

static void
test_no_vm(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) config = object_from("{\"name\": \"web1\"}");
    g_assert_null(gw_vm_facts_from_json(config, NULL, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG);
}

/* --- findings and paths -------------------------------------------------------------------------------- */

static void
test_findings(void)
{
    g_autoptr(JsonObject) object = object_from(
        "{\"findings\": [{\"id\": \"a\", \"severity\": \"warning\", \"text\": \"t\", \"source\": \"s\","
        "\"destination\": \"d\", \"repair\": \"r\", \"override\": \"applied\"},"
        "{\"id\": \"b\", \"severity\": \"warning!\", \"text\": 3, \"override\": \"allowed\"},"
        "{\"id\": \"c\", \"override\": true}, {\"id\": 4}, 5, null]}");
    g_autoptr(GArray) findings = gw_findings_from_json(gw_json_get_array(object, "findings"));
    g_assert_cmpuint(findings->len, ==, 3);
    const GwFinding *finding = &g_array_index(findings, GwFinding, 0);
    g_assert_cmpint(finding[0].severity, ==, GW_SEVERITY_WARNING);
    g_assert_cmpint(finding[0].override, ==, GW_OVERRIDE_APPLIED);
    g_assert_cmpint(finding[1].severity, ==, GW_SEVERITY_ERROR); /* no word of ours: not harmless */
    g_assert_cmpstr(finding[1].text, ==, "b");
    g_assert_cmpint(finding[1].override, ==, GW_OVERRIDE_ALLOWED);
    g_assert_cmpint(finding[2].severity, ==, GW_SEVERITY_ERROR);
    g_assert_cmpint(finding[2].override, ==, GW_OVERRIDE_REFUSED);

    g_autoptr(JsonArray) array = gw_findings_to_json(findings);
    g_autoptr(JsonNode) node = json_node_init_array(json_node_alloc(), array);
    g_autofree char *text = gw_json_node_to_line(node);
    g_assert_cmpstr(
        text, ==,
        "[{\"id\":\"a\",\"severity\":\"warning\",\"text\":\"t\",\"source\":\"s\",\"destination\":\"d\",\"repair\":"
        "\"r\",\"override\":\"applied\"},"
        "{\"id\":\"b\",\"severity\":\"error\",\"text\":\"b\",\"source\":null,\"destination\":null,\"repair\":null,"
        "\"override\":\"allowed\"},"
        "{\"id\":\"c\",\"severity\":\"error\",\"text\":\"c\",\"source\":null,\"destination\":null,\"repair\":null,"
        "\"override\":\"refused\"}]");
    g_autoptr(GArray) none = gw_findings_from_json(NULL);
    g_assert_cmpuint(none->len, ==, 0);
}

static void
test_paths(void)
{
    static const char *const text =
        "[{\"source_interface\":\"motion0\",\"source_address\":\"10.71.0.1\",\"destination_interface\":\"motion0\","
        "\"destination_address\":\"10.71.0.2\",\"reachable\":true,\"error\":null,\"rtt_us\":130,\"bits_per_s\":"
        "9000000000}]";
    g_autoptr(JsonNode) node = gw_json_parse(text, -1, NULL);
    g_autoptr(GArray) paths = gw_paths_from_json(json_node_get_array(node));
    g_assert_cmpuint(paths->len, ==, 1);
    const GwPath *path = &g_array_index(paths, GwPath, 0);
    g_assert_true(path->is_reachable);
    g_assert_cmpuint(path->rtt_us, ==, 130);
    g_autoptr(JsonArray) array = gw_paths_to_json(paths);
    g_autoptr(JsonNode) again = json_node_init_array(json_node_alloc(), array);
    g_autofree char *line = gw_json_node_to_line(again);
    g_assert_cmpstr(line, ==, text);

    g_autoptr(JsonNode) odd =
        gw_json_parse("[1, {}, {\"source_address\": \"a\"}, {\"source_address\": \"a\", "
                      "\"destination_address\": \"b\", \"reachable\": 1, \"rtt_us\": -1}]",
                      -1, NULL);
    g_autoptr(GArray) few = gw_paths_from_json(json_node_get_array(odd));
    g_assert_cmpuint(few->len, ==, 1);
    g_assert_false(g_array_index(few, GwPath, 0).is_reachable);
    g_assert_null(g_array_index(few, GwPath, 0).source_interface);
    g_assert_cmpuint(g_array_index(few, GwPath, 0).rtt_us, ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/facts/host", test_host);
    g_test_add_func("/facts/bare-host", test_bare_host);
    g_test_add_func("/facts/odd-values", test_odd_values);
    g_test_add_func("/facts/no-host", test_no_host);
    g_test_add_func("/facts/huge", test_huge);
    g_test_add_func("/facts/vm", test_vm);
    g_test_add_func("/facts/vm-states", test_vm_states);
    g_test_add_func("/facts/no-vm", test_no_vm);
    g_test_add_func("/facts/findings", test_findings);
    g_test_add_func("/facts/paths", test_paths);
    return g_test_run();
}
