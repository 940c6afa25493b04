/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON helpers: foreign bytes are refused with their place, look-ups never trust a type. */
#include "json.h"

#include "error.h"

#include <string.h>

static void
assert_refused(const char *text, gssize length, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) node = gw_json_parse(text, length, &error);
    g_assert_null(node);
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    if (!strstr(error->message, part))
        g_error("'%s' does not say '%s'", error->message, part);
}

static void
test_refused(void)
{
    assert_refused("", -1, "a value is expected");
    assert_refused("{\"a\":", -1, "line 1");
    assert_refused("\xff\xfe", -1, "UTF-8");
    assert_refused("{\"a\":1}\0x", 9, "byte 7 is not UTF-8");
    /* What json-glib would take. */
    assert_refused("/* \" */[1]", -1, "line 1");
    assert_refused("{}{}", -1, "column 3");
    assert_refused("[010]", -1, "column 3");
    g_autoptr(GString) deep = g_string_new(NULL);
    for (int i = 0; i < 1000000; i++)
        g_string_append_c(deep, '[');
    assert_refused(deep->str, (gssize)deep->len, "levels of objects");
}

static void
test_brackets_in_strings_do_not_nest(void)
{
    g_autoptr(GString) text = g_string_new("{\"a\":\"\\\"");
    for (int i = 0; i < 200; i++)
        g_string_append_c(text, '[');
    g_string_append(text, "\"}");
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) object = gw_json_parse_object(text->str, -1, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(strlen(gw_json_get_string(object, "a")), ==, 201);
}

static void
test_typed_members(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) o =
        gw_json_parse_object("{\"s\":\"x\",\"i\":7,\"b\":true,\"n\":null,\"o\":{},\"a\":[{},1]}", -1, &error);
    g_assert_no_error(error);
    int64_t i = -1;
    bool b = false;
    g_assert_cmpstr(gw_json_get_string(o, "s"), ==, "x");
    g_assert_null(gw_json_get_string(o, "i"));
    g_assert_null(gw_json_get_string(o, "n"));
    g_assert_null(gw_json_get_string(o, "absent"));
    g_assert_true(gw_json_get_int(o, "i", &i) && i == 7);
    g_assert_false(gw_json_get_int(o, "b", &i));
    g_assert_true(gw_json_get_bool(o, "b", &b) && b);
    g_assert_false(gw_json_get_bool(o, "i", &b));
    g_assert_nonnull(gw_json_get_object(o, "o"));
    json_object_set_int_member(gw_json_get_object(o, "o"), "in", 5);
    g_assert_cmpint(gw_json_inner_int(o, "o", "in"), ==, 5);
    g_assert_cmpint(gw_json_inner_int(o, "o", "absent"), ==, 0);
    g_assert_cmpint(gw_json_inner_int(o, "a", "in"), ==, 0);
    g_assert_cmpint(gw_json_inner_int(o, "absent", "in"), ==, 0);
    g_assert_null(gw_json_get_object(o, "a"));
    JsonArray *array = gw_json_get_array(o, "a");
    g_assert_nonnull(gw_json_array_object(array, 0));
    g_assert_null(gw_json_array_object(array, 1));
    g_assert_null(gw_json_get_array(o, "o"));
    g_autofree char *line = gw_json_object_to_line(o);
    g_assert_null(strchr(line, '\n'));
}

static void
test_object_expected(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(gw_json_parse_object("[1]", -1, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json/refused", test_refused);
    g_test_add_func("/json/brackets-in-strings", test_brackets_in_strings_do_not_nest);
    g_test_add_func("/json/typed-members", test_typed_members);
    g_test_add_func("/json/object-expected", test_object_expected);
    return g_test_run();
}
