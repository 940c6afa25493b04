/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A task from the inside: what its own thread says of it, and how it ends. */
#include "error.h"
#include "hold.h"
#include "inventory-internal.h"
#include "task-internal.h"

#include <string.h>

#define PROGRESS_US       (200 * 1000) /* told at most five times a second */
#define LEAST_CPU_PERCENT 10           /* that a VM is reckoned to use */
#define RETRY_MS          1000         /* of a store that does not take what has to be kept */

static char **
read_strings(JsonArray *array)
{
    GPtrArray *strings = g_ptr_array_new();
    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        JsonNode *node = json_array_get_element(array, i);
        if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING)
            g_ptr_array_add(strings, g_strdup(json_node_get_string(node)));
    }
    g_ptr_array_add(strings, NULL);
    return (char **)g_ptr_array_free(strings, FALSE);
}

static void
read_request(GwTask *self)
{
    g_autoptr(JsonObject) request =
        self->record.request ? gw_json_parse_object(self->record.request, -1, NULL) : NULL;
    g_autoptr(JsonObject) none = json_object_new();
    JsonObject *from = request ? request : none;
    int64_t streams = 0, goal_ms = 0, deadline_s = 0;
    self->tls = true;
    gw_json_get_bool(from, "tls", &self->tls);
    gw_json_get_int(from, "streams", &streams);
    gw_json_get_int(from, "switchover_goal_ms", &goal_ms);
    gw_json_get_int(from, "deadline_s", &deadline_s);
    self->streams = (unsigned)streams;
    self->switchover_goal_ms = (unsigned)goal_ms;
    self->deadline_s = (unsigned)deadline_s;
    self->overrides = read_strings(gw_json_get_array(from, "overrides"));
    self->priority =
        g_strcmp0(gw_json_get_string(from, "priority"), "high") == 0 ? GW_PRIORITY_HIGH : GW_PRIORITY_NORMAL;
}

static void
add_datastore(GPtrArray *names, const GwFileRef *file)
{
    if (file->datastore && !g_ptr_array_find_with_equal_func(names, file->datastore, g_str_equal, NULL))
        g_ptr_array_add(names, g_strdup(file->datastore));
}

/* What the motion takes of the budgets. */
static void
read_demand(GwTask *self)
{
    g_autofree char *text = gw_inventory_vm_config(self->tasks->inventory, self->record.vm, NULL);
    g_autoptr(GwVmConfig) config = text ? gw_vm_config_parse(text, -1, NULL) : NULL;
    GPtrArray *names = g_ptr_array_new();
    for (guint i = 0; config && i < config->disks->len; i++)
        add_datastore(names, &g_array_index(config->disks, GwDiskConfig, i).file);
    for (guint i = 0; config && i < config->cdroms->len; i++)
        add_datastore(names, &g_array_index(config->cdroms, GwCdromConfig, i).file);
    g_ptr_array_add(names, NULL);
    self->datastores = (char **)g_ptr_array_free(names, FALSE);
    self->memory_bytes = config ? config->memory_bytes : 0;
    self->cpu_percent =
        MAX(gw_inventory_vm_cpu_percent(self->tasks->inventory, self->record.vm, self->record.source),
            LEAST_CPU_PERCENT);
}

static void
unpack_result(GwTask *self)
{
    g_autoptr(JsonObject) result =
        self->record.result ? gw_json_parse_object(self->record.result, -1, NULL) : NULL;
    JsonNode *findings = result ? json_object_get_member(result, "findings") : NULL;
    JsonObject *motion = result ? gw_json_get_object(result, "motion") : NULL;
    if (findings)
        self->findings = gw_json_node_to_line(findings);
    if (motion)
        self->motion = gw_json_object_to_line(motion);
}

GwTask *
gw_task_from_record(GwTasks *tasks, const GwTaskRecord *record)
{
    GwTask *self = g_new0(GwTask, 1);
    self->tasks = tasks;
    gw_task_record_copy(record, &self->record);
    read_request(self);
    read_demand(self);
    unpack_result(self);
    return self;
}

void
gw_task_free(GwTask *self)
{
    if (!self)
        return;
    gw_task_record_clear(&self->record);
    g_strfreev(self->overrides);
    g_strfreev(self->datastores);
    g_free(self->waits_for);
    g_free(self->findings);
    g_free(self->progress);
    g_free(self->motion);
    g_free(self);
}

