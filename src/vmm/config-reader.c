/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The walk is a stack of frames, one for each object or array from the root to where the reader stands.
 *
 * Problems come up in the order in which the caller asks, which is that of its rules and not of the text.
 * Each keeps a sort key: for every level the place among its siblings as six hexadecimal digits (documents
 * are far below 2^24 members), so that strcmp() is the order of the document and an object sorts before its
 * members. A missing member takes the place behind all that are there. */
#include "config-reader.h"

#include "config-report.h"
#include "json-scan.h"

#include <stdarg.h>
#include <string.h>

typedef struct {
    JsonObject *object;  /* borrowed; NULL in an array */
    JsonArray *array;    /* borrowed; NULL in an object */
    GHashTable *indices; /* owned: member → its place in the object, starting at 1 */
    GPtrArray *asked;    /* owned; the names are the caller's literals */
    size_t pointer_length, order_length;
} Frame;

struct GwConfigReader {
    GHashTable *findings; /* borrowed, may be NULL */
    GArray *frames;       /* of Frame */
    GString *pointer, *order;
    GwConfigReport *report;
};

/* A member by name, or an element by its index. */
typedef struct {
    const char *member;
    guint index;
} Key;

static Frame *
top(GwConfigReader *self)
{
    g_assert(self->frames->len > 0);
    return &g_array_index(self->frames, Frame, self->frames->len - 1);
}

static void
frame_clear(void *data)
{
    Frame *frame = data;
    g_clear_pointer(&frame->indices, g_hash_table_unref);
    g_clear_pointer(&frame->asked, g_ptr_array_unref);
}

static void
push_frame(GwConfigReader *self, JsonObject *object, JsonArray *array)
{
    Frame frame = {object, array, .pointer_length = self->pointer->len, .order_length = self->order->len};
    if (object) {
        JsonObjectIter iter;
        const char *name;
        guint n = 0;
        frame.indices = g_hash_table_new(g_str_hash, g_str_equal);
        frame.asked = g_ptr_array_new();
        json_object_iter_init_ordered(&iter, object);
        while (json_object_iter_next_ordered(&iter, &name, NULL))
            g_hash_table_insert(frame.indices, (void *)name, GUINT_TO_POINTER(++n));
    }
    g_array_append_val(self->frames, frame);
}

GwConfigReader *
gw_config_reader_new(JsonObject *root, GHashTable *findings)
{
    GwConfigReader *self = g_new0(GwConfigReader, 1);
    self->findings = findings;
    self->frames = g_array_new(FALSE, FALSE, sizeof(Frame));
    g_array_set_clear_func(self->frames, frame_clear);
    self->pointer = g_string_new(NULL);
    self->order = g_string_new(NULL);
    self->report = gw_config_report_new();
    push_frame(self, root, NULL);
    return self;
}

void
gw_config_reader_free(GwConfigReader *self)
{
    if (!self)
        return;
    g_array_unref(self->frames);
    g_string_free(self->pointer, TRUE);
    g_string_free(self->order, TRUE);
    gw_config_report_free(self->report);
    g_free(self);
}

/* Moves pointer and order to a member or element, until step_back(). */
static void
step_to(GwConfigReader *self, Key key)
{
    Frame *frame = top(self);
    guint place = key.index;
    if (key.member) {
        place = GPOINTER_TO_UINT(g_hash_table_lookup(frame->indices, key.member));
        if (place == 0)
            place = g_hash_table_size(frame->indices) + 1 + frame->asked->len;
        gw_json_pointer_append(self->pointer, key.member);
    } else {
        gw_json_pointer_append_index(self->pointer, key.index);
    }
    g_string_append_printf(self->order, "%06x", place);
}

static void
step_back(GwConfigReader *self)
{
    Frame *frame = top(self);
    g_string_truncate(self->pointer, frame->pointer_length);
    g_string_truncate(self->order, frame->order_length);
}

static void G_GNUC_PRINTF(3, 4) problem_at(GwConfigReader *self, Key key, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    step_to(self, key);
    gw_config_report_add(self->report, self->order->str, self->pointer->str, g_strdup_vprintf(format, args));
    step_back(self);
    va_end(args);
}

void
gw_config_reader_problem(GwConfigReader *self, const char *member, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (member)
        step_to(self, (Key){member, 0});
    gw_config_report_add(self->report, self->order->str, self->pointer->str, g_strdup_vprintf(format, args));
    step_back(self);
    va_end(args);
}

char *
gw_config_reader_pointer(GwConfigReader *self)
{
    return g_strdup(self->pointer->str);
}

