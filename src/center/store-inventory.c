/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hosts, the tokens with which they join, and VMs. */
#include "error.h"
#include "store-internal.h"

#include <string.h>

/* -- Hosts */

void
gw_host_record_clear(GwHostRecord *self)
{
    g_free(self->name);
    g_free(self->cluster);
    g_free(self->address);
    *self = (GwHostRecord){0};
}

static void
read_host(GwSqlRow *row, void *record)
{
    *(GwHostRecord *)record = (GwHostRecord){
        .name = gw_sql_text(row, 0),
        .cluster = gw_sql_text(row, 1),
        .address = gw_sql_text(row, 2),
        .port = (unsigned)gw_sql_int(row, 3),
        .in_maintenance = gw_sql_int(row, 4) != 0,
        .joined_us = gw_sql_int(row, 5),
    };
}

bool
gw_store_add_host(GwStore *self, const GwHostRecord *host, GError **error)
{
    return gw_sql_run(self, error,
                      "INSERT INTO hosts (name, cluster, address, port, in_maintenance, joined_us)"
                      " VALUES ($1, $2, $3, $4, $5, $6)"
                      " ON CONFLICT (name) DO UPDATE SET address = excluded.address, port = excluded.port",
                      "sssiii", host->name, host->cluster, host->address, (int64_t)host->port,
                      (int64_t)host->in_maintenance, host->joined_us) >= 0;
}

/* -1: error. */
static int64_t
n_vms_of(GwStore *self, const char *host, GError **error)
{
    int64_t n = 0;
    if (gw_sql_one(self, error, gw_sql_read_int, &n, "SELECT count(*) FROM vms WHERE host = $1", "s", host) <
        0)
        return -1;
    return n;
}

bool
gw_store_remove_host(GwStore *self, const char *name, GError **error)
{
    if (!gw_store_begin(self, error))
        return false;
    int64_t n_vms = n_vms_of(self, name, error);
    if (n_vms > 0)
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                    "host '%s' is the home of %" G_GINT64_FORMAT " VMs: move or remove them first", name,
                    n_vms);
    bool ok =
        n_vms == 0 && gw_store_found(gw_sql_run(self, error, "DELETE FROM hosts WHERE name = $1", "s", name),
                                     "host", name, error);
    return gw_store_end(self, ok, error);
}

bool
gw_store_set_maintenance(GwStore *self, const char *name, bool in_maintenance, GError **error)
{
    int n = gw_sql_run(self, error, "UPDATE hosts SET in_maintenance = $1 WHERE name = $2", "is",
                       (int64_t)in_maintenance, name);
    return gw_store_found(n, "host", name, error);
}

GArray *
gw_store_hosts(GwStore *self, GError **error)
{
    static const GwSqlKind kind = {sizeof(GwHostRecord), read_host, (GDestroyNotify)gw_host_record_clear};
    return gw_sql_all(
        self, error, &kind,
        "SELECT name, cluster, address, port, in_maintenance, joined_us FROM hosts ORDER BY name", "");
}

/* -- Join tokens */

bool
gw_store_add_join_token(GwStore *self, const char *hash, const char *created_by, int64_t expires_us,
                        GError **error)
{
    return gw_store_add_join_token_for(self, hash, NULL, created_by, expires_us, error);
}

bool
gw_store_add_join_token_for(GwStore *self, const char *hash, const char *for_host, const char *created_by,
                            int64_t expires_us, GError **error)
{
    return gw_sql_run(
               self, error,
               "INSERT INTO join_tokens (hash, for_host, created_by, expires_us) VALUES ($1, $2, $3, $4)",
               "sssi", hash, for_host, created_by, expires_us) >= 0;
}

static void
read_name(GwSqlRow *row, void *value)
{
    *(char **)value = gw_sql_text(row, 0);
}

bool
gw_store_join_token_host(GwStore *self, const char *hash, char **ret_host, GError **error)
{
    g_autofree char *host = NULL;
    if (gw_sql_one(self, error, read_name, &host, "SELECT for_host FROM join_tokens WHERE hash = $1", "s",
                   hash) < 0)
        return false;
    *ret_host = g_steal_pointer(&host);
    return true;
}

typedef struct {
    int64_t expires_us;
    char *used_by, *for_host;
} TokenState;

static void
read_token_state(GwSqlRow *row, void *record)
{
    *(TokenState *)record = (TokenState){
        .expires_us = gw_sql_int(row, 0), .used_by = gw_sql_text(row, 1), .for_host = gw_sql_text(row, 2)};
}

