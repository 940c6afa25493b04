/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Look-ups in the center's answers. */
#include "fields.h"

#include "json.h"

const char *
gw_field_text(JsonObject *object, const char *member, const char *otherwise)
{
    const char *text = object ? gw_json_get_string(object, member) : NULL;
    return text && *text ? text : otherwise;
}

JsonObject *
gw_field_object(JsonObject *object, const char *member)
{
    return object ? gw_json_get_object(object, member) : NULL;
}

bool
gw_field_bool(JsonObject *object, const char *member)
{
    bool value = false;
    return object && gw_json_get_bool(object, member, &value) && value;
}

bool
gw_field_number(JsonObject *object, const char *member, double *ret_value)
{
    JsonNode *node = object ? json_object_get_member(object, member) : NULL;
    GType type = node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_value_type(node) : G_TYPE_INVALID;
    if (type != G_TYPE_INT64 && type != G_TYPE_DOUBLE)
        return false;
    *ret_value = type == G_TYPE_INT64 ? (double)json_node_get_int(node) : json_node_get_double(node);
    return true;
}

double
gw_field_number_or(JsonObject *object, const char *member, double otherwise)
{
    gw_field_number(object, member, &otherwise);
    return otherwise;
}

guint
gw_field_count(JsonObject *object, const char *member)
{
    JsonArray *array = object ? gw_json_get_array(object, member) : NULL;
    return array ? json_array_get_length(array) : 0;
}

JsonObject *
gw_field_element(JsonObject *object, const char *member, guint i)
{
    JsonArray *array = object ? gw_json_get_array(object, member) : NULL;
    return array && i < json_array_get_length(array) ? gw_json_array_object(array, i) : NULL;
}

char *
gw_field_join(JsonObject *object, const char *member, const char *inner)
{
    GString *joined = g_string_new(NULL);
    JsonArray *array = object ? gw_json_get_array(object, member) : NULL;
    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        JsonNode *node = json_array_get_element(array, i);
        const char *text = NULL;
        if (inner)
            text = gw_field_text(gw_json_array_object(array, i), inner, NULL);
        else if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING)
            text = json_node_get_string(node);
        if (text)
            g_string_append_printf(joined, "%s%s", joined->len ? ", " : "", text);
    }
    return g_string_free(joined, FALSE);
}

JsonNode *
gw_field_copy(JsonObject *object, const char *member)
{
    JsonNode *node = object ? json_object_get_member(object, member) : NULL;
    return node ? json_node_copy(node) : json_node_new(JSON_NODE_NULL);
}
