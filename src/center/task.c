/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tasks: given, listed, cancelled, taken up again. */
#include "error.h"
#include "inventory-internal.h"
#include "task-internal.h"

#include <string.h>

#define MAX_STREAMS    8
#define MIN_GOAL_MS    10
#define MAX_GOAL_MS    60000
#define MAX_DEADLINE_S (7 * 24 * 3600)
#define CANCEL_S       10 /* for the source to answer */
#define HOLD_WAIT_US   (10 * G_TIME_SPAN_SECOND)

GwInventory *
gw_tasks_inventory(GwTasks *self)
{
    return self->inventory;
}

bool
gw_task_is_queued(const GwTask *self)
{
    return strcmp(self->record.state, "queued") == 0;
}

bool
gw_task_is_running(const GwTask *self)
{
    return strcmp(self->record.state, "running") == 0;
}

GwTask *
gw_tasks_find_locked(GwTasks *self, const char *id)
{
    for (guint i = 0; i < self->open->len; i++)
        if (strcmp(((GwTask *)self->open->pdata[i])->record.id, id) == 0)
            return self->open->pdata[i];
    return NULL;
}

static bool
is_one_ending(const GwTasks *self)
{
    for (guint i = 0; i < self->open->len; i++)
        if (((const GwTask *)self->open->pdata[i])->is_ending)
            return true;
    return false;
}

/* For those who ask from outside: never between a task's end in the store and its end here, so that both say
 * the same. */
static void
lock_at_rest(GwTasks *self)
{
    g_mutex_lock(&self->lock);
    while (is_one_ending(self))
        g_cond_wait(&self->changed, &self->lock);
}

GwTask *
gw_tasks_find_vm_locked(GwTasks *self, const char *vm)
{
    for (guint i = 0; i < self->open->len; i++)
        if (strcmp(((GwTask *)self->open->pdata[i])->record.vm, vm) == 0)
            return self->open->pdata[i];
    return NULL;
}

void
gw_tasks_tell(GwTasks *self, const char *type, JsonObject *task)
{
    g_autofree char *id = g_strdup(gw_json_get_string(task, "id"));
    g_autofree char *vm = g_strdup(gw_json_get_string(task, "vm"));
    JsonObject *data = json_object_new();
    json_object_set_object_member(data, "task", task);
    gw_event_hub_tell(self->hub, type, NULL, vm, id, data);
}

static void
wake_vm(GwTasks *self, const char *vm)
{
    g_mutex_lock(&self->lock);
    for (guint i = 0; i < self->open->len; i++) {
        GwTask *task = self->open->pdata[i];
        if (!vm || strcmp(task->record.vm, vm) == 0)
            task->woken = true;
    }
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
}

static void
on_change(GwInventoryChange what, const char *host, const char *vm, void *user_data)
{
    GwTasks *self = user_data;
    switch (what) {
    case GW_CHANGE_MOTION:
    case GW_CHANGE_VM:
        wake_vm(self, vm);
        break;
    case GW_CHANGE_HOST_UP:
        wake_vm(self, NULL);
        gw_tasks_admit(self);
        break;
    case GW_CHANGE_HOST_LOST:
    case GW_CHANGE_HOST_ROOM:
    case GW_CHANGE_TASK_ENDED:
        gw_tasks_admit(self);
        break;
    default:
        break;
    }
}

GwTasks *
gw_tasks_new(GwStore *store, GwEventHub *hub, GwInventory *inventory)
{
    GwTasks *self = g_new0(GwTasks, 1);
    self->store = store;
    self->hub = hub;
    self->inventory = inventory;
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    self->open = g_ptr_array_new();
    self->held = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    self->threads = g_ptr_array_new();
    self->ended_threads = g_ptr_array_new();
    gw_inventory_watch(inventory, on_change, self);
    return self;
}

/* Those that have ended, or all; a task's own thread never comes here. */
static void
join_threads(GwTasks *self, bool all)
{
    g_autoptr(GPtrArray) threads = g_ptr_array_new();
    g_mutex_lock(&self->lock);
    for (guint i = self->threads->len; i-- > 0;) {
        GThread *thread = self->threads->pdata[i];
        if (!g_ptr_array_remove_fast(self->ended_threads, thread) && !all)
            continue;
        g_ptr_array_add(threads, thread);
        g_ptr_array_remove_index_fast(self->threads, i);
    }
    g_mutex_unlock(&self->lock);
    for (guint i = 0; i < threads->len; i++)
        g_thread_join(threads->pdata[i]);
}

