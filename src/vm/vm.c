/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's state, status and threads. What is done to it: vm-ops.c. */
#include "error.h"
#include "json.h"
#include "tap.h"
#include "version.h"
#include "vm-motion.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_LIMIT_BYTES (1024 * 1024)
#define LOG_CHECK_S     10

static const char *const state_names[] = {
    [GW_VM_OFF] = "off",       [GW_VM_STARTING] = "starting", [GW_VM_RUNNING] = "running",
    [GW_VM_PAUSED] = "paused", [GW_VM_CRASHED] = "crashed",   [GW_VM_INCOMING] = "incoming",
    [GW_VM_MOVED] = "moved",
};
G_STATIC_ASSERT(G_N_ELEMENTS(state_names) == GW_VM_N_STATES);

typedef struct {
    GwVm *vm;
    GwVmOp op;
    bool note_end; /* not an operation: QEMU has ended */
    JsonObject *arguments;
    GwVmDone done;
    void *user_data;
    JsonObject *result;
    GError *error;
} Task;

const char *
gw_vm_state_name(GwVmState state)
{
    return state_names[state];
}

static char *
now_text(void)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    return g_date_time_format(now, "%Y-%m-%dT%H:%M:%SZ");
}

void
gw_vm_set_state(GwVm *self, GwVmState state, gint64 monotonic_us)
{
    g_mutex_lock(&self->lock);
    GwVmState before = self->state;
    self->state = state;
    if (before != state) {
        g_free(self->since);
        self->since = now_text();
    }
    g_mutex_unlock(&self->lock);
    if (before == state)
        return;
    g_message("%s, was %s", state_names[state], state_names[before]);
    JsonObject *data = json_object_new();
    json_object_set_string_member(data, "was", state_names[before]);
    g_autofree char *type = g_strconcat("vm.", state_names[state], NULL);
    gw_event_log_publish(self->events, type, data, monotonic_us);
}

void
gw_vm_on_qemu_event(const char *event, JsonObject *data, gint64 when_us, void *user_data)
{
    GwVm *self = user_data;
    GwVmState state = gw_vm_state(self);
    /* Before the guest's first instruction, and after QEMU's end, the state is not these events' to change.
     */
    bool has_run = state == GW_VM_RUNNING || state == GW_VM_PAUSED;
    bool lives = has_run || state == GW_VM_STARTING || state == GW_VM_INCOMING;

    if (strcmp(event, "STOP") == 0 && has_run) {
        gw_vm_set_state(self, GW_VM_PAUSED, when_us);
    } else if (strcmp(event, "RESUME") == 0 && lives) {
        gw_vm_set_state(self, GW_VM_RUNNING, when_us);
    } else if (strcmp(event, "RESET") == 0) {
        gw_event_log_publish(self->events, "vm.reset", NULL, when_us);
    } else if (strcmp(event, "GUEST_PANICKED") == 0) {
        g_warning("the guest's kernel panicked");
        gw_event_log_publish(self->events, "vm.panicked", NULL, when_us);
    } else if (strcmp(event, "SHUTDOWN") == 0) {
        const char *reason = data ? gw_json_get_string(data, "reason") : NULL;
        g_mutex_lock(&self->lock);
        /* Not "host-signal": whoever sends QEMU a signal behind our back ends a VM that nobody asked to end.
         */
        if (g_strcmp0(reason, "guest-shutdown") == 0)
            self->end_expected = true;
        g_free(self->guest_end);
        self->guest_end = g_strdup(reason ? reason : "shutdown");
        g_mutex_unlock(&self->lock);
    }
}

/* Else it is our own looking after what has ended. */
static bool
is_order(const Task *task)
{
    return !task->note_end && task->op != GW_VM_OP_MOTION_ENDED;
}

static gboolean
answer(void *data)
{
    Task *task = data;
    GwVm *self = task->vm;
    g_mutex_lock(&self->lock);
    self->n_pending--;
    self->n_orders -= is_order(task);
    g_mutex_unlock(&self->lock);
    if (task->done)
        task->done(task->result, task->error, task->user_data);
    if (!gw_vm_is_busy(self) && self->settled)
        self->settled(self, self->settled_data);
    g_clear_pointer(&task->arguments, json_object_unref);
    g_clear_pointer(&task->result, json_object_unref);
    g_clear_error(&task->error);
    g_free(task);
    return G_SOURCE_REMOVE;
}

