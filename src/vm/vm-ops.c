/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is done to a VM, in the worker thread: one function an operation, each top to bottom. */
#include "error.h"
#include "json.h"
#include "vm-motion.h"
#include "vm-resources.h"

#include <string.h>
#include <unistd.h>

#define TRACE_LIST_LIMIT 65536

static bool
require_qemu(GwVm *self, const char *to, GError **error)
{
    if (self->qemu)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE, "cannot %s: the VM is %s", to,
                gw_vm_state_name(gw_vm_state(self)));
    return false;
}

static bool
has_cgroup(const GwVmConfig *config)
{
    return config->cpu_shares != 1000 || config->cpu_limit_percent != 0;
}

/* Opens the VM's cgroup for a QEMU about to start; -1 without an error if it needs none. */
static bool
make_cgroup(GwVm *self, int *ret_fd, GError **error)
{
    *ret_fd = -1;
    self->has_cgroup = has_cgroup(self->config);
    if (!self->has_cgroup)
        return true;
    g_auto(GwCgroupHost) host = gw_cgroup_probe();
    *ret_fd = gw_cgroup_make(&host, self->config->uuid, self->config->cpu_shares,
                             self->config->cpu_limit_percent, error);
    return *ret_fd >= 0;
}

static void
remove_cgroup(GwVm *self)
{
    if (!self->has_cgroup)
        return;
    g_auto(GwCgroupHost) host = gw_cgroup_probe();
    gw_cgroup_remove(&host, self->config->uuid);
}

static bool
journal_start(GwVm *self, GwAccel accel, bool paused, bool incoming, GError **error)
{
    JsonObject *fields = json_object_new();
    json_object_set_string_member(fields, "qemu", self->setup->qemu_binary);
    json_object_set_string_member(fields, "accel", gw_accel_name(accel));
    json_object_set_boolean_member(fields, "paused", paused);
    json_object_set_boolean_member(fields, "incoming", incoming);
    return gw_journal_write(self->journal, "start", fields, error);
}

static GwQemu *
launch_qemu(GwVm *self, const GwUser *user, GwAccel accel, const GwImage *image,
            const GwVmResources *resources, bool incoming, GError **error)
{
    int cgroup_fd;
    if (!make_cgroup(self, &cgroup_fd, error))
        return NULL;
    g_autofree char *record_before = gw_journal_spawn_prefix(self->journal);
    GwQemuLaunch launch = {
        .binary = self->setup->qemu_binary,
        .preload_library = self->setup->preload_library,
        .user = user,
        .config = self->config,
        .accel = accel,
        .image = image,
        .fds = resources->fds,
        .incoming = incoming,
        .record_fd = gw_journal_fd(self->journal),
        .record_before = record_before,
        .record_after = GW_JOURNAL_SPAWN_SUFFIX,
        .cgroup_fds = &cgroup_fd,
        .n_cgroup_fds = cgroup_fd >= 0,
    };
    GwQemuHooks hooks = {.qmp_path = self->qmp_path,
                         .log_path = self->log_path,
                         .event = gw_vm_on_qemu_event,
                         .user_data = self};
    GwQemu *qemu = gw_qemu_start(&launch, &hooks, error);
    if (cgroup_fd >= 0)
        close(cgroup_fd);
    return qemu;
}

/* From here on the VM has a QEMU, whose end is watched for. Takes qemu, image and accel. */
static void
take_qemu(GwVm *self, GwQemu *qemu, GwImage *image, GwAccelChoice accel)
{
    g_mutex_lock(&self->lock);
    self->qemu = qemu;
    self->image = image;
    g_free(self->accel.why);
    self->accel = accel;
    self->qemu_version = gw_qemu_version(qemu);
    self->end_expected = false;
    self->end_state = GW_VM_OFF;
    g_clear_pointer(&self->guest_end, g_free);
    g_mutex_unlock(&self->lock);
    gw_vm_watch_end(self, gw_qemu_process(qemu)->pidfd);
}

static bool
let_run(GwVm *self, GError **error)
{
    return gw_journal_write(self->journal, "run", NULL, error) &&
           gw_vmm_resume(gw_qemu_vmm(self->qemu), NULL, error);
}