void
gw_tasks_free(GwTasks *self)
{
    if (!self)
        return;
    g_mutex_lock(&self->lock);
    self->stopping = true;
    for (guint i = 0; i < self->open->len; i++) {
        GwTask *task = self->open->pdata[i];
        for (size_t k = 0; k < G_N_ELEMENTS(task->clients); k++)
            if (task->clients[k])
                gw_host_client_cancel(task->clients[k]);
    }
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    gw_inventory_unwatch(self->inventory, on_change, self);
    join_threads(self, true);
    for (guint i = 0; i < self->open->len; i++)
        gw_task_free(self->open->pdata[i]);
    g_ptr_array_unref(self->open);
    g_ptr_array_unref(self->threads);
    g_ptr_array_unref(self->ended_threads);
    g_hash_table_unref(self->held);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_free(self);
}

static bool
check_request(const GwMigrateRequest *request, GError **error)
{
    if (request->streams > MAX_STREAMS)
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "streams: got %u, expected 1 to %d",
                    request->streams, MAX_STREAMS);
    else if (request->switchover_goal_ms &&
             (request->switchover_goal_ms < MIN_GOAL_MS || request->switchover_goal_ms > MAX_GOAL_MS))
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "switchover_goal_ms: got %u, expected %d to %d", request->switchover_goal_ms, MIN_GOAL_MS,
                    MAX_GOAL_MS);
    else if (request->deadline_s > MAX_DEADLINE_S)
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "deadline_s: got %u, expected 1 to %d",
                    request->deadline_s, MAX_DEADLINE_S);
    else
        return true;
    return false;
}

static bool
check_state(GwTasks *self, const char *vm, const char *home, GError **error)
{
    g_autoptr(JsonObject) object = gw_inventory_vm_json(self->inventory, vm, error);
    const char *state = object ? gw_json_get_string(object, "state") : NULL;
    if (!state)
        return false;
    if (gw_inventory_trouble(self->inventory, vm) == GW_VM_TROUBLE_DUPLICATE) {
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                    "two hosts say that they run %s: stop one of the two first", vm);
        return false;
    }
    if (strcmp(state, "unknown") == 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_PEER_LOST,
                    "%s: the host cannot be reached now, so %s cannot leave it: see 'godwit host show %s'",
                    home, vm, home);
        return false;
    }
    if (strcmp(state, "running") != 0 && strcmp(state, "paused") != 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                    "%s is %s: only a VM that is running or paused can be migrated", vm, state);
        return false;
    }
    return true;
}

static char *
request_text(const GwMigrateRequest *request)
{
    JsonObject *object = json_object_new();
    JsonArray *overrides = json_array_new();
    for (const char *const *id = request->overrides; id && *id; id++)
        json_array_add_string_element(overrides, *id);
    json_object_set_string_member(object, "priority",
                                  request->priority == GW_PRIORITY_HIGH ? "high" : "normal");
    json_object_set_array_member(object, "overrides", overrides);
    json_object_set_int_member(object, "streams", request->streams);
    json_object_set_int_member(object, "switchover_goal_ms", request->switchover_goal_ms);
    json_object_set_int_member(object, "deadline_s", request->deadline_s);
    json_object_set_boolean_member(object, "tls", !request->no_tls);
    char *text = gw_json_object_to_line(object);
    json_object_unref(object);
    return text;
}

static GwTask *
new_task(GwTasks *self, const GwMigrateRequest *request, const char *home)
{
    g_autofree char *uuid = g_uuid_string_random();
    uuid[8] = 0;
    g_auto(GwTaskRecord) record = {
        .id = g_strdup_printf("task-%s", uuid),
        .kind = g_strdup("vm.migrate"),
        .vm = g_strdup(request->vm),
        .source = g_strdup(home),
        .destination = g_strdup(request->destination),
        .state = g_strdup("queued"),
        .step = g_strdup("queued"),
        .user = g_strdup(request->user),
        .reason = g_strdup(request->reason),
        .request = request_text(request),
        .created_us = g_get_real_time(),
    };
    return gw_task_from_record(self, &record);
}

static bool
check_no_task_locked(GwTasks *self, const char *vm, GError **error)
{
    const GwTask *task = gw_tasks_find_vm_locked(self, vm);
    if (task)
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                    "%s migrates from %s to %s (%s, %s): wait for its end, or cancel it", vm,
                    task->record.source, task->record.destination, task->record.id, task->record.state);
    return task == NULL;
}

/* Orders are short, and so is what reconciliation does: one waits for the other. */
bool
gw_tasks_hold_vm(GwTasks *self, const char *vm, GError **error)
{
    gint64 until_us = g_get_monotonic_time() + HOLD_WAIT_US;
    bool is_held = false;
    lock_at_rest(self);
    while (check_no_task_locked(self, vm, error)) {
        is_held = g_hash_table_add(self->held, g_strdup(vm));
        if (is_held)
            break;
        if (!g_cond_wait_until(&self->changed, &self->lock, until_us)) {
            g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE, "another order for %s is under way", vm);
            break;
        }
    }
    g_mutex_unlock(&self->lock);
    return is_held;
}

