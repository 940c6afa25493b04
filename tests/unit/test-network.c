/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Switches on bridges of a private network: made, repaired, refused and removed, as ip(8) sees them. */
#include "network.h"

#include "error.h"
#include "private-network.h"

#include <net/if.h>
#include <string.h>

static GwHostConfig *
parse(const char *switches)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strconcat("[host]\nname=a\nlisten=10.0.0.1\n", switches, NULL);
    GwHostConfig *config = gw_host_config_parse(text, "host.conf", &error);
    g_assert_no_error(error);
    return config;
}

static void
assert_link(const char *name, const char *what, bool is_there)
{
    g_autofree char *command = g_strdup_printf("ip -d link show dev %s", name);
    g_autofree char *output = private_network_output(command);
    if ((strstr(output, what) != NULL) != is_there)
        g_error("%s: '%s' is %s: %s", name, what, is_there ? "missing" : "there", output);
}

static bool
facts_say_up(const GwHostConfig *config, guint i)
{
    g_autoptr(JsonArray) facts = gw_network_facts(config);
    g_assert_cmpuint(json_array_get_length(facts), ==, config->switches->len);
    return json_object_get_boolean_member(json_array_get_object_element(facts, i), "up");
}

static void
test_apply(void)
{
    g_autoptr(GError) error = NULL;
    if (!private_network_enter())
        return;
    private_network_run("ip link add up0 type veth peer name far0; ip link set far0 up");
    g_autoptr(GwHostConfig) config = parse("[switch guests]\nbridge=br-guest\nuplinks=up0\n[switch inner]\n");
    g_assert_false(facts_say_up(config, 0));
    for (int repeat = 0; repeat < 2; repeat++) {
        gw_network_apply(config, &error);
        g_assert_no_error(error);
        assert_link("br-guest", "alias godwit", true);
        assert_link("br-guest", "stp_state 0", true);
        assert_link("br-guest", ",UP", true);
        assert_link("up0", "master br-guest", true);
        assert_link("up0", ",UP", true);
        assert_link("inner", "alias godwit", true);
        assert_link("inner", "bridge ", true);
    }
    g_assert_true(facts_say_up(config, 0));
    g_assert_true(facts_say_up(config, 1));

    private_network_run("ip link set far0 down");
    g_assert_false(facts_say_up(config, 0));
    private_network_run("ip link set far0 up; ip link set up0 nomaster; ip link set br-guest down");
    g_assert_false(facts_say_up(config, 0));
    g_assert_true(gw_network_apply(config, &error));
    g_assert_true(facts_say_up(config, 0));
}

static void
test_facts(void)
{
    if (!private_network_enter())
        return;
    g_autoptr(GwHostConfig) config = parse("[switch guests]\nbridge=br-guest\nuplinks=up0;up1\n");
    g_autoptr(JsonArray) facts = gw_network_facts(config);
    g_autoptr(JsonNode) node = json_node_init_array(json_node_alloc(), facts);
    g_autofree char *text = json_to_string(node, FALSE);
    g_assert_cmpstr(
        text, ==,
        "[{\"name\":\"guests\",\"bridge\":\"br-guest\",\"uplinks\":[\"up0\",\"up1\"],\"up\":false}]");
}

/* A bridge of somebody else's is used and stays somebody else's. */
static void
test_foreign_bridge(void)
{
    g_autoptr(GError) error = NULL;
    if (!private_network_enter())
        return;
    private_network_run("ip link add br0 type bridge; ip link set br0 alias theirs");
    g_autoptr(GwHostConfig) config = parse("[switch s]\nbridge=br0\n[switch t]\nbridge=br0x\ncreate=no\n");
    g_assert_false(gw_network_apply(config, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED);
    g_assert_cmpstr(error->message, ==,
                    "switch 't': there is no bridge 'br0x', and 'create=no' leaves it to others to make it");
    g_clear_error(&error);
    assert_link("br0", ",UP", true);
    assert_link("br0", "alias theirs", true);
    gw_network_clean(config, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(if_nametoindex("br0"), !=, 0);
}

/* Every switch that cannot be had is named; the others are made. */
static void
test_refused(void)
{
    g_autoptr(GError) error = NULL;
    if (!private_network_enter())
        return;
    private_network_run("ip link add other type bridge; ip link add d0 type veth peer name d1; "
                        "ip link set d0 master other");
    g_autoptr(GwHostConfig) config = parse("[switch a]\nuplinks=d0\n"
                                           "[switch b]\nuplinks=none\n"
                                           "[switch c]\nbridge=d1\n"
                                           "[switch d]\n");
    g_assert_false(gw_network_apply(config, &error));
    g_assert_cmpstr(error->message, ==,
                    "switch 'a': uplink 'd0' is in 'other' already; take it out of there, or out of the "
                    "configuration\n"
                    "switch 'b': there is no interface 'none' for its uplink\n"
                    "switch 'c': 'd1' is no bridge");
    assert_link("d0", "master other", true);
    g_assert_cmpuint(if_nametoindex("d"), !=, 0);
}

static void
test_clean(void)
{
    g_autoptr(GError) error = NULL;
    if (!private_network_enter())
        return;
    private_network_run("ip link add up0 type veth peer name tap0");
    g_autoptr(GwHostConfig) config = parse("[switch a]\nuplinks=up0\n[switch b]\n");
    g_assert_true(gw_network_apply(config, &error));
    private_network_run("ip link set tap0 master b");
    g_assert_false(gw_network_clean(config, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    g_assert_cmpstr(error->message, ==, "switch 'b': bridge 'b' stays: 'tap0' is in it");
    g_clear_error(&error);
    g_assert_cmpuint(if_nametoindex("a"), ==, 0);
    g_assert_cmpuint(if_nametoindex("up0"), !=, 0);
    g_assert_cmpuint(if_nametoindex("b"), !=, 0);

    private_network_run("ip link set tap0 nomaster");
    g_assert_true(gw_network_clean(config, &error));
    g_assert_cmpuint(if_nametoindex("b"), ==, 0);
    g_assert_true(gw_network_clean(config, &error)); /* nothing left to do */
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/network/apply", test_apply);
    g_test_add_func("/network/facts", test_facts);
    g_test_add_func("/network/foreign-bridge", test_foreign_bridge);
    g_test_add_func("/network/refused", test_refused);
    g_test_add_func("/network/clean", test_clean);
    return g_test_run();
}