/* Pins, and lets the guest run, or leaves it in the state `stay`. */
static bool
finish_start(GwVm *self, bool run, GwVmState stay, GError **error)
{
    if (!gw_qemu_pin(self->qemu, self->config->pins, error))
        return false;
    if (run)
        return let_run(self, error);
    gw_vm_set_state(self, stay, 0);
    return true;
}

static void
abandon_start(GwVm *self)
{
    g_mutex_lock(&self->lock);
    self->end_expected = true;
    g_mutex_unlock(&self->lock);
    gw_qemu_kill(self->qemu);
    gw_vm_note_end(self);
}

static bool
start(GwVm *self, bool paused, bool incoming, GError **error)
{
    g_auto(GwUser) user = {0};
    if (!gw_user_look_up(self->setup->qemu_user, &user, error))
        return false;
    GwAccelFacts facts = gw_accel_probe(&user);
    GwAccelChoice accel = gw_accel_choose(self->config->accel, &facts);
    g_autofree char *why = accel.why;
    g_message("accelerator: %s", why);

    g_auto(GwVmResources) resources;
    gw_vm_resources_init(&resources);
    if (!gw_vm_resources_open(&resources, self->config, self->setup, self->dir, error))
        return false;
    g_autoptr(GwImage) image = gw_image_new(self->config->uuid, self->config->memory_bytes, error);
    if (!image || !journal_start(self, accel.accel, paused, incoming, error))
        return false;

    gw_vm_set_state(self, GW_VM_STARTING, 0);
    GwQemu *qemu = launch_qemu(self, &user, accel.accel, image, &resources, incoming, error);
    if (!qemu) {
        gw_journal_mend(self->journal, NULL); /* its "spawned" may be torn */
        gw_journal_write(self->journal, "ended", NULL, NULL);
        remove_cgroup(self);
        gw_vm_set_state(self, GW_VM_OFF, 0);
        return false;
    }
    accel.why = g_steal_pointer(&why);
    take_qemu(self, qemu, g_steal_pointer(&image), accel);
    for (unsigned i = 0; i < self->config->n_serials; i++)
        gw_vm_attach_console(self, i, gw_vm_resources_steal_serial(&resources, i));
    if (finish_start(self, !paused && !incoming, incoming ? GW_VM_INCOMING : GW_VM_PAUSED, error))
        return true;
    abandon_start(self);
    return false;
}

static bool
op_start(GwVm *self, JsonObject *arguments, GError **error)
{
    bool paused = false, incoming = false;
    if (arguments) {
        gw_json_get_bool(arguments, "paused", &paused);
        gw_json_get_bool(arguments, "incoming", &incoming);
    }
    if (self->qemu || gw_vm_state(self) == GW_VM_MOVED) {
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE, "cannot start: the VM is %s",
                    gw_vm_state_name(gw_vm_state(self)));
        return false;
    }
    if (start(self, paused, incoming, error))
        return true;
    g_prefix_error(error, "starting %s: ", self->config->name);
    return false;
}

/* A VM whose QEMU ended while nobody watched: how is not to be learnt any more, only whether that was asked
 * for. */
static void
note_lost(GwVm *self, const GwJournalSummary *before, const char *why)
{
    bool expected = before->power_intended || before->kill_intended;
    g_autofree char *words = gw_qemu_last_words(self->log_path);
    JsonObject *exit = json_object_new();
    json_object_set_string_member(exit, "how", "ended while no supervisor watched");
    json_object_set_boolean_member(exit, "expected", expected);
    json_object_set_string_member(exit, "last_words", words);
    gw_journal_write(self->journal, "ended", json_object_ref(exit), NULL);
    g_mutex_lock(&self->lock);
    self->last_exit = exit;
    g_mutex_unlock(&self->lock);
    remove_cgroup(self);
    g_message("its QEMU is gone (%s)", why);
    gw_vm_set_state(self, expected ? GW_VM_OFF : GW_VM_CRASHED, 0);
}

/* A guest that has been loaded is paused for QEMU, and without a "go" it is never this host's: who took it
 * for one that has arrived would let go of the source's, and this one is about to be ended. */
