/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Motions of this VM.
 *
 * Threads. The worker begins a motion and concludes it; in between the engine runs in `thread`, which touches
 * nothing of the VM but what it was given. It says that it is decided by submitting GW_VM_OP_MOTION_ENDED,
 * and, at a destination, may then go on answering a source that lost the connection. `GwVm.motion` is changed
 * by the worker under the lock; the main thread reads progress, cancels and resolves under it. */
#include "autogroup.h"
#include "error.h"
#include "vm-motion-internal.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#define BACKGROUND_NICE 19

void
gw_vm_motion_free(GwVmMotion *self)
{
    if (!self)
        return;
    if (self->source)
        gw_source_leave(self->source);
    if (self->sink) {
        gw_sink_cancel(self->sink, "the supervisor ends");
        gw_sink_leave(self->sink);
    }
    if (self->thread)
        g_thread_join(self->thread);
    gw_source_free(self->source);
    gw_sink_free(self->sink);
    gw_trace_free(self->trace);
    gw_announcer_free(self->announcer);
    gw_tls_identity_free(self->identity);
    gw_ticket_free(self->ticket);
    gw_progress_free(self->progress);
    gw_journal_motion_clear(&self->before);
    g_clear_error(&self->error);
    g_free(self);
}

void
gw_vm_motion_join(GwVm *self)
{
    g_mutex_lock(&self->lock);
    GThread *thread = self->motion ? g_steal_pointer(&self->motion->thread) : NULL;
    g_mutex_unlock(&self->lock);
    if (thread)
        g_thread_join(thread);
}

static void
set_motion(GwVm *vm, GwVmMotion *motion)
{
    g_mutex_lock(&vm->lock);
    GwVmMotion *before = vm->motion;
    vm->motion = motion;
    g_mutex_unlock(&vm->lock);
    gw_vm_motion_free(before);
}

static void
tell_end(GwVmMotion *self)
{
    JsonObject *data = json_object_new();
    static const char *const names[] = {[GW_OUTCOME_STAYS] = "stays",
                                        [GW_OUTCOME_LEFT] = "left",
                                        [GW_OUTCOME_ARRIVED] = "arrived",
                                        [GW_OUTCOME_REFUSED] = "refused",
                                        [GW_OUTCOME_OPEN] = "open"};
    const char *outcome = names[self->outcome];
    json_object_set_string_member(data, "outcome", outcome);
    if (self->error) {
        json_object_set_string_member(data, "error", self->error->message);
        g_message("motion %s: %s", outcome, self->error->message);
    } else {
        g_message("motion %s", outcome);
    }
    gw_event_log_publish(self->vm->events, "motion.ended", data, 0);
}

static void
decide(GwVmMotion *self, GwOutcome outcome, GError *error)
{
    g_mutex_lock(&self->vm->lock);
    self->outcome = outcome;
    self->error = error;
    self->decided = true;
    g_cond_broadcast(&self->vm->motion_decided);
    g_mutex_unlock(&self->vm->lock);
    tell_end(self);
    gw_vm_submit(self->vm, GW_VM_OP_MOTION_ENDED, NULL, NULL, NULL);
}

static void
note_answered(GwVmMotion *self)
{
    g_mutex_lock(&self->vm->lock);
    self->answered = true;
    g_mutex_unlock(&self->vm->lock);
    gw_vm_submit(self->vm, GW_VM_OP_MOTION_ENDED, NULL, NULL,
                 NULL); /* so that what waits for it is looked at */
}

static bool
is_picked_up(const GwVmMotion *self)
{
    return self->before.kind != GW_JOURNAL_NO_MOTION;
}

static void *
run_source(void *data)
{
    GwVmMotion *self = data;
    const GwJournalMotion *before = &self->before;
    GError *error = NULL;
    GwOutcome outcome = is_picked_up(self) ? gw_source_pick_up(self->source, before->handed_over,
                                                               before->owns, before->released, &error)
                                           : gw_source_run(self->source, &error);
    g_mutex_lock(&self->vm->lock);
    self->answered = true;
    g_mutex_unlock(&self->vm->lock);
    decide(self, outcome, error);
    return NULL;
}

static void *
run_sink(void *data)
{
    GwVmMotion *self = data;
    const GwJournalMotion *before = &self->before;
    GError *error = NULL;
    GwOutcome outcome = is_picked_up(self) ? gw_sink_pick_up(self->sink, before->ready, before->go,
                                                             before->refused, before->runs, &error)
                                           : gw_sink_run(self->sink, &error);
    decide(self, outcome, error);
    if (outcome != GW_OUTCOME_OPEN && gw_sink_answer(self->sink))
        gw_journal_write(self->vm->journal, "motion-end", NULL, NULL);
    note_answered(self);
    return NULL;
}

