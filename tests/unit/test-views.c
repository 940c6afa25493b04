/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Networks and datastores put together from hosts' facts and VMs' configurations. */
#include "views.h"

#include "json.h"
#include "vm-config.h"

#include <string.h>

static JsonArray *
parse_array(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) node = gw_json_parse(text, -1, &error);
    g_assert_no_error(error);
    return json_array_ref(json_node_get_array(node));
}

static void
assert_array(JsonArray *got, const char *expected_text)
{
    g_autoptr(JsonNode) node = json_node_init_array(json_node_alloc(), got);
    g_autofree char *text = gw_json_node_to_line(node);
    g_autoptr(JsonArray) expected = parse_array(expected_text);
    g_autoptr(JsonNode) expected_node = json_node_init_array(json_node_alloc(), expected);
    g_autofree char *expected_line = gw_json_node_to_line(expected_node);
    g_assert_cmpstr(text, ==, expected_line);
}

#define VM(name, n, rest)                                                                                    \
    "{\"name\": \"" name "\", \"uuid\": \"7d3a4f0e-52c1-4b7e-9a60-1f2e3d4c5b6" n                             \
    "\", \"machine\": \"pc-q35-7.2\", \"vcpus\": 1, \"cpu_model\": \"qemu64\", \"memory_mib\": 64" rest "}"

static GPtrArray *
configs(void)
{
    const char *const texts[] = {
        VM("db1", "a",
           ", \"disks\": [{\"datastore\": \"ds\", \"path\": \"a.raw\", \"format\": \"raw\"},"
           "{\"datastore\": \"ds\", \"path\": \"b.raw\", \"format\": \"raw\"}],"
           "\"nics\": [{\"port_group\": \"lan\", \"mac\": \"52:54:00:00:00:01\"},"
           "{\"port_group\": \"gone\", \"mac\": \"52:54:00:00:00:02\"}]"),
        VM("web1", "b",
           ", \"boot\": {\"kind\": \"kernel\", \"kernel\": {\"datastore\": \"iso\", \"path\": \"k\"}},"
           "\"nics\": [{\"port_group\": \"lan\", \"mac\": \"52:54:00:00:00:03\"}]"),
    };
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)gw_vm_config_free);
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(GError) error = NULL;
        g_ptr_array_add(list, gw_vm_config_parse(texts[i], -1, &error));
        g_assert_no_error(error);
    }
    return list;
}

static void
test_networks(void)
{
    g_autoptr(JsonArray) hosts = parse_array(
        "[{\"name\": \"host1\", \"facts\": {\"switches\": [{\"name\": \"guests\", \"uplinks\": [\"eth1\"]},"
        " {\"name\": \"inner\", \"uplinks\": []}],"
        " \"port_groups\": [{\"name\": \"lan\", \"switch\": \"guests\"}, {\"name\": \"dmz\", \"switch\": "
        "\"inner\"}]}},"
        "{\"name\": \"host2\", \"facts\": {\"switches\": [{\"name\": \"guests\", \"uplinks\": [\"a\", \"b\"]}],"
        " \"port_groups\": [{\"name\": \"lan\", \"switch\": \"guests\"}]}},"
        "{\"name\": \"host3\", \"facts\": null}]");
    g_autoptr(GPtrArray) vms = configs();
    g_autoptr(JsonArray) networks = gw_view_networks(hosts, vms);
    assert_array(networks,
                 "[{\"name\": \"dmz\", \"hosts\": [{\"host\": \"host1\", \"switch\": \"inner\", \"uplinks\": "
                 "[]}], \"vms\": []},"
                 "{\"name\": \"gone\", \"hosts\": [], \"vms\": [\"db1\"]},"
                 "{\"name\": \"lan\", \"hosts\": [{\"host\": \"host1\", \"switch\": \"guests\", \"uplinks\": "
                 "[\"eth1\"]}, {\"host\": \"host2\", \"switch\": \"guests\", \"uplinks\": [\"a\", \"b\"]}],"
                 " \"vms\": [\"db1\", \"web1\"]}]");
}

static JsonArray *
two_hosts(const char *identity1, const char *identity2)
{
    g_autofree char *text = g_strdup_printf(
        "[{\"name\": \"host1\", \"facts\": {\"datastores\": [{\"name\": \"ds\", \"path\": \"/a\","
        " \"identity\": %s, \"error\": null, \"read_only\": false, \"capacity_bytes\": 10, \"free_bytes\": "
        "5}]}},"
        "{\"name\": \"host2\", \"facts\": {\"datastores\": [{\"name\": \"ds\", \"path\": \"/b\","
        " \"identity\": %s, \"error\": \"not mounted\", \"read_only\": true, \"capacity_bytes\": 10,"
        " \"free_bytes\": 4}]}}]",
        identity1, identity2);
    return parse_array(text);
}