static GwVmState
adopted_state(const char *run_state, const GwJournalSummary *before, const GwJournalMotion *motion)
{
    if (strcmp(run_state, "running") == 0)
        return GW_VM_RUNNING;
    bool is_owned = motion->go && !motion->refused;
    bool waits = motion->kind == GW_JOURNAL_MOTION_IN && !is_owned;
    return before->incoming && (waits || strcmp(run_state, "inmigrate") == 0) ? GW_VM_INCOMING : GW_VM_PAUSED;
}

/* What the guest does, and what the dead supervisor had still to do. */
static bool
settle_adopted(GwVm *self, const GwJournalSummary *before, const GwJournalMotion *motion, GError **error)
{
    g_autofree char *run_state = gw_qemu_run_state(self->qemu, error);
    if (!run_state)
        return false;
    for (unsigned i = 0; i < self->config->n_serials; i++) {
        int fd = gw_vm_serial_connect(self->dir, i, error);
        if (fd < 0)
            return false;
        gw_vm_attach_console(self, i, fd);
    }
    /* Killed before the guest's first instruction, on the way to it: that was asked for, so it is done now.
     */
    if (strcmp(run_state, "prelaunch") == 0 && (before->ran || !before->start_paused)) {
        gw_vm_set_state(self, GW_VM_STARTING, 0);
        return finish_start(self, true, GW_VM_PAUSED, error);
    }
    gw_vm_set_state(self, adopted_state(run_state, before, motion), 0);
    return true;
}

/* Takes the QEMU over that the journal speaks of, or notes that it is gone. */
static bool
adopt_qemu(GwVm *self, const GwJournalSummary *before, const GwJournalMotion *motion, GError **error)
{
    /* The pid may be another's by now: only QEMU holds this VM's memory. */
    g_auto(GwProcess) process = GW_PROCESS_NONE;
    g_autoptr(GError) cause = NULL;
    g_autoptr(GwImage) image = NULL;
    GwQemuHooks hooks = {.qmp_path = self->qmp_path,
                         .log_path = self->log_path,
                         .event = gw_vm_on_qemu_event,
                         .user_data = self};
    if (!gw_process_open(before->qemu_pid, &process, &cause)) {
        note_lost(self, before, cause->message);
        return true;
    }
    GwQemu *qemu = gw_qemu_adopt(&process, self->config->uuid, &hooks, &image, &cause);
    if (!qemu && g_error_matches(cause, GW_ERROR, GW_ERROR_NOT_FOUND)) {
        note_lost(self, before, cause->message);
        return true;
    }
    if (!qemu) {
        g_propagate_prefixed_error(error, g_steal_pointer(&cause),
                                   "adopting %s (process %d): ", self->config->name, before->qemu_pid);
        return false;
    }
    bool kvm = strcmp(before->accel, "kvm") == 0;
    GwAccelChoice accel = {kvm ? GW_ACCEL_KVM : GW_ACCEL_TCG, g_strdup("chosen when the VM was started")};
    take_qemu(self, qemu, g_steal_pointer(&image), accel);
    if (before->kill_intended) {
        /* The order was written down and perhaps not carried out. */
        abandon_start(self);
        return true;
    }
    return settle_adopted(self, before, motion, error);
}

static bool
op_adopt(GwVm *self, GError **error)
{
    g_autofree char *text = gw_vm_dir_read(self->dir, "journal", error);
    if (!text)
        return false;
    GwJournalSummary before = gw_journal_summarize(text, strlen(text));
    g_auto(GwJournalMotion) motion = gw_journal_find_motion(text, strlen(text));
    self->has_cgroup = has_cgroup(self->config);
    if (!gw_journal_write(self->journal, "adopt", NULL, error))
        return false;
    g_mutex_lock(&self->lock);
    self->adopted = true;
    g_mutex_unlock(&self->lock);
    gw_event_log_publish(self->events, "vm.adopted", NULL, 0);
    if (!before.qemu_pid)
        remove_cgroup(self); /* made for a QEMU that never came */
    else if (!adopt_qemu(self, &before, &motion, error))
        return false;
    return motion.kind == GW_JOURNAL_NO_MOTION || gw_vm_motion_adopt(self, &motion, error);
}

