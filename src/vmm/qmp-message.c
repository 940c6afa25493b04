/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QMP messages: a bounded line splitter and the check of a line.
 *
 * QMP in QEMU's default (not pretty) mode is one JSON object a line, the line ending in CR LF. That is all we
 * accept. Splitting before parsing bounds the memory before json-glib sees a byte and keeps a message that
 * does not parse from shifting the ones behind it (not that anyone goes on then).
 *
 *      fed bytes   [ taken lines | begun line, no LF up to `scanned` | not looked at yet ]
 *                  0             start                               scanned              length
 *
 * Each byte is searched for LF once and moved at most once, so a long line in one-byte chunks is linear.
 *
 * json-glib reads a superset of JSON: comments, 'strings', `var x = …`, and several values of which it keeps
 * the first. None of it is QMP, and a quote in a comment would hide the nesting from gw_json_parse(), which
 * trusts the text to be JSON there. So a line's frame is checked here first: one object, nothing around it,
 * nothing between its strings that starts a comment or another kind of string.
 *
 * What a line is, is told by exactly one of the members "QMP", "return", "error" and "event". Ids are
 * integers because ours are; an id of another type answers nobody.
 *
 * QEMU's words end in errors and logs of ours. They are kept to one line and WORDS_MAX bytes there, so that a
 * QEMU that a guest has taken over can neither forge log lines nor fill the log. */
#include "qmp-message.h"

#include "error.h"
#include "json.h"

#include <string.h>

#define WORDS_MAX 1024 /* QEMU's longest texts, feature lists of CPU models, have a few hundred bytes */
#define QUOTE_MAX 80   /* enough to recognise the line */

/* After a long line the buffer goes back to nothing; most lines have a few hundred bytes. */
#define KEEP_BYTES (256 * 1024)

struct GwQmpLines {
    size_t limit_bytes;
    GByteArray *bytes; /* owned */
    size_t start;      /* of the first line that is not taken */
    size_t scanned;    /* there is no LF in [start, scanned) */
};

GwQmpLines *
gw_qmp_lines_new(size_t limit_bytes)
{
    GwQmpLines *self = g_new0(GwQmpLines, 1);
    self->limit_bytes = limit_bytes;
    self->bytes = g_byte_array_new();
    return self;
}

void
gw_qmp_lines_free(GwQmpLines *self)
{
    if (!self)
        return;
    g_byte_array_unref(self->bytes);
    g_free(self);
}

static void
drop_taken(GwQmpLines *self)
{
    if (self->start == self->bytes->len && self->bytes->len > KEEP_BYTES) {
        g_byte_array_unref(self->bytes);
        self->bytes = g_byte_array_new();
    } else if (self->start > 0) {
        g_byte_array_remove_range(self->bytes, 0, (guint)self->start);
    }
    self->scanned -= self->start;
    self->start = 0;
}

void
gw_qmp_lines_feed(GwQmpLines *self, const void *bytes, size_t n_bytes)
{
    drop_taken(self);
    g_assert(n_bytes <= G_MAXUINT - self->bytes->len);
    if (n_bytes > 0)
        g_byte_array_append(self->bytes, bytes, (guint)n_bytes);
}

bool
gw_qmp_lines_next(GwQmpLines *self, const char **ret_line, size_t *ret_length, GError **error)
{
    const char *text = (const char *)self->bytes->data;
    const char *end = NULL;

    *ret_line = NULL;
    *ret_length = 0;
    if (self->scanned < self->bytes->len)
        end = memchr(text + self->scanned, '\n', self->bytes->len - self->scanned);
    self->scanned = end ? (size_t)(end - text) : self->bytes->len;

    size_t length = self->scanned - self->start;
    if (length > 0 && text[self->start + length - 1] == '\r')
        length--;
    if (length > self->limit_bytes) {
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "line longer than %zu bytes", self->limit_bytes);
        return false;
    }
    if (!end)
        return true;
    *ret_line = text + self->start;
    *ret_length = length;
    self->start = ++self->scanned;
    return true;
}

size_t
gw_qmp_lines_n_pending(const GwQmpLines *self)
{
    return self->bytes->len - self->start;
}

static const char *const kind_names[] = {
    [GW_QMP_GREETING] = "QMP",
    [GW_QMP_RETURN] = "return",
    [GW_QMP_FAILURE] = "error",
    [GW_QMP_EVENT] = "event",
};
G_STATIC_ASSERT(G_N_ELEMENTS(kind_names) == GW_N_QMP_KINDS);

const char *
gw_qmp_kind_name(GwQmpKind kind)
{
    return kind_names[kind];
}

/* Foreign text on one line and cut after `max_bytes`. */
static char *
tame(const char *text, size_t max_bytes)
{
    size_t length = strnlen(text, max_bytes);
    g_autofree char *valid = g_utf8_make_valid(text, (gssize)length);
    g_autoptr(GString) out = g_string_sized_new(length + sizeof("…"));
    for (const char *p = valid; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        g_string_append_unichar(out, g_unichar_isprint(c) ? c : ' ');
    }
    if (text[length])
        g_string_append(out, "…");
    return g_string_free(g_steal_pointer(&out), FALSE);
}