bool
gw_task_is_stopping(GwTask *self)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->tasks->lock);
    return self->tasks->stopping;
}

bool
gw_task_cancel_wanted(GwTask *self)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->tasks->lock);
    return self->cancel_wanted;
}

static void
tell_state(GwTask *self)
{
    g_mutex_lock(&self->tasks->lock);
    JsonObject *object = gw_task_json_locked(self, false);
    g_mutex_unlock(&self->tasks->lock);
    gw_tasks_tell(self->tasks, "task.state", object);
}

static bool
store(GwTask *self, GError **error)
{
    g_auto(GwTaskRecord) record = {0};
    g_mutex_lock(&self->tasks->lock);
    gw_task_pack_result_locked(self);
    gw_task_record_copy(&self->record, &record);
    g_mutex_unlock(&self->tasks->lock);
    return gw_store_put_task(self->tasks->store, &record, error);
}

static bool
hold_ends(void *user_data)
{
    return gw_task_is_stopping(user_data);
}

static bool
may_go_on(GwTask *self, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->tasks->lock);
    if (self->tasks->stopping)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_CANCELLED, "the center ends");
    else if (self->cancel_wanted && !self->is_sent)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_CANCELLED, "cancelled");
    else
        return true;
    return false;
}

void
gw_task_hold(GwTask *self)
{
    gw_hold("GODWIT_CENTER", self->record.step, hold_ends, self);
}

bool
gw_task_step(GwTask *self, const char *step, GError **error)
{
    if (!may_go_on(self, error))
        return false;
    g_mutex_lock(&self->tasks->lock);
    g_free(self->record.step);
    self->record.step = g_strdup(step);
    g_mutex_unlock(&self->tasks->lock);
    if (!store(self, error))
        return false;
    tell_state(self);
    gw_task_hold(self);
    return may_go_on(self, error);
}

void
gw_task_set_client(GwTask *self, unsigned index, GwHostClient *client)
{
    g_mutex_lock(&self->tasks->lock);
    self->clients[index] = client;
    if (client && self->tasks->stopping)
        gw_host_client_cancel(client);
    g_mutex_unlock(&self->tasks->lock);
}

void
gw_task_set_findings(GwTask *self, const GArray *findings)
{
    g_autoptr(JsonArray) array = gw_findings_to_json(findings);
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_ARRAY);
    json_node_set_array(node, array);
    g_mutex_lock(&self->tasks->lock);
    g_free(self->findings);
    self->findings = gw_json_node_to_line(node);
    g_mutex_unlock(&self->tasks->lock);
}

void
gw_task_set_motion(GwTask *self, JsonObject *motion)
{
    g_mutex_lock(&self->tasks->lock);
    g_free(self->motion);
    self->motion = gw_json_object_to_line(motion);
    g_mutex_unlock(&self->tasks->lock);
    json_object_unref(motion);
}

bool
gw_task_set_session(GwTask *self, const char *session, GError **error)
{
    g_mutex_lock(&self->tasks->lock);
    g_free(self->record.session);
    self->record.session = g_strdup(session);
    g_mutex_unlock(&self->tasks->lock);
    return store(self, error);
}

void
gw_task_set_sent(GwTask *self, bool is_sent)
{
    g_mutex_lock(&self->tasks->lock);
    self->is_sent = is_sent;
    g_mutex_unlock(&self->tasks->lock);
}

void
gw_task_set_waits_for(GwTask *self, const char *waits_for)
{
    g_mutex_lock(&self->tasks->lock);
    bool is_new = g_strcmp0(self->waits_for, waits_for) != 0;
    if (is_new) {
        g_free(self->waits_for);
        self->waits_for = g_strdup(waits_for);
    }
    g_mutex_unlock(&self->tasks->lock);
    if (is_new)
        tell_state(self);
}

static uint64_t
arrived_bytes(JsonObject *progress)
{
    int64_t n_sent = 0, n_again = 0;
    gw_json_get_int(progress, "pages_sent", &n_sent);
    gw_json_get_int(progress, "pages_resent", &n_again);
    return n_sent > n_again && n_again >= 0 ? (uint64_t)(n_sent - n_again) * 4096 : 0;
}

