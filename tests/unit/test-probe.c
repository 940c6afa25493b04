/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Both ends of a probe over the loopback of private networks: plain, shaped, dead, and with liars at either
 * end. */
#include "probe.h"

#include "census.h"
#include "error.h"
#include "json.h"
#include "private-network.h"
#include "probe-internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

static JsonObject *
json(const char *text)
{
    g_autoptr(GError) error = NULL;
    JsonObject *object = gw_json_parse_object(text, -1, &error);
    g_assert_no_error(error);
    return object;
}

/* What POST /v1/probe/listen answers for these addresses. */
static JsonObject *
open_door(GwProbeDoor *door, const char *addresses)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf("{\"addresses\":[%s]}", addresses);
    g_autoptr(JsonObject) request = json(text);
    JsonObject *answer = gw_probe_door_open(door, request, &error);
    g_assert_no_error(error);
    return answer;
}

static unsigned
port_of(JsonObject *listening, guint i)
{
    int64_t port = 0;
    JsonObject *object = gw_json_array_object(gw_json_get_array(listening, "listening"), i);
    g_assert_true(gw_json_get_int(object, "port", &port));
    return (unsigned)port;
}

static JsonObject *
run(const char *token, int duration_ms, const char *paths)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text =
        g_strdup_printf("{\"token\":\"%s\",\"duration_ms\":%d,\"paths\":[%s]}", token, duration_ms, paths);
    g_autoptr(JsonObject) request = json(text);
    JsonObject *answer = gw_probe_run(request, &error);
    g_assert_no_error(error);
    return answer;
}

static char *
path(const char *source, const char *destination, unsigned port)
{
    return g_strdup_printf("{\"source_address\":\"%s\",\"destination_address\":\"%s\",\"port\":%u}", source,
                           destination, port);
}

static JsonObject *
result(JsonObject *answer, guint i)
{
    return gw_json_array_object(gw_json_get_array(answer, "paths"), i);
}

static int64_t
number(JsonObject *object, const char *member)
{
    int64_t value = -1;
    g_assert_true(gw_json_get_int(object, member, &value));
    return value;
}

static bool
is_reachable(JsonObject *object)
{
    bool reachable = false;
    g_assert_true(gw_json_get_bool(object, "reachable", &reachable));
    return reachable;
}

static void
test_window(void)
{
    static const struct {
        GwProbeSample samples[6];
        guint n;
        uint64_t bytes, us;
    } cases[] = {
        {{{0}}, 0, 0, 0},
        {{{5, 10}}, 1, 0, 0},
        {{{5, 10}, {5, 10}}, 2, 0, 0},
        {{{100, 10}, {200, 30}}, 2, 20, 100},
        /* a burst first, then 1 byte/us: only the steady part counts */
        {{{0, 1000}, {100, 5000}, {200, 5100}, {400, 5300}}, 4, 300, 300},
        {{{0, 1}, {99, 9000}, {101, 9000}, {400, 9600}}, 4, 600, 299},
        /* all but the start comes in one piece: nothing is left out */
        {{{0, 10}, {1000, 500}}, 2, 490, 1000},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint64_t bytes = 1, us = 1;
        g_autoptr(GArray) samples = g_array_new(FALSE, FALSE, sizeof(GwProbeSample));
        g_array_append_vals(samples, cases[i].samples, cases[i].n);
        gw_probe_window(samples, &bytes, &us);
        g_assert_cmpuint(bytes, ==, cases[i].bytes);
        g_assert_cmpuint(us, ==, cases[i].us);
    }
}

static void
test_address(void)
{
    static const char *const wrong[] = {
        "", "host", "10.0.0", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "10.0.0.1:80"};
    struct sockaddr_storage address;
    socklen_t length;
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++)
        g_assert_cmpint(gw_probe_address_parse(wrong[i], 1, &address, &length), ==,
                        g_str_equal(wrong[i], "10.0.0")); /* inet_aton() takes that for 10.0.0.0 */
    g_assert_true(gw_probe_address_parse("fd00::1", 258, &address, &length));
    g_assert_cmpint(address.ss_family, ==, AF_INET6);
    g_assert_cmpuint(((struct sockaddr_in6 *)&address)->sin6_port, ==, htons(258));
}

