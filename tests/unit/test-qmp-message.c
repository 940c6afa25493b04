/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QMP without a socket: how bytes become lines, which lines are messages, and what is said of the others. */
#include "qmp-message.h"

#include "error.h"
#include "json.h"

#include <string.h>

/* The fuzz target is the checker of the corpus: one set of invariants for both. */
#include "../fuzz/fuzz-qmp-message.c"

static char *
take_line(GwQmpLines *lines)
{
    g_autoptr(GError) error = NULL;
    const char *line = NULL;
    size_t length = 0;
    g_assert_true(gw_qmp_lines_next(lines, &line, &length, &error));
    g_assert_no_error(error);
    return line ? g_strndup(line, length) : NULL;
}

static void
assert_line(GwQmpLines *lines, const char *expected)
{
    g_autofree char *line = take_line(lines);
    g_assert_cmpstr(line, ==, expected);
}

static void
test_lines_in_one_chunk(void)
{
    g_autoptr(GwQmpLines) lines = gw_qmp_lines_new(100);
    gw_qmp_lines_feed(lines, "one\r\ntwo\n\n\r\nth", 14);
    assert_line(lines, "one");
    assert_line(lines, "two");
    assert_line(lines, "");
    assert_line(lines, "");
    assert_line(lines, NULL);
    g_assert_cmpuint(gw_qmp_lines_n_pending(lines), ==, 2);
    gw_qmp_lines_feed(lines, NULL, 0);
    gw_qmp_lines_feed(lines, "ree\r", 4);
    assert_line(lines, NULL);
    gw_qmp_lines_feed(lines, "\nx", 2);
    assert_line(lines, "three");
    assert_line(lines, NULL);
    g_assert_cmpuint(gw_qmp_lines_n_pending(lines), ==, 1);
}

static void
test_lines_byte_by_byte(void)
{
    g_autoptr(GwQmpLines) lines = gw_qmp_lines_new(1024 * 1024);
    for (int n = 0; n < 3; n++) {
        for (int i = 0; i < 1024 * 1024; i++) {
            gw_qmp_lines_feed(lines, "y", 1);
            if (i % 4096 == 0)
                assert_line(lines, NULL);
        }
        gw_qmp_lines_feed(lines, "\n", 1);
        g_autofree char *line = take_line(lines);
        g_assert_cmpuint(strlen(line), ==, 1024 * 1024);
        assert_line(lines, NULL);
    }
}

static void
assert_too_long(const char *stream, bool expected)
{
    g_autoptr(GwQmpLines) lines = gw_qmp_lines_new(4);
    g_autoptr(GError) error = NULL;
    const char *line = NULL;
    size_t length = 0;
    gw_qmp_lines_feed(lines, stream, strlen(stream));
    bool ok = gw_qmp_lines_next(lines, &line, &length, &error);
    g_assert_true(ok == !expected);
    if (expected) {
        g_assert_error(error, GW_ERROR, GW_ERROR_PROTOCOL);
        g_assert_cmpstr(error->message, ==, "line longer than 4 bytes");
    }
}

static void
test_lines_limit(void)
{
    assert_too_long("1234\n", false);
    assert_too_long("1234\r\n", false);
    assert_too_long("1234", false);
    assert_too_long("1234\r", false); /* may become the end of a line that fits */
    assert_too_long("12345", true);
    assert_too_long("12345\n", true);
    assert_too_long("1234\rx", true);
}

static void
parse(const char *line, GwQmpMessage *ret_message)
{
    g_autoptr(GError) error = NULL;
    gw_qmp_message_parse(line, strlen(line), ret_message, &error);
    g_assert_no_error(error);
}

static void
test_greeting(void)
{
    g_auto(GwQmpMessage) message = {0};
    parse(
        "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\": \"Debian\"},"
        " \"capabilities\": [\"oob\"]}}",
        &message);
    g_assert_cmpint(message.kind, ==, GW_QMP_GREETING);
    g_assert_cmpuint(message.version, ==, 70222);
}

