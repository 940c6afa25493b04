/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reconciliation at work.
 *
 * What was heard from the hosts only says where to look: before anything is done both hosts are asked, while
 * no motion of that VM can begin. What could not be done (a host is silent) is tried again after a while. */
#include "reconciler.h"

#include "error.h"
#include "json.h"
#include "reconcile.h"

#include <string.h>

#define ASK_S    5
#define REMOVE_S 30
#define RETRY_S  5

struct GwReconciler {
    GwInventory *inventory; /* borrowed, as the tasks */
    GwTasks *tasks;
    GThread *thread;
    GMutex lock; /* guards all below */
    GCond changed;
    bool wanted, stopping;
    GwHostClient *asked; /* of the thread, here to be ended from outside */
};

static GwHostClient *
client_for(GwReconciler *self, const char *host, const char *vm, unsigned timeout_s)
{
    GwHostClient *client = gw_inventory_vm_client(self->inventory, host, vm, timeout_s, NULL);
    g_mutex_lock(&self->lock);
    self->asked = client;
    if (client && self->stopping)
        gw_host_client_cancel(client);
    g_mutex_unlock(&self->lock);
    return client;
}

static void
release_client(GwReconciler *self, GwHostClient *client)
{
    g_mutex_lock(&self->lock);
    self->asked = NULL;
    g_mutex_unlock(&self->lock);
    gw_host_client_free(client);
}

static GwEnd
ask(GwReconciler *self, const char *host, const char *vm)
{
    GwHostClient *client = client_for(self, host, vm, ASK_S);
    GwEnd end = client ? gw_end_ask(client, vm, NULL) : (GwEnd){GW_PLACE_UNKNOWN, GW_END_MOTION_NONE};
    release_client(self, client);
    return end;
}

static bool
remove_rest(GwReconciler *self, const char *host, const char *vm)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) reply = NULL;
    GwHostClient *client = client_for(self, host, vm, REMOVE_S);
    if (client)
        reply = gw_host_client_vm(client, "DELETE", vm, "", NULL, &error);
    release_client(self, client);
    bool is_gone = reply || g_error_matches(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    if (is_gone)
        g_message("%s: what was left of %s is removed", host, vm);
    else if (error)
        g_message("%s: what is left of %s is not removed yet: %s", host, vm, error->message);
    return is_gone;
}

/* As heard last; the home is silent or has none if it was not heard of. */
static GwReconcileCase
as_heard(GwReconciler *self, const GwVmSighting *seen)
{
    GwReconcileCase what = {.is_known = seen->home != NULL,
                            .is_home = g_strcmp0(seen->home, seen->host) == 0,
                            .in_motion = gw_tasks_moves(self->tasks, seen->vm, seen->host),
                            .here = gw_place_from_state(seen->state),
                            .home = GW_PLACE_ABSENT};
    g_autoptr(JsonObject) status =
        seen->home && !what.is_home ? gw_inventory_vm_status_at(self->inventory, seen->vm, seen->home) : NULL;
    if (status)
        what.home = gw_place_from_state(gw_vm_state_told(status, gw_json_get_object(status, "motion")));
    return what;
}

/* Asked now. The home may have changed since it was seen. */
static GwReconcileAction
decide_anew(GwReconciler *self, const GwVmSighting *seen)
{
    g_autofree char *home = gw_inventory_vm_home(self->inventory, seen->vm, NULL);
    GwEnd here = ask(self, seen->host, seen->vm);
    GwEnd there = {GW_PLACE_UNKNOWN, GW_END_MOTION_NONE};
    bool is_home = g_strcmp0(home, seen->host) == 0;
    if (home && !is_home)
        there = ask(self, home, seen->vm);
    GwReconcileCase what = {.is_known = home != NULL,
                            .is_home = is_home,
                            .in_motion = gw_tasks_moves(self->tasks, seen->vm, seen->host),
                            .here = here.place,
                            .home = there.place,
                            .home_has_motion = there.motion == GW_END_MOTION_UNDER_WAY ||
                                               there.motion == GW_END_MOTION_UNRESOLVED};
    return gw_reconcile_decide(&what);
}

