/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whatever of the document gets into the text is escaped and shortened first: a report is shown in terminals,
 * logs and on a page, and each of its lines has to stay one line. */
#include "config-report.h"

#include "error.h"

#include <string.h>

#define QUOTE_MAX_CHARS   48
#define POINTER_MAX_CHARS 160
/* The longest name for which a near miss is looked for: the distance costs length × length. */
#define GUESS_MAX_BYTES   32

typedef struct {
    char *order, *pointer, *text;
} Problem;

struct GwConfigReport {
    GPtrArray *problems; /* of Problem */
};

static void
problem_free(void *data)
{
    Problem *problem = data;
    g_free(problem->order);
    g_free(problem->pointer);
    g_free(problem->text);
    g_free(problem);
}

GwConfigReport *
gw_config_report_new(void)
{
    GwConfigReport *self = g_new0(GwConfigReport, 1);
    self->problems = g_ptr_array_new_with_free_func(problem_free);
    return self;
}

void
gw_config_report_free(GwConfigReport *self)
{
    if (!self)
        return;
    g_ptr_array_unref(self->problems);
    g_free(self);
}

void
gw_config_report_add(GwConfigReport *self, const char *order, const char *pointer, char *text)
{
    Problem *problem = g_new(Problem, 1);
    *problem = (Problem){g_strdup(order), g_strdup(pointer), text};
    g_ptr_array_add(self->problems, problem);
}

static char *
shortened(const char *text, long max_chars)
{
    if (g_utf8_strlen(text, -1) <= max_chars)
        return g_strdup(text);
    g_autofree char *start = g_utf8_substring(text, 0, max_chars);
    return g_strconcat(start, "…", NULL);
}

void
gw_config_append_plain(GString *to, const char *text)
{
    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        if (g_unichar_iscntrl(c))
            g_string_append_printf(to, "\\u%04x", c);
        else
            g_string_append_unichar(to, c);
    }
}

char *
gw_config_quote(const char *text)
{
    g_autofree char *start = shortened(text, QUOTE_MAX_CHARS);
    GString *quoted = g_string_new("'");
    gw_config_append_plain(quoted, start);
    g_string_append_c(quoted, '\'');
    return g_string_free(quoted, FALSE);
}

/* Insertions, deletions and replacements that make `b` of `a`, both at most GUESS_MAX_BYTES long. */
static guint
edit_distance(const char *a, const char *b)
{
    guint n = (guint)strlen(b), row[GUESS_MAX_BYTES + 1];
    for (guint j = 0; j <= n; j++)
        row[j] = j;
    for (guint i = 1; a[i - 1]; i++) {
        guint diagonal = row[0];
        row[0] = i;
        for (guint j = 1; j <= n; j++) {
            guint replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = MIN(replaced, 1 + MIN(row[j], row[j - 1]));
        }
    }
    return row[n];
}

const char *
gw_config_guess(GPtrArray *names, const char *unknown)
{
    if (strlen(unknown) > GUESS_MAX_BYTES)
        return NULL;
    g_autofree char *name = g_ascii_strdown(unknown, -1);
    g_strdelimit(name, "- ", '_');
    const char *best = NULL;
    guint best_distance = 3;
    for (guint i = 0; i < names->len; i++) {
        const char *known = g_ptr_array_index(names, i);
        guint distance = strlen(name) >= 4 && g_str_has_prefix(known, name) ? 1 : edit_distance(name, known);
        if (distance < best_distance && distance * 2 < strlen(known)) {
            best = known;
            best_distance = distance;
        }
    }
    return best;
}

static int
compare_problems(const void *a, const void *b)
{
    return strcmp((*(Problem *const *)a)->order, (*(Problem *const *)b)->order);
}

gboolean
gw_config_report_finish(GwConfigReport *self, const char *subject, GError **error)
{
    guint n = self->problems->len;
    if (n == 0)
        return TRUE;

    g_ptr_array_sort(self->problems, compare_problems); /* stable since GLib 2.32 */
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_append_printf(text, "%u error%s in %s:", n, n == 1 ? "" : "s", subject);
    for (guint i = 0; i < MIN(n, GW_CONFIG_MAX_REPORTED); i++) {
        Problem *problem = g_ptr_array_index(self->problems, i);
        g_autofree char *pointer = shortened(problem->pointer, POINTER_MAX_CHARS);
        g_string_append_printf(text, "\n  %s: %s", *pointer ? pointer : "(document)", problem->text);
    }
    if (n > GW_CONFIG_MAX_REPORTED)
        g_string_append_printf(text, "\n  … and %u more", n - GW_CONFIG_MAX_REPORTED);
    g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_CONFIG, text->str);
    return FALSE;
}