void
gw_vm_motion_start(GwVmMotion *self)
{
    set_motion(self->vm, self);
    self->thread = g_thread_new("gw-motion", self->outgoing ? run_source : run_sink, self);
}

static void
end_qemu(GwVm *vm, GwVmState state)
{
    g_mutex_lock(&vm->lock);
    vm->end_expected = true;
    vm->end_state = state;
    g_mutex_unlock(&vm->lock);
    if (!vm->qemu) {
        gw_vm_set_state(vm, state, 0);
        return;
    }
    gw_qemu_kill(vm->qemu);
    gw_vm_note_end(vm);
}

/* What is left of a VM that has gone is to be torn down: trace, mappings, all of its memory. None of that is
 * urgent, and it would compete with this host's guests: freeing half a gigabyte takes a CPU for a tenth of a
 * second. This supervisor will start nothing any more, so it stays in the background. */
static void
step_back(GwVm *vm)
{
    if (vm->qemu)
        gw_process_set_nice(gw_qemu_process(vm->qemu), BACKGROUND_NICE);
    setpriority(PRIO_PROCESS, (id_t)gettid(), BACKGROUND_NICE);
    if (getsid(0) == getpid())
        gw_autogroup_set_nice(getpid(), BACKGROUND_NICE);
}

static void
conclude_source(GwVm *vm, GwVmMotion *motion)
{
    if (motion->outcome == GW_OUTCOME_LEFT)
        step_back(vm);
    gw_trace_free(g_steal_pointer(&motion->trace));
    if (motion->outcome == GW_OUTCOME_OPEN)
        return;
    if (motion->outcome == GW_OUTCOME_LEFT)
        end_qemu(vm, GW_VM_MOVED);
    else if (!vm->qemu)
        gw_vm_set_state(vm, GW_VM_CRASHED, 0);
    else if (!gw_process_is_alive(gw_qemu_process(vm->qemu)))
        gw_vm_note_end(vm);
    gw_journal_write(vm->journal, "motion-end", NULL, NULL);
}

static void
conclude_sink(GwVm *vm, GwVmMotion *motion)
{
    if (motion->outcome == GW_OUTCOME_REFUSED) {
        end_qemu(vm, GW_VM_OFF);
    } else if (motion->outcome == GW_OUTCOME_ARRIVED) {
        if (gw_vm_state(vm) == GW_VM_INCOMING)
            gw_vm_set_state(vm, GW_VM_PAUSED, 0);
        if (gw_vm_state(vm) == GW_VM_RUNNING && vm->qemu)
            gw_qemu_announce(vm->qemu, NULL);
    }
    gw_announcer_free(g_steal_pointer(&motion->announcer));
}

static void
conclude(GwVm *self)
{
    g_mutex_lock(&self->lock);
    GwVmMotion *motion = self->motion;
    bool due = motion && motion->decided && !motion->concluded;
    g_mutex_unlock(&self->lock);
    if (!due)
        return;
    if (motion->outgoing)
        conclude_source(self, motion);
    else
        conclude_sink(self, motion);
    g_mutex_lock(&self->lock);
    motion->concluded = true;
    g_mutex_unlock(&self->lock);
}

/* Once nobody needs an answer any more the motion's connections, threads and buffers go; what it was and how
 * it ended remains to be asked for. */
static void
release_engine(GwVm *self)
{
    g_mutex_lock(&self->lock);
    GwVmMotion *motion = self->motion;
    bool due = motion && motion->concluded && motion->answered;
    g_mutex_unlock(&self->lock);
    if (!due)
        return;
    gw_vm_motion_join(self);
    g_mutex_lock(&self->lock);
    GwSource *source = g_steal_pointer(&motion->source);
    GwSink *sink = g_steal_pointer(&motion->sink);
    g_mutex_unlock(&self->lock);
    gw_source_free(source);
    gw_sink_free(sink);
    /* Each thread had an arena of malloc's, which would keep a megabyte or so for the next motion: there is
     * one supervisor a VM, and motions are rare. */
    malloc_trim(0);
}

void
gw_vm_motion_conclude(GwVm *self)
{
    conclude(self);
    release_engine(self);
}

bool
gw_vm_motion_is_active(GwVm *self)
{
    g_mutex_lock(&self->lock);
    bool active = self->motion && !self->motion->concluded;
    g_mutex_unlock(&self->lock);
    return active;
}

static GwMotionState
motion_state(GwVmMotion *motion)
{
    GwProgressData progress;
    gw_progress_get(motion->progress, &progress);
    return progress.state;
}