static void
test_return(void)
{
    g_auto(GwQmpMessage) message = {0};
    parse("{\"return\": {\"running\": true, \"status\": \"running\"}, \"id\": 7, \"later-addition\": 1}",
          &message);
    g_assert_cmpint(message.kind, ==, GW_QMP_RETURN);
    g_assert_true(message.has_id);
    g_assert_cmpint(message.id, ==, 7);
    g_assert_cmpstr(gw_json_get_string(json_node_get_object(message.value), "status"), ==, "running");
    g_assert_null(json_node_get_parent(message.value));

    /* its holder may put it into a tree of his own */
    g_autoptr(JsonObject) tree = json_object_new();
    json_object_set_member(tree, "status", g_steal_pointer(&message.value));
    g_autofree char *line = gw_json_object_to_line(tree);
    g_assert_cmpstr(line, ==, "{\"status\":{\"running\":true,\"status\":\"running\"}}");
}

static void
test_return_of_any_type(void)
{
    static const char *const values[] = {"{}", "[]", "\"text\"", "-1", "true", "null", "[{\"a\":[1]}]"};
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
        g_auto(GwQmpMessage) message = {0};
        g_autofree char *line = g_strdup_printf("{\"return\":%s,\"id\":1}", values[i]);
        parse(line, &message);
        g_autofree char *back = gw_json_node_to_line(message.value);
        g_assert_cmpstr(back, ==, values[i]);
    }
}

static void
test_failure(void)
{
    g_auto(GwQmpMessage) message = {0};
    parse("{\"id\": 3, \"error\": {\"class\": \"GenericError\", \"desc\": \"no\\nERROR forged\\u001b[2J\"}}",
          &message);
    g_assert_cmpint(message.kind, ==, GW_QMP_FAILURE);
    g_assert_cmpint(message.id, ==, 3);
    g_assert_cmpstr(message.error_class, ==, "GenericError");
    g_assert_cmpstr(message.error_description, ==, "no ERROR forged [2J");
    gw_qmp_message_clear(&message);

    parse("{\"error\": {\"class\": \"GenericError\", \"desc\": \"\"}}", &message);
    g_assert_false(message.has_id);
}

static void
test_failure_is_bounded(void)
{
    g_auto(GwQmpMessage) message = {0};
    g_autoptr(GString) line = g_string_new("{\"error\":{\"class\":\"C\",\"desc\":\"");
    for (int i = 0; i < 100000; i++)
        g_string_append(line, "ü");
    g_string_append(line, "\"}}");
    parse(line->str, &message);
    g_assert_cmpuint(strlen(message.error_description), <, 1100);
    g_assert_true(g_str_has_suffix(message.error_description, "ü…"));
}

static void
test_event(void)
{
    g_auto(GwQmpMessage) message = {0};
    parse("{\"timestamp\": {\"seconds\": 1700000000, \"microseconds\": 999999}, \"event\": \"SHUTDOWN\","
          " \"data\": {\"guest\": false}}",
          &message);
    g_assert_cmpint(message.kind, ==, GW_QMP_EVENT);
    g_assert_cmpstr(message.event, ==, "SHUTDOWN");
    g_assert_true(json_object_has_member(message.data, "guest"));
    gw_qmp_message_clear(&message);

    parse("{\"event\": \"STOP\", \"timestamp\": {\"seconds\": -1, \"microseconds\": -1}}", &message);
    g_assert_cmpstr(message.event, ==, "STOP");
    g_assert_null(message.data);
}

#define VERSION(qemu)       "{\"QMP\":{\"capabilities\":[],\"version\":{\"qemu\":" qemu "}}}"
#define EVENT_AT(timestamp) "{\"event\":\"E\",\"timestamp\":" timestamp "}"

