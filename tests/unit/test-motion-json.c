/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Motions in JSON: requests are taken or refused member by member, by name; tickets survive the way there and
 * back; what is not known of a motion is null. */
#include "motion-json.h"

#include "error.h"
#include "json.h"

#include <string.h>

#define SESSION "00112233445566778899aabbccddeeff"
#define SECRET  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define PLACE   "{\"address\":\"10.71.0.2\",\"port\":41234}"
#define SEND                                                                                                 \
    "{\"action\":\"send\",\"session\":\"" SESSION "\",\"secret\":\"" SECRET "\",\"addresses\":[" PLACE "]"
#define RECEIVE "{\"action\":\"receive\",\"listen\":[\"10.71.0.2\"]"

static JsonObject *
parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    JsonObject *object = gw_json_parse_object(text, -1, &error);
    g_assert_no_error(error);
    return object;
}

/* --- requests ----------------------------------------------------------------------------------------- */

static void
read_request(const char *text, GwMotionRequest *ret_request)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) body = parse(text);
    g_assert_true(gw_motion_request_parse(body, ret_request, &error));
    g_assert_no_error(error);
}

static void
test_send(void)
{
    g_auto(GwMotionRequest) defaults = {0}, all = {0};
    read_request(SEND "}", &defaults);
    g_assert_true(defaults.outgoing);
    g_assert_true(defaults.tls);
    g_assert_cmpuint(defaults.n_streams, ==, 0);
    g_assert_cmpuint(defaults.goal_us, ==, 500000);
    g_assert_cmpuint(defaults.deadline_us, ==, 600000000);
    g_assert_cmpuint(defaults.ticket->session[1], ==, 0x11);
    g_assert_cmpuint(defaults.ticket->secret[31], ==, 0xef);
    g_assert_cmpuint(defaults.ticket->endpoints->len, ==, 1);
    g_assert_cmpstr(gw_ticket_endpoint(defaults.ticket, 0)->address, ==, "10.71.0.2");
    g_assert_cmpuint(gw_ticket_endpoint(defaults.ticket, 0)->port, ==, 41234);
    g_assert_null(gw_ticket_endpoint(defaults.ticket, 0)->local);

    read_request("{\"action\":\"send\",\"session\":\"" SESSION "\",\"secret\":\"" SECRET "\",\"addresses\":["
                 "{\"address\":\"fd00::2\",\"port\":1,\"local\":\"fd00::1\"}," PLACE "],\"tls\":false,"
                 "\"streams\":8,\"switchover_goal_ms\":10,\"deadline_s\":604800,\"note\":\"a text\"}",
                 &all);
    g_assert_false(all.tls);
    g_assert_cmpuint(all.n_streams, ==, 8);
    g_assert_cmpuint(all.goal_us, ==, 10000);
    g_assert_cmpuint(all.deadline_us, ==, 604800000000);
    g_assert_cmpuint(all.ticket->endpoints->len, ==, 2);
    g_assert_cmpstr(gw_ticket_endpoint(all.ticket, 0)->local, ==, "fd00::1");
}

static void
test_receive(void)
{
    g_auto(GwMotionRequest) one = {0}, two = {0};
    read_request(RECEIVE "}", &one);
    g_assert_false(one.outgoing);
    g_assert_true(one.tls);
    g_assert_cmpuint(one.ticket->endpoints->len, ==, 1);
    g_assert_cmpuint(gw_ticket_endpoint(one.ticket, 0)->port, ==, 0);
    read_request("{\"action\":\"receive\",\"listen\":[\"::1\",\"127.0.0.1\"],\"tls\":false}", &two);
    g_assert_false(two.tls);
    g_assert_cmpstr(gw_ticket_endpoint(two.ticket, 0)->address, ==, "::1");
    g_assert_cmpstr(gw_ticket_endpoint(two.ticket, 1)->address, ==, "127.0.0.1");
    /* each its own session and secret */
    g_assert_true(memcmp(one.ticket->session, two.ticket->session, GW_WIRE_SESSION_BYTES) != 0);
    g_assert_true(memcmp(one.ticket->secret, two.ticket->secret, GW_WIRE_SECRET_BYTES) != 0);
}

