/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the queue of tasks and the story of a motion share.
 *
 * A GwTask is made by gw_tasks_migrate() or gw_tasks_resume() and is in `open` until it ends. While it is
 * queued the queue owns it; once it runs its thread does, which ends and frees it. Lock order: GwTasks.lock,
 * then the inventory's. The store and the hub are called without it. */
#pragma once

#include "task.h"

#include "json.h"

struct GwTask {
    GwTasks *tasks;
    /* set once */
    GwPriority priority;
    char **overrides;
    unsigned streams, switchover_goal_ms, deadline_s; /* 0: default */
    bool tls;
    bool is_taken_up; /* it was running when the last center ended */
    uint64_t memory_bytes;
    unsigned cpu_percent; /* that the VM used when it was asked for */
    char **datastores;
    /* guarded by the lock; vm, source, destination and id of the record never change */
    GwTaskRecord record;
    char *waits_for;
    char *findings, *progress, *motion; /* JSON */
    uint64_t arrived_bytes;             /* of its memory, at the destination */
    bool cancel_wanted, is_sent /* the engine knows of it */, woken;
    bool is_ending;           /* its end is being stored */
    GwHostClient *clients[3]; /* of its thread, here to be ended from outside */
    /* of its thread */
    int64_t told_progress_us;
};

struct GwTasks {
    GwStore *store; /* borrowed, as the others */
    GwEventHub *hub;
    GwInventory *inventory;
    GMutex lock; /* guards all below */
    GCond changed;
    GPtrArray *open;          /* of GwTask, oldest first */
    GHashTable *held;         /* names of VMs */
    GPtrArray *threads;       /* of GThread: not joined yet */
    GPtrArray *ended_threads; /* those of them that are at their end */
    bool stopping;
};

GwTask *gw_task_from_record(GwTasks *tasks, const GwTaskRecord *record);
void gw_task_free(GwTask *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwTask, gw_task_free)
GwTask *gw_tasks_find_locked(GwTasks *self, const char *id);
GwTask *gw_tasks_find_vm_locked(GwTasks *self, const char *vm);
bool gw_task_is_queued(const GwTask *self);
bool gw_task_is_running(const GwTask *self);

JsonObject *gw_task_json_locked(const GwTask *self, bool with_findings);
JsonObject *gw_task_record_json(const GwTaskRecord *record);
/* Puts findings and motion into record.result. */
void gw_task_pack_result_locked(GwTask *self);

/* Lets begin what may, in threads of their own. */
void gw_tasks_admit(GwTasks *self);
void gw_tasks_start_locked(GwTasks *self, GwTask *task);

/* `task` is its JSON, taken. */
void gw_tasks_tell(GwTasks *self, const char *type, JsonObject *task);

/* -- For the task's thread */
/* Stores that this step comes next, tells it, and stands still if a test wants that. False: the store failed,
 * the center ends (GW_ERROR_CANCELLED with gw_task_is_stopping()), or, before the engine was told, the task
 * was cancelled. */
bool gw_task_step(GwTask *self, const char *step, GError **error);
void gw_task_hold(GwTask *self); /* the standing still alone */
bool gw_task_is_stopping(GwTask *self);
bool gw_task_cancel_wanted(GwTask *self);
void gw_task_set_client(GwTask *self, unsigned index, GwHostClient *client); /* borrowed; NULL: none */
void gw_task_set_findings(GwTask *self, const GArray *findings);
void gw_task_set_motion(GwTask *self, JsonObject *motion);                   /* taken */
bool gw_task_set_session(GwTask *self, const char *session, GError **error); /* stored */
void gw_task_set_sent(GwTask *self, bool is_sent);
void gw_task_set_waits_for(GwTask *self, const char *waits_for); /* NULL: for nothing */
void gw_task_set_progress(GwTask *self, JsonObject *progress);   /* borrowed */
/* Until something happened to the VM's motion, the task is cancelled, the center ends, or the time is over.
 */
void gw_task_wait(GwTask *self, unsigned ms);
/* The home of the VM in the store, and this task at its clean-up: once, or until the store takes it. False:
 * the center ends. */
bool gw_task_record_home(GwTask *self);
/* Its end, in the store and told. A failure has an error. */
void gw_task_end(GwTask *self, const char *state, const GError *error);
