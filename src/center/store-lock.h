/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One program at a time: a file FILE-lock beside a store's file, held with flock(2), with the holder's pid in
 * it. It stays behind; only the lock counts. SQLite's own locks would be lost with any descriptor of the file
 * that this process closes, and would keep `sqlite3 FILE .backup` out. */
#pragma once

#include <glib.h>

/* The descriptor that holds it, to be closed; -1 with GW_ERROR_EXISTS if another program has it. */
int gw_store_lock(const char *path, GError **error);