void
gw_vm_note_end(GwVm *self)
{
    if (!self->qemu || !gw_vm_motion_abort(self, "QEMU has ended"))
        return; /* while a motion hands over it is told when that is over */
    gw_qemu_drain(self->qemu);
    g_autofree char *how = gw_process_reap(gw_qemu_process(self->qemu));
    g_autofree char *words = gw_qemu_last_words(self->log_path);

    g_mutex_lock(&self->lock);
    GwQemu *qemu = g_steal_pointer(&self->qemu);
    GwImage *image = g_steal_pointer(&self->image);
    GwTrace *trace = g_steal_pointer(&self->trace);
    bool expected = self->end_expected;
    GwVmState state = expected ? self->end_state : GW_VM_CRASHED;
    JsonObject *exit = json_object_new();
    json_object_set_string_member(exit, "how", how);
    json_object_set_boolean_member(exit, "expected", expected);
    if (self->guest_end)
        json_object_set_string_member(exit, "reason", self->guest_end);
    json_object_set_string_member(exit, "last_words", words);
    g_clear_pointer(&self->last_exit, json_object_unref);
    self->last_exit = gw_json_object_copy(exit); /* the journal gets the other: no tree is two threads' */
    g_mutex_unlock(&self->lock);

    gw_trace_free(trace);
    gw_qemu_free(qemu);
    gw_image_free(image);
    remove_cgroup(self);
    g_autoptr(GError) error = NULL;
    if (!gw_journal_write(self->journal, "ended", exit, &error))
        g_warning("%s, ignoring: QEMU has ended", error->message);
    if (!expected)
        g_warning("QEMU ended unexpectedly (%s): %s", how, words ? words : "it said nothing");
    gw_vm_set_state(self, state, 0);
}

static bool
op_kill(GwVm *self, GError **error)
{
    /* The signal went out when the operation was submitted. */
    if (!self->qemu)
        return true;
    if (gw_vm_motion_is_handing(self)) {
        g_set_error_literal(
            error, GW_ERROR, GW_ERROR_WRONG_STATE,
            "the VM's motion is not resolved: whether it runs elsewhere has to be known first");
        return false;
    }
    gw_qemu_kill(self->qemu);
    gw_vm_note_end(self);
    return true;
}

static bool
journalled(GwVm *self, const char *verb, const char *step, bool (*act)(GwQemu *, GError **), GError **error)
{
    return require_qemu(self, verb, error) && gw_journal_write(self->journal, step, NULL, error) &&
           act(self->qemu, error);
}

static bool
pause_qemu(GwQemu *qemu, GError **error)
{
    return gw_vmm_pause(gw_qemu_vmm(qemu), error);
}

static bool
resume_qemu(GwQemu *qemu, GError **error)
{
    return gw_vmm_resume(gw_qemu_vmm(qemu), NULL, error);
}

static bool
op_trace_arm(GwVm *self, GError **error)
{
    if (!require_qemu(self, "trace", error))
        return false;
    if (self->trace) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_WRONG_STATE, "the trace is armed already");
        return false;
    }
    if (gw_qemu_uffd(self->qemu) < 0) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED,
                            "this guest's QEMU has no userfaultfd: it cannot be traced");
        return false;
    }
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(GwMemRegion));
    if (!gw_vmm_regions(gw_qemu_vmm(self->qemu), regions, error))
        return false;
    GwTrace *trace = gw_trace_arm(gw_qemu_uffd(self->qemu), gw_qemu_process(self->qemu)->pid,
                                  (const GwMemRegion *)(void *)regions->data, regions->len, error);
    if (!trace)
        return false;
    g_mutex_lock(&self->lock);
    self->trace = trace;
    g_mutex_unlock(&self->lock);
    return true;
}

