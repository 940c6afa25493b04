/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables of text. Pure. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *title;
    bool right;      /* numbers */
    bool may_shrink; /* may be cut, down to GW_TABLE_LEAST columns, if the terminal is too narrow */
    /* Which colour a cell has: the parameters of SGR ("32"), NULL for none; may be NULL. */
    const char *(*colour)(const char *cell);
} GwColumn;

#define GW_TABLE_LEAST 8

typedef struct GwTable GwTable;

GwTable *gw_table_new(const GwColumn *columns /* borrowed, static */, unsigned n_columns);
void gw_table_free(GwTable *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwTable, gw_table_free)

/* A row: a cell for each column, NULL and "" shown as "-". The cells are borrowed, or taken. */
#define gw_table_add(self, ...)                                                                              \
    do {                                                                                                     \
        const char *const cells_[] = {__VA_ARGS__};                                                          \
        gw_table_add_row(self, cells_, G_N_ELEMENTS(cells_));                                                \
    } while (0)
#define gw_table_take(self, ...)                                                                             \
    do {                                                                                                     \
        char *cells_[] = {__VA_ARGS__};                                                                      \
        gw_table_take_row(self, cells_, G_N_ELEMENTS(cells_));                                               \
    } while (0)
void gw_table_add_row(GwTable *self, const char *const *cells, size_t n_cells);
void gw_table_take_row(GwTable *self, char **cells, size_t n_cells);

/* All lines, each with its line end and without trailing blanks;titles first. `width` 0: nothing is cut.
 * Owned. */
char *gw_table_to_text(GwTable *self, unsigned width, bool colour);