/* What a message says that it got. */
static char *
describe(JsonNode *node)
{
    if (JSON_NODE_HOLDS_OBJECT(node))
        return g_strdup("an object");
    if (JSON_NODE_HOLDS_ARRAY(node))
        return g_strdup("an array");
    if (JSON_NODE_HOLDS_NULL(node))
        return g_strdup("null");
    if (json_node_get_value_type(node) == G_TYPE_STRING) {
        g_autofree char *quoted = gw_config_quote(json_node_get_string(node));
        return g_strconcat("the string ", quoted, NULL);
    }
    if (json_node_get_value_type(node) == G_TYPE_BOOLEAN)
        return g_strdup(json_node_get_boolean(node) ? "true" : "false");
    return json_to_string(node, FALSE);
}

/* The node, or NULL if it is missing (a problem if required) or is one of the findings (always a problem). */
static JsonNode *
look_up(GwConfigReader *self, Key key, GwMemberNeed need, const char *expected)
{
    Frame *frame = top(self);
    JsonNode *node;

    g_assert(key.member ? frame->object != NULL : frame->array != NULL);
    if (key.member) {
        bool is_new = !g_ptr_array_find_with_equal_func(frame->asked, key.member, g_str_equal, NULL);
        node = json_object_get_member(frame->object, key.member);
        if (!node && need == GW_MEMBER_REQUIRED)
            problem_at(self, key, "is missing (expected %s)", expected);
        if (is_new)
            g_ptr_array_add(frame->asked, (void *)key.member);
    } else {
        node = json_array_get_element(frame->array, key.index);
    }
    if (!node || !self->findings || g_hash_table_size(self->findings) == 0)
        return node;

    step_to(self, key);
    const char *sentence = g_hash_table_lookup(self->findings, self->pointer->str);
    if (sentence)
        gw_config_report_add(self->report, self->order->str, self->pointer->str, g_strdup(sentence));
    step_back(self);
    return sentence ? NULL : node;
}

static void
report_type(GwConfigReader *self, Key key, JsonNode *node, const char *expected)
{
    g_autofree char *got = describe(node);
    problem_at(self, key, "wrong type (got %s, expected %s)", got, expected);
}

bool
gw_config_reader_has(GwConfigReader *self, const char *member)
{
    Frame *frame = top(self);
    if (!g_ptr_array_find_with_equal_func(frame->asked, member, g_str_equal, NULL))
        g_ptr_array_add(frame->asked, (void *)member);
    return json_object_has_member(frame->object, member);
}

static bool
read_uint(GwConfigReader *self, Key key, GwMemberNeed need, uint64_t min, uint64_t max, uint64_t *ret_value)
{
    g_autofree char *expected =
        g_strdup_printf("an integer from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, min, max);
    JsonNode *node = look_up(self, key, need, expected);
    if (!node)
        return false;
    if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_INT64) {
        report_type(self, key, node, expected);
        return false;
    }
    int64_t value = json_node_get_int(node);
    if (value < 0 || (uint64_t)value < min || (uint64_t)value > max) {
        problem_at(self, key, "out of range (got %" G_GINT64_FORMAT ", expected %s)", value, expected);
        return false;
    }
    *ret_value = (uint64_t)value;
    return true;
}

uint64_t
gw_config_reader_uint(GwConfigReader *self, const char *member, GwMemberNeed need, uint64_t min, uint64_t max,
                      uint64_t fallback)
{
    read_uint(self, (Key){member, 0}, need, min, max, &fallback);
    return fallback;
}

bool
gw_config_reader_uint_item(GwConfigReader *self, guint i, uint64_t min, uint64_t max, uint64_t *ret_value)
{
    return read_uint(self, (Key){NULL, i}, GW_MEMBER_REQUIRED, min, max, ret_value);
}

bool
gw_config_reader_bool(GwConfigReader *self, const char *member, bool fallback)
{
    Key key = {member, 0};
    JsonNode *node = look_up(self, key, GW_MEMBER_OPTIONAL, "");
    if (!node)
        return fallback;
    if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_BOOLEAN) {
        report_type(self, key, node, "true or false");
        return fallback;
    }
    return json_node_get_boolean(node);
}

static JsonNode *
look_up_string(GwConfigReader *self, Key key, GwMemberNeed need, const char *expected)
{
    JsonNode *node = look_up(self, key, need, expected);
    if (!node || (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING))
        return node;
    report_type(self, key, node, expected);
    return NULL;
}

int
gw_config_reader_enum(GwConfigReader *self, const char *member, GwMemberNeed need, const char *const names[],
                      int fallback)
{
    Key key = {member, 0};
    g_autoptr(GString) expected = g_string_new(names[1] ? "one of " : NULL);
    for (int i = 0; names[i]; i++)
        g_string_append_printf(expected, "%s'%s'", i ? ", " : "", names[i]);
    JsonNode *node = look_up_string(self, key, need, expected->str);
    if (!node)
        return fallback;
    const char *value = json_node_get_string(node);
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], value) == 0)
            return i;
    g_autofree char *got = gw_config_quote(value);
    problem_at(self, key, "unknown value (got %s, expected %s)", got, expected->str);
    return fallback;
}