static void
test_datastores(void)
{
    g_autoptr(JsonArray) hosts = two_hosts("\"nfs:1\"", "\"nfs:1\"");
    g_autoptr(GPtrArray) vms = configs();
    g_autoptr(JsonArray) datastores = gw_view_datastores(hosts, vms);
    assert_array(
        datastores,
        "[{\"name\": \"ds\", \"hosts\": [{\"host\": \"host1\", \"path\": \"/a\", \"identity\": "
        "\"nfs:1\", \"error\": null, \"read_only\": false, \"capacity_bytes\": 10, \"free_bytes\": 5},"
        "{\"host\": \"host2\", \"path\": \"/b\", \"identity\": \"nfs:1\", \"error\": \"not mounted\","
        " \"read_only\": true, \"capacity_bytes\": 10, \"free_bytes\": 4}], \"shared\": true,"
        " \"vms\": [\"db1\"]},"
        "{\"name\": \"iso\", \"hosts\": [], \"shared\": false, \"vms\": [\"web1\"]}]");
}

static void
test_shared(void)
{
    static const struct {
        const char *one, *other;
        bool shared;
    } cases[] = {
        {"\"x\"", "\"x\"", true}, {"\"x\"", "\"y\"", false}, {"null", "null", false},
        {"\"x\"", "null", false}, {"null", "\"x\"", false},
    };
    g_autoptr(GPtrArray) none = g_ptr_array_new();
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(JsonArray) hosts = two_hosts(cases[i].one, cases[i].other);
        g_autoptr(JsonArray) datastores = gw_view_datastores(hosts, none);
        bool shared = !cases[i].shared;
        g_assert_true(gw_json_get_bool(gw_json_array_object(datastores, 0), "shared", &shared));
        g_assert_true(shared == cases[i].shared);
    }
}

/* What an agent says is foreign: nothing of it may end the center. */
static void
test_foreign_types(void)
{
    const char *const texts[] = {
        "[]",
        "[1, null, {}, {\"name\": 3}, {\"name\": \"h\", \"facts\": []}]",
        "[{\"name\": \"h\", \"facts\": {\"port_groups\": 1, \"datastores\": {}, \"switches\": \"x\"}}]",
        "[{\"name\": \"h\", \"facts\": {\"port_groups\": [1, {}, {\"name\": []}], \"datastores\": [null]}}]",
    };
    g_autoptr(GPtrArray) none = g_ptr_array_new();
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(JsonArray) hosts = parse_array(texts[i]);
        g_autoptr(JsonArray) networks = gw_view_networks(hosts, none);
        g_autoptr(JsonArray) datastores = gw_view_datastores(hosts, none);
        g_assert_cmpuint(json_array_get_length(networks) + json_array_get_length(datastores), ==, 0);
    }
    g_autoptr(JsonArray) hosts = parse_array(
        "[{\"name\": \"h\", \"facts\": {\"port_groups\": [{\"name\": \"p\", \"switch\": \"s\"}, {\"name\": "
        "\"q\", \"switch\": 1}], \"switches\": [7, {\"name\": \"s\", \"uplinks\": [1, \"u\", null]}],"
        "\"datastores\": [{\"name\": \"d\", \"path\": 1, \"capacity_bytes\": -5, \"free_bytes\": \"x\"}]}}]");
    g_autoptr(JsonArray) networks = gw_view_networks(hosts, none);
    assert_array(networks,
                 "[{\"name\": \"p\", \"hosts\": [{\"host\": \"h\", \"switch\": \"s\", \"uplinks\": [\"u\"]}],"
                 " \"vms\": []}, {\"name\": \"q\", \"hosts\": [{\"host\": \"h\", \"switch\": null,"
                 " \"uplinks\": []}], \"vms\": []}]");
    g_autoptr(JsonArray) datastores = gw_view_datastores(hosts, none);
    assert_array(datastores, "[{\"name\": \"d\", \"hosts\": [{\"host\": \"h\", \"path\": null, \"identity\": "
                             "null, \"error\": null, \"read_only\": false, \"capacity_bytes\": 0,"
                             " \"free_bytes\": 0}], \"shared\": false, \"vms\": []}]");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/views/networks", test_networks);
    g_test_add_func("/views/datastores", test_datastores);
    g_test_add_func("/views/shared", test_shared);
    g_test_add_func("/views/foreign-types", test_foreign_types);
    return g_test_run();
}
