/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables of text: each column as wide as its widest cell. What does not fit the terminal is taken from the
 * widest column that may shrink, one place at a time; if that is not enough, lines are longer than the
 * terminal, which is better than to hide a name. */
#include "table.h"

#include "text.h"

#include <string.h>

#define GAP 2

struct GwTable {
    const GwColumn *columns;
    unsigned n_columns;
    GPtrArray *cells; /* owned strings, row by row, titles first */
};

GwTable *
gw_table_new(const GwColumn *columns, unsigned n_columns)
{
    GwTable *self = g_new0(GwTable, 1);
    self->columns = columns;
    self->n_columns = n_columns;
    self->cells = g_ptr_array_new_with_free_func(g_free);
    for (unsigned i = 0; i < n_columns; i++)
        g_ptr_array_add(self->cells, g_strdup(columns[i].title));
    return self;
}

void
gw_table_free(GwTable *self)
{
    if (!self)
        return;
    g_ptr_array_unref(self->cells);
    g_free(self);
}

void
gw_table_add_row(GwTable *self, const char *const *cells, size_t n_cells)
{
    g_assert(n_cells == self->n_columns);
    for (size_t i = 0; i < n_cells; i++)
        g_ptr_array_add(self->cells, cells[i] && *cells[i] ? gw_text_cut(cells[i], 0) : g_strdup("-"));
}

void
gw_table_take_row(GwTable *self, char **cells, size_t n_cells)
{
    gw_table_add_row(self, (const char *const *)cells, n_cells);
    for (size_t i = 0; i < n_cells; i++)
        g_free(cells[i]);
}

static void
natural_widths(const GwTable *self, unsigned *widths)
{
    for (guint i = 0; i < self->cells->len; i++) {
        unsigned width = gw_text_width(self->cells->pdata[i]);
        widths[i % self->n_columns] = MAX(widths[i % self->n_columns], width);
    }
}

/* The widest column that may give a place, n_columns if there is none. */
static unsigned
widest(const GwTable *self, const unsigned *widths)
{
    unsigned best = self->n_columns;
    for (unsigned i = 0; i < self->n_columns; i++)
        if (self->columns[i].may_shrink && widths[i] > GW_TABLE_LEAST &&
            (best == self->n_columns || widths[i] > widths[best]))
            best = i;
    return best;
}

static void
shrink(const GwTable *self, unsigned *widths, unsigned width)
{
    unsigned total = GAP * (self->n_columns - 1);
    for (unsigned i = 0; i < self->n_columns; i++)
        total += widths[i];
    for (unsigned i; total > width && (i = widest(self, widths)) < self->n_columns; total--)
        widths[i]--;
}

static void
append_row(const GwTable *self, GString *out, guint row, const unsigned *widths, bool colour)
{
    unsigned owed = 0; /* blanks that are only written if something follows */
    for (unsigned i = 0; i < self->n_columns; i++) {
        const GwColumn *column = &self->columns[i];
        g_autofree char *cell = gw_text_cut(self->cells->pdata[row * self->n_columns + i], widths[i]);
        const char *sgr = colour && row > 0 && column->colour ? column->colour(cell) : NULL;
        unsigned fill = widths[i] - MIN(widths[i], gw_text_width(cell));
        g_string_append_printf(out, "%*s", (int)(owed + (column->right ? fill : 0)), "");
        if (sgr)
            g_string_append_printf(out, "\033[%sm%s\033[0m", sgr, cell);
        else
            g_string_append(out, cell);
        owed = GAP + (column->right ? 0 : fill);
    }
    g_string_append_c(out, '\n');
}

char *
gw_table_to_text(GwTable *self, unsigned width, bool colour)
{
    g_autofree unsigned *widths = g_new0(unsigned, self->n_columns);
    natural_widths(self, widths);
    if (width > 0)
        shrink(self, widths, width);
    GString *out = g_string_new(NULL);
    for (guint row = 0; row < self->cells->len / self->n_columns; row++)
        append_row(self, out, row, widths, colour);
    return g_string_free(out, FALSE);
}