static void
in_main_thread(GwVm *self, GSourceFunc function, void *data)
{
    g_autoptr(GSource) source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, function, data, NULL);
    g_source_attach(source, self->context);
}

static void
work(void *data, void *user_data)
{
    Task *task = data;
    GwVm *self = user_data;
    if (task->note_end)
        gw_vm_note_end(self);
    else
        task->result = gw_vm_run_op(self, task->op, task->arguments, &task->error);
    if (task->error)
        g_debug("%s", task->error->message);
    in_main_thread(self, answer, task);
}

static void
push(GwVm *self, Task *task)
{
    g_mutex_lock(&self->lock);
    self->n_pending++;
    self->n_orders += is_order(task);
    g_mutex_unlock(&self->lock);
    g_thread_pool_push(self->worker, task, NULL);
}

void
gw_vm_submit(GwVm *self, GwVmOp op, JsonObject *arguments, GwVmDone done, void *user_data)
{
    if (op == GW_VM_OP_KILL && !gw_vm_motion_is_handing(self)) {
        g_mutex_lock(&self->lock);
        if (self->qemu) {
            self->end_expected = true;
            g_autoptr(GError) error = NULL;
            if (!gw_journal_write(self->journal, "kill", NULL, &error))
                g_warning("%s, ignoring: the VM ends all the same", error->message);
            gw_process_signal(gw_qemu_process(self->qemu), SIGKILL);
        }
        g_mutex_unlock(&self->lock);
    }
    Task *task = g_new0(Task, 1);
    *task = (Task){.vm = self, .op = op, .done = done, .user_data = user_data};
    task->arguments = arguments ? json_object_ref(arguments) : NULL;
    push(self, task);
}

static gboolean
on_qemu_ended(gint pidfd, GIOCondition condition, gpointer data)
{
    GwVm *self = data;
    g_mutex_lock(&self->lock);
    self->exit_watch = 0;
    self->exit_fd = -1;
    g_mutex_unlock(&self->lock);
    close(pidfd);
    Task *task = g_new0(Task, 1);
    *task = (Task){.vm = self, .note_end = true};
    push(self, task);
    return G_SOURCE_REMOVE;
}

/* On a copy of the pidfd, which the watch closes: the worker may free QEMU at any time. */
void
gw_vm_watch_end(GwVm *self, int pidfd)
{
    g_mutex_lock(&self->lock);
    self->exit_fd = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
    self->exit_watch = g_unix_fd_add(self->exit_fd, G_IO_IN, on_qemu_ended, self);
    g_mutex_unlock(&self->lock);
}

typedef struct {
    GwVm *vm;
    unsigned port;
    int fd;
} Attach;

static gboolean
attach(void *data)
{
    Attach *a = data;
    gw_console_attach(a->vm->consoles[a->port].console, a->fd);
    g_free(a);
    return G_SOURCE_REMOVE;
}

void
gw_vm_attach_console(GwVm *self, unsigned port, int fd)
{
    Attach *a = g_new(Attach, 1);
    *a = (Attach){self, port, fd};
    in_main_thread(self, attach, a);
}

static void
on_console_output(const char *data, size_t length, void *user_data)
{
    GwVmConsole *console = user_data;
    if (console->vm->follower)
        console->vm->follower(console->port, data, length, console->vm->follower_data);
}

static bool
open_consoles(GwVm *self, GError **error)
{
    for (unsigned i = 0; i < self->config->n_serials; i++) {
        g_autofree char *name = g_strdup_printf("console%u.log", i);
        g_autofree char *path = gw_vm_dir_file(self->dir, name);
        self->consoles[i] = (GwVmConsole){.vm = self, .port = i};
        self->consoles[i].console = gw_console_new(path, on_console_output, &self->consoles[i], error);
        if (!self->consoles[i].console)
            return false;
    }
    return true;
}

/* QEMU writes to its log itself (by O_APPEND), so that it loses nothing when a supervisor dies; a guest that
 * makes it complain without end must not fill the host's memory with that. */
