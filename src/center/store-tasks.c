/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tasks. */
#include "store-internal.h"

#define DEFAULT_LIMIT 100

void
gw_task_record_clear(GwTaskRecord *self)
{
    g_free(self->id);
    g_free(self->kind);
    g_free(self->vm);
    g_free(self->source);
    g_free(self->destination);
    g_free(self->state);
    g_free(self->step);
    g_free(self->user);
    g_free(self->reason);
    g_free(self->request);
    g_free(self->session);
    g_free(self->result);
    g_free(self->error_code);
    g_free(self->error_message);
    *self = (GwTaskRecord){0};
}

void
gw_task_record_copy(const GwTaskRecord *from, GwTaskRecord *to)
{
    *to = (GwTaskRecord){
        .id = g_strdup(from->id),
        .kind = g_strdup(from->kind),
        .vm = g_strdup(from->vm),
        .source = g_strdup(from->source),
        .destination = g_strdup(from->destination),
        .state = g_strdup(from->state),
        .step = g_strdup(from->step),
        .user = g_strdup(from->user),
        .reason = g_strdup(from->reason),
        .request = g_strdup(from->request),
        .session = g_strdup(from->session),
        .result = g_strdup(from->result),
        .error_code = g_strdup(from->error_code),
        .error_message = g_strdup(from->error_message),
        .created_us = from->created_us,
        .started_us = from->started_us,
        .ended_us = from->ended_us,
    };
}

static void
read_task(GwSqlRow *row, void *record)
{
    int i = 0;
    GwTaskRecord *task = record;
    char **const texts[] = {
        &task->id,      &task->kind,   &task->vm,         &task->source,        &task->destination,
        &task->state,   &task->step,   &task->user,       &task->reason,        &task->request,
        &task->session, &task->result, &task->error_code, &task->error_message,
    };
    for (; i < (int)G_N_ELEMENTS(texts); i++)
        *texts[i] = gw_sql_text(row, i);
    task->created_us = gw_sql_int(row, i++);
    task->started_us = gw_sql_int(row, i++);
    task->ended_us = gw_sql_int(row, i);
}

#define COLUMNS                                                                                              \
    "id, kind, vm, source, destination, state, step, user_name, reason, request, session, result,"           \
    " error_code, error_message, created_us, started_us, ended_us"

static bool
put_task(GwStore *self, const GwTaskRecord *task, GError **error)
{
    return gw_sql_run(self, error,
                      "INSERT INTO tasks (" COLUMNS ") VALUES"
                      " ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
                      " ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, vm = excluded.vm,"
                      " source = excluded.source, destination = excluded.destination, state = excluded.state,"
                      " step = excluded.step, user_name = excluded.user_name, reason = excluded.reason,"
                      " request = excluded.request, session = excluded.session, result = excluded.result,"
                      " error_code = excluded.error_code, error_message = excluded.error_message,"
                      " created_us = excluded.created_us, started_us = excluded.started_us,"
                      " ended_us = excluded.ended_us",
                      "ssssssssssssssiii", task->id, task->kind, task->vm, task->source, task->destination,
                      task->state, task->step, task->user, task->reason, task->request, task->session,
                      task->result, task->error_code, task->error_message, task->created_us, task->started_us,
                      task->ended_us) >= 0;
}

bool
gw_store_put_task(GwStore *self, const GwTaskRecord *task, GError **error)
{
    return put_task(self, task, error);
}

bool
gw_store_record_home(GwStore *self, const GwTaskRecord *task, const char *vm, const char *host,
                     GError **error)
{
    if (!gw_store_begin(self, error))
        return false;
    bool ok = put_task(self, task, error) && gw_store_move_vm(self, vm, host, error);
    return gw_store_end(self, ok, error);
}

bool
gw_store_get_task(GwStore *self, const char *id, GwTaskRecord *ret_task, GError **error)
{
    *ret_task = (GwTaskRecord){0};
    int found =
        gw_sql_one(self, error, read_task, ret_task, "SELECT " COLUMNS " FROM tasks WHERE id = $1", "s", id);
    return gw_store_found(found, "task", id, error);
}

#define MATCHES                                                                                              \
    "($1 IS NULL OR vm = $1) AND ($2 IS NULL OR source = $2 OR destination = $2)"                            \
    " AND ($3 IS NULL OR state = $3) AND ($4 = 0 OR created_us < $4)"                                        \
    " ORDER BY created_us DESC, sequence DESC LIMIT $5"

GArray *
gw_store_tasks(GwStore *self, const GwTaskFilter *filter, GError **error)
{
    static const GwSqlKind kind = {sizeof(GwTaskRecord), read_task, (GDestroyNotify)gw_task_record_clear};
    /* spelled out for those that are open: an index holds just them, however many have ended */
    const char *sql = filter->open_only ? "SELECT " COLUMNS
                                          " FROM tasks WHERE state IN ('queued', 'running') AND " MATCHES
                                        : "SELECT " COLUMNS " FROM tasks WHERE " MATCHES;
    return gw_sql_all(self, error, &kind, sql, "sssii", filter->vm, filter->host, filter->state,
                      filter->before_us, (int64_t)(filter->limit ? filter->limit : DEFAULT_LIMIT));
}
