/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading a command line by a table. GOption would want a variable for each option, and keeps its table to
 * itself: help, completion and tests read this one. */
#include "options.h"

#include "error.h"

#include <string.h>

typedef struct {
    const GwOption *option;
    const char *value; /* borrowed from argv; NULL of a flag */
} Given;

struct GwArgs {
    GArray *given;         /* of Given */
    GPtrArray *positional; /* borrowed from argv */
    GPtrArray *list;       /* what gw_args_list() returned last, NULL-terminated */
    bool wants_help;
};

void
gw_args_free(GwArgs *self)
{
    if (!self)
        return;
    g_array_unref(self->given);
    g_ptr_array_unref(self->positional);
    g_ptr_array_unref(self->list);
    g_free(self);
}

/* Levenshtein's distance, in bytes. */
static unsigned
distance(const char *a, const char *b)
{
    size_t n = strlen(b);
    g_autofree unsigned *row = g_new(unsigned, n + 1);
    for (size_t j = 0; j <= n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= n; j++) {
            unsigned replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = MIN(replaced, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[n];
}

const char *
gw_did_you_mean(const char *word, const char *const *candidates)
{
    const char *best = NULL;
    unsigned best_distance = 3; /* two slips */
    for (size_t i = 0; candidates[i] && strlen(word) < 64; i++) {
        unsigned d = distance(word, candidates[i]);
        if (d < best_distance && d < strlen(candidates[i])) {
            best = candidates[i];
            best_distance = d;
        }
    }
    return best;
}

static bool fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool
fail(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error)
        *error = g_error_new_valist(GW_ERROR, GW_ERROR_INVALID_ARGUMENT, format, args);
    va_end(args);
    return false;
}

static bool
fail_unknown(const GwOption *options, const char *name, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const GwOption *option = options; option && option->name; option++)
        g_ptr_array_add(names, (char *)option->name);
    g_ptr_array_add(names, NULL);
    const char *meant = gw_did_you_mean(name, (const char *const *)names->pdata);
    return meant ? fail(error, "there is no option --%s (did you mean --%s?)", name, meant)
                 : fail(error, "there is no option --%s", name);
}

static const GwOption *
find(const GwOption *options, const char *name)
{
    for (const GwOption *option = options; option && option->name; option++)
        if (strcmp(option->name, name) == 0)
            return option;
    return NULL;
}

static bool
is_choice(const char *choices, const char *value)
{
    g_auto(GStrv) list = g_strsplit(choices, "|", -1);
    return g_strv_contains((const char *const *)list, value);
}

static bool
value_is_valid(const GwOption *option, const char *value, GError **error)
{
    gint64 number = 0;
    if (option->kind == GW_OPTION_NUMBER)
        return g_ascii_string_to_signed(value, 10, option->min, option->max, &number, NULL) ||
               fail(error,
                    "--%s: got '%s', expected a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT,
                    option->name, value, option->min, option->max);
    if (strchr(option->value, '|'))
        return is_choice(option->value, value) ||
               fail(error, "--%s: got '%s', expected %s", option->name, value, option->value);
    return *value || fail(error, "--%s: the value is empty", option->name);
}

static bool
is_given(const GwArgs *self, const GwOption *option)
{
    for (guint i = 0; i < self->given->len; i++)
        if (g_array_index(self->given, Given, i).option == option)
            return true;
    return false;
}

/* `text` is behind the dashes. `*i` moves on if the value is the next word. */
static bool
read_option(GwArgs *self, const GwOption *options, const char *text, int argc, char **argv, int *i,
            GError **error)
{
    const char *equals = strchr(text, '=');
    g_autofree char *name = equals ? g_strndup(text, (gsize)(equals - text)) : g_strdup(text);
    const GwOption *option = find(options, name);
    if (!option)
        return fail_unknown(options, name, error);
    if (option->kind == GW_OPTION_FLAG && equals)
        return fail(error, "--%s takes no value", name);
    if (option->kind != GW_OPTION_LIST && option->kind != GW_OPTION_FLAG && is_given(self, option))
        return fail(error, "--%s is given twice", name);
    Given given = {.option = option, .value = equals ? equals + 1 : NULL};
    if (option->kind != GW_OPTION_FLAG) {
        if (!given.value && *i + 1 >= argc)
            return fail(error, "--%s needs a value: %s", name, option->value);
        if (!given.value)
            given.value = argv[++*i];
        if (!value_is_valid(option, given.value, error))
            return false;
    }
    g_array_append_val(self->given, given);
    return true;
}

