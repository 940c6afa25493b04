/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The grammar of RFC 8259, a function for each of its rules.
 *
 * Why before json-glib 1.6 and not instead of it: its scanner is that of a C-like language. It takes 010 as
 * 8, $10 and 0x10 as 16, 99999999999999999999 as -1, "a\u0000b" as "a", comments, single quotes, "var x = …"
 * and a second document behind the first, and it recurses as deep as the text tells it to. A size in a VM's
 * configuration must not mean something else than what stands there. The tree itself is still json-glib's.
 *
 * Recursion is bounded by GW_JSON_MAX_DEPTH; time is linear in the text, a hash look-up for each member. */
#include "json-scan.h"

#include "error.h"
#include "json.h"

#include <stdbool.h>
#include <string.h>

typedef struct {
    const char *text;
    size_t length, at;
    unsigned depth;
    GString *pointer;     /* of the value that is being read */
    GHashTable *findings; /* what is returned in the end */
    GError **error;       /* the caller's */
} Scan;

static bool scan_value(Scan *self);

void
gw_json_pointer_append(GString *pointer, const char *token)
{
    g_string_append_c(pointer, '/');
    for (const char *p = token; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        if (c == '~')
            g_string_append(pointer, "~0");
        else if (c == '/')
            g_string_append(pointer, "~1");
        else if (g_unichar_iscntrl(c))
            g_string_append_printf(pointer, "\\u%04x", c);
        else
            g_string_append_unichar(pointer, c);
    }
}

void
gw_json_pointer_append_index(GString *pointer, guint index)
{
    g_string_append_printf(pointer, "/%u", index);
}

/* Always false. Columns count characters, as editors do. */
static bool
fail(Scan *self, const char *what)
{
    unsigned line = 1;
    const char *start = self->text;
    for (size_t i = 0; i < self->at; i++) {
        if (self->text[i] == '\n') {
            line++;
            start = self->text + i + 1;
        }
    }
    long column = g_utf8_strlen(start, self->text + self->at - start) + 1;
    g_set_error(self->error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "no JSON at line %u, column %ld: %s", line,
                column, what);
    return false;
}

static char
peek(const Scan *self)
{
    return self->at < self->length ? self->text[self->at] : '\0';
}

static void
skip_space(Scan *self)
{
    while (self->at < self->length && strchr(" \t\r\n", self->text[self->at]))
        self->at++;
}

static bool
take(Scan *self, char c)
{
    if (peek(self) != c)
        return false;
    self->at++;
    return true;
}

/* Four hexadecimal digits behind "\u"; false without an error if there are none. */
static bool
take_hex4(Scan *self, gunichar *ret_unit)
{
    if (self->length - self->at < 4)
        return false;
    *ret_unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = g_ascii_xdigit_value(self->text[self->at + i]);
        if (digit < 0)
            return false;
        *ret_unit = *ret_unit << 4 | (gunichar)digit;
    }
    self->at += 4;
    return true;
}

static bool
scan_unicode_escape(Scan *self, GString *decoded)
{
    gunichar c, low;
    if (!take_hex4(self, &c))
        return fail(self, "four hexadecimal digits are expected behind \\u");
    if (c >= 0xd800 && c < 0xdc00) {
        if (!take(self, '\\') || !take(self, 'u') || !take_hex4(self, &low) || low < 0xdc00 || low > 0xdfff)
            return fail(self, "the second half of a surrogate pair is expected");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    } else if (c >= 0xdc00 && c < 0xe000) {
        return fail(self, "the first half of a surrogate pair is missing");
    }
    if (c == 0)
        return fail(self, "\\u0000 is not allowed in a string");
    g_string_append_unichar(decoded, c);
    return true;
}

static bool
scan_escape(Scan *self, GString *decoded)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (take(self, 'u'))
        return scan_unicode_escape(self, decoded);
    const char *name = peek(self) ? strchr(names, peek(self)) : NULL;
    if (!name)
        return fail(self, "one of \" \\ / b f n r t u is expected behind a backslash");
    g_string_append_c(decoded, values[name - names]);
    self->at++;
    return true;
}

static bool
scan_string(Scan *self, GString *decoded)
{
    if (!take(self, '"'))
        return fail(self, "a string in double quotes is expected");
    for (;;) {
        if (self->at == self->length)
            return fail(self, "the text ends within a string");
        char c = self->text[self->at];
        if ((unsigned char)c < 0x20)
            return fail(self, "a control character stands in a string");
        self->at++;
        if (c == '"')
            return true;
        if (c != '\\')
            g_string_append_c(decoded, c);
        else if (!scan_escape(self, decoded))
            return false;
    }
}

static void
note(Scan *self, char *sentence)
{
    g_hash_table_insert(self->findings, g_strdup(self->pointer->str), sentence);
}

