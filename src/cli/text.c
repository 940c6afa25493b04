/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text for a terminal.
 *
 * Names and messages come from the center, which has some of them from hosts, guests and people. A terminal
 * obeys escape sequences wherever they come from (they can retitle it, hide lines, answer as if typed), so
 * nothing is printed that was not made plain, in one place: the copy of each answer that the commands print
 * from. */
#include "text.h"

#include <string.h>

/* C0 and C1 controls, DEL, and the characters that reorder what stands around them (Unicode TR 36). */
static bool
is_obeyed(gunichar c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

char *
gw_text_plain(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *plain = g_string_new(NULL);
    for (const char *at = valid; *at; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);
        if (!is_obeyed(c) || c == '\n' || c == '\t')
            g_string_append_unichar(plain, c);
        else
            g_string_append_printf(plain, c < 0x80 ? "\\x%02x" : "\\u%04x", c);
    }
    return g_string_free(plain, FALSE);
}

static JsonNode *plain_node(JsonNode *node);

static void
add_plain_element(JsonArray *array, guint i, JsonNode *element, gpointer into)
{
    json_array_add_element(into, plain_node(element));
}

static void
add_plain_member(JsonObject *object, const char *name, JsonNode *member, gpointer into)
{
    g_autofree char *plain = gw_text_plain(name);
    json_object_set_member(into, plain, plain_node(member));
}

static JsonNode *
plain_node(JsonNode *node)
{
    JsonNode *copy = json_node_new(json_node_get_node_type(node));
    if (JSON_NODE_HOLDS_OBJECT(node)) {
        json_node_take_object(copy, gw_text_plain_object(json_node_get_object(node)));
    } else if (JSON_NODE_HOLDS_ARRAY(node)) {
        JsonArray *array = json_array_new();
        json_array_foreach_element(json_node_get_array(node), add_plain_element, array);
        json_node_take_array(copy, array);
    } else if (JSON_NODE_HOLDS_VALUE(node)) {
        GValue value = G_VALUE_INIT;
        json_node_get_value(node, &value);
        if (G_VALUE_HOLDS_STRING(&value))
            g_value_take_string(&value, gw_text_plain(g_value_get_string(&value)));
        json_node_set_value(copy, &value);
        g_value_unset(&value);
    }
    return copy;
}

JsonObject *
gw_text_plain_object(JsonObject *object)
{
    JsonObject *copy = json_object_new();
    json_object_foreach_member(object, add_plain_member, copy);
    return copy;
}

static unsigned
char_width(gunichar c)
{
    return g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
}

unsigned
gw_text_width(const char *text)
{
    unsigned width = 0;
    for (const char *at = text; *at; at = g_utf8_next_char(at))
        width += char_width(g_utf8_get_char(at));
    return width;
}

char *
gw_text_cut(const char *text, unsigned width)
{
    g_autofree char *line = gw_text_plain(text);
    g_strchomp(g_strdelimit(line, "\n\t", ' '));
    if (width == 0 || gw_text_width(line) <= width)
        return g_steal_pointer(&line);
    unsigned taken = 0;
    const char *at = line;
    while (*at && taken + char_width(g_utf8_get_char(at)) <= width - 1) {
        taken += char_width(g_utf8_get_char(at));
        at = g_utf8_next_char(at);
    }
    g_autofree char *kept = g_strndup(line, (gsize)(at - line));
    return g_strconcat(kept, "…", NULL);
}

static void
begin_line(GString *out, unsigned indent)
{
    g_string_append_c(out, '\n');
    g_string_append_printf(out, "%*s", (int)indent, "");
}

/* One paragraph, already without line ends. */
static void
append_wrapped(GString *out, const char *paragraph, unsigned width, unsigned indent)
{
    unsigned column = indent;
    g_auto(GStrv) words = g_strsplit(paragraph, " ", -1);
    for (char **word = words; *word; word++) {
        unsigned length = gw_text_width(*word);
        bool is_first = word == words;
        if (!is_first && width > 0 && column + 1 + length > width) {
            begin_line(out, indent);
            column = indent;
        } else if (!is_first) {
            g_string_append_c(out, ' ');
            column++;
        }
        g_string_append(out, *word);
        column += length;
    }
}

char *
gw_text_wrap(const char *text, unsigned width, unsigned indent)
{
    GString *out = g_string_new(NULL);
    g_auto(GStrv) paragraphs = g_strsplit(text, "\n", -1);
    for (char **paragraph = paragraphs; *paragraph; paragraph++) {
        if (paragraph != paragraphs)
            begin_line(out, **paragraph ? indent : 0);
        append_wrapped(out, *paragraph, width, indent);
    }
    return g_string_free(out, FALSE);
}