static void
test_two_ways(void)
{
    if (!private_network_enter())
        return;
    Census before = census_take();
    private_network_run("ip addr add 10.71.0.1/32 dev lo; ip addr add 10.71.0.2/32 dev lo; "
                        "ip -6 addr add fd00::1/128 dev lo nodad");
    GwProbeDoor *door = gw_probe_door_new();
    g_autoptr(JsonObject) listening = open_door(door, "\"10.71.0.2\",\"fd00::1\"");
    const char *token = gw_json_get_string(listening, "token");
    g_assert_cmpuint(strlen(token), ==, 32);
    /* both ways of one listener, then the other's, then one from which nothing can start */
    g_autofree char *first = path("10.71.0.1", "10.71.0.2", port_of(listening, 0));
    g_autofree char *second = path("127.0.0.1", "10.71.0.2", port_of(listening, 0));
    g_autofree char *third = path("::1", "fd00::1", port_of(listening, 1));
    g_autofree char *fourth = path("10.71.0.77", "10.71.0.2", port_of(listening, 0));
    g_autofree char *fifth = path("::1", "10.71.0.2", port_of(listening, 0));
    g_autofree char *paths = g_strjoin(",", first, second, third, fourth, fifth, NULL);
    g_autoptr(JsonObject) answer = run(token, 40, paths);
    for (guint i = 0; i < 3; i++) {
        g_assert_null(gw_json_get_string(result(answer, i), "error"));
        g_assert_true(is_reachable(result(answer, i)));
        g_assert_cmpint(number(result(answer, i), "rtt_us"), >, 0);
        g_assert_cmpint(number(result(answer, i), "rtt_us"), <, 100000);
        g_assert_cmpint(number(result(answer, i), "bits_per_s"), >, 10000000);
    }
    g_assert_cmpstr(gw_json_get_string(result(answer, 1), "source_address"), ==, "127.0.0.1");
    g_assert_cmpstr(gw_json_get_string(result(answer, 2), "destination_address"), ==, "fd00::1");
    g_assert_false(is_reachable(result(answer, 3)));
    g_assert_cmpstr(gw_json_get_string(result(answer, 3), "error"), ==,
                    "10.71.0.77 is no address of this host");
    g_assert_false(is_reachable(result(answer, 4)));
    g_assert_cmpstr(gw_json_get_string(result(answer, 4), "error"), ==,
                    "::1 and 10.71.0.2 are of different families");
    gw_probe_door_free(door);
    census_check(&before);
}

/* Shaped to 1 Gbit/s, and to 20 Mbit/s behind a deep queue, it is measured as that. */
static void
test_shaped(void)
{
    static const struct {
        const char *tbf;
        int64_t bits_per_s;
    } cases[] = {{"rate 1gbit burst 128k latency 20ms", 1000000000},
                 {"rate 200mbit burst 64k latency 50ms", 200000000},
                 {"rate 20mbit burst 32k latency 100ms", 20000000}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        if (!private_network_enter())
            return;
        private_network_run("ip link set lo mtu 1500; tc qdisc add dev lo root tbf %s", cases[i].tbf);
        g_autoptr(GwProbeDoor) door = gw_probe_door_new();
        g_autoptr(JsonObject) listening = open_door(door, "\"127.0.0.1\"");
        g_autofree char *way = path("127.0.0.1", "127.0.0.1", port_of(listening, 0));
        g_autoptr(JsonObject) answer = run(gw_json_get_string(listening, "token"), 200, way);
        int64_t measured = number(result(answer, 0), "bits_per_s");
        g_test_message("%s: %" G_GINT64_FORMAT " bit/s", cases[i].tbf, measured);
        g_assert_true(is_reachable(result(answer, 0)));
        /* headers are 4 % of each frame; a loaded machine may not fill the link */
        g_assert_cmpint(measured, <=, cases[i].bits_per_s / 100 * 108);
        g_assert_cmpint(measured, >=, cases[i].bits_per_s / 100 * 60);
    }
}