static void
assert_refused(const char *text, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) body = parse(text);
    GwMotionRequest request = {.n_streams = 77};
    g_test_message("%s", text);
    g_assert_false(gw_motion_request_parse(body, &request, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    g_assert_cmpstr(error->message, ==, expected);
    g_assert_cmpuint(request.n_streams, ==, 77); /* nothing was handed out */
    g_assert_null(request.ticket);
}

static void
test_wrong_members(void)
{
    static const char action[] = "action: expected send or receive", tls[] = "tls: expected true or false",
                      streams[] = "streams: expected a whole number from 1 to 8",
                      goal[] = "switchover_goal_ms: expected a whole number from 10 to 60000",
                      deadline[] = "deadline_s: expected a whole number from 1 to 604800";
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"{}", action},
        {"{\"action\":\"Send\"}", action},
        {"{\"action\":1}", action},
        {"{\"action\":null}", action},
        {SEND ",\"tls\":1}", tls},
        {SEND ",\"tls\":\"false\"}", tls},
        {SEND ",\"tls\":null}", tls},
        {RECEIVE ",\"tls\":[]}", tls},
        {SEND ",\"streams\":0}", streams},
        {SEND ",\"streams\":9}", streams},
        {SEND ",\"streams\":-1}", streams},
        {SEND ",\"streams\":2.5}", streams},
        {SEND ",\"streams\":\"2\"}", streams},
        {SEND ",\"streams\":null}", streams},
        {SEND ",\"switchover_goal_ms\":9}", goal},
        {SEND ",\"switchover_goal_ms\":60001}", goal},
        {SEND ",\"switchover_goal_ms\":{}}", goal},
        {SEND ",\"deadline_s\":0}", deadline},
        {SEND ",\"deadline_s\":604801}", deadline},
        {SEND ",\"deadline_s\":9223372036854775807}", deadline},
        {SEND ",\"deadline_s\":true}", deadline},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_refused(cases[i].text, cases[i].expected);
}