/* What `object` has at `member`, for the "got" of an error. */
static char *
quote(JsonObject *object, const char *member)
{
    JsonNode *node = json_object_get_member(object, member);
    if (!node)
        return g_strdup("nothing");
    g_autofree char *text = gw_json_node_to_line(node);
    return tame(text, QUOTE_MAX);
}

/* `what` names the member's place for a reader, as in "greeting without a version". */
static bool
refuse_member(GError **error, const char *what, JsonObject *object, const char *member, const char *expected)
{
    g_autofree char *got = quote(object, member);
    g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s: \"%s\" is %s, expected %s", what, member, got,
                expected);
    return false;
}

/* One object, nothing around it and nothing in it that only json-glib takes for JSON: see above. Whether it
 * is JSON is the parser's to say. */
static bool
check_frame(const char *line, size_t length, GError **error)
{
    bool in_string = false;
    size_t depth = 0;

    for (size_t i = 0; i < length; i++) {
        char c = line[i];
        bool ok = true;
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (depth == 0) {
            ok = i == 0 ? c == '{' : c == ' ' || c == '\t';
            depth = i == 0 ? 1 : 0;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            depth--;
        } else {
            ok = c != '\'' && c != '/' && c != '#';
        }
        if (!ok) {
            g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL,
                        "line is not one JSON object: byte 0x%02x at offset %zu", (unsigned char)c, i);
            return false;
        }
    }
    return true;
}

static JsonObject *
parse_line(const char *line, size_t length, GError **error)
{
    if (length == 0) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_PROTOCOL, "empty line");
        return NULL;
    }
    if (!check_frame(line, length, error))
        return NULL;
    g_autoptr(GError) cause = NULL;
    JsonObject *root = gw_json_parse_object(line, (gssize)length, &cause);
    if (!root) {
        g_autofree char *text = tame(cause->message, WORDS_MAX);
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "line of %zu bytes: %s", length, text);
    }
    return root;
}

static bool
find_kind(JsonObject *root, GwQmpKind *ret_kind, GError **error)
{
    int found = -1;
    for (int i = 0; i < GW_N_QMP_KINDS; i++) {
        if (!json_object_has_member(root, kind_names[i]))
            continue;
        if (found >= 0) {
            g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "message with both \"%s\" and \"%s\"",
                        kind_names[found], kind_names[i]);
            return false;
        }
        found = i;
    }
    if (found < 0) {
        g_autofree char *line = gw_json_object_to_line(root);
        g_autofree char *got = tame(line, QUOTE_MAX);
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL,
                    "message with neither of \"QMP\", \"return\", \"error\" and \"event\": %s", got);
        return false;
    }
    *ret_kind = (GwQmpKind)found;
    return true;
}

/* An integer that the version's packing has room for. */
static bool
get_version_part(JsonObject *qemu, const char *member, int64_t max, unsigned *ret_value, GError **error)
{
    int64_t value = -1;
    if (!gw_json_get_int(qemu, member, &value) || value < 0 || value > max) {
        g_autofree char *expected = g_strdup_printf("an integer from 0 to %d", (int)max);
        return refuse_member(error, "greeting with a bad version", qemu, member, expected);
    }
    *ret_value = (unsigned)value;
    return true;
}

static bool
check_version(JsonObject *version, unsigned *ret_version, GError **error)
{
    JsonObject *qemu = gw_json_get_object(version, "qemu");
    unsigned major = 0;
    unsigned minor = 0;
    unsigned micro = 0;

    if (!qemu)
        return refuse_member(error, "greeting with a bad version", version, "qemu", "an object");
    if (!get_version_part(qemu, "major", 9999, &major, error) ||
        !get_version_part(qemu, "minor", 99, &minor, error) ||
        !get_version_part(qemu, "micro", 99, &micro, error))
        return false;
    if (json_object_has_member(version, "package") && !gw_json_get_string(version, "package"))
        return refuse_member(error, "greeting with a bad version", version, "package", "a string");
    *ret_version = major * 10000 + minor * 100 + micro;
    return true;
}

static bool
check_greeting(JsonObject *root, GwQmpMessage *message, GError **error)
{
    JsonObject *qmp = gw_json_get_object(root, "QMP");
    if (!qmp)
        return refuse_member(error, "bad greeting", root, "QMP", "an object");
    JsonObject *version = gw_json_get_object(qmp, "version");
    if (!version)
        return refuse_member(error, "greeting without a version", qmp, "version", "an object");
    JsonArray *capabilities = gw_json_get_array(qmp, "capabilities");
    if (!capabilities)
        return refuse_member(error, "greeting without capabilities", qmp, "capabilities", "an array");
    for (guint i = 0; i < json_array_get_length(capabilities); i++) {
        JsonNode *node = json_array_get_element(capabilities, i);
        if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING)
            return refuse_member(error, "greeting with a bad capability", qmp, "capabilities",
                                 "an array of strings");
    }
    return check_version(version, &message->version, error);
}

