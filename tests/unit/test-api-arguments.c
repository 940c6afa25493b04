/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Members of a request's body: what is taken, and how what is wrong is told. */
#include "api-arguments.h"

#include "error.h"
#include "json.h"

#include <string.h>

static const char *const priorities[] = {"normal", "high", NULL};

typedef struct {
    const char *to;
    int priority;
    int64_t streams;
    double gap;
    bool tls;
    const char *const *overrides;
    JsonObject *config;
} Taken;

/* Reads a body as a route would; the texts are alive as long as `args` and `body`. */
static bool
take(GwArguments *args, JsonObject *body, Taken *taken, GError **error)
{
    gw_arguments_init(args, body);
    taken->to = gw_arguments_string(args, "to", GW_REQUIRED, 63);
    taken->priority = gw_arguments_choice(args, "priority", GW_OPTIONAL, priorities);
    taken->streams = gw_arguments_int(args, "streams", GW_OPTIONAL, 1, 8, 2);
    taken->gap = gw_arguments_number(args, "gap_ms", GW_OPTIONAL, 0, 1000);
    taken->tls = gw_arguments_bool(args, "tls", GW_OPTIONAL, true);
    taken->overrides = gw_arguments_strings(args, "overrides", GW_OPTIONAL, 3, 10);
    taken->config = gw_arguments_object(args, "config", GW_OPTIONAL);
    return gw_arguments_end(args, error);
}

