/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What store-open.c and store-sqlite.c share. */
#pragma once

#include "store-internal.h"

#include <sqlite3.h>

struct GwStore {
    /* set once */
    char *path;  /* absolute */
    int lock_fd; /* of the lock file */

    GRecMutex lock;         /* guards what follows; a transaction holds it */
    sqlite3 *db;            /* owned */
    GHashTable *statements; /* SQL, borrowed from the statement -> owned sqlite3_stmt */
};

/* `code` is the extended result of the last call on the connection. */
void gw_sqlite_set_error(GwStore *self, int code, GError **error);