static bool
check_id(JsonObject *root, GwQmpMessage *message, GError **error)
{
    message->has_id = json_object_has_member(root, "id");
    if (message->has_id && !gw_json_get_int(root, "id", &message->id))
        return refuse_member(error, "reply with an id that is none of ours", root, "id", "an integer");
    return true;
}

static bool
check_return(JsonObject *root, GwQmpMessage *message, GError **error)
{
    if (!check_id(root, message, error))
        return false;
    if (!message->has_id)
        return refuse_member(error, "return without an id", root, "id", "an integer");
    /* A copy has no parent that could die before it, and its holder may put it into a tree. The value in it
     * is shared, not copied; nobody else holds it once the root is gone. */
    message->value = json_node_copy(json_object_get_member(root, "return"));
    return true;
}

static bool
check_failure(JsonObject *root, GwQmpMessage *message, GError **error)
{
    if (!check_id(root, message, error))
        return false;
    JsonObject *object = gw_json_get_object(root, "error");
    if (!object)
        return refuse_member(error, "bad error", root, "error", "an object");
    const char *class = gw_json_get_string(object, "class");
    if (!class || !*class)
        return refuse_member(error, "error without a class", object, "class", "a string");
    const char *description = gw_json_get_string(object, "desc");
    if (!description)
        return refuse_member(error, "error without a description", object, "desc", "a string");
    message->error_class = tame(class, QUOTE_MAX);
    message->error_description = tame(description, WORDS_MAX);
    return true;
}

static bool
check_timestamp(JsonObject *root, int64_t *ret_sent_us, GError **error)
{
    *ret_sent_us = -1;
    if (!json_object_has_member(root, "timestamp"))
        return true;
    JsonObject *timestamp = gw_json_get_object(root, "timestamp");
    int64_t seconds = -2;
    int64_t microseconds = -2;
    if (!timestamp)
        return refuse_member(error, "event with a bad timestamp", root, "timestamp", "an object");
    /* both are -1 where QEMU could not read its clock */
    if (!gw_json_get_int(timestamp, "seconds", &seconds) || seconds < -1)
        return refuse_member(error, "event with a bad timestamp", timestamp, "seconds", "an integer from -1");
    if (!gw_json_get_int(timestamp, "microseconds", &microseconds) || microseconds < -1 ||
        microseconds > 999999)
        return refuse_member(error, "event with a bad timestamp", timestamp, "microseconds",
                             "an integer from -1 to 999999");
    if (seconds >= 0 && microseconds >= 0 && seconds < G_MAXINT64 / G_USEC_PER_SEC - 1)
        *ret_sent_us = seconds * G_USEC_PER_SEC + microseconds;
    return true;
}

static bool
check_event(JsonObject *root, GwQmpMessage *message, GError **error)
{
    message->event = gw_json_get_string(root, "event");
    if (!message->event || !*message->event)
        return refuse_member(error, "event without a name", root, "event", "a string");
    message->data = gw_json_get_object(root, "data");
    if (!message->data && json_object_has_member(root, "data"))
        return refuse_member(error, "event with bad data", root, "data", "an object");
    if (!check_timestamp(root, &message->sent_us, error))
        return false;
    message->root = json_object_ref(root);
    return true;
}

bool
gw_qmp_message_parse(const char *line, size_t length, GwQmpMessage *ret_message, GError **error)
{
    static bool (*const checks[])(JsonObject *, GwQmpMessage *, GError **) = {
        [GW_QMP_GREETING] = check_greeting,
        [GW_QMP_RETURN] = check_return,
        [GW_QMP_FAILURE] = check_failure,
        [GW_QMP_EVENT] = check_event,
    };
    G_STATIC_ASSERT(G_N_ELEMENTS(checks) == GW_N_QMP_KINDS);

    memset(ret_message, 0, sizeof(*ret_message));
    g_autoptr(JsonObject) root = parse_line(line, length, error);
    if (!root || !find_kind(root, &ret_message->kind, error) ||
        !checks[ret_message->kind](root, ret_message, error)) {
        memset(ret_message, 0, sizeof(*ret_message)); /* a check takes what it owns last */
        return false;
    }
    return true;
}

void
gw_qmp_message_clear(GwQmpMessage *self)
{
    g_clear_pointer(&self->value, json_node_unref);
    g_clear_pointer(&self->error_class, g_free);
    g_clear_pointer(&self->error_description, g_free);
    g_clear_pointer(&self->root, json_object_unref);
    memset(self, 0, sizeof(*self));
}

char *
gw_qmp_message_format_command(const char *command, JsonObject *arguments, int64_t id)
{
    g_autoptr(JsonObject) object = json_object_new();
    json_object_set_string_member(object, "execute", command);
    if (arguments)
        json_object_set_object_member(object, "arguments", arguments);
    json_object_set_int_member(object, "id", id);
    g_autofree char *line = gw_json_object_to_line(object);
    return g_strconcat(line, "\n", NULL);
}
