/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each version of the schema added. docs/store.md tells what the tables are for. */
#include "store-schema.h"

/* Version 1. Hosts and VMs refer to each other, since a home that does not exist would be a lie. Tasks,
 * events and audit name things by text alone: they outlive them. */
static const char version_1[] =
    "CREATE TABLE hosts ("
    "  name TEXT PRIMARY KEY, cluster TEXT NOT NULL, address TEXT NOT NULL, port INTEGER NOT NULL,"
    "  in_maintenance INTEGER NOT NULL DEFAULT 0, joined_us INTEGER NOT NULL) STRICT;"
    "CREATE TABLE join_tokens ("
    "  hash TEXT PRIMARY KEY, created_by TEXT NOT NULL, expires_us INTEGER NOT NULL,"
    "  for_host TEXT, used_us INTEGER, used_by TEXT) STRICT;"
    "CREATE TABLE vms ("
    "  name TEXT PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, host TEXT NOT NULL REFERENCES hosts(name),"
    "  config TEXT NOT NULL, created_us INTEGER NOT NULL) STRICT;"
    "CREATE INDEX vms_by_host ON vms(host);"
    "CREATE TABLE tasks ("
    "  sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,"
    "  vm TEXT, source TEXT, destination TEXT,"
    "  state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'completed', 'failed', 'cancelled')),"
    "  step TEXT, user_name TEXT, reason TEXT, request TEXT, session TEXT, result TEXT,"
    "  error_code TEXT, error_message TEXT,"
    "  created_us INTEGER NOT NULL, started_us INTEGER NOT NULL, ended_us INTEGER NOT NULL) STRICT;"
    "CREATE INDEX tasks_by_time ON tasks(created_us, sequence);"
    "CREATE INDEX tasks_open ON tasks(created_us, sequence) WHERE state IN ('queued', 'running');"
    "CREATE TABLE events ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL, type TEXT NOT NULL,"
    "  host TEXT, vm TEXT, task TEXT, data TEXT) STRICT;"
    "CREATE TABLE users ("
    "  name TEXT PRIMARY KEY,"
    "  role TEXT NOT NULL CHECK (role IN ('administrator', 'operator', 'read-only')),"
    "  password_hash TEXT NOT NULL, created_us INTEGER NOT NULL) STRICT;"
    "CREATE TABLE sessions ("
    "  token_hash TEXT PRIMARY KEY, user_name TEXT NOT NULL REFERENCES users(name) ON DELETE CASCADE,"
    "  address TEXT NOT NULL, expires_us INTEGER NOT NULL) STRICT;"
    "CREATE INDEX sessions_by_user ON sessions(user_name);"
    "CREATE TABLE audit ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL, user_name TEXT NOT NULL,"
    "  address TEXT NOT NULL, action TEXT NOT NULL, object TEXT, details TEXT, reason TEXT,"
    "  result TEXT NOT NULL, message TEXT) STRICT;"
    "CREATE TABLE audit_open ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL, user_name TEXT NOT NULL,"
    "  address TEXT NOT NULL, action TEXT NOT NULL, object TEXT, details TEXT, reason TEXT) STRICT;"
    "CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN"
    "  SELECT RAISE(ABORT, 'the audit log is never changed'); END;"
    "CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit BEGIN"
    "  SELECT RAISE(ABORT, 'nothing is removed from the audit log'); END;";

static const char *const steps[] = {version_1};

int
gw_store_schema_version(void)
{
    return G_N_ELEMENTS(steps);
}

const char *
gw_store_schema_step(int version)
{
    g_return_val_if_fail(version >= 1 && version <= gw_store_schema_version(), NULL);
    return steps[version - 1];
}
