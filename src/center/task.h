/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tasks: what was asked for and takes time. A motion waits in a queue until admission lets it begin
 * (admit.h), runs in a thread of its own (motion.h), can be cancelled until its handover, and outlives the
 * center's restart. Thread-safe. */
#pragma once

#include "admit.h"
#include "event-hub.h"
#include "inventory.h"
#include "store.h"

typedef struct GwTasks GwTasks;
typedef struct GwTask GwTask;

/* All borrowed. */
GwTasks *gw_tasks_new(GwStore *store, GwEventHub *hub, GwInventory *inventory);
/* Takes up again what was open when the last center ended. */
bool gw_tasks_resume(GwTasks *self, GError **error);
/* Ends the threads, wherever their motions are; these are taken up at the next start. */
void gw_tasks_free(GwTasks *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwTasks, gw_tasks_free)

typedef struct {
    const char *vm, *destination;
    GwPriority priority;
    const char *const *overrides; /* ids of findings */
    const char *reason, *user, *address;
    unsigned streams, switchover_goal_ms, deadline_s; /* 0: default */
    bool no_tls;
} GwMigrateRequest;

/* Stores the task and queues it; returns its id (owned). Refused at once: no such VM or host, the VM is off
 * or on that host already, another motion of it is open (GW_ERROR_WRONG_STATE, names it). */
char *gw_tasks_migrate(GwTasks *self, const GwMigrateRequest *request, GError **error);

/* {"id","kind","vm","source","destination","state","step","waits_for","user","reason","created","started","ended",
 * "error","findings","progress","motion"}; "progress" is the engine's GET /v1/motion while it runs, "motion"
 * its result. Unref it. */
JsonObject *gw_tasks_json(GwTasks *self, const char *id, GError **error);
JsonArray *gw_tasks_list(GwTasks *self, const GwTaskFilter *filter, GError **error);

/* Asks for its end; GW_ERROR_WRONG_STATE if it has ended or its handover has begun. */
bool gw_tasks_cancel(GwTasks *self, const char *id, const char *user, GError **error);

/* What a prober saw of a motion's pause: kept in its result as "client". */
bool
gw_tasks_set_client_gap(GwTasks *self, const char *id, double gap_ms, const char *prober, GError **error);

/* The open task of a VM: its id (owned), NULL if none. */
char *gw_tasks_of_vm(GwTasks *self, const char *vm);

/* The parts that a task's users need, too; borrowed. */
GwInventory *gw_tasks_inventory(GwTasks *self);

/* Keeps motions of a VM from beginning while something else is done to it. Waits a while for others who hold
 * it; GW_ERROR_WRONG_STATE if that does not help, or a task of the VM is open. */
bool gw_tasks_hold_vm(GwTasks *self, const char *vm, GError **error);
/* The same at once or not at all; a task that is still in the queue is no hindrance, but has to wait. */
bool gw_tasks_try_hold_vm(GwTasks *self, const char *vm);
void gw_tasks_release_vm(GwTasks *self, const char *vm);

/* A running task has this host as its source or destination for the VM. */
bool gw_tasks_moves(GwTasks *self, const char *vm, const char *host);