/* Two dead ways take as long as one. */
static void
test_dead(void)
{
    if (!private_network_enter())
        return;
    private_network_run(
        "ip link add d0 type veth peer name d1; ip link set d1 up; ip link set d0 up; ip addr add 10.71.0.1/24 dev d0; "
        "ip neigh add 10.71.0.2 lladdr 02:00:00:00:00:02 dev d0; "
        "ip neigh add 10.71.0.3 lladdr 02:00:00:00:00:03 dev d0");
    gint64 begin_us = g_get_monotonic_time();
    g_autofree char *first = path("10.71.0.1", "10.71.0.2", 9), *second = path("10.71.0.1", "10.71.0.3", 9);
    g_autofree char *refused = path("127.0.0.1", "127.0.0.1", 9);
    g_autofree char *paths = g_strjoin(",", first, second, refused, NULL);
    g_autoptr(JsonObject) answer = run("00000000000000000000000000000000", 20, paths);
    g_assert_cmpint(g_get_monotonic_time() - begin_us, <, 5 * G_USEC_PER_SEC);
    g_assert_cmpstr(gw_json_get_string(result(answer, 0), "error"), ==,
                    "connecting from 10.71.0.1 to 10.71.0.2 port 9: no answer in 3 s");
    g_assert_cmpstr(gw_json_get_string(result(answer, 2), "error"), ==,
                    "connecting from 127.0.0.1 to 127.0.0.1 port 9: Connection refused");
    for (guint i = 0; i < 3; i++) {
        g_assert_false(is_reachable(result(answer, i)));
        g_assert_cmpint(number(result(answer, i), "bits_per_s"), ==, 0);
    }
}

/* One who takes the connection and then nothing more than its buffers hold, as at the end of a way on which
 * only small packets pass. */
static void
test_black_hole(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (!private_network_enter())
        return;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &length), ==, 0);
    g_autofree char *way = path("127.0.0.1", "127.0.0.1", ntohs(address.sin_port));
    g_autoptr(JsonObject) answer = run("00000000000000000000000000000000", 20, way);
    g_assert_false(is_reachable(result(answer, 0)));
    g_assert_cmpstr(
        gw_json_get_string(result(answer, 0), "error"), ==,
        "127.0.0.1 answers, but data from 127.0.0.1 does not get through: is the MTU the same all "
        "along the way?");
    close(fd);
}

static int
connect_to(unsigned port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    return fd;
}

/* Who does not know the token is shut out at its 32nd character, and hinders nobody. */
static void
test_wrong_token(void)
{
    if (!private_network_enter())
        return;
    GwProbeDoor *door = gw_probe_door_new();
    g_autoptr(JsonObject) listening = open_door(door, "\"127.0.0.1\"");
    g_autofree char *token = g_strdup(gw_json_get_string(listening, "token"));
    char byte;
    int silent = connect_to(port_of(listening, 0)), liar = connect_to(port_of(listening, 0));
    g_autofree char *wrong = g_strdup(token);
    wrong[31] = wrong[31] == '0' ? '1' : '0';
    g_assert_cmpint(send(liar, wrong, 32, MSG_NOSIGNAL), ==, 32);
    g_assert_cmpint(recv(liar, &byte, 1, 0), ==, 0);

    g_autofree char *way = path("127.0.0.1", "127.0.0.1", port_of(listening, 0));
    g_autoptr(JsonObject) refused = run(wrong, 20, way);
    g_assert_false(is_reachable(result(refused, 0)));
    g_autoptr(JsonObject) answer = run(token, 20, way);
    g_assert_true(is_reachable(result(answer, 0)));
    close(silent);
    close(liar);
    gw_probe_door_free(door);
}

static void
assert_refused(GwProbeDoor *door, const char *text, int code, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) request = json(text);
    g_autoptr(JsonObject) answer =
        door ? gw_probe_door_open(door, request, &error) : gw_probe_run(request, &error);
    g_assert_null(answer);
    g_assert_error(error, GW_ERROR, code);
    g_assert_cmpstr(error->message, ==, message);
}

#define TOKEN "\"token\":\"0123456789abcdef0123456789abcdef\""

