/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store's statements over SQLite.
 *
 * One connection, one lock around it: SQLite has one writer at a time anyway, and reads are short. WAL with
 * synchronous=FULL: a commit is on disk when it returns, and a process or a host that dies in the middle of
 * one leaves the state before it. Statements are prepared once and kept by their text. */
#include "store-sqlite.h"

#include "error.h"

#include <errno.h>
#include <string.h>

/* -- Errors */

static bool
disk_is_full(GwStore *self, int code)
{
    if ((code & 0xff) == SQLITE_FULL)
        return true;
    int errnum = sqlite3_system_errno(self->db);
    return (code & 0xff) == SQLITE_IOERR && (errnum == ENOSPC || errnum == EDQUOT);
}

static GwError
code_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return GW_ERROR_BUSY;
    case SQLITE_CONSTRAINT:
        if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY)
            return GW_ERROR_EXISTS;
        return code == SQLITE_CONSTRAINT_FOREIGNKEY ? GW_ERROR_WRONG_STATE : GW_ERROR_INVALID_ARGUMENT;
    default:
        return GW_ERROR_IO;
    }
}

void
gw_sqlite_set_error(GwStore *self, int code, GError **error)
{
    if (disk_is_full(self, code))
        g_set_error(error, GW_ERROR, GW_ERROR_IO, "the store %s: the disk is full", self->path);
    else if ((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB)
        g_set_error(error, GW_ERROR, GW_ERROR_IO,
                    "the store %s is damaged (%s) and is left as it is: put a backup in its place",
                    self->path, sqlite3_errmsg(self->db));
    else
        g_set_error(error, GW_ERROR, code_of(code), "the store %s: %s", self->path, sqlite3_errmsg(self->db));
}

/* -- Statements */

static sqlite3_stmt *
prepare(GwStore *self, const char *sql, GError **error)
{
    sqlite3_stmt *stmt = g_hash_table_lookup(self->statements, sql);
    if (stmt)
        return stmt;
    int code = sqlite3_prepare_v3(self->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if (code != SQLITE_OK) {
        gw_sqlite_set_error(self, code, error);
        return NULL;
    }
    g_hash_table_insert(self->statements, (char *)sqlite3_sql(stmt), stmt);
    return stmt;
}

/* Values are borrowed by the statement until finish(). */
static int
bind(sqlite3_stmt *stmt, const char *types, va_list args)
{
    int code = SQLITE_OK;
    g_assert((int)strlen(types) == sqlite3_bind_parameter_count(stmt));
    for (int i = 0; types[i] && code == SQLITE_OK; i++) {
        if (types[i] == 's')
            code = sqlite3_bind_text(stmt, i + 1, va_arg(args, const char *), -1, SQLITE_STATIC);
        else
            code = sqlite3_bind_int64(stmt, i + 1, va_arg(args, int64_t));
    }
    return code;
}

/* Ready to be stepped; NULL: error. */
static sqlite3_stmt *
start(GwStore *self, GError **error, const char *sql, const char *types, va_list args)
{
    sqlite3_stmt *stmt = prepare(self, sql, error);
    if (!stmt)
        return NULL;
    int code = bind(stmt, types, args);
    if (code == SQLITE_OK)
        return stmt;
    gw_sqlite_set_error(self, code, error);
    sqlite3_clear_bindings(stmt);
    return NULL;
}

/* `code` is what the last step said. */
static bool
finish(GwStore *self, sqlite3_stmt *stmt, int code, GError **error)
{
    bool ok = code == SQLITE_DONE || code == SQLITE_ROW;
    if (!ok)
        gw_sqlite_set_error(self, code, error);
    sqlite3_reset(stmt); /* repeats the step's error */
    sqlite3_clear_bindings(stmt);
    return ok;
}

int
gw_sql_run(GwStore *self, GError **error, const char *sql, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    g_rec_mutex_lock(&self->lock);
    sqlite3_stmt *stmt = start(self, error, sql, types, args);
    int n_rows = -1;
    if (stmt && finish(self, stmt, sqlite3_step(stmt), error))
        n_rows = sqlite3_changes(self->db);
    g_rec_mutex_unlock(&self->lock);
    va_end(args);
    return n_rows;
}

int
gw_sql_one(GwStore *self, GError **error, GwSqlRead read, void *record, const char *sql, const char *types,
           ...)
{
    va_list args;
    va_start(args, types);
    g_rec_mutex_lock(&self->lock);
    sqlite3_stmt *stmt = start(self, error, sql, types, args);
    int code = stmt ? sqlite3_step(stmt) : SQLITE_ERROR;
    bool found = code == SQLITE_ROW;
    if (found) {
        read((GwSqlRow *)stmt, record);
        code = sqlite3_step(stmt); /* what an INSERT … RETURNING wrote is whole only now */
    }
    bool ok = stmt && finish(self, stmt, code, error);
    g_rec_mutex_unlock(&self->lock);
    va_end(args);
    return ok ? found : -1;
}

GArray *
gw_sql_all(GwStore *self, GError **error, const GwSqlKind *kind, const char *sql, const char *types, ...)
{
    g_autoptr(GArray) rows = g_array_new(FALSE, TRUE, (guint)kind->size);
    g_array_set_clear_func(rows, kind->clear);
    va_list args;
    va_start(args, types);
    g_rec_mutex_lock(&self->lock);
    sqlite3_stmt *stmt = start(self, error, sql, types, args);
    int code = SQLITE_ERROR;
    while (stmt && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        g_array_set_size(rows, rows->len + 1);
        kind->read((GwSqlRow *)stmt, rows->data + (gsize)(rows->len - 1) * kind->size);
    }
    bool ok = stmt && finish(self, stmt, code, error);
    g_rec_mutex_unlock(&self->lock);
    va_end(args);
    return ok ? g_steal_pointer(&rows) : NULL;
}

char *
gw_sql_text(GwSqlRow *row, int column)
{
    return g_strdup((const char *)sqlite3_column_text((sqlite3_stmt *)row, column));
}

int64_t
gw_sql_int(GwSqlRow *row, int column)
{
    return sqlite3_column_int64((sqlite3_stmt *)row, column);
}

void
gw_sql_read_int(GwSqlRow *row, void *value)
{
    *(int64_t *)value = gw_sql_int(row, 0);
}

/* -- Transactions */

bool
gw_store_begin(GwStore *self, GError **error)
{
    g_rec_mutex_lock(&self->lock);
    /* IMMEDIATE: the right to write is taken here, not in the middle, where waiting for it could fail */
    if (gw_sql_run(self, error, "BEGIN IMMEDIATE", "") >= 0)
        return true;
    g_rec_mutex_unlock(&self->lock);
    return false;
}

bool
gw_store_end(GwStore *self, bool ok, GError **error)
{
    bool done = ok && gw_sql_run(self, error, "COMMIT", "") >= 0;
    /* after some errors (a full disk) SQLite has rolled back by itself */
    if (!done && !sqlite3_get_autocommit(self->db) && gw_sql_run(self, NULL, "ROLLBACK", "") < 0)
        g_warning("the store %s: rolling back: %s", self->path, sqlite3_errmsg(self->db));
    g_rec_mutex_unlock(&self->lock);
    return done;
}

bool
gw_store_found(int n_rows, const char *what, const char *name, GError **error)
{
    if (n_rows == 0)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "there is no %s '%s'", what, name);
    return n_rows > 0;
}
