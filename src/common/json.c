/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON over json-glib, which never sees a text that is not strictly JSON: see json-scan.c for what it would
 * take. */
#include "json.h"

#include "error.h"
#include "json-scan.h"

#include <string.h>

JsonNode *
gw_json_parse(const char *text, gssize length, GError **error)
{
    size_t n = length < 0 ? strlen(text) : (size_t)length;

    /* Members that stand twice and the like are the business of those who read a person's document. */
    g_autoptr(GHashTable) oddities = gw_json_scan(text, n, error);
    if (!oddities)
        return NULL;

    g_autoptr(JsonParser) parser = json_parser_new_immutable();
    g_autoptr(GError) cause = NULL;
    if (!json_parser_load_from_data(parser, text, (gssize)n, &cause)) {
        /* json-glib's texts begin with "<data>:LINE:COLUMN: " */
        const char *what = g_str_has_prefix(cause->message, "<data>:") ? cause->message + 7 : cause->message;
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "no JSON: %s", what);
        return NULL;
    }
    JsonNode *root = json_parser_steal_root(parser);
    if (!root)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "no JSON: the text is empty");
    return root;
}

JsonObject *
gw_json_parse_object(const char *text, gssize length, GError **error)
{
    g_autoptr(JsonNode) root = gw_json_parse(text, length, error);
    if (!root)
        return NULL;
    if (!JSON_NODE_HOLDS_OBJECT(root)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "a JSON object is expected, not %s",
                    json_node_type_name(root));
        return NULL;
    }
    return json_object_ref(json_node_get_object(root));
}

char *
gw_json_node_to_line(JsonNode *node)
{
    return json_to_string(node, FALSE);
}

char *
gw_json_object_to_line(JsonObject *object)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    json_node_set_object(node, object);
    return json_to_string(node, FALSE);
}

JsonObject *
gw_json_object_copy(JsonObject *object)
{
    g_autofree char *line = gw_json_object_to_line(object);
    return gw_json_parse_object(line, -1, NULL);
}

static JsonNode *
value_of_type(JsonObject *object, const char *member, GType type)
{
    JsonNode *node = json_object_get_member(object, member);
    return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == type ? node : NULL;
}

const char *
gw_json_get_string(JsonObject *object, const char *member)
{
    JsonNode *node = value_of_type(object, member, G_TYPE_STRING);
    return node ? json_node_get_string(node) : NULL;
}

JsonObject *
gw_json_get_object(JsonObject *object, const char *member)
{
    JsonNode *node = json_object_get_member(object, member);
    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

JsonArray *
gw_json_get_array(JsonObject *object, const char *member)
{
    JsonNode *node = json_object_get_member(object, member);
    return node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

bool
gw_json_get_int(JsonObject *object, const char *member, int64_t *ret_value)
{
    JsonNode *node = value_of_type(object, member, G_TYPE_INT64);
    if (node)
        *ret_value = json_node_get_int(node);
    return node != NULL;
}

int64_t
gw_json_inner_int(JsonObject *object, const char *inner, const char *member)
{
    JsonObject *found = gw_json_get_object(object, inner);
    int64_t value = 0;
    if (found)
        gw_json_get_int(found, member, &value);
    return value;
}

bool
gw_json_get_bool(JsonObject *object, const char *member, bool *ret_value)
{
    JsonNode *node = value_of_type(object, member, G_TYPE_BOOLEAN);
    if (node)
        *ret_value = json_node_get_boolean(node);
    return node != NULL;
}

JsonObject *
gw_json_array_object(JsonArray *array, guint i)
{
    JsonNode *node = json_array_get_element(array, i);
    return JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}