bool
gw_tasks_try_hold_vm(GwTasks *self, const char *vm)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    const GwTask *task = gw_tasks_find_vm_locked(self, vm);
    return !(task && gw_task_is_running(task)) && g_hash_table_add(self->held, g_strdup(vm));
}

void
gw_tasks_release_vm(GwTasks *self, const char *vm)
{
    g_mutex_lock(&self->lock);
    g_hash_table_remove(self->held, vm);
    g_cond_broadcast(&self->changed);
    bool is_waited_for = gw_tasks_find_vm_locked(self, vm) != NULL;
    g_mutex_unlock(&self->lock);
    if (is_waited_for)
        gw_tasks_admit(self);
}

bool
gw_tasks_moves(GwTasks *self, const char *vm, const char *host)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    const GwTask *task = gw_tasks_find_vm_locked(self, vm);
    return task && gw_task_is_running(task) &&
           (strcmp(task->record.source, host) == 0 || strcmp(task->record.destination, host) == 0);
}

static JsonObject *
queue(GwTasks *self, GwTask *task)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    g_ptr_array_add(self->open, task);
    return gw_task_json_locked(task, false);
}

char *
gw_tasks_migrate(GwTasks *self, const GwMigrateRequest *request, GError **error)
{
    join_threads(self, false);
    g_autofree char *home = gw_inventory_vm_home(self->inventory, request->vm, error);
    g_autoptr(JsonObject) destination =
        home ? gw_inventory_host_json(self->inventory, request->destination, error) : NULL;
    if (!destination || !check_request(request, error))
        return NULL;
    if (strcmp(home, request->destination) == 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE, "%s is on %s already", request->vm, home);
        return NULL;
    }
    if (!check_state(self, request->vm, home, error))
        return NULL;
    g_autoptr(GwTask) task = new_task(self, request, home);
    /* Nothing of it begins before the store has it. */
    if (!gw_tasks_hold_vm(self, request->vm, error))
        return NULL;
    char *id = NULL;
    if (gw_store_put_task(self->store, &task->record, error)) {
        id = g_strdup(task->record.id);
        gw_inventory_set_vm_task(self->inventory, request->vm, id);
        gw_tasks_tell(self, "task.created", queue(self, g_steal_pointer(&task)));
    }
    gw_tasks_release_vm(self, request->vm);
    return id;
}

static GwTask *
take_up_locked(GwTasks *self, const GwTaskRecord *record)
{
    GwTask *task = gw_task_from_record(self, record);
    g_ptr_array_add(self->open, task);
    if (gw_task_is_running(task)) {
        task->is_taken_up = true;
        gw_tasks_start_locked(self, task);
    }
    return task;
}

bool
gw_tasks_resume(GwTasks *self, GError **error)
{
    GwTaskFilter filter = {.open_only = true, .limit = G_MAXINT};
    g_autoptr(GArray) records = gw_store_tasks(self->store, &filter, error);
    if (!records)
        return false;
    for (guint i = records->len; i-- > 0;) { /* newest first */
        const GwTaskRecord *record = &g_array_index(records, GwTaskRecord, i);
        g_message("%s of %s is taken up again at its step %s", record->id, record->vm, record->step);
        gw_inventory_set_vm_task(self->inventory, record->vm, record->id);
        g_mutex_lock(&self->lock);
        take_up_locked(self, record);
        g_mutex_unlock(&self->lock);
    }
    gw_tasks_admit(self);
    return true;
}

JsonObject *
gw_tasks_json(GwTasks *self, const char *id, GError **error)
{
    lock_at_rest(self);
    const GwTask *task = gw_tasks_find_locked(self, id);
    JsonObject *object = task ? gw_task_json_locked(task, true) : NULL;
    g_mutex_unlock(&self->lock);
    g_auto(GwTaskRecord) record = {0};
    if (!object && gw_store_get_task(self->store, id, &record, error))
        object = gw_task_record_json(&record);
    return object;
}

/* The open tasks at one moment: by id. */
static GHashTable *
open_tasks_json(GwTasks *self)
{
    GHashTable *open =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)json_object_unref);
    lock_at_rest(self);
    for (guint i = 0; i < self->open->len; i++) {
        const GwTask *task = self->open->pdata[i];
        g_hash_table_insert(open, g_strdup(task->record.id), gw_task_json_locked(task, true));
    }
    g_mutex_unlock(&self->lock);
    return open;
}

/* The open ones are looked at before the store is: behind it, one that has ended since and one that has begun
 * in its place would both be running. */
