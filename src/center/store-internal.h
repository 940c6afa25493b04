/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The seam between the store's nouns (store-inventory.c, store-tasks.c, store-users.c, store-log.c), which
 * say in SQL what they keep, and the database (store-sqlite.c), which alone knows SQLite.
 *
 * The SQL is the part that SQLite and PostgreSQL have in common: parameters are $1, $2, … and occur first in
 * that order, upserts are ON CONFLICT, new ids come by RETURNING.
 *
 * Every function takes the store's lock; a transaction holds it from begin to end, and the same thread may
 * take it again in between. */
#pragma once

#include "store.h"

/* `types` has a letter a parameter: 's' const char * (NULL is NULL), 'i' int64_t, which has to be given as
 * one. Functions that have variable arguments cannot have the error last. */

/* Rows changed; -1: error. */
int
gw_sql_run(GwStore *self, GError **error, const char *sql, const char *types, ...) G_GNUC_WARN_UNUSED_RESULT;

typedef struct GwSqlRow GwSqlRow;
char *gw_sql_text(GwSqlRow *row, int column); /* owned; NULL for NULL */
int64_t gw_sql_int(GwSqlRow *row, int column);

/* Fills a record from a row; the record is zeroed before. */
typedef void (*GwSqlRead)(GwSqlRow *row, void *record);
void gw_sql_read_int(GwSqlRow *row, void *value); /* int64_t, from column 0 */

/* The first row: 1; none: 0; -1: error, with the record filled or not: who has it clears it. */
int gw_sql_one(GwStore *self, GError **error, GwSqlRead read, void *record, const char *sql,
               const char *types, ...) G_GNUC_WARN_UNUSED_RESULT;

typedef struct {
    gsize size;
    GwSqlRead read;
    GDestroyNotify clear;
} GwSqlKind;
/* All rows; NULL: error. */
GArray *gw_sql_all(GwStore *self, GError **error, const GwSqlKind *kind, const char *sql, const char *types,
                   ...) G_GNUC_WARN_UNUSED_RESULT;

/* A transaction. `end` commits if `ok`, and gives everything up if not; true: it is on disk. */
bool gw_store_begin(GwStore *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool gw_store_end(GwStore *self, bool ok, GError **error);

/* For calls that change one thing: true if a row was changed, GW_ERROR_NOT_FOUND about `what` 'name' if none
 * was; -1 has set the error already. */
bool gw_store_found(int n_rows, const char *what, const char *name, GError **error);

/* In store-tasks.c and store-inventory.c, for gw_store_record_home(). */
bool gw_store_move_vm(GwStore *self, const char *vm, const char *host, GError **error);