/* Why a token was not taken. */
static void
explain_token(GwStore *self, const char *hash, const char *host, GError **error)
{
    TokenState state = {0};
    int found =
        gw_sql_one(self, error, read_token_state, &state,
                   "SELECT expires_us, used_by, for_host FROM join_tokens WHERE hash = $1", "s", hash);
    g_autofree char *used_by = state.used_by, *for_host = state.for_host;
    if (found == 0)
        g_set_error(
            error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
            "there is no such join token: mistyped, or expired long ago; ask an administrator for a new one");
    else if (found > 0 && used_by)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
                    "the join token was used already, by host '%s'; ask an administrator for a new one",
                    used_by);
    else if (found > 0 && for_host && strcmp(for_host, host) != 0)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED, "the join token is for host '%s', not for '%s'",
                    for_host, host);
    else if (found > 0)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
                    "the join token has expired; ask an administrator for a new one");
}

bool
gw_store_use_join_token(GwStore *self, const char *hash, const char *host, int64_t now_us, GError **error)
{
    if (!gw_store_begin(self, error))
        return false;
    int n = gw_sql_run(self, error,
                       "UPDATE join_tokens SET used_us = $1, used_by = $2"
                       " WHERE hash = $3 AND used_us IS NULL AND expires_us > $1"
                       " AND (for_host IS NULL OR for_host = $2)",
                       "iss", now_us, host, hash);
    if (n == 0)
        explain_token(self, hash, host, error);
    return gw_store_end(self, n > 0, error);
}

/* -- VMs */

void
gw_vm_record_clear(GwVmRecord *self)
{
    g_free(self->name);
    g_free(self->uuid);
    g_free(self->host);
    g_free(self->config);
    *self = (GwVmRecord){0};
}

static void
read_vm(GwSqlRow *row, void *record)
{
    *(GwVmRecord *)record = (GwVmRecord){
        .name = gw_sql_text(row, 0),
        .uuid = gw_sql_text(row, 1),
        .host = gw_sql_text(row, 2),
        .config = gw_sql_text(row, 3),
        .created_us = gw_sql_int(row, 4),
    };
}

static bool
require_host(GwStore *self, const char *host, GError **error)
{
    int64_t one = 0;
    int found =
        gw_sql_one(self, error, gw_sql_read_int, &one, "SELECT 1 FROM hosts WHERE name = $1", "s", host);
    return gw_store_found(found, "host", host, error);
}

static bool
insert_vm(GwStore *self, const GwVmRecord *vm, GError **error)
{
    int n = gw_sql_run(self, error,
                       "INSERT INTO vms (name, uuid, host, config, created_us) VALUES ($1, $2, $3, $4, $5)"
                       " ON CONFLICT DO NOTHING",
                       "ssssi", vm->name, vm->uuid, vm->host, vm->config, vm->created_us);
    if (n == 0)
        g_set_error(error, GW_ERROR, GW_ERROR_EXISTS, "there is a VM '%s', or one with the uuid %s, already",
                    vm->name, vm->uuid);
    return n > 0;
}

bool
gw_store_add_vm(GwStore *self, const GwVmRecord *vm, GError **error)
{
    if (!gw_store_begin(self, error))
        return false;
    bool ok = require_host(self, vm->host, error) && insert_vm(self, vm, error);
    return gw_store_end(self, ok, error);
}

bool
gw_store_remove_vm(GwStore *self, const char *name, GError **error)
{
    return gw_store_found(gw_sql_run(self, error, "DELETE FROM vms WHERE name = $1", "s", name), "VM", name,
                          error);
}

bool
gw_store_move_vm(GwStore *self, const char *vm, const char *host, GError **error)
{
    if (!require_host(self, host, error))
        return false;
    int n = gw_sql_run(self, error, "UPDATE vms SET host = $1 WHERE name = $2", "ss", host, vm);
    return gw_store_found(n, "VM", vm, error);
}

bool
gw_store_set_vm_host(GwStore *self, const char *name, const char *host, GError **error)
{
    return gw_store_begin(self, error) &&
           gw_store_end(self, gw_store_move_vm(self, name, host, error), error);
}

#define VM_COLUMNS "SELECT name, uuid, host, config, created_us FROM vms"

bool
gw_store_get_vm(GwStore *self, const char *name, GwVmRecord *ret_vm, GError **error)
{
    *ret_vm = (GwVmRecord){0};
    int found = gw_sql_one(self, error, read_vm, ret_vm, VM_COLUMNS " WHERE name = $1", "s", name);
    return gw_store_found(found, "VM", name, error);
}

GArray *
gw_store_vms(GwStore *self, GError **error)
{
    static const GwSqlKind kind = {sizeof(GwVmRecord), read_vm, (GDestroyNotify)gw_vm_record_clear};
    return gw_sql_all(self, error, &kind, VM_COLUMNS " ORDER BY name", "");
}