static bool
scan_digits(Scan *self)
{
    size_t start = self->at;
    while (g_ascii_isdigit(peek(self)))
        self->at++;
    return self->at > start || fail(self, "a digit is expected");
}

static bool
scan_number(Scan *self)
{
    size_t start = self->at;
    bool is_integer = true;
    take(self, '-');
    if (take(self, '0')) {
        if (g_ascii_isalnum(peek(self)))
            return fail(self, "a number is decimal and has no leading zero");
    } else if (!scan_digits(self)) {
        return false;
    }
    if (take(self, '.')) {
        is_integer = false;
        if (!scan_digits(self))
            return false;
    }
    if (take(self, 'e') || take(self, 'E')) {
        is_integer = false;
        if (!take(self, '+'))
            take(self, '-');
        if (!scan_digits(self))
            return false;
    }
    size_t n = self->at - start;
    g_autofree char *number = g_strndup(self->text + start, MIN(n, 24));
    if (is_integer && (n > 20 || !g_ascii_string_to_signed(number, 10, G_MININT64, G_MAXINT64, NULL, NULL)))
        note(self, g_strdup_printf("the integer is too large (got %s%s, expected at most 64 bits)", number,
                                   n > 24 ? "…" : ""));
    return true;
}

/* One member: its name, the colon and its value. `names` are those before it in the object. */
static bool
scan_member(Scan *self, GHashTable *names)
{
    g_autoptr(GString) name = g_string_new(NULL);
    if (!scan_string(self, name))
        return false;
    skip_space(self);
    if (!take(self, ':'))
        return fail(self, "a colon is expected behind the member's name");

    size_t outer = self->pointer->len;
    gw_json_pointer_append(self->pointer, name->str);
    if (!scan_value(self))
        return false;
    /* Behind the value, so that it wins over a number that the value's own reading found too large. */
    if (!g_hash_table_add(names, g_strdup(name->str)))
        note(self, g_strdup("the member stands more than once in its object; keep one of them"));
    g_string_truncate(self->pointer, outer);
    return true;
}

static bool
scan_object(Scan *self)
{
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    skip_space(self);
    if (take(self, '}'))
        return true;
    for (;;) {
        skip_space(self);
        if (!scan_member(self, names))
            return false;
        if (take(self, '}'))
            return true;
        if (!take(self, ','))
            return fail(self, "a comma or the object's closing brace is expected");
    }
}

static bool
scan_array(Scan *self)
{
    size_t outer = self->pointer->len;
    skip_space(self);
    if (take(self, ']'))
        return true;
    for (guint i = 0;; i++) {
        gw_json_pointer_append_index(self->pointer, i);
        if (!scan_value(self))
            return false;
        g_string_truncate(self->pointer, outer);
        if (take(self, ']'))
            return true;
        if (!take(self, ','))
            return fail(self, "a comma or the array's closing bracket is expected");
    }
}

static bool
scan_word(Scan *self)
{
    static const char *const words[] = {"true", "false", "null"};
    for (guint i = 0; i < G_N_ELEMENTS(words); i++) {
        size_t n = strlen(words[i]);
        if (self->length - self->at >= n && memcmp(self->text + self->at, words[i], n) == 0) {
            self->at += n;
            return true;
        }
    }
    return fail(self, "a value is expected: a string, a number, an object, an array, true, false or null");
}

/* A value and the space around it. */
static bool
scan_value(Scan *self)
{
    bool good;
    skip_space(self);
    if (peek(self) == '{' || peek(self) == '[') {
        if (++self->depth > GW_JSON_MAX_DEPTH)
            return fail(self, G_STRINGIFY(GW_JSON_MAX_DEPTH) " levels of objects and arrays are the most");
        good = take(self, '{') ? scan_object(self) : take(self, '[') && scan_array(self);
        self->depth--;
    } else if (peek(self) == '"') {
        g_autoptr(GString) ignored = g_string_new(NULL);
        good = scan_string(self, ignored);
    } else if (peek(self) == '-' || g_ascii_isdigit(peek(self))) {
        good = scan_number(self);
    } else {
        good = scan_word(self);
    }
    skip_space(self);
    return good;
}

GHashTable *
gw_json_scan(const char *text, size_t length, GError **error)
{
    const char *bad = NULL;
    if (!g_utf8_validate_len(text, length, &bad)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "no JSON: byte %zu is not UTF-8",
                    (size_t)(bad - text));
        return NULL;
    }
    g_autoptr(GString) pointer = g_string_new(NULL);
    g_autoptr(GHashTable) findings = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    Scan scan = {text, length, .pointer = pointer, .findings = findings, .error = error};
    if (!scan_value(&scan))
        return NULL;
    if (scan.at < length) {
        fail(&scan, "the end of the text is expected");
        return NULL;
    }
    return g_steal_pointer(&findings);
}