static void
test_taken(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) body =
        gw_json_parse_object("{\"to\": \"host2\", \"priority\": \"high\", \"streams\": 8, \"gap_ms\": 12.5,"
                             "\"tls\": false, \"overrides\": [\"a\", \"b\"], \"config\": {\"x\": 1},"
                             "\"reason\": \"because\"}",
                             -1, &error);
    g_assert_no_error(error);
    g_auto(GwArguments) args = {0};
    Taken taken;
    g_assert_true(take(&args, body, &taken, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(taken.to, ==, "host2");
    g_assert_cmpint(taken.priority, ==, 1);
    g_assert_cmpint(taken.streams, ==, 8);
    g_assert_cmpfloat(taken.gap, ==, 12.5);
    g_assert_false(taken.tls);
    g_assert_cmpstr(taken.overrides[1], ==, "b");
    g_assert_null(taken.overrides[2]);
    g_assert_nonnull(taken.config);
}

static void
test_absent(void)
{
    const char *const bodies[] = {
        "{\"to\": \"host2\"}",
        "{\"to\": \"host2\", \"priority\": null, \"streams\": null, \"tls\": null, \"overrides\": null,"
        "\"gap_ms\": null, \"config\": null}"};
    for (size_t i = 0; i < G_N_ELEMENTS(bodies); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(JsonObject) body = gw_json_parse_object(bodies[i], -1, &error);
        g_auto(GwArguments) args = {0};
        Taken taken;
        g_assert_true(take(&args, body, &taken, &error));
        g_assert_no_error(error);
        g_assert_cmpint(taken.priority, ==, -1);
        g_assert_cmpint(taken.streams, ==, 2);
        g_assert_true(taken.tls);
        g_assert_null(taken.overrides);
        g_assert_null(taken.config);
    }
}

static void
test_refused(void)
{
    static const struct {
        const char *body, *text;
    } cases[] = {
        {"{}", "to: missing, expected a string"},
        {"{\"to\": null}", "to: got null, expected a string"},
        {"{\"to\": 7}", "to: got 7, expected a string"},
        {"{\"to\": \"\"}", "to: got 0 bytes, expected 1 to 63"},
        {"{\"to\": {\"a\": [1]}}", "to: got {\"a\":[1]}, expected a string"},
        {"{\"to\": \"h\", \"priority\": \"low\"}", "priority: got \"low\", expected normal or high"},
        {"{\"to\": \"h\", \"priority\": 1}", "priority: got 1, expected normal or high"},
        {"{\"to\": \"h\", \"streams\": 9}", "streams: got 9, expected a whole number from 1 to 8"},
        {"{\"to\": \"h\", \"streams\": 0}", "streams: got 0, expected a whole number from 1 to 8"},
        {"{\"to\": \"h\", \"streams\": \"2\"}", "streams: got \"2\", expected a whole number from 1 to 8"},
        {"{\"to\": \"h\", \"streams\": 1.5}", "streams: got 1.5, expected a whole number from 1 to 8"},
        {"{\"to\": \"h\", \"gap_ms\": 1001}", "gap_ms: got 1001, expected a number from 0 to 1000"},
        {"{\"to\": \"h\", \"gap_ms\": true}", "gap_ms: got true, expected a number from 0 to 1000"},
        {"{\"to\": \"h\", \"tls\": 1}", "tls: got 1, expected true or false"},
        {"{\"to\": \"h\", \"overrides\": \"a\"}", "overrides: got \"a\", expected a list of at most 3"},
        {"{\"to\": \"h\", \"overrides\": [\"a\", 1]}", "overrides: got [\"a\",1], expected a list"},
        {"{\"to\": \"h\", \"overrides\": [\"a\",\"b\",\"c\",\"d\"]}", "overrides: got"},
        {"{\"to\": \"h\", \"overrides\": [\"\"]}", "overrides: got [\"\"]"},
        {"{\"to\": \"h\", \"config\": []}", "config: got [], expected an object"},
        {"{\"too\": \"h\"}", "unknown member 'too' (did you mean 'to'?)"},
        {"{\"to\": \"h\", \"reson\": \"x\"}", "unknown member 'reson' (did you mean 'reason'?)"},
        {"{\"to\": \"h\", \"quux\": 1}", "unknown member 'quux' (there are: reason, to, priority"},
        {"{\"to\": \"h\", \"\": 1}", "unknown member '' (there are"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(JsonObject) body = gw_json_parse_object(cases[i].body, -1, &error);
        g_assert_no_error(error);
        g_auto(GwArguments) args = {0};
        Taken taken;
        g_assert_false(take(&args, body, &taken, &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
        if (!g_str_has_prefix(error->message, cases[i].text))
            g_error("%s: got '%s', expected '%s'", cases[i].body, error->message, cases[i].text);
    }
}

/* A long wrong value is shown in part, cut between characters. */
static void
test_long_values(void)
{
    g_autoptr(GString) text = g_string_new("{\"to\": [\"");
    for (unsigned i = 0; i < 5000; i++)
        g_string_append(text, "ä");
    g_string_append(text, "\"]}");
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) body = gw_json_parse_object(text->str, -1, &error);
    g_auto(GwArguments) args = {0};
    Taken taken;
    g_assert_false(take(&args, body, &taken, &error));
    g_assert_cmpuint(strlen(error->message), <, 200);
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
}

static void
test_own_refusal(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) body = gw_json_parse_object("{\"to\": \"h\"}", -1, &error);
    g_auto(GwArguments) args = {0};
    gw_arguments_init(&args, body);
    gw_arguments_string(&args, "to", GW_REQUIRED, 63);
    gw_arguments_refuse(&args, "to", "got '%s', expected another", "h");
    gw_arguments_refuse(&args, "to", "a later one is not told");
    g_assert_false(gw_arguments_end(&args, &error));
    g_assert_cmpstr(error->message, ==, "to: got 'h', expected another");
}

static void
test_host_names(void)
{
    const char *const good[] = {"a", "host1", "0", "a-b"};
    const char *const bad[] = {"", "-a", "A", "a.b", "a_b", "a b", "../x", "\xc3\xa4"};
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
        g_assert_true(gw_is_host_name(good[i]));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(gw_is_host_name(bad[i]));
    g_autofree char *longest = g_strnfill(63, 'x'), *too_long = g_strnfill(64, 'x');
    g_assert_true(gw_is_host_name(longest));
    g_assert_false(gw_is_host_name(too_long));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/api-arguments/taken", test_taken);
    g_test_add_func("/api-arguments/absent", test_absent);
    g_test_add_func("/api-arguments/refused", test_refused);
    g_test_add_func("/api-arguments/long-values", test_long_values);
    g_test_add_func("/api-arguments/own-refusal", test_own_refusal);
    g_test_add_func("/api-arguments/host-names", test_host_names);
    return g_test_run();
}