static gboolean
trim_log(gpointer data)
{
    GwVm *self = data;
    struct stat st;
    if (stat(self->log_path, &st) == 0 && st.st_size > LOG_LIMIT_BYTES && truncate(self->log_path, 0) < 0)
        g_debug("%s: %s, ignoring", self->log_path, g_strerror(errno));
    return G_SOURCE_CONTINUE;
}

GwVm *
gw_vm_new(GwVmDir *dir, GwVmSetup *setup, GwVmConfig *config, GwEventLog *events, GError **error)
{
    g_autoptr(GwVm) self = g_new0(GwVm, 1);
    self->dir = dir;
    self->setup = setup;
    self->config = config;
    self->events = events;
    self->since = now_text();
    self->qmp_path = gw_vm_dir_file(dir, "qmp.sock");
    self->log_path = gw_vm_dir_file(dir, "qemu.log");
    self->context = g_main_context_ref_thread_default();
    g_mutex_init(&self->lock);
    g_cond_init(&self->motion_decided);
    self->log_trimmer = g_timeout_add_seconds(LOG_CHECK_S, trim_log, self);
    self->worker = g_thread_pool_new(work, self, 1, TRUE, error);
    if (!self->worker)
        return NULL;
    g_autofree char *journal_path = gw_vm_dir_file(dir, "journal");
    self->journal = gw_journal_open(journal_path, error);
    if (!self->journal || !open_consoles(self, error))
        return NULL;
    return g_steal_pointer(&self);
}

GwVmState
gw_vm_state(GwVm *self)
{
    g_mutex_lock(&self->lock);
    GwVmState state = self->state;
    g_mutex_unlock(&self->lock);
    return state;
}

const GwVmConfig *
gw_vm_config(const GwVm *self)
{
    return self->config;
}

GwConsole *
gw_vm_console(GwVm *self, unsigned port)
{
    return port < self->config->n_serials ? self->consoles[port].console : NULL;
}

void
gw_vm_set_console_follower(GwVm *self,
                           void (*follower)(unsigned port, const char *data, size_t length, void *),
                           void *user_data)
{
    self->follower = follower;
    self->follower_data = user_data;
}

void
gw_vm_set_settled_callback(GwVm *self, void (*settled)(GwVm *self, void *), void *user_data)
{
    self->settled = settled;
    self->settled_data = user_data;
}

bool
gw_vm_is_busy(GwVm *self)
{
    g_mutex_lock(&self->lock);
    bool busy = self->n_pending > 0;
    g_mutex_unlock(&self->lock);
    return busy || gw_vm_motion_is_active(self);
}

static JsonObject *
qemu_status(GwVm *self)
{
    JsonObject *qemu = json_object_new();
    unsigned version = self->qemu_version;
    g_autofree char *text = g_strdup_printf("%u.%u.%u", version / 10000, version / 100 % 100, version % 100);
    json_object_set_int_member(qemu, "pid", gw_qemu_process(self->qemu)->pid);
    json_object_set_string_member(qemu, "version", text);
    json_object_set_string_member(qemu, "accel", gw_accel_name(self->accel.accel));
    json_object_set_string_member(qemu, "accel_why", self->accel.why);
    json_object_set_string_member(qemu, "user", self->setup->qemu_user);
    return qemu;
}

static JsonArray *
nic_status(const GwVm *self)
{
    JsonArray *nics = json_array_new();
    for (guint i = 0; i < self->config->nics->len; i++) {
        const GwNicConfig *nic = &g_array_index(self->config->nics, GwNicConfig, i);
        char mac[18], tap[IFNAMSIZ];
        gw_mac_format(nic->mac, mac);
        gw_tap_name(self->config->uuid, i, tap);
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "id", nic->id);
        json_object_set_string_member(object, "mac", mac);
        json_object_set_string_member(object, "port_group", nic->port_group);
        json_object_set_string_member(object, "tap", tap);
        json_array_add_object_element(nics, object);
    }
    return nics;
}

