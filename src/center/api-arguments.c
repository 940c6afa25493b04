/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading a request's body: each mistake names the member, what was got and what was expected. */
#include "api-arguments.h"

#include "error.h"
#include "json.h"

#include <string.h>

#define SHOWN_BYTES 60 /* of a wrong value, in an error's text */

void
gw_arguments_init(GwArguments *self, JsonObject *body)
{
    *self = (GwArguments){.body = body};
    self->read = g_ptr_array_new();
    self->lists = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(self->read, (void *)"reason");
}

void
gw_arguments_clear(GwArguments *self)
{
    g_clear_pointer(&self->read, g_ptr_array_unref);
    g_clear_pointer(&self->lists, g_ptr_array_unref);
    g_clear_error(&self->error);
}

void
gw_arguments_refuse(GwArguments *self, const char *name, const char *format, ...)
{
    if (self->error)
        return;
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    self->error = g_error_new(GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "%s: %s", name, text);
}

/* A value as an error shows it. A secret's member never comes here with a string: any string is of its type.
 */
static char *
shown(JsonNode *node)
{
    g_autofree char *line = gw_json_node_to_line(node);
    if (strlen(line) <= SHOWN_BYTES)
        return g_steal_pointer(&line);
    const char *end = g_utf8_find_prev_char(line, line + SHOWN_BYTES);
    return g_strdup_printf("%.*s…", (int)(end - line), line);
}

static void
refuse_value(GwArguments *self, const char *name, JsonNode *node, const char *expected)
{
    g_autofree char *got = shown(node);
    gw_arguments_refuse(self, name, "got %s, expected %s", got, expected);
}

/* The member, if it is there and nothing was wrong before. */
static JsonNode *
look_up(GwArguments *self, const char *name, GwPresence presence, const char *expected)
{
    g_ptr_array_add(self->read, (void *)name);
    if (self->error)
        return NULL;
    JsonNode *node = json_object_get_member(self->body, name);
    if (node && !(JSON_NODE_HOLDS_NULL(node) && presence == GW_OPTIONAL))
        return node;
    if (presence == GW_REQUIRED)
        gw_arguments_refuse(self, name, "missing, expected %s", expected);
    return NULL;
}

static bool
is_type(JsonNode *node, GType type)
{
    return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == type;
}

static bool
is_number(JsonNode *node)
{
    return is_type(node, G_TYPE_INT64) || is_type(node, G_TYPE_DOUBLE);
}

const char *
gw_arguments_string(GwArguments *self, const char *name, GwPresence presence, size_t max_bytes)
{
    JsonNode *node = look_up(self, name, presence, "a string");
    if (!node)
        return NULL;
    if (!is_type(node, G_TYPE_STRING)) {
        refuse_value(self, name, node, "a string");
        return NULL;
    }
    const char *value = json_node_get_string(node);
    size_t length = strlen(value);
    if (length == 0 || length > max_bytes) {
        gw_arguments_refuse(self, name, "got %zu bytes, expected 1 to %zu", length, max_bytes);
        return NULL;
    }
    return value;
}

int
gw_arguments_choice(GwArguments *self, const char *name, GwPresence presence, const char *const *choices)
{
    g_autofree char *expected = g_strjoinv(" or ", (char **)choices);
    JsonNode *node = look_up(self, name, presence, expected);
    if (!node)
        return -1;
    const char *value = is_type(node, G_TYPE_STRING) ? json_node_get_string(node) : NULL;
    for (int i = 0; value && choices[i]; i++)
        if (strcmp(choices[i], value) == 0)
            return i;
    refuse_value(self, name, node, expected);
    return -1;
}

