/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text, numbers, times, tables and JSON as the CLI prints them. */
#include "format.h"
#include "json-text.h"
#include "json.h"
#include "table.h"
#include "text.h"

#include <math.h>
#include <string.h>

static void
test_plain(void)
{
    static const struct {
        const char *foreign, *plain;
    } cases[] = {
        {"web1", "web1"},
        {"grüße ✓ 漢字", "grüße ✓ 漢字"},
        {"\033[2J\033]0;owned\007", "\\x1b[2J\\x1b]0;owned\\x07"},
        {"a\r\b\177b", "a\\x0d\\x08\\x7fb"},
        {"\302\2332J", "\\u009b2J"},     /* CSI as one character */
        {"x\342\200\256y", "x\\u202ey"}, /* right-to-left override, NOLINT(misc-misleading-bidirectional) */
        {"two\nlines\tand", "two\nlines\tand"},
        {"\xff\xfe", "\357\277\275\357\277\275"}, /* no UTF-8 */
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *plain = gw_text_plain(cases[i].foreign);
        g_assert_cmpstr(plain, ==, cases[i].plain);
    }
}

static void
test_plain_object(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) foreign = gw_json_parse_object(
        "{\"a\":\"\\u001b[m\",\"l\":[\"\\u0007\",1,null,true,2.5],\"o\":{\"\\u001bk\":\"v\"},\"n\":-7}", -1,
        &error);
    g_assert_no_error(error);
    g_autoptr(JsonObject) plain = gw_text_plain_object(foreign);
    g_autofree char *text = gw_json_object_text(plain, false);
    g_assert_cmpstr(
        text, ==,
        "{\"a\": \"\\\\x1b[m\", \"l\": [\"\\\\x07\", 1, null, true, 2.5], \"o\": {\"\\\\x1bk\": \"v\"}, "
        "\"n\": -7}");
}

