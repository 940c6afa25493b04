/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GKeyFile understands the values, but it stops at the first line that it does not understand, lets the last
 * of two equal keys win, and forgets where things stood. So the lines are looked at here first; those that
 * are right make up the text that GKeyFile gets. */
#include "conf-reader.h"

#include "config-report.h"

#include <stdarg.h>
#include <string.h>

typedef struct {
    char *group, *key;
    unsigned line;
    bool asked;
} Entry;

struct GwConfReader {
    GKeyFile *file;
    GArray *groups;  /* of GwConfGroup */
    GArray *entries; /* of Entry, in the order of the text */
    GwConfigReport *report;
    char *group;      /* where the reader stands; NULL: nowhere */
    GPtrArray *asked; /* the keys asked for there; the caller's literals */
};

static void
group_clear(void *data)
{
    GwConfGroup *group = data;
    g_free(group->kind);
    g_free(group->name);
    g_free(group->header);
}

static void
entry_clear(void *data)
{
    Entry *entry = data;
    g_free(entry->group);
    g_free(entry->key);
}

static void G_GNUC_PRINTF(4, 5)
    problem_at(GwConfReader *self, unsigned line, const char *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *order = g_strdup_printf("%08u", line);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    /* names of groups and keys are the text's own */
    g_autoptr(GString) plain_where = g_string_new(NULL);
    GString *plain = g_string_new(NULL);
    gw_config_append_plain(plain_where, where);
    gw_config_append_plain(plain, text);
    gw_config_report_add(self->report, order, plain_where->str, g_string_free(plain, FALSE));
}

static GwConfGroup *
find_group(GwConfReader *self, const char *header)
{
    for (guint i = 0; i < self->groups->len; i++) {
        GwConfGroup *group = &g_array_index(self->groups, GwConfGroup, i);
        if (g_str_equal(group->header, header))
            return group;
    }
    return NULL;
}

static Entry *
find_entry(GwConfReader *self, const char *group, const char *key)
{
    for (guint i = 0; i < self->entries->len; i++) {
        Entry *entry = &g_array_index(self->entries, Entry, i);
        if (g_str_equal(entry->group, group) && g_str_equal(entry->key, key))
            return entry;
    }
    return NULL;
}

static char *
place_of(const char *group, const char *key)
{
    return key ? g_strdup_printf("[%s] %s", group, key) : g_strdup_printf("[%s]", group);
}

/* "[kind name]": false if it is no header, or of a group that was there before. */
static bool
scan_header(GwConfReader *self, char *text, unsigned number, GString *good)
{
    g_autofree char *where = g_strdup_printf("line %u", number);
    g_autofree char *quoted = gw_config_quote(text);
    size_t length = strlen(text);
    char *inside = text + 1;
    if (text[length - 1] == ']')
        text[length - 1] = '\0';
    else
        inside = NULL;
    if (!inside || !*g_strstrip(inside) || strpbrk(inside, "[]")) {
        problem_at(self, number, where, "no group (got %s, expected '[group]' or '[kind name]')", quoted);
        return false;
    }
    size_t n = strcspn(inside, " \t");
    GwConfGroup group = {.kind = g_strndup(inside, n), .name = g_strdup(inside + n), .line = number};
    g_strstrip(group.name);
    group.header = *group.name ? g_strconcat(group.kind, " ", group.name, NULL) : g_strdup(group.kind);
    GwConfGroup *before = find_group(self, group.header);
    if (before)
        problem_at(self, number, where, "the group [%s] is there already, in line %u", group.header,
                   before->line);
    g_string_append_printf(good, "[%s]\n", group.header);
    g_array_append_val(self->groups, group);
    return !before;
}