bool
gw_vm_motion_is_handing(GwVm *self)
{
    g_mutex_lock(&self->lock);
    bool handing = self->motion && self->motion->outgoing && !self->motion->decided;
    if (handing) {
        GwMotionState state = motion_state(self->motion);
        handing = state == GW_MOTION_HANDING_OVER || state == GW_MOTION_UNRESOLVED;
    }
    g_mutex_unlock(&self->lock);
    return handing;
}

bool
gw_vm_motion_abort(GwVm *self, const char *why)
{
    g_mutex_lock(&self->lock);
    GwVmMotion *motion = self->motion;
    bool undecided = motion && !motion->decided;
    g_mutex_unlock(&self->lock);
    if (!undecided)
        return true;
    /* What waits for QEMU ends with it; what waits for the peer is cancelled. */
    if (motion->source && (!gw_source_cancel(motion->source, why)))
        return false;
    if (motion->sink)
        gw_sink_cancel(motion->sink, why);
    g_mutex_lock(&self->lock);
    while (!motion->decided)
        g_cond_wait(&self->motion_decided, &self->lock);
    motion->concluded = true;
    g_mutex_unlock(&self->lock);
    gw_trace_free(g_steal_pointer(&motion->trace));
    gw_announcer_free(g_steal_pointer(&motion->announcer));
    if (motion->source)
        gw_journal_write(self->journal, "motion-end", NULL, NULL);
    return true;
}

/* The engine says that it is over a moment before its thread comes here with the reason: who asks in between
 * waits for that. The lock is held, and let go meanwhile. NULL: there is no motion. */
static const GwVmMotion *
await_reason_locked(GwVm *self, GwProgressData *ret_progress)
{
    for (;;) {
        const GwVmMotion *motion = self->motion;
        if (!motion)
            return NULL;
        gw_progress_get(motion->progress, ret_progress);
        if (motion->decided || !gw_motion_state_is_final(ret_progress->state))
            return motion;
        g_cond_wait(&self->motion_decided, &self->lock);
    }
}

void
gw_vm_motion_catch_up(GwVm *self)
{
    GwProgressData progress;
    g_mutex_lock(&self->lock);
    await_reason_locked(self, &progress);
    g_mutex_unlock(&self->lock);
    gw_vm_motion_conclude(self);
}

JsonObject *
gw_vm_motion(GwVm *self)
{
    JsonObject *object = NULL;
    GwProgressData progress;
    g_mutex_lock(&self->lock);
    const GwVmMotion *motion = await_reason_locked(self, &progress);
    if (motion) {
        object = gw_motion_progress_to_json(&progress, motion->outgoing, motion->ticket->session,
                                            motion->decided ? motion->error : NULL);
    }
    g_mutex_unlock(&self->lock);
    return object;
}

static bool
set_no_motion(GError **error)
{
    g_set_error_literal(error, GW_ERROR, GW_ERROR_WRONG_STATE, "no motion is under way");
    return false;
}

bool
gw_vm_motion_cancel(GwVm *self, GError **error)
{
    g_mutex_lock(&self->lock);
    GwVmMotion *motion = self->motion;
    bool active = motion && !motion->decided;
    bool in_time = active && (motion->outgoing ? gw_source_cancel(motion->source, "cancelled on request")
                                               : gw_sink_cancel(motion->sink, "cancelled on request"));
    g_mutex_unlock(&self->lock);
    if (!active)
        return set_no_motion(error);
    if (!in_time)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                            "too late to cancel: the right to run the VM is being handed over");
    return in_time;
}

bool
gw_vm_motion_resolve(GwVm *self, bool run, GError **error)
{
    g_mutex_lock(&self->lock);
    GwVmMotion *motion = self->motion;
    bool active = motion && !motion->decided;
    bool ok = active && (motion->outgoing ? gw_source_resolve(motion->source, run, error)
                                          : gw_sink_resolve(motion->sink, run, error));
    g_mutex_unlock(&self->lock);
    return active ? ok : set_no_motion(error);
}

void
gw_vm_motion_leave(GwVm *self)
{
    g_mutex_lock(&self->lock);
    GwVmMotion *motion = self->motion;
    if (motion && motion->source)
        gw_source_leave(motion->source);
    if (motion && motion->sink) {
        gw_sink_cancel(motion->sink, "the supervisor ends");
        gw_sink_leave(motion->sink);
    }
    g_mutex_unlock(&self->lock);
}

bool
gw_vm_never_came(GwVm *self)
{
    g_mutex_lock(&self->lock);
    GwVmMotion *motion = self->motion;
    bool never = motion && !motion->outgoing && motion->concluded && motion->outcome == GW_OUTCOME_REFUSED &&
                 motion->answered;
    g_mutex_unlock(&self->lock);
    return never;
}
