/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening a store: whose file it is, that it is whole, and its schema brought up to date. Nothing is written
 * to a file before that is known. */
#include "error.h"
#include "store-lock.h"
#include "store-schema.h"
#include "store-sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_TIMEOUT_MS 5000 /* somebody's sqlite3(1): the only other that may have the file open */

static char *
path_of_url(const char *url, GError **error)
{
    const char *path = url;
    if (g_str_has_prefix(url, "sqlite:"))
        path = url + strlen("sqlite:");
    else if (strstr(url, "://") || g_str_has_prefix(url, "postgres")) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED,
                    "store '%s': got an unknown kind, expected sqlite:FILE", url);
        return NULL;
    }
    if (*path == 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "store '%s': no file is named", url);
        return NULL;
    }
    return g_canonicalize_filename(path, NULL); /* absolute, so that no name means something else to SQLite */
}

static bool
is_file(const struct stat *st, const char *path, GError **error)
{
    if (!S_ISREG(st->st_mode))
        g_set_error(error, GW_ERROR, GW_ERROR_IO, "the store %s is no regular file", path);
    return S_ISREG(st->st_mode);
}

/* Before a lock file is made beside it. */
static bool
may_be_a_file(const char *path, GError **error)
{
    struct stat st;
    return stat(path, &st) < 0 || is_file(&st, path, error);
}

/* Makes the file, or takes away others' right to read it. SQLite gives -wal and -shm the same mode. The
 * descriptor is closed before SQLite opens the file: closing one later would drop SQLite's locks (fcntl). */
static bool
prepare_file(const char *path, GError **error)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "opening the store %s", path);
    struct stat st;
    bool ok = false;
    if (fstat(fd, &st) < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "the store %s", path);
    } else if (is_file(&st, path, error)) {
        ok = (st.st_mode & 077) == 0 || fchmod(fd, 0600) == 0;
        if (!ok)
            gw_set_errno(error, GW_ERROR_IO, errno, "taking away others' rights to the store %s", path);
    }
    close(fd);
    return ok;
}

static bool
execute(GwStore *self, const char *sql, GError **error)
{
    int code = sqlite3_exec(self->db, sql, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        gw_sqlite_set_error(self, sqlite3_extended_errcode(self->db), error);
    return code == SQLITE_OK;
}

static bool
ask_int(GwStore *self, const char *sql, int64_t *ret_value, GError **error)
{
    *ret_value = 0;
    return gw_sql_one(self, error, gw_sql_read_int, ret_value, sql, "") >= 0;
}

/* The file's version: 0 is an empty one, and nothing else. */
static bool
identify(GwStore *self, int64_t *ret_version, GError **error)
{
    int64_t application = 0, n_tables = 0;
    if (!ask_int(self, "SELECT count(*) FROM sqlite_schema", &n_tables, error) ||
        !ask_int(self, "PRAGMA application_id", &application, error) ||
        !ask_int(self, "PRAGMA user_version", ret_version, error))
        return false;
    bool is_new = n_tables == 0 && application == 0 && *ret_version == 0;
    if (!is_new && (application != GW_STORE_APPLICATION_ID || *ret_version < 1)) {
        g_set_error(error, GW_ERROR, GW_ERROR_IO, "the store %s is a database of another program",
                    self->path);
        return false;
    }
    if (*ret_version > gw_store_schema_version()) {
        g_set_error(
            error, GW_ERROR, GW_ERROR_NOT_SUPPORTED,
            "the store %s has schema version %d, and this center knows versions up to %d: it was used by a "
            "newer one, which is needed to open it",
            self->path, (int)*ret_version, gw_store_schema_version());
        return false;
    }
    return true;
}

static void
read_text(GwSqlRow *row, void *text)
{
    *(char **)text = gw_sql_text(row, 0);
}

/* Reads every page once, which finds damage before it is acted on or carried further. */
static bool
check_whole(GwStore *self, GError **error)
{
    g_autofree char *answer = NULL;
    if (gw_sql_one(self, error, read_text, &answer, "PRAGMA quick_check(1)", "") < 0)
        return false;
    if (g_strcmp0(answer, "ok") == 0)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_IO,
                "the store %s is damaged (%s) and is left as it is: put a backup in its place", self->path,
                answer ? answer : "no answer");
    return false;
}

/* SQLite answers with the mode that it could have. */
static bool
use_wal(GwStore *self, GError **error)
{
    g_autofree char *mode = NULL;
    if (gw_sql_one(self, error, read_text, &mode, "PRAGMA journal_mode = WAL", "") < 0)
        return false;
    if (g_strcmp0(mode, "wal") != 0)
        g_set_error(
            error, GW_ERROR, GW_ERROR_NOT_SUPPORTED,
            "the store %s is on a file system where SQLite cannot share memory (WAL): put it on a local one",
            self->path);
    return g_strcmp0(mode, "wal") == 0;
}

static bool
migrate_step(GwStore *self, int version, GError **error)
{
    g_autofree char *stamp = g_strdup_printf("PRAGMA application_id = %d; PRAGMA user_version = %d",
                                             GW_STORE_APPLICATION_ID, version);
    if (!gw_store_begin(self, error))
        return false;
    bool ok = execute(self, gw_store_schema_step(version), error) && execute(self, stamp, error);
    if (!gw_store_end(self, ok, error)) {
        g_prefix_error(error, "bringing the schema to version %d: ", version);
        return false;
    }
    return true;
}

static bool
set_up(GwStore *self, GError **error)
{
    int64_t version = 0;
    sqlite3_extended_result_codes(self->db, 1);
    sqlite3_busy_timeout(self->db, BUSY_TIMEOUT_MS);
    sqlite3_db_config(self->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(self->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (!identify(self, &version, error) || !check_whole(self, error) || !use_wal(self, error) ||
        !execute(self, "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON", error))
        return false;
    for (int next = (int)version + 1; next <= gw_store_schema_version(); next++)
        if (!migrate_step(self, next, error))
            return false;
    return true;
}

static bool
open_database(GwStore *self, GError **error)
{
    if (!prepare_file(self->path, error))
        return false;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    int code = sqlite3_open_v2(self->path, &self->db, flags, NULL);
    if (code != SQLITE_OK) {
        g_set_error(error, GW_ERROR, GW_ERROR_IO, "opening the store %s: %s", self->path,
                    sqlite3_errstr(code));
        return false;
    }
    return set_up(self, error);
}

GwStore *
gw_store_open(const char *url, GError **error)
{
    g_autoptr(GwStore) self = g_new0(GwStore, 1);
    g_rec_mutex_init(&self->lock);
    self->lock_fd = -1;
    self->statements = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                             (GDestroyNotify)(void (*)(void))sqlite3_finalize);
    self->path = path_of_url(url, error);
    if (!self->path || !may_be_a_file(self->path, error) ||
        (self->lock_fd = gw_store_lock(self->path, error)) < 0 || !open_database(self, error))
        return NULL;
    return g_steal_pointer(&self);
}

void
gw_store_close(GwStore *self)
{
    if (!self)
        return;
    g_hash_table_destroy(self->statements);
    if (self->db && sqlite3_close(self->db) != SQLITE_OK)
        g_critical("the store %s: a statement was left open", self->path);
    if (self->lock_fd >= 0)
        close(self->lock_fd);
    g_rec_mutex_clear(&self->lock);
    g_free(self->path);
    g_free(self);
}