int64_t
gw_arguments_int(GwArguments *self, const char *name, GwPresence presence, int64_t min, int64_t max,
                 int64_t fallback)
{
    g_autofree char *expected =
        g_strdup_printf("a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, min, max);
    JsonNode *node = look_up(self, name, presence, expected);
    if (!node)
        return fallback;
    int64_t value = is_type(node, G_TYPE_INT64) ? json_node_get_int(node) : 0;
    if (is_type(node, G_TYPE_INT64) && value >= min && value <= max)
        return value;
    refuse_value(self, name, node, expected);
    return fallback;
}

double
gw_arguments_number(GwArguments *self, const char *name, GwPresence presence, double min, double max)
{
    g_autofree char *expected = g_strdup_printf("a number from %g to %g", min, max);
    JsonNode *node = look_up(self, name, presence, expected);
    if (!node)
        return min;
    double value = is_number(node) ? json_node_get_double(node) : min - 1;
    if (value >= min && value <= max)
        return value;
    refuse_value(self, name, node, expected);
    return min;
}

bool
gw_arguments_bool(GwArguments *self, const char *name, GwPresence presence, bool fallback)
{
    JsonNode *node = look_up(self, name, presence, "true or false");
    if (!node)
        return fallback;
    if (is_type(node, G_TYPE_BOOLEAN))
        return json_node_get_boolean(node);
    refuse_value(self, name, node, "true or false");
    return fallback;
}

const char *const *
gw_arguments_strings(GwArguments *self, const char *name, GwPresence presence, guint max, size_t max_bytes)
{
    g_autofree char *expected =
        g_strdup_printf("a list of at most %u strings of 1 to %zu bytes", max, max_bytes);
    JsonNode *node = look_up(self, name, presence, expected);
    if (!node)
        return NULL;
    JsonArray *array = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    bool good = array && json_array_get_length(array) <= max;
    g_autofree const char **list = g_new0(const char *, (good ? json_array_get_length(array) : 0) + 1);
    for (guint i = 0; good && i < json_array_get_length(array); i++) {
        JsonNode *element = json_array_get_element(array, i);
        list[i] = is_type(element, G_TYPE_STRING) ? json_node_get_string(element) : "";
        good = *list[i] && strlen(list[i]) <= max_bytes;
    }
    if (!good) {
        refuse_value(self, name, node, expected);
        return NULL;
    }
    const char *const *result = list;
    g_ptr_array_add(self->lists, g_steal_pointer(&list));
    return result;
}

JsonObject *
gw_arguments_object(GwArguments *self, const char *name, GwPresence presence)
{
    JsonNode *node = look_up(self, name, presence, "an object");
    if (node && JSON_NODE_HOLDS_OBJECT(node))
        return json_node_get_object(node);
    if (node)
        refuse_value(self, name, node, "an object");
    return NULL;
}

/* Levenshtein's distance, as far as it is below 3: a slip of the finger. */
static bool
is_near(const char *a, const char *b)
{
    size_t n_a = strlen(a), n_b = strlen(b);
    enum { LONGEST = 40 };
    if (n_a > LONGEST || n_b > LONGEST)
        return false;
    unsigned row[LONGEST + 1];
    for (unsigned j = 0; j <= n_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= n_b; j++) {
            unsigned changed = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = MIN(changed, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[n_b] <= 2 && row[n_b] < n_b;
}

static void
refuse_unknown(GwArguments *self, const char *name)
{
    g_autofree char *quoted = g_utf8_substring(name, 0, MIN(g_utf8_strlen(name, -1), SHOWN_BYTES));
    for (guint i = 0; i < self->read->len; i++) {
        const char *known = self->read->pdata[i];
        if (is_near(name, known) && !json_object_has_member(self->body, known)) {
            self->error = g_error_new(GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                                      "unknown member '%s' (did you mean '%s'?)", quoted, known);
            return;
        }
    }
    g_autoptr(GString) all = g_string_new(NULL);
    for (guint i = 0; i < self->read->len; i++)
        g_string_append_printf(all, "%s%s", i ? ", " : "", (const char *)self->read->pdata[i]);
    self->error = g_error_new(GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "unknown member '%s' (there are: %s)",
                              quoted, all->str);
}

bool
gw_arguments_end(GwArguments *self, GError **error)
{
    JsonObjectIter iter;
    const char *name;
    /* First: who wrote "too" for "to" is better told that than that "to" is missing. */
    g_autoptr(GError) first = g_steal_pointer(&self->error);
    json_object_iter_init_ordered(&iter, self->body);
    while (!self->error && json_object_iter_next_ordered(&iter, &name, NULL))
        if (!g_ptr_array_find_with_equal_func(self->read, name, g_str_equal, NULL))
            refuse_unknown(self, name);
    if (!self->error)
        self->error = g_steal_pointer(&first);
    if (!self->error)
        return true;
    g_propagate_error(error, g_steal_pointer(&self->error));
    return false;
}

bool
gw_is_host_name(const char *name)
{
    size_t length = strlen(name);
    return length >= 1 && length <= 63 && name[0] != '-' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}