void
gw_task_set_progress(GwTask *self, JsonObject *progress)
{
    g_autofree char *text = gw_json_object_to_line(progress);
    g_mutex_lock(&self->tasks->lock);
    bool is_new = g_strcmp0(self->progress, text) != 0;
    g_free(self->progress);
    self->progress = g_strdup(text);
    self->arrived_bytes = arrived_bytes(progress);
    g_mutex_unlock(&self->tasks->lock);
    gint64 now_us = g_get_monotonic_time();
    if (!is_new || now_us - self->told_progress_us < PROGRESS_US)
        return;
    self->told_progress_us = now_us;
    JsonObject *data = json_object_new();
    json_object_set_string_member(data, "task", self->record.id);
    gw_json_set_parsed(data, "progress", text);
    gw_event_hub_tell_passing(self->tasks->hub, "task.progress", NULL, self->record.vm, self->record.id,
                              data);
}

void
gw_task_wait(GwTask *self, unsigned ms)
{
    GwTasks *tasks = self->tasks;
    gint64 until_us = g_get_monotonic_time() + (gint64)ms * 1000;
    g_mutex_lock(&tasks->lock);
    while (!self->woken && !tasks->stopping && g_cond_wait_until(&tasks->changed, &tasks->lock, until_us))
        ;
    self->woken = false;
    g_mutex_unlock(&tasks->lock);
}

bool
gw_task_record_home(GwTask *self)
{
    while (!gw_task_is_stopping(self)) {
        g_autoptr(GError) error = NULL;
        g_auto(GwTaskRecord) record = {0};
        g_mutex_lock(&self->tasks->lock);
        g_free(self->record.step);
        self->record.step = g_strdup("clean-up");
        gw_task_pack_result_locked(self);
        gw_task_record_copy(&self->record, &record);
        g_mutex_unlock(&self->tasks->lock);
        if (gw_store_record_home(self->tasks->store, &record, record.vm, record.destination, &error)) {
            gw_task_set_waits_for(self, NULL);
            gw_inventory_vm_moved(self->tasks->inventory, record.vm, record.destination);
            return true;
        }
        g_autofree char *why = g_strdup_printf("the center's store: %s", error->message);
        gw_task_set_waits_for(self, why);
        gw_task_wait(self, RETRY_MS);
    }
    return false;
}

static void
note_end(GwTaskRecord *record, const char *state, const GError *error)
{
    g_free(record->state);
    record->state = g_strdup(state);
    record->ended_us = g_get_real_time();
    g_clear_pointer(&record->error_code, g_free);
    g_clear_pointer(&record->error_message, g_free);
    if (!error)
        return;
    record->error_code = g_strdup(gw_error_name(error));
    record->error_message = g_strdup(error->message);
}

void
gw_task_end(GwTask *self, const char *state, const GError *error)
{
    g_autoptr(GError) cause = NULL;
    GwTasks *tasks = self->tasks;
    GwTaskRecord ended = {0};
    g_mutex_lock(&tasks->lock);
    self->is_ending = true;
    gw_task_pack_result_locked(self);
    gw_task_record_copy(&self->record, &ended);
    g_mutex_unlock(&tasks->lock);
    note_end(&ended, state, error);
    /* Stored before anybody is told: who then asks something of a task that has ended finds it so. If it
     * cannot be stored it is taken up once more by the next center, which finds how things are. */
    if (!gw_store_put_task(tasks->store, &ended, &cause))
        g_warning("%s: its end is not in the store: %s", ended.id, cause->message);
    gw_inventory_set_vm_task(tasks->inventory, ended.vm, NULL); /* before another may begin */
    g_mutex_lock(&tasks->lock);
    gw_task_record_clear(&self->record);
    self->record = ended;
    g_clear_pointer(&self->waits_for, g_free);
    g_clear_pointer(&self->progress, g_free);
    JsonObject *object = gw_task_json_locked(self, false);
    g_ptr_array_remove(tasks->open, self);
    g_cond_broadcast(&tasks->changed);
    g_mutex_unlock(&tasks->lock);
    gw_tasks_tell(tasks, "task.state", object);
    gw_inventory_note(tasks->inventory, GW_CHANGE_TASK_ENDED, self->record.source, self->record.vm);
    gw_task_free(self);
}
