/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a motion comes to be: by a request, or picked up from a supervisor that died. In the worker. */
#include "error.h"
#include "json.h"
#include "vm-motion-internal.h"

#define WAIT_FOR_SOURCE_US (10 * 60 * G_TIME_SPAN_SECOND)
#define DECIDE_US          (30 * G_TIME_SPAN_SECOND)
#define ANSWER_US          (10 * 60 * G_TIME_SPAN_SECOND)

static GwVmMotion *
motion_new(GwVm *vm, bool outgoing, GwTicket *ticket, bool tls, GError **error)
{
    GwVmMotion *self = g_new0(GwVmMotion, 1);
    self->vm = vm;
    self->outgoing = outgoing;
    self->ticket = ticket;
    self->tls = tls;
    self->progress = gw_progress_new(gw_vm_motion_on_changed, self);
    if (tls) {
        self->identity = gw_tls_identity_load(vm->setup->tls_dir, error);
        if (!self->identity) {
            g_prefix_error(error, "TLS: ");
            gw_vm_motion_free(self);
            return NULL;
        }
    } else {
        g_warning(
            "a motion without TLS was asked for: guest memory is readable by whoever hears the network");
    }
    return self;
}

/* What the journal keeps of it: enough for another supervisor to find the other end again. The file is root's
 * alone. */
static bool
journal_begin(GwVmMotion *self, bool runs, GError **error)
{
    JsonObject *fields = gw_motion_ticket_to_json(self->ticket, self->tls);
    if (self->outgoing)
        json_object_set_boolean_member(fields, "runs", runs);
    return gw_journal_write(self->vm->journal, self->outgoing ? "motion-out" : "motion-in", fields, error);
}

static GwTrace *
new_trace(GwVm *vm, GError **error)
{
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(GwMemRegion));
    if (!gw_vmm_regions(gw_qemu_vmm(vm->qemu), regions, error))
        return NULL;
    return gw_trace_new(gw_qemu_uffd(vm->qemu), gw_qemu_process(vm->qemu)->pid,
                        (const GwMemRegion *)(void *)regions->data, regions->len, error);
}

static unsigned
choose_streams(const GwMotionRequest *request)
{
    if (request->n_streams)
        return request->n_streams;
    /* One for two cores, the others are the guests'. But two at least: beside a guest that wants a core for
     * itself they were 10 % quicker even where both ends shared two cores (each thread gets its share of
     * those), and four were not. */
    return CLAMP(MAX(g_get_num_processors() / 2, request->ticket->endpoints->len), 2, GW_WIRE_MAX_STREAMS);
}

static void
set_source(GwVmMotion *self, const GwMotionRequest *request, bool runs, bool may_punch)
{
    GwVm *vm = self->vm;
    self->source = gw_source_new(&(GwSourceOptions){
        .image = vm->image,
        .vmm = vm->qemu ? gw_qemu_vmm(vm->qemu) : NULL,
        .trace = self->trace,
        .ticket = self->ticket,
        .identity = self->identity,
        .progress = self->progress,
        .memory_bytes = vm->config->memory_bytes,
        .n_streams = request ? choose_streams(request) : 1,
        .guest_runs = runs,
        .may_punch = may_punch,
        .goal_us = request ? request->goal_us : 0,
        .deadline_us = request ? request->deadline_us : 0,
        .hooks = gw_vm_motion_hooks(self),
    });
}

static bool
set_sink(GwVmMotion *self, GError **error)
{
    GwVm *vm = self->vm;
    self->sink = gw_sink_new(
        &(GwSinkOptions){
            .image = vm->image,
            .vmm = vm->qemu ? gw_qemu_vmm(vm->qemu) : NULL,
            .ticket = self->ticket,
            .identity = self->identity,
            .progress = self->progress,
            .memory_bytes = vm->config->memory_bytes,
            .wait_us = WAIT_FOR_SOURCE_US,
            .decide_us = DECIDE_US,
            .answer_us = ANSWER_US,
            .hooks = gw_vm_motion_hooks(self),
        },
        error);
    return self->sink != NULL;
}

static bool
begin_send(GwVm *vm, GwMotionRequest *request, GError **error)
{
    GwVmState state = gw_vm_state(vm);
    if (state != GW_VM_RUNNING && state != GW_VM_PAUSED) {
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                    "cannot move: the VM is %s, expected running or paused", gw_vm_state_name(state));
        return false;
    }
    if (vm->trace) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                            "cannot move: the trace is armed; DELETE /v1/trace ends that");
        return false;
    }
    bool may_punch = false;
    if (!gw_vm_motion_check(vm, &may_punch, error))
        return false;
    GwVmMotion *self = motion_new(vm, true, g_steal_pointer(&request->ticket), request->tls, error);
    if (!self)
        return false;
    request->ticket = self->ticket; /* for the count of streams */
    self->trace = new_trace(vm, error);
    if (self->trace)
        set_source(self, request, state == GW_VM_RUNNING, may_punch);
    request->ticket = NULL;
    if (!self->trace || !journal_begin(self, state == GW_VM_RUNNING, error)) {
        gw_vm_motion_free(self);
        return false;
    }
    gw_progress_set_state(self->progress, GW_MOTION_CONNECTING);
    gw_vm_motion_start(self);
    return true;
}

static bool
begin_receive(GwVm *vm, GwMotionRequest *request, GError **error)
{
    if (gw_vm_state(vm) != GW_VM_INCOMING) {
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                    "cannot receive: the VM is %s; 'godwit-vm run --incoming' makes one that waits",
                    gw_vm_state_name(gw_vm_state(vm)));
        return false;
    }
    GwVmMotion *self = motion_new(vm, false, g_steal_pointer(&request->ticket), request->tls, error);
    if (!self)
        return false;
    self->announcer = gw_announcer_prepare(gw_qemu_process(vm->qemu), vm->config, error);
    if (!self->announcer || !set_sink(self, error) || !journal_begin(self, false, error)) {
        gw_vm_motion_free(self);
        return false;
    }
    gw_vm_motion_start(self);
    return true;
}

JsonObject *
gw_vm_motion_begin(GwVm *self, JsonObject *body, GError **error)
{
    g_auto(GwMotionRequest) request = {0};
    if (gw_vm_motion_is_active(self)) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_WRONG_STATE, "a motion is under way");
        return NULL;
    }
    if (!gw_motion_request_parse(body, &request, error))
        return NULL;
    bool outgoing = request.outgoing;
    if (!(outgoing ? begin_send(self, &request, error) : begin_receive(self, &request, error)))
        return NULL;
    return outgoing ? gw_vm_motion(self) : gw_motion_ticket_to_json(self->motion->ticket, self->motion->tls);
}

/* The thread picks the motion up where it was left; what it decides is concluded as ever. */
bool
gw_vm_motion_adopt(GwVm *self, GwJournalMotion *before, GError **error)
{
    bool tls = true, outgoing = before->kind == GW_JOURNAL_MOTION_OUT;
    GwTicket *ticket = gw_motion_ticket_parse(before->ticket, error);
    gw_json_get_bool(before->ticket, "tls", &tls);
    GwVmMotion *motion = ticket ? motion_new(self, outgoing, ticket, tls, error) : NULL;
    if (!motion)
        return false;
    if (outgoing)
        set_source(motion, NULL, before->runs, false);
    else if (!set_sink(motion, error)) {
        gw_vm_motion_free(motion);
        return false;
    }
    motion->before = *before;
    *before = (GwJournalMotion){0};
    gw_vm_motion_start(motion);
    return true;
}