JsonObject *
gw_vm_status(GwVm *self)
{
    JsonObject *status = json_object_new();
    JsonObject *supervisor = json_object_new();
    JsonObject *memory = json_object_new();
    JsonObject *events = json_object_new();
    json_object_set_int_member(events, "last_id", (gint64)gw_event_log_last_id(self->events));

    g_mutex_lock(&self->lock);
    json_object_set_string_member(status, "name", self->config->name);
    json_object_set_string_member(status, "uuid", self->config->uuid);
    json_object_set_string_member(status, "state", state_names[self->state]);
    json_object_set_string_member(status, "since", self->since);
    json_object_set_int_member(status, "vcpus", self->config->vcpus);
    json_object_set_string_member(status, "machine", self->config->machine);
    json_object_set_int_member(supervisor, "pid", getpid());
    json_object_set_string_member(supervisor, "version", GW_VERSION);
    json_object_set_boolean_member(supervisor, "adopted", self->adopted);
    json_object_set_object_member(status, "supervisor", supervisor);
    json_object_set_int_member(memory, "size_bytes", (gint64)self->config->memory_bytes);
    json_object_set_int_member(memory, "resident_bytes",
                               self->image ? (gint64)gw_image_resident(self->image) : 0);
    json_object_set_boolean_member(memory, "trace_armed", self->trace != NULL);
    json_object_set_object_member(status, "memory", memory);
    if (self->qemu)
        json_object_set_object_member(status, "qemu", qemu_status(self));
    else
        json_object_set_null_member(status, "qemu");
    json_object_set_array_member(status, "nics", nic_status(self));
    json_object_set_object_member(status, "events", events);
    if (self->last_exit)
        json_object_set_object_member(status, "last_exit", gw_json_object_copy(self->last_exit));
    else
        json_object_set_null_member(status, "last_exit");
    g_mutex_unlock(&self->lock);
    return status;
}

bool
gw_vm_remove(GwVm *self, GError **error)
{
    GwVmState state = gw_vm_state(self);
    if (state != GW_VM_OFF && state != GW_VM_CRASHED && state != GW_VM_MOVED) {
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE, "the VM is %s: power it off first",
                    state_names[state]);
        return false;
    }
    /* Our own looking after a motion's end may come behind any order, and finds nothing to do then. */
    g_mutex_lock(&self->lock);
    bool has_orders = self->n_orders > 0;
    g_mutex_unlock(&self->lock);
    if (has_orders || gw_vm_motion_is_active(self)) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_WRONG_STATE, "an operation on the VM is under way");
        return false;
    }
    if (!gw_journal_write(self->journal, "remove", NULL, error))
        return false;
    return gw_vm_dir_remove(self->dir, error);
}

void
gw_vm_free(GwVm *self)
{
    if (!self)
        return;
    g_mutex_lock(&self->lock);
    if (self->exit_watch) {
        g_clear_handle_id(&self->exit_watch, g_source_remove);
        close(self->exit_fd);
    }
    g_mutex_unlock(&self->lock);
    g_clear_handle_id(&self->log_trimmer, g_source_remove);
    /* A motion that is still about ends first: it submits. Then the worker: nothing it uses goes away under
     * it. Its last answers are given here. */
    gw_vm_motion_leave(self);
    gw_vm_motion_join(self);
    if (self->worker)
        g_thread_pool_free(self->worker, FALSE, TRUE);
    while (g_main_context_iteration(self->context, FALSE))
        ;
    gw_vm_motion_free(self->motion);
    gw_trace_free(self->trace);
    gw_qemu_free(self->qemu);
    gw_image_free(self->image);
    for (size_t i = 0; i < G_N_ELEMENTS(self->consoles); i++)
        gw_console_free(self->consoles[i].console);
    gw_journal_free(self->journal);
    gw_vm_config_free(self->config);
    gw_vm_setup_free(self->setup);
    gw_vm_dir_free(self->dir);
    g_clear_pointer(&self->last_exit, json_object_unref);
    g_main_context_unref(self->context);
    g_free(self->accel.why);
    g_free(self->guest_end);
    g_free(self->since);
    g_free(self->qmp_path);
    g_free(self->log_path);
    g_cond_clear(&self->motion_decided);
    g_mutex_clear(&self->lock);
    g_free(self);
}
