/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Interfaces with every kind of address, in a private network. */
#include "motion-interface.h"

#include "private-network.h"

static void
test_read(void)
{
    static const struct {
        const char *name, *address;
        unsigned prefix_length;
        uint64_t speed_bits_per_s;
        unsigned mtu;
        bool is_up;
    } expected[] = {
        {"m1", "10.71.0.1", 24, 10000000000, 1500, true},
        {"m1", "10.71.0.9", 32, 10000000000, 1500, true},
        {"m1", "fd00::1", 64, 10000000000, 1500, true},
        {"absent", NULL, 0, 0, 0, false},
        {"m0", NULL, 0, 10000000000, 9000, true}, /* its link-local address does not count */
        {"lone", "192.0.2.1", 24, 10000000000, 1500, false},
    };
    g_autoptr(GError) error = NULL;
    if (!private_network_enter())
        return;
    private_network_run(
        "ip link add m0 mtu 9000 type veth peer name m1; ip link set m0 up; ip link set m1 up;"
        "ip link add lone type veth peer name far; ip link set lone up;"
        "ip addr add 10.71.0.1/24 dev m1; ip addr add 10.71.0.9/32 dev m1;"
        "ip -6 addr add fd00::1/64 dev m1 nodad; ip addr add 192.0.2.1/24 dev lone");
    char *names[] = {(char *)"m1", (char *)"absent", (char *)"m0", (char *)"lone", NULL};
    g_autoptr(GArray) interfaces = gw_motion_interfaces_read(names, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(interfaces->len, ==, G_N_ELEMENTS(expected));
    for (guint i = 0; i < interfaces->len; i++) {
        const GwHostInterface *got = &g_array_index(interfaces, GwHostInterface, i);
        g_assert_cmpstr(got->name, ==, expected[i].name);
        g_assert_cmpstr(got->address, ==, expected[i].address);
        g_assert_cmpuint(got->prefix_length, ==, expected[i].prefix_length);
        g_assert_cmpuint(got->speed_bits_per_s, ==, expected[i].speed_bits_per_s);
        g_assert_cmpuint(got->mtu, ==, expected[i].mtu);
        g_assert_cmpint(got->is_up, ==, expected[i].is_up);
    }
    g_autoptr(JsonArray) array = gw_motion_interfaces_to_json(interfaces);
    g_autoptr(JsonNode) node = json_node_init_array(json_node_alloc(), array);
    g_autofree char *text = json_to_string(node, FALSE);
    static const char first[] = "[{\"name\":\"m1\",\"address\":\"10.71.0.1\",\"prefix_length\":24,"
                                "\"speed_bits_per_s\":10000000000,\"mtu\":1500,\"up\":true},",
                      absent[] = "{\"name\":\"absent\",\"address\":null,\"prefix_length\":0,"
                                 "\"speed_bits_per_s\":0,\"mtu\":0,\"up\":false}";
    g_assert_true(g_str_has_prefix(text, first));
    g_assert_true(g_strstr_len(text, -1, absent));
}

static void
test_speed_unknown(void)
{
    g_autoptr(GError) error = NULL;
    if (!private_network_enter())
        return;
    private_network_run("ip link add d0 type bridge; ip link set d0 up; ip addr add 10.0.0.1/8 dev d0");
    char *names[] = {(char *)"d0", NULL};
    g_autoptr(GArray) interfaces = gw_motion_interfaces_read(names, &error);
    g_assert_no_error(error);
    const GwHostInterface *got = &g_array_index(interfaces, GwHostInterface, 0);
    g_assert_cmpuint(got->speed_bits_per_s, ==, 0);
    g_assert_cmpuint(got->prefix_length, ==, 8);
}

static void
test_none(void)
{
    g_autoptr(GError) error = NULL;
    char *names[] = {NULL};
    g_autoptr(GArray) interfaces = gw_motion_interfaces_read(names, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(interfaces->len, ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/motion-interface/read", test_read);
    g_test_add_func("/motion-interface/speed-unknown", test_speed_unknown);
    g_test_add_func("/motion-interface/none", test_none);
    return g_test_run();
}
