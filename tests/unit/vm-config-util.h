/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For the tests of VM configurations: documents from files, and one changed place in them. */
#pragma once

#include "json.h"
#include "vm-config.h"

#include <string.h>

/* A file below the directory of the unit tests. */
static inline char *
read_test_file(const char *relative)
{
    g_autoptr(GError) error = NULL;
    char *text = NULL;
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, relative, NULL);
    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    return text;
}

static inline JsonNode *
json_from(const char *text)
{
    g_autoptr(GError) error = NULL;
    JsonNode *node = gw_json_parse(text, -1, &error);
    g_assert_no_error(error);
    return node;
}

/* The value at a JSON pointer, NULL if there is none; borrowed. Tokens need no escapes here. */
static inline JsonNode *
json_at(JsonNode *root, const char *pointer)
{
    g_auto(GStrv) tokens = g_strsplit(pointer, "/", -1);
    JsonNode *node = root;
    for (guint i = 1; node && tokens[0] && tokens[i]; i++) {
        if (JSON_NODE_HOLDS_ARRAY(node)) {
            guint64 index = g_ascii_strtoull(tokens[i], NULL, 10);
            JsonArray *array = json_node_get_array(node);
            node = index < json_array_get_length(array) ? json_array_get_element(array, (guint)index) : NULL;
        } else {
            g_assert_true(JSON_NODE_HOLDS_OBJECT(node));
            node = json_object_get_member(json_node_get_object(node), tokens[i]);
        }
    }
    return node;
}

/* `document` with `value` (JSON text, NULL: nothing) in the place of what stands at `pointer`. A new member
 * goes behind the others, a new element behind the last. */
static inline char *
document_with(const char *document, const char *pointer, const char *value)
{
    /* Not gw_json_parse(), whose tree is immutable. */
    g_autoptr(JsonParser) parser = json_parser_new();
    g_assert_true(json_parser_load_from_data(parser, document, -1, NULL));
    JsonNode *root = json_parser_get_root(parser);
    g_autofree char *place = g_path_get_dirname(pointer);
    const char *token = strrchr(pointer, '/') + 1;
    JsonNode *parent = json_at(root, strcmp(place, "/") == 0 ? "" : place);
    g_assert_nonnull(parent);
    if (JSON_NODE_HOLDS_ARRAY(parent)) {
        JsonArray *array = json_node_get_array(parent);
        JsonArray *changed = json_array_new();
        guint64 index = g_ascii_strtoull(token, NULL, 10);
        for (guint i = 0; i < MAX(json_array_get_length(array), index + 1); i++) {
            if (i != index)
                json_array_add_element(changed, json_node_copy(json_array_get_element(array, i)));
            else if (value)
                json_array_add_element(changed, json_from(value));
        }
        json_node_take_array(parent, changed);
    } else if (value) {
        json_object_set_member(json_node_get_object(parent), token, json_from(value));
    } else {
        json_object_remove_member(json_node_get_object(parent), token);
    }
    return json_to_string(root, FALSE);
}

/* The report that refuses the document, "" if nothing is wrong with it. */
static inline char *
report_of(const char *document)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwVmConfig) config = gw_vm_config_parse(document, -1, &error);
    g_assert_true((config == NULL) == (error != NULL));
    return g_strdup(error ? error->message : "");
}

/* What the report says about this very place: the text behind "  POINTER: "; NULL if it says nothing. */
static inline char *
finding_at(const char *report, const char *pointer)
{
    g_autofree char *start = g_strdup_printf("  %s: ", pointer);
    g_auto(GStrv) lines = g_strsplit(report, "\n", -1);
    for (guint i = 0; lines[i]; i++)
        if (g_str_has_prefix(lines[i], start))
            return g_strdup(lines[i] + strlen(start));
    return NULL;
}
