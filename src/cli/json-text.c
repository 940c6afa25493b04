/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON for programs and for terminals alike. json-glib's own writer gives 9.8 as 9.8000000000000007, and
 * leaves C1 controls as they are. */
#include "json-text.h"

#include <math.h>
#include <string.h>

static void
append_string(GString *out, const char *text)
{
    g_string_append_c(out, '"');
    for (const char *at = text; *at; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);
        if (c == '"' || c == '\\')
            g_string_append_printf(out, "\\%c", (char)c);
        else if (c == '\n')
            g_string_append(out, "\\n");
        else if (c == '\t')
            g_string_append(out, "\\t");
        else if (c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) ||
                 (c >= 0x2066 && c <= 0x2069))
            g_string_append_printf(out, "\\u%04x", c);
        else
            g_string_append_unichar(out, c);
    }
    g_string_append_c(out, '"');
}

static void
append_double(GString *out, double value)
{
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    if (!isfinite(value)) { /* JSON has no word for it */
        g_string_append(out, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        char format[8];
        g_snprintf(format, sizeof format, "%%.%dg", digits);
        g_ascii_formatd(text, sizeof text, format, value);
        if (g_ascii_strtod(text, NULL) == value)
            break;
    }
    g_string_append(out, text);
    if (!strpbrk(text, ".e")) /* it stays a fraction for who reads it */
        g_string_append(out, ".0");
}

static void
append_value(GString *out, JsonNode *node)
{
    GType type = json_node_get_value_type(node);
    if (type == G_TYPE_STRING)
        append_string(out, json_node_get_string(node));
    else if (type == G_TYPE_DOUBLE)
        append_double(out, json_node_get_double(node));
    else if (type == G_TYPE_BOOLEAN)
        g_string_append(out, json_node_get_boolean(node) ? "true" : "false");
    else
        g_string_append_printf(out, "%" G_GINT64_FORMAT, json_node_get_int(node));
}

static void
next_line(GString *out, int level)
{
    if (level >= 0)
        g_string_append_printf(out, "\n%*s", 2 * level, "");
}

static void append_node(GString *out, JsonNode *node, int level);

static int
inside(int level)
{
    return level < 0 ? level : level + 1;
}

static void
append_object(GString *out, JsonObject *object, int level)
{
    JsonObjectIter iter;
    const char *name = NULL;
    JsonNode *member = NULL;
    bool any = false;
    g_string_append_c(out, '{');
    json_object_iter_init_ordered(&iter, object);
    while (json_object_iter_next_ordered(&iter, &name, &member)) {
        g_string_append(out, any ? (level < 0 ? ", " : ",") : "");
        next_line(out, inside(level));
        append_string(out, name);
        g_string_append(out, ": ");
        append_node(out, member, inside(level));
        any = true;
    }
    if (any)
        next_line(out, level);
    g_string_append_c(out, '}');
}

static void
append_array(GString *out, JsonArray *array, int level)
{
    guint n = json_array_get_length(array);
    g_string_append_c(out, '[');
    for (guint i = 0; i < n; i++) {
        g_string_append(out, i > 0 ? (level < 0 ? ", " : ",") : "");
        next_line(out, inside(level));
        append_node(out, json_array_get_element(array, i), inside(level));
    }
    if (n > 0)
        next_line(out, level);
    g_string_append_c(out, ']');
}

/* `level` -1: all on one line. */
static void
append_node(GString *out, JsonNode *node, int level)
{
    if (JSON_NODE_HOLDS_OBJECT(node))
        append_object(out, json_node_get_object(node), level);
    else if (JSON_NODE_HOLDS_ARRAY(node))
        append_array(out, json_node_get_array(node), level);
    else if (JSON_NODE_HOLDS_VALUE(node))
        append_value(out, node);
    else
        g_string_append(out, "null");
}

char *
gw_json_text(JsonNode *node, bool pretty)
{
    GString *out = g_string_new(NULL);
    append_node(out, node, pretty ? 0 : -1);
    return g_string_free(out, FALSE);
}

char *
gw_json_object_text(JsonObject *object, bool pretty)
{
    GString *out = g_string_new(NULL);
    append_object(out, object, pretty ? 0 : -1);
    return g_string_free(out, FALSE);
}