static JsonObject *
op_trace_scan(GwVm *self, JsonObject *arguments, GError **error)
{
    if (!self->trace) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_WRONG_STATE, "the trace is not armed");
        return NULL;
    }
    int64_t limit = TRACE_LIST_LIMIT;
    if (arguments)
        gw_json_get_int(arguments, "limit", &limit);
    limit = CLAMP(limit, 0, TRACE_LIST_LIMIT);

    JsonArray *list = json_array_new();
    guint64 size = gw_image_size(self->image), at = 0, written = 0, n_runs = 0;
    gint64 began_us = g_get_monotonic_time();
    while (at < size) {
        GwTraceRun runs[512];
        int n = gw_trace_scan(self->trace, &at, size, runs, G_N_ELEMENTS(runs));
        if (n < 0) {
            json_array_unref(list);
            gw_set_errno(error, GW_ERROR_IO, -n, "scanning guest memory");
            return NULL;
        }
        for (int i = 0; i < n; i++, n_runs++) {
            written += runs[i].size_bytes;
            if ((int64_t)n_runs >= limit)
                continue;
            JsonArray *run = json_array_new();
            json_array_add_int_element(run, (gint64)runs[i].mem_off);
            json_array_add_int_element(run, (gint64)runs[i].size_bytes);
            json_array_add_array_element(list, run);
        }
    }
    JsonObject *result = json_object_new();
    json_object_set_int_member(result, "written_bytes", (gint64)written);
    json_object_set_int_member(result, "runs_total", (gint64)n_runs);
    json_object_set_int_member(result, "scan_us", g_get_monotonic_time() - began_us);
    json_object_set_array_member(result, "runs", list);
    return result;
}

static bool
op_trace_disarm(GwVm *self, GError **error)
{
    g_mutex_lock(&self->lock);
    GwTrace *trace = g_steal_pointer(&self->trace);
    g_mutex_unlock(&self->lock);
    gw_trace_free(trace);
    return true;
}

static bool
run_simple_op(GwVm *self, GwVmOp op, JsonObject *arguments, GError **error)
{
    switch (op) {
    case GW_VM_OP_START:
        return op_start(self, arguments, error);
    case GW_VM_OP_ADOPT:
        return op_adopt(self, error);
    case GW_VM_OP_PAUSE:
        return journalled(self, "pause", "pause", pause_qemu, error);
    case GW_VM_OP_RESUME:
        return journalled(self, "resume", "run", resume_qemu, error);
    case GW_VM_OP_RESET:
        return journalled(self, "reset", "reset", gw_qemu_reset, error);
    case GW_VM_OP_SHUTDOWN:
        return journalled(self, "shut down", "power-button", gw_qemu_power_button, error);
    case GW_VM_OP_KILL:
        return op_kill(self, error);
    case GW_VM_OP_TRACE_ARM:
        return op_trace_arm(self, error);
    case GW_VM_OP_TRACE_DISARM:
        return op_trace_disarm(self, error);
    case GW_VM_OP_MOTION_ENDED:
        gw_vm_motion_conclude(self);
        return true;
    case GW_VM_OP_SETTLE:
        return true;
    case GW_VM_OP_TRACE_SCAN:
    case GW_VM_OP_MOTION:
    case GW_VM_OP_MOTION_CHECK:
    case GW_VM_N_OPS:
        break;
    }
    g_return_val_if_reached(false);
}

/* What would come between the engine and the guest, or between QEMU and its state. Ending QEMU always works.
 */
static bool
refuse_during_motion(GwVm *self, GwVmOp op, GError **error)
{
    static const GwVmOp refused[] = {
        GW_VM_OP_START,     GW_VM_OP_PAUSE,      GW_VM_OP_RESUME,       GW_VM_OP_RESET,
        GW_VM_OP_TRACE_ARM, GW_VM_OP_TRACE_SCAN, GW_VM_OP_MOTION_CHECK,
    };
    if (!gw_vm_motion_is_active(self) && gw_vm_state(self) != GW_VM_INCOMING)
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        if (op != refused[i])
            continue;
        g_set_error_literal(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                            gw_vm_motion_is_active(self) ? "a motion is under way"
                                                         : "the VM waits for a motion");
        return true;
    }
    return false;
}

JsonObject *
gw_vm_run_op(GwVm *self, GwVmOp op, JsonObject *arguments, GError **error)
{
    gw_vm_motion_catch_up(self);
    if (refuse_during_motion(self, op, error))
        return NULL;
    if (op == GW_VM_OP_MOTION)
        return gw_vm_motion_begin(self, arguments, error);
    if (op == GW_VM_OP_MOTION_CHECK)
        return require_qemu(self, "move", error) ? gw_vm_motion_findings(self, error) : NULL;
    if (op == GW_VM_OP_TRACE_SCAN)
        return op_trace_scan(self, arguments, error);
    if (!run_simple_op(self, op, arguments, error))
        return NULL;
    JsonObject *result = json_object_new();
    json_object_set_string_member(result, "state", gw_vm_state_name(gw_vm_state(self)));
    return result;
}
