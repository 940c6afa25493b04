/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events, of which the last are kept, and the audit log, of which everything is. */
#include "store-internal.h"

#include "error.h"

#define DEFAULT_LIMIT 100
#define EVENTS_KEPT   100000 /* about 30 MB, and a week of a busy cluster */
#define PRUNE_EVERY   1000   /* events: removing one with each would cost as much as adding it */

/* -- Events */

void
gw_event_record_clear(GwEventRecord *self)
{
    g_free(self->type);
    g_free(self->host);
    g_free(self->vm);
    g_free(self->task);
    g_free(self->data);
    *self = (GwEventRecord){0};
}

static void
read_event(GwSqlRow *row, void *record)
{
    *(GwEventRecord *)record = (GwEventRecord){
        .id = gw_sql_int(row, 0),
        .at_us = gw_sql_int(row, 1),
        .type = gw_sql_text(row, 2),
        .host = gw_sql_text(row, 3),
        .vm = gw_sql_text(row, 4),
        .task = gw_sql_text(row, 5),
        .data = gw_sql_text(row, 6),
    };
}

static bool
insert_event(GwStore *self, const GwEventRecord *event, int64_t *ret_id, GError **error)
{
    return gw_sql_one(self, error, gw_sql_read_int, ret_id,
                      "INSERT INTO events (at_us, type, host, vm, task, data) VALUES ($1, $2, $3, $4, $5, $6)"
                      " RETURNING id",
                      "isssss", event->at_us, event->type, event->host, event->vm, event->task,
                      event->data) > 0;
}

static bool
prune_events(GwStore *self, int64_t newest, GError **error)
{
    return newest % PRUNE_EVERY != 0 ||
           gw_sql_run(self, error, "DELETE FROM events WHERE id <= $1", "i", newest - EVENTS_KEPT) >= 0;
}

bool
gw_store_add_event(GwStore *self, GwEventRecord *event, GError **error)
{
    int64_t id = 0;
    if (!gw_store_begin(self, error))
        return false;
    bool ok = insert_event(self, event, &id, error) && prune_events(self, id, error);
    if (!gw_store_end(self, ok, error))
        return false;
    event->id = id;
    return true;
}

#define EVENT_COLUMNS "id, at_us, type, host, vm, task, data"

GArray *
gw_store_events(GwStore *self, int64_t after_id, unsigned limit, GError **error)
{
    static const GwSqlKind kind = {sizeof(GwEventRecord), read_event, (GDestroyNotify)gw_event_record_clear};
    int64_t n = limit ? limit : DEFAULT_LIMIT;
    if (after_id < 0)
        return gw_sql_all(self, error, &kind,
                          "SELECT " EVENT_COLUMNS " FROM (SELECT " EVENT_COLUMNS
                          " FROM events ORDER BY id DESC LIMIT $1) AS newest ORDER BY id",
                          "i", n);
    return gw_sql_all(self, error, &kind,
                      "SELECT " EVENT_COLUMNS " FROM events WHERE id > $1 ORDER BY id LIMIT $2", "ii",
                      after_id, n);
}

/* -- Audit */

void
gw_audit_record_clear(GwAuditRecord *self)
{
    g_free(self->user);
    g_free(self->address);
    g_free(self->action);
    g_free(self->object);
    g_free(self->details);
    g_free(self->reason);
    g_free(self->result);
    g_free(self->message);
    *self = (GwAuditRecord){0};
}

static void
read_audit(GwSqlRow *row, void *record)
{
    *(GwAuditRecord *)record = (GwAuditRecord){
        .id = gw_sql_int(row, 0),
        .at_us = gw_sql_int(row, 1),
        .user = gw_sql_text(row, 2),
        .address = gw_sql_text(row, 3),
        .action = gw_sql_text(row, 4),
        .object = gw_sql_text(row, 5),
        .details = gw_sql_text(row, 6),
        .reason = gw_sql_text(row, 7),
        .result = gw_sql_text(row, 8),
        .message = gw_sql_text(row, 9),
    };
}

bool
gw_store_add_audit(GwStore *self, const GwAuditRecord *record, GError **error)
{
    return gw_sql_run(self, error,
                      "INSERT INTO audit (at_us, user_name, address, action, object, details, reason, result,"
                      " message) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                      "issssssss", record->at_us, record->user, record->address ? record->address : "",
                      record->action, record->object, record->details, record->reason, record->result,
                      record->message) > 0;
}

bool
gw_store_begin_audit(GwStore *self, const GwAuditRecord *record, int64_t *ret_id, GError **error)
{
    return gw_sql_one(self, error, gw_sql_read_int, ret_id,
                      "INSERT INTO audit_open (at_us, user_name, address, action, object, details, reason)"
                      " VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
                      "issssss", record->at_us, record->user, record->address ? record->address : "",
                      record->action, record->object, record->details, record->reason) > 0;
}

#define OPEN_COLUMNS "at_us, user_name, address, action, object, details, reason"

bool
gw_store_end_audit(GwStore *self, int64_t id, const char *result, const char *message, GError **error)
{
    if (!gw_store_begin(self, error))
        return false;
    int n = gw_sql_run(self, error,
                       "INSERT INTO audit (" OPEN_COLUMNS ", result, message)"
                       " SELECT " OPEN_COLUMNS ", CAST($1 AS TEXT), CAST($2 AS TEXT) FROM audit_open"
                       " WHERE id = $3",
                       "ssi", result, message, id);
    bool ok = n > 0 && gw_sql_run(self, error, "DELETE FROM audit_open WHERE id = $1", "i", id) > 0;
    if (n == 0)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "there is no open audit record %" G_GINT64_FORMAT,
                    id);
    return gw_store_end(self, ok, error);
}

bool
gw_store_end_open_audits(GwStore *self, GError **error)
{
    if (!gw_store_begin(self, error))
        return false;
    bool ok = gw_sql_run(self, error,
                         "INSERT INTO audit (" OPEN_COLUMNS ", result, message)"
                         " SELECT " OPEN_COLUMNS ", 'unknown', 'the center ended while this was being done'"
                         " FROM audit_open ORDER BY id",
                         "") >= 0 &&
              gw_sql_run(self, error, "DELETE FROM audit_open", "") >= 0;
    return gw_store_end(self, ok, error);
}

GArray *
gw_store_audit(GwStore *self, int64_t before_id, unsigned limit, GError **error)
{
    static const GwSqlKind kind = {sizeof(GwAuditRecord), read_audit, (GDestroyNotify)gw_audit_record_clear};
    return gw_sql_all(self, error, &kind,
                      "SELECT id, at_us, user_name, address, action, object, details, reason, result, message"
                      " FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2",
                      "ii", before_id > 0 ? before_id : G_MAXINT64, (int64_t)(limit ? limit : DEFAULT_LIMIT));
}