/* A name becomes a part of a path: what would change that path is no name. */
static bool
check_positional(const GwArgs *self, const char *positional, GError **error)
{
    g_auto(GStrv) names = g_strsplit(positional ? positional : "", " ", -1);
    unsigned n = g_strv_length(names);
    if (self->positional->len > n)
        return fail(error, "'%s' is one argument too many", (char *)self->positional->pdata[n]);
    for (unsigned i = 0; i < n; i++) {
        const char *text = gw_args_positional(self, i);
        if (!text && names[i][0] != '[')
            return fail(error, "%s is missing", names[i]);
        if (text && (!*text || strcmp(text, ".") == 0 || strcmp(text, "..") == 0))
            return fail(error, "'%s' is no %s", text, names[i]);
        if (text && strchr(names[i], '|') && !is_choice(names[i], text))
            return fail(error, "got '%s', expected %s", text, names[i]);
    }
    return true;
}

GwArgs *
gw_args_parse(const GwOption *options, const char *positional, int argc, char **argv, GError **error)
{
    g_autoptr(GwArgs) self = g_new0(GwArgs, 1);
    self->given = g_array_new(FALSE, FALSE, sizeof(Given));
    self->positional = g_ptr_array_new();
    self->list = g_ptr_array_new();
    bool options_end = false;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (!options_end && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
            self->wants_help = true;
            return g_steal_pointer(&self);
        }
        if (!options_end && strcmp(word, "--") == 0) {
            options_end = true;
        } else if (!options_end && g_str_has_prefix(word, "--")) {
            if (!read_option(self, options, word + 2, argc, argv, &i, error))
                return NULL;
        } else if (!options_end && word[0] == '-' && word[1]) {
            fail(error, "there is no option %s", word);
            return NULL;
        } else {
            g_ptr_array_add(self->positional, argv[i]);
        }
    }
    return check_positional(self, positional, error) ? g_steal_pointer(&self) : NULL;
}

bool
gw_args_wants_help(const GwArgs *self)
{
    return self->wants_help;
}

static const Given *
find_given(const GwArgs *self, const char *name)
{
    for (guint i = 0; i < self->given->len; i++)
        if (strcmp(g_array_index(self->given, Given, i).option->name, name) == 0)
            return &g_array_index(self->given, Given, i);
    return NULL;
}

bool
gw_args_flag(const GwArgs *self, const char *name)
{
    return find_given(self, name) != NULL;
}

const char *
gw_args_text(const GwArgs *self, const char *name)
{
    const Given *given = find_given(self, name);
    return given ? given->value : NULL;
}

const char *const *
gw_args_list(const GwArgs *self, const char *name)
{
    g_ptr_array_set_size(self->list, 0);
    for (guint i = 0; i < self->given->len; i++)
        if (strcmp(g_array_index(self->given, Given, i).option->name, name) == 0)
            g_ptr_array_add(self->list, (char *)g_array_index(self->given, Given, i).value);
    if (self->list->len == 0)
        return NULL;
    g_ptr_array_add(self->list, NULL);
    return (const char *const *)self->list->pdata;
}

bool
gw_args_number(const GwArgs *self, const char *name, int64_t *value)
{
    const char *text = gw_args_text(self, name);
    if (text)
        *value = g_ascii_strtoll(text, NULL, 10);
    return text != NULL;
}

const char *
gw_args_positional(const GwArgs *self, unsigned i)
{
    return i < self->positional->len ? self->positional->pdata[i] : NULL;
}
