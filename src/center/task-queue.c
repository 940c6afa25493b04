/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which of the waiting tasks begin: the facts that admission (admit.h) looks at, and what its verdicts do. */
#include "error.h"
#include "motion.h"
#include "task-internal.h"

#include <string.h>

/* Looked up once a pass: facts are kept as text. */
static uint64_t
slowest_interface(GwTasks *self, GHashTable *speeds, const char *host)
{
    uint64_t *known = g_hash_table_lookup(speeds, host);
    if (known)
        return *known;
    uint64_t slowest = 0;
    g_autoptr(GwHostFacts) facts = gw_inventory_host_facts(self->inventory, host, NULL);
    for (guint i = 0; facts && i < facts->interfaces->len; i++) {
        const GwMotionInterface *each = &g_array_index(facts->interfaces, GwMotionInterface, i);
        if (each->speed_bits_per_s && (!slowest || each->speed_bits_per_s < slowest))
            slowest = each->speed_bits_per_s;
    }
    g_hash_table_insert(speeds, g_strdup(host), g_memdup2(&slowest, sizeof slowest));
    return slowest;
}

static void
add_demand(GwTasks *self, GArray *demands, const GwTask *task, GHashTable *speeds)
{
    GwMotionDemand demand = {
        .id = task->record.id,
        .vm = task->record.vm,
        .priority = task->priority,
        .since_us = task->record.created_us,
        .source = task->record.source,
        .destination = task->record.destination,
        .source_speed = slowest_interface(self, speeds, task->record.source),
        .destination_speed = slowest_interface(self, speeds, task->record.destination),
        .datastores = (const char *const *)task->datastores,
        .memory_bytes = task->memory_bytes - MIN(task->memory_bytes, task->arrived_bytes),
        .cpu_percent = task->cpu_percent,
    };
    g_array_append_val(demands, demand);
}

static GArray *
rooms(GwTasks *self, char **hosts)
{
    GArray *array = g_array_new(FALSE, FALSE, sizeof(GwHostRoom));
    for (char **host = hosts; *host; host++) {
        GwHostRoom room;
        if (gw_inventory_host_room(self->inventory, *host, &room))
            g_array_append_val(array, room);
    }
    return array;
}

static void *
task_main(void *data)
{
    GwTask *task = data;
    GwTasks *self = task->tasks;
    gw_motion_run(task);
    g_mutex_lock(&self->lock);
    g_ptr_array_add(self->ended_threads, g_thread_self());
    g_mutex_unlock(&self->lock);
    return NULL;
}

void
gw_tasks_start_locked(GwTasks *self, GwTask *task)
{
    g_free(task->record.state);
    task->record.state = g_strdup("running");
    if (!task->record.started_us)
        task->record.started_us = g_get_real_time();
    g_clear_pointer(&task->waits_for, g_free);
    g_ptr_array_add(self->threads, g_thread_new("gw-task", task_main, task));
}

static bool
set_waits_for_locked(GwTask *task, const char *why)
{
    if (g_strcmp0(task->waits_for, why) == 0)
        return false;
    g_free(task->waits_for);
    task->waits_for = g_strdup(why);
    return true;
}

/* A refused task leaves the queue here and is ended by the caller, whose it is then. */
static void
apply_locked(GwTasks *self, const GArray *verdicts, GPtrArray *refused, GPtrArray *news)
{
    for (guint i = 0; i < verdicts->len; i++) {
        const GwVerdict *verdict = &g_array_index(verdicts, GwVerdict, i);
        GwTask *task = gw_tasks_find_locked(self, verdict->demand->id);
        if (verdict->admission == GW_ADMIT_START) {
            gw_tasks_start_locked(self, task);
        } else if (verdict->admission == GW_ADMIT_REFUSE) {
            set_waits_for_locked(task, verdict->why);
            g_free(task->record.state);
            task->record.state = g_strdup("running"); /* out of the queue: nobody else ends it now */
            g_ptr_array_add(refused, task);
        } else if (set_waits_for_locked(task, verdict->why)) {
            g_ptr_array_add(news, gw_task_json_locked(task, false));
        }
    }
}

static void
refuse(GwTask *task)
{
    g_autoptr(GError) error =
        g_error_new(GW_ERROR, GW_ERROR_BUSY,
                    "not started: %s. With priority normal it is; or free room on %s, then migrate again",
                    task->waits_for, task->record.destination);
    gw_task_set_waits_for(task, NULL);
    gw_task_end(task, "failed", error);
}

static GPtrArray *
pass_locked(GwTasks *self, GPtrArray *news)
{
    GPtrArray *refused = g_ptr_array_new();
    g_autoptr(GHashTable) speeds = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GArray) running = g_array_new(FALSE, FALSE, sizeof(GwMotionDemand));
    g_autoptr(GArray) waiting = g_array_new(FALSE, FALSE, sizeof(GwMotionDemand));
    for (guint i = 0; i < self->open->len; i++) {
        GwTask *task = self->open->pdata[i];
        if (gw_task_is_running(task))
            add_demand(self, running, task, speeds);
        else if (!gw_task_is_queued(task))
            continue; /* at its very end */
        else if (!g_hash_table_contains(self->held, task->record.vm))
            add_demand(self, waiting, task, speeds);
        else if (set_waits_for_locked(task, "waits for another order for this VM to end"))
            g_ptr_array_add(news, gw_task_json_locked(task, false));
    }
    if (waiting->len == 0)
        return refused;
    g_auto(GStrv) hosts = gw_inventory_host_names(self->inventory);
    g_autoptr(GArray) room = rooms(self, hosts);
    GArray *verdicts = gw_admit(running, waiting, room);
    apply_locked(self, verdicts, refused, news);
    g_array_unref(verdicts); /* borrows of the others */
    return refused;
}

void
gw_tasks_admit(GwTasks *self)
{
    g_autoptr(GPtrArray) news = g_ptr_array_new();
    g_mutex_lock(&self->lock);
    if (self->stopping) {
        g_mutex_unlock(&self->lock);
        return;
    }
    g_autoptr(GPtrArray) refused = pass_locked(self, news);
    g_mutex_unlock(&self->lock);
    for (guint i = 0; i < news->len; i++) {
        gw_tasks_tell(self, "task.state", news->pdata[i]);
    }
    for (guint i = 0; i < refused->len; i++)
        refuse(refused->pdata[i]);
}