static void
test_wrong_tickets(void)
{
    static const char session[] = "session: expected 32 hexadecimal digits, from the destination's answer",
                      secret[] = "secret: expected 64 hexadecimal digits, from the destination's answer",
                      addresses[] = "addresses: expected a list of 1 to 8 objects",
                      address[] = "addresses: expected objects with a numeric \"address\"",
                      port[] = "addresses: expected a \"port\" from 1 to 65535 in each",
                      local[] = "addresses: expected a numeric \"local\" address, or none";
    static const struct {
        const char *session, *secret, *addresses, *expected;
    } cases[] = {
        {"\"" SESSION "0\"", "\"" SECRET "\"", "[" PLACE "]", session},
        {"\"\"", "\"" SECRET "\"", "[" PLACE "]", session},
        {"\"0011223344556677_899aabbccddeeff\"", "\"" SECRET "\"", "[" PLACE "]", session},
        {"null", "\"" SECRET "\"", "[" PLACE "]", session},
        {"5", "\"" SECRET "\"", "[" PLACE "]", session},
        {"\"" SESSION "\"", "\"" SESSION "\"", "[" PLACE "]", secret},
        {"\"" SESSION "\"", "{}", "[" PLACE "]", secret},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[]", addresses},
        {"\"" SESSION "\"", "\"" SECRET "\"", "{}", addresses},
        {"\"" SESSION "\"", "\"" SECRET "\"", "null", addresses},
        {"\"" SESSION "\"", "\"" SECRET "\"", "\"10.71.0.2\"", addresses},
        {"\"" SESSION "\"", "\"" SECRET "\"",
         "[" PLACE "," PLACE "," PLACE "," PLACE "," PLACE "," PLACE "," PLACE "," PLACE "," PLACE "]",
         addresses},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[\"10.71.0.2\"]", address},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[" PLACE ",null]", address},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[{\"port\":1}]", address},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[{\"address\":\"host1\",\"port\":1}]", address},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[{\"address\":\"10.0.0.256\",\"port\":1}]", address},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[{\"address\":\"\",\"port\":1}]", address},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[{\"address\":7,\"port\":1}]", address},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[{\"address\":\"10.0.0.1\"}]", port},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[{\"address\":\"10.0.0.1\",\"port\":0}]", port},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[{\"address\":\"10.0.0.1\",\"port\":65536}]", port},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[{\"address\":\"10.0.0.1\",\"port\":\"1\"}]", port},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[{\"address\":\"10.0.0.1\",\"port\":1,\"local\":\"eth0\"}]",
         local},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[{\"address\":\"10.0.0.1\",\"port\":1,\"local\":5}]", local},
        {"\"" SESSION "\"", "\"" SECRET "\"", "[{\"address\":\"10.0.0.1\",\"port\":1,\"local\":null}]",
         local},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text =
            g_strdup_printf("{\"action\":\"send\",\"session\":%s,\"secret\":%s,\"addresses\":%s}",
                            cases[i].session, cases[i].secret, cases[i].addresses);
        assert_refused(text, cases[i].expected);
    }
    assert_refused("{\"action\":\"send\"}", session);
    assert_refused("{\"action\":\"send\",\"session\":\"" SESSION "\"}", secret);
    assert_refused("{\"action\":\"send\",\"session\":\"" SESSION "\",\"secret\":\"" SECRET "\"}", addresses);
}

static void
test_wrong_listens(void)
{
    static const char *const listens[] = {
        "null",
        "[]",
        "{}",
        "\"10.0.0.1\"",
        "[1]",
        "[null]",
        "[\"\"]",
        "[\"lo\"]",
        "[\"10.0.0.1\",{}]",
        "[\"10.0.0.1\",\"10.0.0.1.\"]",
        "[[\"10.0.0.1\"]]",
        "[true]",
        "[\"::1\",\"::1\",\"::1\",\"::1\",\"::1\",\"::1\",\"::1\",\"::1\",\"::1\"]"};
    static const char expected[] =
        "listen: expected a list of 1 to 8 numeric addresses of this host's motion interfaces";
    for (unsigned i = 0; i < G_N_ELEMENTS(listens); i++) {
        g_autofree char *text = g_strdup_printf("{\"action\":\"receive\",\"listen\":%s}", listens[i]);
        assert_refused(text, expected);
    }
    assert_refused("{\"action\":\"receive\"}", expected);
}

/* --- tickets ------------------------------------------------------------------------------------------ */

static void
test_round_trip(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwTicket) ticket = gw_ticket_new(NULL);
    gw_ticket_add(ticket, "10.71.0.2", 41234, NULL);
    gw_ticket_add(ticket, "fd00::2", 65535, "fd00::1");
    for (unsigned tls = 0; tls < 2; tls++) {
        bool got_tls = !tls;
        g_autoptr(JsonObject) object = gw_motion_ticket_to_json(ticket, tls);
        g_autofree char *line = gw_json_object_to_line(object);
        g_autoptr(JsonObject) again = parse(line);
        g_assert_true(gw_json_get_bool(again, "tls", &got_tls));
        g_assert_cmpint(got_tls, ==, tls);
        g_autoptr(GwTicket) got = gw_motion_ticket_parse(again, &error);
        g_assert_no_error(error);
        g_assert_cmpmem(got->session, sizeof got->session, ticket->session, sizeof ticket->session);
        g_assert_cmpmem(got->secret, sizeof got->secret, ticket->secret, sizeof ticket->secret);
        g_assert_cmpuint(got->endpoints->len, ==, 2);
        for (unsigned i = 0; i < 2; i++) {
            const GwEndpoint *a = gw_ticket_endpoint(got, i), *b = gw_ticket_endpoint(ticket, i);
            g_assert_cmpstr(a->address, ==, b->address);
            g_assert_cmpuint(a->port, ==, b->port);
            g_assert_cmpstr(a->local, ==, b->local);
        }
    }
}

/* --- progress ----------------------------------------------------------------------------------------- */

static JsonObject *
progress_to_json(const GwProgressData *progress, const GError *why)
{
    static const uint8_t session[GW_WIRE_SESSION_BYTES] = {0xab, 1};
    g_autoptr(JsonObject) object = gw_motion_progress_to_json(progress, true, session, why);
    g_autofree char *line = gw_json_object_to_line(object); /* as a client sees it */
    return parse(line);
}

static void
assert_null(JsonObject *object, const char *member)
{
    if (!json_object_has_member(object, member) || !json_object_get_null_member(object, member))
        g_error("%s is not null", member);
}

static void
assert_int(JsonObject *object, const char *member, int64_t expected)
{
    int64_t value = -77;
    if (!gw_json_get_int(object, member, &value) || value != expected)
        g_error("%s is %" G_GINT64_FORMAT ", not %" G_GINT64_FORMAT, member, value, expected);
}

static void
assert_ms(JsonObject *object, const char *member, double expected)
{
    g_assert_true(json_object_has_member(object, member));
    g_assert_cmpfloat_with_epsilon(json_object_get_double_member(object, member), expected, 1e-9);
}

/* Nothing has happened. */
static void
test_progress_unknown(void)
{
    static const char *const unknown[] = {"step",   "error",       "cipher",
                                          "peer",   "explanation", "expected_pause_ms",
                                          "eta_ms", "downtime_ms", "precopy_ms"};
    GwProgressData progress = {.step = "", .converging = true, .started_us = g_get_monotonic_time()};
    g_autoptr(JsonObject) object = progress_to_json(&progress, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(unknown); i++)
        assert_null(object, unknown[i]);
    g_assert_cmpstr(gw_json_get_string(object, "role"), ==, "source");
    g_assert_cmpstr(gw_json_get_string(object, "state"), ==, "waiting");
    g_assert_cmpstr(gw_json_get_string(object, "session"), ==, "ab010000000000000000000000000000");
    g_assert_cmpuint(json_array_get_length(gw_json_get_array(object, "rounds")), ==, 0);
    g_assert_cmpuint(json_array_get_length(gw_json_get_array(object, "timeline")), ==, 0);
    g_assert_cmpfloat(json_object_get_double_member(object, "total_ms"), >=, 0);
    g_assert_cmpfloat(json_object_get_double_member(object, "total_ms"), <, 60000);
}

static void
test_progress_known(void)
{
    GwProgressData progress = {
        .state = GW_MOTION_COMPLETED,
        .step = "runs",
        .round = 1,
        .n_rounds = 2,
        .rounds = {{100, 409600, 20000}, {5, 20480, 1500}},
        .n_steps = 3,
        .steps = {{"stopping", 999000}, {"stopped", 1000000}, {"go", 1009500}},
        .n_streams = 4,
        .encrypted = true,
        .cipher = "TLS1.3 AES-128-GCM",
        .peer = "10.71.0.2:41234",
        .memory_bytes = 1ull << 40,
        .bytes_on_wire = 430080,
        .pages_sent = 90,
        .pages_zero = 15,
        .pages_resent = 5,
        .estimate = {.link_bytes_per_s = 1000000000,
                     .write_bytes_per_s = 7,
                     .remaining_bytes = 0,
                     .pause_us = 9500,
                     .eta_us = 0},
        .converging = false,
        .explanation = "it writes",
        .started_us = 900000,
        .first_round_us = 950000,
        .stopped_us = 1000000,
        .ended_us = 1010000,
        .downtime_us = 9123,
        .has_downtime = true,
        .rtt_us = 88,
    };
    g_autoptr(GError) why = g_error_new(GW_ERROR, GW_ERROR_PEER_LOST, "gone");
    g_autoptr(JsonObject) object = progress_to_json(&progress, why);
    g_assert_cmpstr(gw_json_get_string(object, "state"), ==, "completed");
    g_assert_cmpstr(gw_json_get_string(object, "step"), ==, "runs");
    g_assert_cmpstr(gw_json_get_string(gw_json_get_object(object, "error"), "code"), ==, "peer-lost");
    g_assert_cmpstr(gw_json_get_string(gw_json_get_object(object, "error"), "message"), ==, "gone");
    g_assert_true(json_object_get_boolean_member(object, "encrypted"));
    g_assert_false(json_object_get_boolean_member(object, "converging"));
    g_assert_cmpstr(gw_json_get_string(object, "explanation"), ==, "it writes");
    g_assert_cmpstr(gw_json_get_string(object, "cipher"), ==, "TLS1.3 AES-128-GCM");
    g_assert_cmpstr(gw_json_get_string(object, "peer"), ==, "10.71.0.2:41234");
    assert_int(object, "streams", 4);
    assert_int(object, "round", 1);
    assert_int(object, "memory_bytes", 1ll << 40);
    assert_int(object, "link_bytes_per_s", 1000000000);
    assert_int(object, "write_bytes_per_s", 7);
    assert_int(object, "remaining_bytes", 0);
    assert_int(object, "bytes_on_wire", 430080);
    assert_int(object, "pages_sent", 90);
    assert_int(object, "pages_zero", 15);
    assert_int(object, "pages_resent", 5);
    assert_int(object, "rtt_us", 88);
    assert_ms(object, "expected_pause_ms", 9.5);
    assert_ms(object, "eta_ms", 0);
    assert_ms(object, "downtime_ms", 9.123);
    assert_ms(object, "total_ms", 110);
    assert_ms(object, "precopy_ms", 50);
    JsonArray *timeline = gw_json_get_array(object, "timeline");
    static const int64_t at_us[] = {-1000, 0, 9500};
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpstr(gw_json_get_string(gw_json_array_object(timeline, i), "step"), ==,
                        progress.steps[i].step);
        assert_int(gw_json_array_object(timeline, i), "at_us", at_us[i]);
    }
    JsonObject *round = gw_json_array_object(gw_json_get_array(object, "rounds"), 1);
    assert_int(round, "round", 1);
    assert_int(round, "found_pages", 5);
    assert_int(round, "sent_bytes", 20480);
    assert_ms(round, "ms", 1.5);
}

static void
assert_round_numbers(GwProgress *progress, const char *expected)
{
    GwProgressData data;
    g_autoptr(GString) numbers = g_string_new("");
    gw_progress_get(progress, &data);
    g_autoptr(JsonObject) object = progress_to_json(&data, NULL);
    JsonArray *rounds = gw_json_get_array(object, "rounds");
    for (guint i = 0; i < json_array_get_length(rounds); i++) {
        int64_t number = -1, found = -1;
        g_assert_true(gw_json_get_int(gw_json_array_object(rounds, i), "round", &number));
        g_assert_true(gw_json_get_int(gw_json_array_object(rounds, i), "found_pages", &found));
        g_assert_cmpint(number, ==, found); /* as the test has it */
        if (i < 3 || i + 2 >= json_array_get_length(rounds))
            g_string_append_printf(numbers, "%d ", (int)number);
    }
    g_assert_cmpstr(numbers->str, ==, expected);
}

/* Each round has its own number, while the next one is under way, and when the middle ones are left out. */
static void
test_round_numbers(void)
{
    GwProgress *progress = gw_progress_new(NULL, NULL);
    assert_round_numbers(progress, "");
    for (unsigned round = 0; round < 100; round++) {
        gw_progress_round_begins(progress, round);
        if (round == 2)
            assert_round_numbers(progress, "0 1 ");
        if (round == 64)
            assert_round_numbers(progress, "0 1 2 62 63 ");
        if (round == 65)
            assert_round_numbers(progress, "0 2 3 63 64 ");
        gw_progress_round_done(progress, round, &(GwRoundStats){.found_pages = round});
        if (round == 2)
            assert_round_numbers(progress, "0 1 2 ");
    }
    assert_round_numbers(progress, "0 37 38 98 99 ");
    gw_progress_free(progress);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/motion-json/send", test_send);
    g_test_add_func("/motion-json/receive", test_receive);
    g_test_add_func("/motion-json/wrong-members", test_wrong_members);
    g_test_add_func("/motion-json/wrong-tickets", test_wrong_tickets);
    g_test_add_func("/motion-json/wrong-listens", test_wrong_listens);
    g_test_add_func("/motion-json/round-trip", test_round_trip);
    g_test_add_func("/motion-json/progress/unknown", test_progress_unknown);
    g_test_add_func("/motion-json/progress/known", test_progress_known);
    g_test_add_func("/motion-json/progress/round-numbers", test_round_numbers);
    return g_test_run();
}