static bool
has_control_character(const char *text)
{
    for (const char *p = text; *p; p = g_utf8_next_char(p))
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            return true;
    return false;
}

char *
gw_config_reader_string(GwConfigReader *self, const char *member, GwMemberNeed need, const GwStringRule *rule)
{
    Key key = {member, 0};
    JsonNode *node = look_up_string(self, key, need, rule->expected);
    if (!node)
        return NULL;
    const char *value = json_node_get_string(node);
    g_autofree char *got = gw_config_quote(value);
    if (!*value)
        problem_at(self, key, "is empty (expected %s)", rule->expected);
    else if (has_control_character(value))
        problem_at(self, key, "holds control characters (got %s, expected %s)", got, rule->expected);
    else if (rule->max_bytes && strlen(value) > rule->max_bytes)
        problem_at(self, key, "too long (got %zu bytes, expected at most %zu)", strlen(value),
                   rule->max_bytes);
    else if (rule->is_valid && !rule->is_valid(value))
        problem_at(self, key, "wrong form (got %s, expected %s)", got, rule->expected);
    else
        return g_strdup(value);
    return NULL;
}

static bool
enter_object(GwConfigReader *self, Key key, GwMemberNeed need)
{
    JsonNode *node = look_up(self, key, need, "an object");
    if (!node)
        return false;
    if (!JSON_NODE_HOLDS_OBJECT(node)) {
        report_type(self, key, node, "an object");
        return false;
    }
    step_to(self, key);
    push_frame(self, json_node_get_object(node), NULL);
    return true;
}

static bool
enter_array(GwConfigReader *self, Key key, guint max, guint *ret_n)
{
    JsonNode *node = look_up(self, key, GW_MEMBER_OPTIONAL, "an array");
    *ret_n = 0;
    if (!node)
        return false;
    if (!JSON_NODE_HOLDS_ARRAY(node)) {
        report_type(self, key, node, "an array");
        return false;
    }
    guint n = json_array_get_length(json_node_get_array(node));
    if (n > max)
        problem_at(self, key, "too many elements (got %u, expected at most %u)", n, max);
    step_to(self, key);
    push_frame(self, NULL, json_node_get_array(node));
    *ret_n = MIN(n, max);
    return true;
}

bool
gw_config_reader_enter(GwConfigReader *self, const char *member, GwMemberNeed need)
{
    return enter_object(self, (Key){member, 0}, need);
}

bool
gw_config_reader_enter_item(GwConfigReader *self, guint i)
{
    return enter_object(self, (Key){NULL, i}, GW_MEMBER_REQUIRED);
}

bool
gw_config_reader_enter_array(GwConfigReader *self, const char *member, guint max, guint *ret_n)
{
    return enter_array(self, (Key){member, 0}, max, ret_n);
}

bool
gw_config_reader_enter_array_item(GwConfigReader *self, guint i, guint max, guint *ret_n)
{
    return enter_array(self, (Key){NULL, i}, max, ret_n);
}

static void
report_unknown_members(GwConfigReader *self)
{
    Frame *frame = top(self);
    g_autoptr(GString) known = g_string_new(NULL);
    for (guint i = 0; i < frame->asked->len; i++)
        g_string_append_printf(known, "%s%s", i ? ", " : "",
                               (const char *)g_ptr_array_index(frame->asked, i));

    JsonObjectIter iter;
    const char *name;
    json_object_iter_init_ordered(&iter, frame->object);
    while (json_object_iter_next_ordered(&iter, &name, NULL)) {
        if (g_ptr_array_find_with_equal_func(frame->asked, name, g_str_equal, NULL))
            continue;
        const char *meant = gw_config_guess(frame->asked, name);
        if (meant)
            problem_at(self, (Key){name, 0}, "unknown member (did you mean '%s'?)", meant);
        else
            problem_at(self, (Key){name, 0}, "unknown member (expected only: %s)", known->str);
    }
}

void
gw_config_reader_leave(GwConfigReader *self)
{
    if (top(self)->object)
        report_unknown_members(self);
    g_array_set_size(self->frames, self->frames->len - 1);
    if (self->frames->len > 0)
        step_back(self);
}

gboolean
gw_config_reader_finish(GwConfigReader *self, const char *subject, GError **error)
{
    g_assert(self->frames->len == 1); /* every enter has its leave */
    gw_config_reader_leave(self);
    return gw_config_report_finish(self->report, subject, error);
}