static void
test_requests(void)
{
    static const char addresses[] = "'addresses': expected a list of 1 to 64 of this host's addresses";
    static const char way[] =
        "'paths': element 0: expected 'source_address', 'destination_address' and 'port'";
    g_autoptr(GwProbeDoor) door = gw_probe_door_new();
    assert_refused(door, "{}", GW_ERROR_INVALID_ARGUMENT, addresses);
    assert_refused(door, "{\"addresses\":[]}", GW_ERROR_INVALID_ARGUMENT, addresses);
    assert_refused(door, "{\"addresses\":\"127.0.0.1\"}", GW_ERROR_INVALID_ARGUMENT, addresses);
    assert_refused(door, "{\"addresses\":[1]}", GW_ERROR_INVALID_ARGUMENT,
                   "'addresses' holds what is no text");
    assert_refused(door, "{\"addresses\":[{}]}", GW_ERROR_INVALID_ARGUMENT,
                   "'addresses' holds what is no text");
    assert_refused(door, "{\"addresses\":[\"0.0.0.0\"]}", GW_ERROR_INVALID_ARGUMENT,
                   "'0.0.0.0' is no numeric address");
    assert_refused(door, "{\"addresses\":[\"127.0.0.1\",\"192.0.2.77\"]}", GW_ERROR_NOT_FOUND,
                   "192.0.2.77 is no address of this host");
    static const char token[] = "'token': expected the 32 characters of POST /v1/probe/listen";
    assert_refused(NULL, "{}", GW_ERROR_INVALID_ARGUMENT, token);
    assert_refused(NULL, "{\"token\":\"abc\"}", GW_ERROR_INVALID_ARGUMENT, token);
    assert_refused(NULL, "{\"token\":7}", GW_ERROR_INVALID_ARGUMENT, token);
    static const char *const durations[] = {"19", "2001", "\"200\"", "1e9", "null"};
    for (size_t i = 0; i < G_N_ELEMENTS(durations); i++) {
        g_autofree char *text = g_strdup_printf("{" TOKEN ",\"duration_ms\":%s}", durations[i]);
        assert_refused(NULL, text, GW_ERROR_INVALID_ARGUMENT, "'duration_ms': expected 20 to 2000");
    }
    assert_refused(NULL, "{" TOKEN "}", GW_ERROR_INVALID_ARGUMENT, "'paths': expected a list of 1 to 64");
    assert_refused(NULL, "{" TOKEN ",\"paths\":[]}", GW_ERROR_INVALID_ARGUMENT,
                   "'paths': expected a list of 1 to 64");
    static const char *const paths[] = {
        "7", "{}", "{\"source_address\":\"a\",\"destination_address\":\"b\",\"port\":0}",
        "{\"source_address\":\"a\",\"destination_address\":\"b\",\"port\":65536}",
        "{\"source_address\":1,\"destination_address\":\"b\",\"port\":1}"};
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autofree char *text = g_strdup_printf("{" TOKEN ",\"paths\":[%s]}", paths[i]);
        assert_refused(NULL, text, GW_ERROR_INVALID_ARGUMENT, way);
    }
}

static void
test_too_many(void)
{
    if (!private_network_enter())
        return;
    Census before = census_take();
    GwProbeDoor *door = gw_probe_door_new();
    for (int i = 0; i < GW_PROBE_MAX_LISTENERS / 2; i++) {
        g_autoptr(JsonObject) listening = open_door(door, "\"127.0.0.1\",\"127.0.0.1\"");
        g_assert_cmpuint(port_of(listening, 0), !=, port_of(listening, 1));
    }
    assert_refused(door, "{\"addresses\":[\"127.0.0.1\"]}", GW_ERROR_BUSY,
                   "64 ports are open for probes: try again in a minute");
    gw_probe_door_free(door);
    census_check(&before);
    gw_probe_door_free(NULL);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/probe/window", test_window);
    g_test_add_func("/probe/address", test_address);
    g_test_add_func("/probe/two-ways", test_two_ways);
    g_test_add_func("/probe/shaped", test_shaped);
    g_test_add_func("/probe/dead", test_dead);
    g_test_add_func("/probe/black-hole", test_black_hole);
    g_test_add_func("/probe/wrong-token", test_wrong_token);
    g_test_add_func("/probe/requests", test_requests);
    g_test_add_func("/probe/too-many", test_too_many);
    return g_test_run();
}