static void
scan_entry(GwConfReader *self, const char *text, unsigned number, GString *good)
{
    const GwConfGroup *group =
        self->groups->len ? &g_array_index(self->groups, GwConfGroup, self->groups->len - 1) : NULL;
    g_autofree char *where = g_strdup_printf("line %u", number);
    const char *equals = strchr(text, '=');
    g_autofree char *key = equals ? g_strstrip(g_strndup(text, (gsize)(equals - text))) : NULL;
    if (!key || !*key) {
        g_autofree char *quoted = gw_config_quote(text);
        problem_at(self, number, where,
                   "neither group nor key (got %s, expected KEY=VALUE, [group] or a # "
                   "comment)",
                   quoted);
        return;
    }
    if (!group) {
        problem_at(self, number, where, "'%s' stands before the first group", key);
        return;
    }
    Entry *before = find_entry(self, group->header, key);
    if (before) {
        g_autofree char *place = place_of(group->header, key);
        problem_at(self, number, place, "is there twice, in line %u and in line %u", before->line, number);
        return;
    }
    Entry entry = {g_strdup(group->header), g_steal_pointer(&key), number, false};
    g_string_append_printf(good, "%s=%s\n", entry.key, equals + 1);
    g_array_append_val(self->entries, entry);
}

/* What of `text` GKeyFile is to read. */
static char *
scan(GwConfReader *self, const char *text)
{
    GString *good = g_string_new(NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    bool in_double = false; /* a group's second appearance: its keys would be those of the first */
    for (unsigned i = 0; lines[i]; i++) {
        char *line = g_strstrip(lines[i]);
        if (*line == '[')
            in_double = !scan_header(self, line, i + 1, good);
        else if (*line && *line != '#' && !in_double)
            scan_entry(self, line, i + 1, good);
    }
    return g_string_free(good, FALSE);
}

GwConfReader *
gw_conf_reader_new(const char *text)
{
    g_autoptr(GError) error = NULL;
    GwConfReader *self = g_new0(GwConfReader, 1);
    self->report = gw_config_report_new();
    self->groups = g_array_new(FALSE, FALSE, sizeof(GwConfGroup));
    self->entries = g_array_new(FALSE, FALSE, sizeof(Entry));
    self->asked = g_ptr_array_new();
    self->file = g_key_file_new();
    g_array_set_clear_func(self->groups, group_clear);
    g_array_set_clear_func(self->entries, entry_clear);
    if (!g_utf8_validate(text, -1, NULL)) {
        problem_at(self, 0, "(document)", "is no UTF-8 text");
        return self;
    }
    g_autofree char *good = scan(self, text);
    if (!g_key_file_load_from_data(self->file, good, strlen(good), G_KEY_FILE_KEEP_TRANSLATIONS, &error) &&
        *good)
        problem_at(self, 0, "(document)", "%s", error->message);
    return self;
}

void
gw_conf_reader_free(GwConfReader *self)
{
    if (!self)
        return;
    g_key_file_unref(self->file);
    g_array_unref(self->groups);
    g_array_unref(self->entries);
    g_ptr_array_unref(self->asked);
    gw_config_report_free(self->report);
    g_free(self->group);
    g_free(self);
}

GArray *
gw_conf_reader_groups(GwConfReader *self)
{
    return self->groups;
}

void
gw_conf_reader_enter(GwConfReader *self, const char *header)
{
    g_free(self->group);
    self->group = g_strdup(header);
}

void
gw_conf_reader_problem(GwConfReader *self, const char *key, const char *format, ...)
{
    const Entry *entry = key ? find_entry(self, self->group, key) : NULL;
    const GwConfGroup *group = find_group(self, self->group);
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    g_autofree char *place = place_of(self->group, key);
    problem_at(self, entry ? entry->line : group ? group->line : 0, place, "%s", text);
    va_end(args);
}

void
gw_conf_reader_leave(GwConfReader *self)
{
    g_ptr_array_add(self->asked, NULL);
    g_autofree char *known = g_strjoinv(", ", (char **)self->asked->pdata);
    for (guint i = 0; i < self->entries->len; i++) {
        const Entry *entry = &g_array_index(self->entries, Entry, i);
        if (g_str_equal(entry->group, self->group) && !entry->asked)
            gw_conf_reader_problem(self, entry->key,
                                   "there is no such key in this group (expected one of %s)", known);
    }
    g_ptr_array_set_size(self->asked, 0);
    g_clear_pointer(&self->group, g_free);
}

/* Notes that the key is one; NULL if it is not in the text. */
static const Entry *
ask(GwConfReader *self, const char *key)
{
    Entry *entry = find_entry(self, self->group, key);
    g_ptr_array_add(self->asked, (void *)key);
    if (entry)
        entry->asked = true;
    return entry;
}

bool
gw_conf_reader_has(GwConfReader *self, const char *key)
{
    return find_entry(self, self->group, key) != NULL;
}

/* A comment behind a value is the likeliest mistake in such a file. */
static const char *
hint_for(const char *value)
{
    return strstr(value, " #") || strstr(value, "\t#") ? "; a comment needs a line of its own" : "";
}

static bool
check_string(GwConfReader *self, const char *key, const char *value, const GwStringRule *rule)
{
    g_autofree char *got = gw_config_quote(value);
    if (!*value)
        gw_conf_reader_problem(self, key, "is empty (expected %s)", rule->expected);
    else if (rule->max_bytes && strlen(value) > rule->max_bytes)
        gw_conf_reader_problem(self, key, "too long (got %zu bytes, expected at most %zu)%s", strlen(value),
                               rule->max_bytes, hint_for(value));
    else if (rule->is_valid && !rule->is_valid(value))
        gw_conf_reader_problem(self, key, "wrong value (got %s, expected %s%s)", got, rule->expected,
                               hint_for(value));
    else
        return true;
    return false;
}

/* Without blanks at its ends; NULL if it is not there, or cannot be read. */
static char *
look_up(GwConfReader *self, const char *key)
{
    g_autoptr(GError) error = NULL;
    if (!ask(self, key))
        return NULL;
    char *value = g_key_file_get_string(self->file, self->group, key, &error);
    if (!value)
        gw_conf_reader_problem(self, key, "%s", error->message);
    return value ? g_strstrip(value) : NULL;
}

char *
gw_conf_reader_string(GwConfReader *self, const char *key, const GwStringRule *rule)
{
    g_autofree char *value = look_up(self, key);
    return value && check_string(self, key, value, rule) ? g_steal_pointer(&value) : NULL;
}

char **
gw_conf_reader_list(GwConfReader *self, const char *key, const GwStringRule *rule)
{
    g_autoptr(GError) error = NULL;
    GStrvBuilder *builder = g_strv_builder_new();
    g_auto(GStrv) values =
        ask(self, key) ? g_key_file_get_string_list(self->file, self->group, key, NULL, &error) : NULL;
    if (error)
        gw_conf_reader_problem(self, key, "%s", error->message);
    for (char **value = values; value && *value; value++)
        if (check_string(self, key, g_strstrip(*value), rule))
            g_strv_builder_add(builder, *value);
    char **good = g_strv_builder_end(builder);
    g_strv_builder_unref(builder);
    for (char **value = good; *value; value++)
        if (g_strv_contains((const char *const *)(value + 1), *value))
            gw_conf_reader_problem(self, key, "names '%s' twice", *value);
    return good;
}

void
gw_conf_reader_flag(GwConfReader *self, const char *key, bool *value)
{
    g_autofree char *text = look_up(self, key);
    if (!text)
        return;
    g_autofree char *got = gw_config_quote(text);
    if (g_str_equal(text, "yes") || g_str_equal(text, "true"))
        *value = true;
    else if (g_str_equal(text, "no") || g_str_equal(text, "false"))
        *value = false;
    else
        gw_conf_reader_problem(self, key, "wrong value (got %s, expected yes or no%s)", got, hint_for(text));
}

void
gw_conf_reader_uint(GwConfReader *self, const char *key, unsigned min, unsigned max, unsigned *value)
{
    guint64 number;
    g_autofree char *text = look_up(self, key);
    if (!text)
        return;
    g_autofree char *got = gw_config_quote(text);
    if (g_ascii_string_to_unsigned(text, 10, min, max, &number, NULL))
        *value = (unsigned)number;
    else
        gw_conf_reader_problem(self, key, "wrong value (got %s, expected a number from %u to %u%s)", got, min,
                               max, hint_for(text));
}

gboolean
gw_conf_reader_finish(GwConfReader *self, const char *subject, GError **error)
{
    return gw_config_report_finish(self->report, subject, error);
}