/* Lines that are none, and the error's whole text, as an operator would read it. */
static const struct {
    const char *line;
    const char *text;
} refused[] = {
    {"", "empty line"},
    {"[]", "line is not one JSON object: byte 0x5b at offset 0"},
    {" {}", "line is not one JSON object: byte 0x20 at offset 0"},
    {"QMP ready", "line is not one JSON object: byte 0x51 at offset 0"},
    {"{\"return\":1,\"id\":1} {\"return\":1,\"id\":2}",
     "line is not one JSON object: byte 0x7b at offset 20"},
    {"{/*\"*/\"id\":1}", "line is not one JSON object: byte 0x2f at offset 1"},
    {"{'id':1}", "line is not one JSON object: byte 0x27 at offset 1"},
    {"{\"event\":\"\xff\"}", "line of 13 bytes: no JSON: byte 10 is not UTF-8"},
    {"{}", "message with neither of \"QMP\", \"return\", \"error\" and \"event\": {}"},
    {"{\"event\":\"A\",\"return\":{}}", "message with both \"return\" and \"event\""},
    {"{\"error\":{},\"return\":{},\"id\":1}", "message with both \"return\" and \"error\""},

    {"{\"QMP\":[]}", "bad greeting: \"QMP\" is [], expected an object"},
    {"{\"QMP\":{}}", "greeting without a version: \"version\" is nothing, expected an object"},
    {"{\"QMP\":{\"version\":{}}}",
     "greeting without capabilities: \"capabilities\" is nothing, expected an array"},
    {"{\"QMP\":{\"version\":{},\"capabilities\":[\"a\",1]}}",
     "greeting with a bad capability: \"capabilities\" is [\"a\",1], expected an array of strings"},
    {VERSION("7"), "greeting with a bad version: \"qemu\" is 7, expected an object"},
    {VERSION("{}"), "greeting with a bad version: \"major\" is nothing, expected an integer from 0 to 9999"},
    {VERSION("{\"major\":-7,\"minor\":1,\"micro\":1}"),
     "greeting with a bad version: \"major\" is -7, expected an integer from 0 to 9999"},
    {VERSION("{\"major\":7,\"minor\":\"1\",\"micro\":1}"),
     "greeting with a bad version: \"minor\" is \"1\", expected an integer from 0 to 99"},
    {VERSION("{\"major\":7,\"minor\":1,\"micro\":100}"),
     "greeting with a bad version: \"micro\" is 100, expected an integer from 0 to 99"},
    {VERSION("{\"major\":7.5,\"minor\":1,\"micro\":1}"),
     "greeting with a bad version: \"major\" is 7.5, expected an integer from 0 to 9999"},
    {VERSION("{\"major\":7,\"minor\":1,\"micro\":1},\"package\":null"),
     "greeting with a bad version: \"package\" is null, expected a string"},

    {"{\"return\":{}}", "return without an id: \"id\" is nothing, expected an integer"},
    {"{\"return\":{},\"id\":\"1\"}",
     "reply with an id that is none of ours: \"id\" is \"1\", expected an integer"},
    {"{\"return\":{},\"id\":1.0}",
     "reply with an id that is none of ours: \"id\" is 1.0, expected an integer"},
    {"{\"return\":{},\"id\":null}",
     "reply with an id that is none of ours: \"id\" is null, expected an integer"},

    {"{\"error\":\"x\"}", "bad error: \"error\" is \"x\", expected an object"},
    {"{\"error\":{\"desc\":\"x\"}}", "error without a class: \"class\" is nothing, expected a string"},
    {"{\"error\":{\"class\":\"\",\"desc\":\"x\"}}",
     "error without a class: \"class\" is \"\", expected a string"},
    {"{\"error\":{\"class\":\"x\"}}", "error without a description: \"desc\" is nothing, expected a string"},
    {"{\"error\":{\"class\":\"x\",\"desc\":[]}}",
     "error without a description: \"desc\" is [], expected a string"},

    {"{\"event\":null}", "event without a name: \"event\" is null, expected a string"},
    {"{\"event\":\"\"}", "event without a name: \"event\" is \"\", expected a string"},
    {"{\"event\":\"E\",\"data\":[1]}", "event with bad data: \"data\" is [1], expected an object"},
    {EVENT_AT("5"), "event with a bad timestamp: \"timestamp\" is 5, expected an object"},
    {EVENT_AT("{\"seconds\":-2,\"microseconds\":0}"),
     "event with a bad timestamp: \"seconds\" is -2, expected an integer from -1"},
    {EVENT_AT("{\"seconds\":1,\"microseconds\":1000000}"),
     "event with a bad timestamp: \"microseconds\" is 1000000, expected an integer from -1 to 999999"},
    {EVENT_AT("{\"seconds\":1}"),
     "event with a bad timestamp: \"microseconds\" is nothing, expected an integer from -1 to 999999"},
};

