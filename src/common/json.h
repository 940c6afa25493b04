/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON over json-glib: parsing of foreign bytes within limits, and look-ups that never trust a type. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

/* json-glib 1.6 parses recursively with no limit of its own: text of brackets only would end our stack. */
#define GW_JSON_MAX_DEPTH 64

/* Parses one JSON value of `length` bytes (-1: up to the NUL). GW_ERROR_INVALID_ARGUMENT, with line and
 * column, if it is not UTF-8, holds a NUL, nests deeper than GW_JSON_MAX_DEPTH, is empty, or is no JSON.
 * Unref the node. */
JsonNode *gw_json_parse(const char *text, gssize length, GError **error);

/* The same where the value has to be an object. Unref the object. */
JsonObject *gw_json_parse_object(const char *text, gssize length, GError **error);

/* One line without a line end. `object` is borrowed. */
char *gw_json_object_to_line(JsonObject *object);
char *gw_json_node_to_line(JsonNode *node);

/* A copy of all of it, to the depth of what gw_json_parse() takes: for another thread, whose references would
 * not be safe beside ours. */
JsonObject *gw_json_object_copy(JsonObject *object);

/* Members by type: NULL or false where the member is missing or of another type. Results are borrowed. */
const char *gw_json_get_string(JsonObject *object, const char *member);
JsonObject *gw_json_get_object(JsonObject *object, const char *member);
JsonArray *gw_json_get_array(JsonObject *object, const char *member);
bool gw_json_get_int(JsonObject *object, const char *member, int64_t *ret_value);

/* The number `member` of the object `inner`; 0 where there is none. */
int64_t gw_json_inner_int(JsonObject *object, const char *inner, const char *member);
bool gw_json_get_bool(JsonObject *object, const char *member, bool *ret_value);

/* Object elements of an array; NULL where element i is no object. */
JsonObject *gw_json_array_object(JsonArray *array, guint i);