static void
test_cut(void)
{
    static const struct {
        const char *text;
        unsigned width;
        const char *cut;
    } cases[] = {
        {"web1", 0, "web1"},
        {"web1", 4, "web1"},
        {"web12", 4, "web…"},
        {"漢字漢字", 5, "漢字…"},
        {"漢字漢字", 4, "漢…"},
        {"a\nb\tc", 0, "a b c"},
        {"e\314\201e\314\201", 2, "e\314\201e\314\201"},
        {"x", 1, "x"},
        {"xy", 1, "…"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *cut = gw_text_cut(cases[i].text, cases[i].width);
        g_assert_cmpstr(cut, ==, cases[i].cut);
        if (cases[i].width > 0)
            g_assert_cmpuint(gw_text_width(cut), <=, cases[i].width);
    }
}

static void
test_wrap(void)
{
    g_autofree char *wrapped = gw_text_wrap("one two three\nfour", 11, 2), *whole = gw_text_wrap("a b", 0, 4),
                    *long_word = gw_text_wrap("a superlong word", 6, 0);
    g_assert_cmpstr(wrapped, ==, "one two\n  three\n  four");
    g_assert_cmpstr(whole, ==, "a b");
    g_assert_cmpstr(long_word, ==, "a\nsuperlong\nword");
}

static void
test_amounts(void)
{
    static const struct {
        char *(*format)(double);
        double value;
        const char *text;
    } cases[] = {
        {gw_format_bytes, 0, "0 B"},
        {gw_format_bytes, 999, "999 B"},
        {gw_format_bytes, 1000, "1.0 kB"},
        {gw_format_bytes, 152.4e6, "152 MB"},
        {gw_format_bytes, 9.96e6, "10 MB"},
        {gw_format_bytes, 999.7e6, "1.0 GB"},
        {gw_format_bytes, 1e18, "1000 PB"},
        {gw_format_bytes, -1, "-"},
        {gw_format_bytes, (double)NAN, "-"},
        {gw_format_bytes, (double)INFINITY, "-"},
        {gw_format_memory, 268435456, "256 MiB"},
        {gw_format_memory, 1610612736, "1.5 GiB"},
        {gw_format_bytes_per_s, 118e6, "118 MB/s"},
        {gw_format_bits_per_s, 9.4e9, "9.4 Gbit/s"},
        {gw_format_bits_per_s, 250e6, "250 Mbit/s"},
        {gw_format_ms, 9.84, "9.8 ms"},
        {gw_format_ms, 0, "0.0 ms"},
        {gw_format_ms, 0.13, "130 µs"},
        {gw_format_ms, 0.96, "1.0 ms"},
        {gw_format_ms, 99.96, "100 ms"},
        {gw_format_ms, 850, "850 ms"},
        {gw_format_ms, 1234, "1.23 s"},
        {gw_format_ms, 12345, "12.3 s"},
        {gw_format_ms, 59999, "1 min 0 s"},
        {gw_format_ms, 125000, "2 min 5 s"},
        {gw_format_ms, 3600e3 * 3 + 60e3 * 10, "3 h 10 min"},
        {gw_format_ms, 86400e3 * 2 + 3600e3 * 5, "2 d 5 h"},
        {gw_format_ms, -1, "-"},
        {gw_format_ms, (double)NAN, "-"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = cases[i].format(cases[i].value);
        g_assert_cmpstr(text, ==, cases[i].text);
    }
}

static void
test_times(void)
{
    g_autoptr(GTimeZone) zone = g_time_zone_new_offset(3600);
    g_autofree char *local = gw_format_time("2026-11-26T02:10:05.123456Z", zone),
                    *none = gw_format_time(NULL, zone), *odd = gw_format_time("soon", zone);
    g_assert_cmpstr(local, ==, "2026-11-26 03:10:05");
    g_assert_cmpstr(none, ==, "-");
    g_assert_cmpstr(odd, ==, "soon");
    g_autoptr(GDateTime) now = g_date_time_new_utc(2026, 11, 26, 2, 13, 10);
    g_autofree char *ago = gw_format_ago("2026-11-26T02:10:05Z", now),
                    *just = gw_format_ago("2026-11-26T02:13:05Z", now),
                    *future = gw_format_ago("2026-11-26T02:14:00Z", now);
    g_assert_cmpstr(ago, ==, "3 min 5 s ago");
    g_assert_cmpstr(just, ==, "5 s ago");
    g_assert_cmpstr(future, ==, "0 s ago");
}

static const char *
paint(const char *cell)
{
    return strcmp(cell, "bad") == 0 ? "31" : NULL;
}

static const GwColumn columns[] = {
    {"NAME", .may_shrink = true}, {"SIZE", .right = true}, {"NOTE", .may_shrink = true, .colour = paint}};

static void
test_table(void)
{
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    gw_table_add(table, "web1", "1.0 GB", "fine");
    gw_table_add(table, "größe", "152 MB", NULL);
    gw_table_take(table, g_strdup("漢字"), g_strdup(""), g_strdup("bad"));
    g_autofree char *text = gw_table_to_text(table, 0, false), *coloured = gw_table_to_text(table, 0, true);
    g_assert_cmpstr(text, ==,
                    "NAME     SIZE  NOTE\n"
                    "web1   1.0 GB  fine\n"
                    "größe  152 MB  -\n"
                    "漢字        -  bad\n");
    g_assert_true(strstr(coloured, "\033[31mbad\033[0m\n") != NULL);
    g_assert_true(g_str_has_prefix(coloured, "NAME     SIZE  NOTE\n"));
}

/* Never wider than the terminal if that can be, never a blank at a line's end, and no name lost altogether.
 */
static void
test_table_widths(void)
{
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    gw_table_add(table, "a-virtual-machine-with-a-long-name", "1.0 GB",
                 "a remark that goes on and on and on");
    gw_table_add(table, "b\033[31m", "12 B", "with\nline end");
    for (unsigned width = 28; width < 120; width++) {
        g_autofree char *text = gw_table_to_text(table, width, false);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        g_assert_cmpuint(g_strv_length(lines), ==, 4);
        for (char **line = lines; **line; line++) {
            g_assert_cmpuint(gw_text_width(*line), <=, width);
            g_assert_false(g_str_has_suffix(*line, " "));
            g_assert_null(strchr(*line, '\033'));
        }
        g_assert_true(strstr(text, "1.0 GB") != NULL);
        g_assert_true(g_str_has_prefix(lines[1], "a-virtu"));
    }
    g_autofree char *narrow = gw_table_to_text(table, 5, false);
    g_assert_true(strstr(narrow, "1.0 GB") != NULL);
}

static void
test_table_empty(void)
{
    g_autoptr(GwTable) table = gw_table_new(columns, G_N_ELEMENTS(columns));
    g_autofree char *text = gw_table_to_text(table, 80, true);
    g_assert_cmpstr(text, ==, "NAME  SIZE  NOTE\n");
}

static void
test_json_text(void)
{
    static const struct {
        const char *json, *text;
    } cases[] = {
        {"{\"a\":9.8,\"b\":1e300,\"c\":2.0,\"d\":9007199254740993,\"e\":-0.1}",
         "{\"a\": 9.8, \"b\": 1e+300, \"c\": 2.0, \"d\": 9007199254740993, \"e\": -0.1}"},
        {"{\"t\":\"\\u001b\\u009b\\u007f\\u202e\\\"\\\\\\n\\tü\"}",
         "{\"t\": \"\\u001b\\u009b\\u007f\\u202e\\\"\\\\\\n\\tü\"}"},
        {"{\"e\":{},\"l\":[],\"n\":null,\"b\":[true,false]}",
         "{\"e\": {}, \"l\": [], \"n\": null, \"b\": [true, false]}"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(JsonObject) object = gw_json_parse_object(cases[i].json, -1, &error);
        g_assert_no_error(error);
        g_autofree char *text = gw_json_object_text(object, false),
                        *pretty = gw_json_object_text(object, true);
        g_assert_cmpstr(text, ==, cases[i].text);
        g_autoptr(JsonObject) again = gw_json_parse_object(pretty, -1, &error);
        g_assert_no_error(error);
        g_autofree char *same = gw_json_object_text(again, false);
        g_assert_cmpstr(same, ==, text);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli-text/plain", test_plain);
    g_test_add_func("/cli-text/plain-object", test_plain_object);
    g_test_add_func("/cli-text/cut", test_cut);
    g_test_add_func("/cli-text/wrap", test_wrap);
    g_test_add_func("/cli-text/amounts", test_amounts);
    g_test_add_func("/cli-text/times", test_times);
    g_test_add_func("/cli-text/table", test_table);
    g_test_add_func("/cli-text/table-widths", test_table_widths);
    g_test_add_func("/cli-text/table-empty", test_table_empty);
    g_test_add_func("/cli-text/json", test_json_text);
    return g_test_run();
}
