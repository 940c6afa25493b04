/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A store in a directory of its own. */
#include "store-rig.h"

#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>

void
gw_store_rig_set_up(GwStoreRig *self, const void *data)
{
    g_autoptr(GError) error = NULL;
    self->directory = g_dir_make_tmp("godwit-store-XXXXXX", &error);
    g_assert_no_error(error);
    self->path = g_build_filename(self->directory, "center.db", NULL);
    gw_store_rig_open(self);
}

void
gw_store_rig_open(GwStoreRig *self)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(self->store);
    self->store = gw_store_open(self->path, &error);
    g_assert_no_error(error);
    g_assert_nonnull(self->store);
}

void
gw_store_rig_close(GwStoreRig *self)
{
    g_clear_pointer(&self->store, gw_store_close);
}

void
gw_store_rig_tear_down(GwStoreRig *self, const void *data)
{
    gw_store_rig_close(self);
    g_autoptr(GDir) dir = g_dir_open(self->directory, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *path = g_build_filename(self->directory, name, NULL);
        g_assert_cmpint(g_unlink(path), ==, 0);
    }
    g_assert_cmpint(g_rmdir(self->directory), ==, 0);
    g_free(self->directory);
    g_free(self->path);
    *self = (GwStoreRig){0};
}

void
gw_store_rig_execute(GwStoreRig *self, const char *sql)
{
    sqlite3 *db = NULL;
    g_assert_null(self->store);
    g_assert_cmpint(sqlite3_open(self->path, &db), ==, SQLITE_OK);
    g_autofree char *text = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        g_error("%s: %s", sql, sqlite3_errmsg(db));
    g_assert_cmpint(sqlite3_close(db), ==, SQLITE_OK);
}

void
gw_assert_error_says(GError **error, GwError code, const char *words)
{
    g_assert_error(*error, GW_ERROR, (int)code);
    if (!strstr((*error)->message, words))
        g_error("got '%s', expected something with '%s' in it", (*error)->message, words);
    g_clear_error(error);
}

void
gw_store_rig_add_host(GwStoreRig *self, const char *name)
{
    g_autoptr(GError) error = NULL;
    GwHostRecord host = {.name = (char *)name,
                         .cluster = (char *)"default",
                         .address = (char *)"10.70.0.1",
                         .port = 7441,
                         .joined_us = 5};
    gw_store_add_host(self->store, &host, &error);
    g_assert_no_error(error);
}

void
gw_store_rig_add_vm(GwStoreRig *self, const char *name, const char *host)
{
    g_autoptr(GError) error = NULL;
    GwVmRecord vm = {.name = (char *)name,
                     .uuid = (char *)name,
                     .host = (char *)host,
                     .config = (char *)"{}",
                     .created_us = 7};
    gw_store_add_vm(self->store, &vm, &error);
    g_assert_no_error(error);
}