JsonArray *
gw_tasks_list(GwTasks *self, const GwTaskFilter *filter, GError **error)
{
    g_autoptr(GHashTable) open = open_tasks_json(self);
    g_autoptr(GArray) records = gw_store_tasks(self->store, filter, error);
    if (!records)
        return NULL;
    JsonArray *array = json_array_new();
    for (guint i = 0; i < records->len; i++) {
        const GwTaskRecord *record = &g_array_index(records, GwTaskRecord, i);
        JsonObject *now = record->ended_us ? NULL : g_hash_table_lookup(open, record->id);
        json_array_add_object_element(array, now ? json_object_ref(now) : gw_task_record_json(record));
    }
    return array;
}

static bool
set_not_open(GwTasks *self, const char *id, GError **error)
{
    g_auto(GwTaskRecord) record = {0};
    if (gw_store_get_task(self->store, id, &record, error))
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE, "%s has ended: it is %s", id, record.state);
    return false;
}

/* The engine is under way: whether it is too late only the source's supervisor knows. If that cannot be
 * asked, the story withdraws the destination as soon as it may. */
static bool
cancel_engine(GwTasks *self, const char *id, const char *vm, const char *source, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autoptr(GwHostClient) client = gw_inventory_vm_client(self->inventory, source, vm, CANCEL_S, error);
    if (!client)
        return false;
    g_autoptr(JsonObject) reply = gw_host_client_vm(client, "DELETE", vm, "/motion", NULL, &cause);
    if (reply || !g_error_matches(cause, GW_ERROR, GW_ERROR_WRONG_STATE))
        return true;
    g_mutex_lock(&self->lock);
    GwTask *task = gw_tasks_find_locked(self, id);
    if (task)
        task->cancel_wanted = false;
    g_mutex_unlock(&self->lock);
    g_propagate_error(error, g_steal_pointer(&cause));
    return false;
}

typedef enum { NOT_OPEN, DEQUEUED, ASKED, IN_ENGINE, TOO_LATE } Cancel;

static Cancel
note_cancel_locked(GwTask *task)
{
    if (!task || (!gw_task_is_queued(task) && !gw_task_is_running(task)))
        return NOT_OPEN;
    if (gw_task_is_queued(task)) {
        g_free(task->record.state);
        task->record.state = g_strdup("running"); /* out of the queue: ours to end */
        return DEQUEUED;
    }
    if (strcmp(task->record.step, "record") == 0 || strcmp(task->record.step, "clean-up") == 0)
        return TOO_LATE;
    task->cancel_wanted = task->woken = true;
    return task->is_sent ? IN_ENGINE : ASKED;
}

static bool
end_dequeued(GwTask *task, const char *user)
{
    g_autoptr(GError) why =
        g_error_new(GW_ERROR, GW_ERROR_CANCELLED, "cancelled by %s before it began", user);
    gw_task_end(task, "cancelled", why);
    return true;
}

bool
gw_tasks_cancel(GwTasks *self, const char *id, const char *user, GError **error)
{
    lock_at_rest(self);
    GwTask *task = gw_tasks_find_locked(self, id);
    Cancel cancel = note_cancel_locked(task);
    g_autofree char *vm = task ? g_strdup(task->record.vm) : NULL;
    g_autofree char *source = task ? g_strdup(task->record.source) : NULL;
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    switch (cancel) {
    case NOT_OPEN:
        return set_not_open(self, id, error);
    case TOO_LATE:
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE, "too late to cancel %s: %s has left %s already",
                    id, vm, source);
        return false;
    case DEQUEUED:
        return end_dequeued(task, user);
    case ASKED:
        return true;
    case IN_ENGINE:
        return cancel_engine(self, id, vm, source, error);
    }
    g_assert_not_reached();
}

static JsonObject *
client_json(double gap_ms, const char *prober)
{
    JsonObject *client = json_object_new();
    json_object_set_double_member(client, "gap_ms", gap_ms);
    gw_json_set_text(client, "prober", prober);
    return client;
}

bool
gw_tasks_set_client_gap(GwTasks *self, const char *id, double gap_ms, const char *prober, GError **error)
{
    g_auto(GwTaskRecord) record = {0};
    if (!gw_store_get_task(self->store, id, &record, error))
        return false;
    g_autoptr(JsonObject) result = record.result ? gw_json_parse_object(record.result, -1, NULL) : NULL;
    JsonObject *motion = result ? gw_json_get_object(result, "motion") : NULL;
    if (strcmp(record.state, "completed") != 0 || !motion) {
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                    "%s is %s: a client's gap belongs to a motion that has completed", id, record.state);
        return false;
    }
    json_object_set_object_member(motion, "client", client_json(gap_ms, prober));
    g_free(record.result);
    record.result = gw_json_object_to_line(result);
    return gw_store_put_task(self->store, &record, error);
}

char *
gw_tasks_of_vm(GwTasks *self, const char *vm)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    const GwTask *task = gw_tasks_find_vm_locked(self, vm);
    return task ? g_strdup(task->record.id) : NULL;
}
