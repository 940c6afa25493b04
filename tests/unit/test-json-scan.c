/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The strict scan: what json-glib takes but RFC 8259 does not is refused with its place. */
#include "json-scan.h"

#include "error.h"
#include "json.h"

#include <string.h>

static const struct {
    const char *text, *message; /* NULL: accepted */
} cases[] = {
    {"{}", NULL},
    {" [ ] \n", NULL},
    {"[0,-0,1.5e+3,-2E-1,9223372036854775807,-9223372036854775808,true,false,null]", NULL},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"", NULL},
    {"", "line 1, column 1: a value is expected"},
    {"{\"a\":010}", "line 1, column 7: a number is decimal and has no leading zero"},
    {"{\"a\":0x10}", "line 1, column 7: a number is decimal"},
    {"{\"a\":$10}", "line 1, column 6: a value is expected"},
    {"[1.]", "line 1, column 4: a digit is expected"},
    {"[.5]", "line 1, column 2: a value is expected"},
    {"[1e]", "line 1, column 4: a digit is expected"},
    {"[-]", "line 1, column 3: a digit is expected"},
    {"[- 5]", "line 1, column 3: a digit is expected"},
    {"[+5]", "line 1, column 2: a value is expected"},
    {"[NULL]", "line 1, column 2: a value is expected"},
    {"[tru]", "line 1, column 2: a value is expected"},
    {"[truex]", "line 1, column 6: a comma or the array's closing bracket"},
    {"/* x */{}", "line 1, column 1: a value is expected"},
    {"{\n  // x\n}", "line 2, column 3: a string in double quotes"},
    {"{'a':1}", "line 1, column 2: a string in double quotes"},
    {"{\"ä\" 1}", "line 1, column 6: a colon is expected"},
    {"{\"a\":1,}", "line 1, column 8: a string in double quotes"},
    {"{\"a\":1 \"b\":2}", "line 1, column 8: a comma or the object's closing brace"},
    {"[1,]", "line 1, column 4: a value is expected"},
    {"[1", "line 1, column 3: a comma or the array's"},
    {"var a={}", "line 1, column 1: a value is expected"},
    {"{}{}", "line 1, column 3: the end of the text"},
    {"[\"a\\u0000\"]", "\\u0000 is not allowed"},
    {"[\"\\ud800\"]", "second half of a surrogate pair"},
    {"[\"\\ud800\\u0041\"]", "second half of a surrogate pair"},
    {"[\"\\udc00\"]", "first half of a surrogate pair"},
    {"[\"\\u12g4\"]", "four hexadecimal digits"},
    {"[\"\\u12", "four hexadecimal digits"},
    {"[\"\\x\"]", "behind a backslash"},
    {"[\"\\", "behind a backslash"},
    {"[\"a\tb\"]", "line 1, column 4: a control character"},
    {"[\"a", "ends within a string"},
    {"\xff", "byte 0 is not UTF-8"},
};

static void
test_grammar(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GHashTable) findings = gw_json_scan(cases[i].text, strlen(cases[i].text), &error);
        g_assert_true((findings == NULL) == (error != NULL));
        if (!cases[i].message != !error || (error && !strstr(error->message, cases[i].message)))
            g_error("%s: '%s' instead of '%s'", cases[i].text, error ? error->message : "accepted",
                    cases[i].message ? cases[i].message : "accepted");
        g_assert_true(!error || g_error_matches(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT));
    }
}

/* Every beginning of a text is refused within its bounds; ASan watches the byte behind. */
static void
test_cut_anywhere(void)
{
    static const char text[] = "{\"a\\u00e4\":[1,-2.5e1,true,\"\\ud83d\\ude00\"],\"b\":{\"c\":null}}";
    for (size_t n = 0; n < strlen(text); n++) {
        g_autofree char *part = g_memdup2(text, n);
        g_autoptr(GHashTable) findings = gw_json_scan(part, n, NULL);
        g_assert_null(findings);
    }
}

static void
test_findings(void)
{
    static const char text[] = "{\"a\":1,\"b\":[{\"c/d\":1},{\"c/d\":1,\"c\\/d\":2}],\"\\u0061\":2,"
                               "\"n\":9223372036854775808,\"m\":-99999999999999999999999999999}";
    g_autoptr(GError) error = NULL;
    g_autoptr(GHashTable) findings = gw_json_scan(text, strlen(text), &error);
    g_assert_no_error(error);
    g_assert_cmpuint(g_hash_table_size(findings), ==, 4);
    g_assert_true(g_str_has_prefix(g_hash_table_lookup(findings, "/a"), "the member stands more than once"));
    g_assert_nonnull(g_hash_table_lookup(findings, "/b/1/c~1d"));
    g_assert_cmpstr(g_hash_table_lookup(findings, "/n"), ==,
                    "the integer is too large (got 9223372036854775808, expected at most 64 bits)");
    g_assert_cmpstr(g_hash_table_lookup(findings, "/m"), ==,
                    "the integer is too large (got -99999999999999999999999…, expected at most 64 bits)");
}

static void
test_depth(void)
{
    for (int depth = GW_JSON_MAX_DEPTH; depth <= GW_JSON_MAX_DEPTH + 1; depth++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GString) text = g_string_new(NULL);
        for (int i = 0; i < depth; i++)
            g_string_append_c(text, '[');
        for (int i = 0; i < depth; i++)
            g_string_append_c(text, ']');
        g_autoptr(GHashTable) findings = gw_json_scan(text->str, text->len, &error);
        g_assert_true((findings != NULL) == (depth == GW_JSON_MAX_DEPTH));
        g_assert_true(findings || strstr(error->message, "64 levels"));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json-scan/grammar", test_grammar);
    g_test_add_func("/json-scan/cut-anywhere", test_cut_anywhere);
    g_test_add_func("/json-scan/findings", test_findings);
    g_test_add_func("/json-scan/depth", test_depth);
    return g_test_run();
}