/* True: nothing is left to be tried again. */
static bool
act(GwReconciler *self, const GwVmSighting *seen, GwReconcileAction action, GHashTable *troubled)
{
    g_autoptr(GError) error = NULL;
    switch (action) {
    case GW_RECONCILE_TELL_UNSURE:
    case GW_RECONCILE_TELL_DUPLICATE:
        g_hash_table_add(troubled, g_strdup(seen->vm));
        gw_inventory_set_trouble(
            self->inventory, seen->vm,
            action == GW_RECONCILE_TELL_UNSURE ? GW_VM_TROUBLE_UNSURE : GW_VM_TROUBLE_DUPLICATE, seen->host);
        return false;
    case GW_RECONCILE_TAKE_HOME:
        g_message("%s runs on %s and not on %s: that is its home now", seen->vm, seen->host, seen->home);
        if (gw_inventory_take_home(self->inventory, seen->vm, seen->host, &error))
            return true;
        g_warning("%s: its new home is not kept: %s", seen->vm, error->message);
        return false;
    case GW_RECONCILE_REMOVE:
        return remove_rest(self, seen->host, seen->vm);
    default:
        return true;
    }
}

static bool
reconcile(GwReconciler *self, const GwVmSighting *seen, GHashTable *troubled)
{
    GwReconcileCase heard = as_heard(self, seen);
    GwReconcileAction action = gw_reconcile_decide(&heard);
    if (action == GW_RECONCILE_TELL_UNKNOWN)
        gw_inventory_tell_unknown(self->inventory, seen->vm, seen->host);
    if (action == GW_RECONCILE_NOTHING || action == GW_RECONCILE_TELL_UNKNOWN)
        return true;
    /* While the VM is held by an order, that order's end is the next occasion. */
    if (!gw_tasks_try_hold_vm(self->tasks, seen->vm))
        return false;
    bool is_done = act(self, seen, decide_anew(self, seen), troubled);
    gw_tasks_release_vm(self->tasks, seen->vm);
    return is_done;
}

static bool
is_stopping(GwReconciler *self)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    return self->stopping;
}

static bool
pass(GwReconciler *self)
{
    bool all_done = true;
    g_autoptr(GArray) sightings = gw_inventory_sightings(self->inventory);
    g_autoptr(GHashTable) troubled = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; i < sightings->len && !is_stopping(self); i++)
        all_done &= reconcile(self, &g_array_index(sightings, GwVmSighting, i), troubled);
    g_auto(GStrv) names = gw_inventory_troubled_vms(self->inventory);
    for (char **name = names; *name && !is_stopping(self); name++)
        if (!g_hash_table_contains(troubled, *name))
            gw_inventory_set_trouble(self->inventory, *name, GW_VM_TROUBLE_NONE, NULL);
    return all_done;
}

static void *
reconciler_main(void *data)
{
    GwReconciler *self = data;
    bool all_done = true;
    g_mutex_lock(&self->lock);
    while (!self->stopping) {
        gint64 until_us = g_get_monotonic_time() + RETRY_S * G_TIME_SPAN_SECOND;
        while (!self->wanted && !self->stopping) {
            if (all_done)
                g_cond_wait(&self->changed, &self->lock);
            else if (!g_cond_wait_until(&self->changed, &self->lock, until_us))
                break;
        }
        self->wanted = false;
        g_mutex_unlock(&self->lock);
        all_done = is_stopping(self) || pass(self);
        g_mutex_lock(&self->lock);
    }
    g_mutex_unlock(&self->lock);
    return NULL;
}

static void
on_change(GwInventoryChange what, const char *host, const char *vm, void *user_data)
{
    GwReconciler *self = user_data;
    if (what != GW_CHANGE_HOST_UP && what != GW_CHANGE_VM && what != GW_CHANGE_TASK_ENDED)
        return;
    g_mutex_lock(&self->lock);
    self->wanted = true;
    g_cond_signal(&self->changed);
    g_mutex_unlock(&self->lock);
}

GwReconciler *
gw_reconciler_new(GwInventory *inventory, GwTasks *tasks)
{
    GwReconciler *self = g_new0(GwReconciler, 1);
    self->inventory = inventory;
    self->tasks = tasks;
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    self->thread = g_thread_new("gw-reconcile", reconciler_main, self);
    gw_inventory_watch(inventory, on_change, self);
    return self;
}

void
gw_reconciler_free(GwReconciler *self)
{
    if (!self)
        return;
    gw_inventory_unwatch(self->inventory, on_change, self);
    g_mutex_lock(&self->lock);
    self->stopping = true;
    if (self->asked)
        gw_host_client_cancel(self->asked);
    g_cond_signal(&self->changed);
    g_mutex_unlock(&self->lock);
    g_thread_join(self->thread);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_free(self);
}