static void
test_refused(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_auto(GwQmpMessage) message = {0};
        g_autoptr(GError) error = NULL;
        g_assert_false(gw_qmp_message_parse(refused[i].line, strlen(refused[i].line), &message, &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_PROTOCOL);
        g_assert_cmpstr(error->message, ==, refused[i].text);
    }
}

static void
assert_refused_deep(const char *head)
{
    g_autoptr(GString) line = g_string_new(head);
    for (int i = 0; i < 2 * 1024 * 1024; i++)
        g_string_append_c(line, '[');
    g_auto(GwQmpMessage) message = {0};
    g_autoptr(GError) error = NULL;
    g_assert_false(gw_qmp_message_parse(line->str, line->len, &message, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_PROTOCOL);
}

/* json-glib recurses: each of these ends the stack if it gets there. */
static void
test_deep_nesting(void)
{
    assert_refused_deep("{\"return\":");
    assert_refused_deep("{/*\"*/\"return\":");
    assert_refused_deep("{'\"':1,\"return\":");
    assert_refused_deep("{#\"\n\"return\":");
    assert_refused_deep("[");
    assert_refused_deep("{} ");
}

static void
test_truncated_everywhere(void)
{
    static const char line[] = "{\"return\":{\"a\":[1,-2.5e3,\"\\u00fc\\\"\",true,null]},\"id\":12}";
    for (size_t length = 0; length < strlen(line); length++) {
        /* a copy of that length, so that a sanitizer sees what reads behind it */
        g_autofree char *part = g_memdup2(line, length);
        g_auto(GwQmpMessage) message = {0};
        g_assert_false(gw_qmp_message_parse(part ? part : "", length, &message, NULL));
    }
}

static void
test_command(void)
{
    g_autofree char *bare = gw_qmp_message_format_command("query-status", NULL, 1);
    g_assert_cmpstr(bare, ==, "{\"execute\":\"query-status\",\"id\":1}\n");
    JsonObject *arguments = json_object_new();
    json_object_set_string_member(arguments, "fdname", "a\n\"b\"");
    g_autofree char *full = gw_qmp_message_format_command("getfd", arguments, 2);
    g_assert_cmpstr(full, ==,
                    "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"a\\n\\\"b\\\"\"},\"id\":2}\n");
}

static void
test_corpus(void)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "..", "fuzz", "corpus", "qmp-message", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, &error);
    g_assert_no_error(error);
    int n_files = 0;
    for (const char *name; (name = g_dir_read_name(dir)); n_files++) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_autofree char *bytes = NULL;
        gsize n_bytes = 0;
        g_file_get_contents(file, &bytes, &n_bytes, &error);
        g_assert_no_error(error);
        LLVMFuzzerTestOneInput((const uint8_t *)bytes, n_bytes);
    }
    g_assert_cmpint(n_files, >, 10);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qmp-message/lines/one-chunk", test_lines_in_one_chunk);
    g_test_add_func("/qmp-message/lines/byte-by-byte", test_lines_byte_by_byte);
    g_test_add_func("/qmp-message/lines/limit", test_lines_limit);
    g_test_add_func("/qmp-message/greeting", test_greeting);
    g_test_add_func("/qmp-message/return", test_return);
    g_test_add_func("/qmp-message/return-of-any-type", test_return_of_any_type);
    g_test_add_func("/qmp-message/failure", test_failure);
    g_test_add_func("/qmp-message/failure-is-bounded", test_failure_is_bounded);
    g_test_add_func("/qmp-message/event", test_event);
    g_test_add_func("/qmp-message/refused", test_refused);
    g_test_add_func("/qmp-message/deep-nesting", test_deep_nesting);
    g_test_add_func("/qmp-message/truncated-everywhere", test_truncated_everywhere);
    g_test_add_func("/qmp-message/command", test_command);
    g_test_add_func("/qmp-message/corpus", test_corpus);
    return g_test_run();
}
