/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The destination's side of the handover, and its answers.
 *
 * What the machine says goes to who asked, if somebody does, else out on the control stream. */
#include "error.h"
#include "sink-internal.h"

#define VISITOR_TIMEOUT_MS 5000
#define RETRY_US           (500 * 1000) /* a refusal that could not be journalled */

static void
tell(GwSink *self, GwFrameType type, uint64_t arg)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    if (!self->asker) {
        if (self->control)
            gw_control_send(self->control, type, arg, 0, NULL, 0);
        return;
    }
    gw_wire_encode_header(
        &(GwWireHeader){.type = (uint8_t)type, .arg = arg, .sequence = self->asker_sequence++}, bytes);
    gw_stream_send(self->asker, &(struct iovec){bytes, sizeof bytes},
                   1); /* one that is lost is asked for again */
}

static bool
resume(GwSink *self, GError **error)
{
    const GwSinkOptions *o = &self->options;
    gint64 resumed_us = 0;
    if (!self->go_runs)
        return true;
    if (!o->vmm) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_VMM_FAILED, "the VM's QEMU is gone");
        return false;
    }
    if (!gw_vmm_resume(o->vmm, &resumed_us, error))
        return false;
    if (o->hooks.resumed)
        o->hooks.resumed(o->hooks.user_data);
    if (resumed_us)
        gw_progress_step(o->progress, "runs", resumed_us);
    self->go_to_run_us = self->go_us && resumed_us > self->go_us ? (uint64_t)(resumed_us - self->go_us) : 0;
    return true;
}

/* False for a line of the journal that could not be written, and for a guest that the VMM refused to let go:
 * it has not run, and its VMM is ended, so this is as if "go" had not been written, and the guest goes on at
 * its source. Any other failure does not prove that: the guest may have run for a moment and written to its
 * disk, so the right stays here, with a guest that somebody has to look at. So it is after a crash, too. */
static bool
carry_out(GwSink *self, GwHandoverAction action, GError **error)
{
    const GwMotionHooks *hooks = &self->options.hooks;
    g_autoptr(GError) cause = NULL;
    bool refused = false;
    switch (action) {
    case GW_HANDOVER_ACT_SEND_LOADED:
        tell(self, GW_FRAME_LOADED, 0);
        return true;
    case GW_HANDOVER_ACT_ANSWER_RUNS:
        tell(self, GW_FRAME_RUNS, self->go_to_run_us);
        return true;
    case GW_HANDOVER_ACT_ANSWER_NEVER:
        tell(self, GW_FRAME_NEVER, 0);
        return true;
    case GW_HANDOVER_ACT_ANSWER_READY:
        tell(self, GW_FRAME_READY, 0);
        return true;
    case GW_HANDOVER_ACT_RESUME:
        if (resume(self, &cause))
            return true;
        refused = g_error_matches(cause, GW_ERROR, GW_ERROR_VMM_FAILED) && !self->picked_up;
        if (error && !*error)
            g_propagate_prefixed_error(error, g_steal_pointer(&cause), "letting the guest run: ");
        if (refused)
            hooks->end_vmm(hooks->user_data);
        return !refused;
    case GW_HANDOVER_ACT_DISCARD:
        return true; /* the caller's, by the outcome */
    case GW_HANDOVER_ACT_LEAVE:
        self->nobody_asks = true;
        return true;
    default:
        return hooks->journal(action, hooks->user_data, error);
    }
}

static bool
carry_out_plan(GwSink *self, GwHandoverPlan plan, GError **error)
{
    bool ok = true;
    for (unsigned i = 0; i < plan.n_actions && ok; i++) {
        ok = carry_out(self, plan.actions[i], error);
        if (!ok)
            carry_out_plan(self, gw_handover_feed(&self->handover, GW_HANDOVER_EV_FAILED), NULL);
    }
    g_mutex_lock(&self->lock);
    self->decided |= self->handover.state == GW_HANDOVER_RUNS;
    g_mutex_unlock(&self->lock);
    return ok;
}

bool
gw_sink_feed(GwSink *self, GwHandoverEvent event, GError **error)
{
    return carry_out_plan(self, gw_handover_feed(&self->handover, event), error);
}

GwOutcome
gw_sink_outcome(const GwSink *self)
{
    if (self->handover.state == GW_HANDOVER_RUNS)
        return GW_OUTCOME_ARRIVED;
    return self->handover.state == GW_HANDOVER_REFUSED || self->handover.state == GW_HANDOVER_REFUSING
               ? GW_OUTCOME_REFUSED
               : GW_OUTCOME_OPEN;
}

static GwWireVerdict
hear_frame(GwSink *self, const uint8_t *bytes, uint64_t sequence)
{
    GwWireHeader header = {0};
    GwWireVerdict verdict = gw_wire_decode_header(bytes, sequence, &header);
    if (verdict == GW_WIRE_OK)
        verdict = gw_wire_check_place(GW_STREAM_ASK, true, header.type);
    if (verdict == GW_WIRE_OK && header.payload_bytes > 0)
        verdict = GW_WIRE_BAD_LENGTH;
    if (verdict != GW_WIRE_OK)
        return verdict;
    switch (header.type) {
    case GW_FRAME_ASK:
        gw_sink_feed(self, GW_HANDOVER_EV_ASKED, NULL);
        break;
    case GW_FRAME_GO:
        self->go_runs = header.count == 1;
        gw_sink_feed(self, GW_HANDOVER_EV_GO, NULL);
        break;
    case GW_FRAME_ABORT:
        gw_sink_feed(self, GW_HANDOVER_EV_WITHDRAW, NULL);
        break;
    case GW_FRAME_DONE:
        self->nobody_asks = true;
        gw_sink_feed(self, GW_HANDOVER_EV_PEER_DONE, NULL);
        break;
    default:
        return GW_WIRE_BAD_PLACE;
    }
    return GW_WIRE_OK;
}

void
gw_sink_hear_question(GwSink *self, GwVisitor *visitor)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    gw_stream_set_timeout(visitor->stream, VISITOR_TIMEOUT_MS);
    if (gw_door_welcome(visitor) < 0)
        return;
    self->asker = visitor->stream;
    self->asker_sequence = 1;
    GwWireVerdict verdict = GW_WIRE_OK;
    for (uint64_t sequence = 1; verdict == GW_WIRE_OK && !self->nobody_asks; sequence++) {
        if (gw_stream_receive(visitor->stream, bytes, sizeof bytes) < 0)
            break;
        verdict = hear_frame(self, bytes, sequence);
    }
    self->asker = NULL;
    if (verdict != GW_WIRE_OK)
        gw_sink_refuse_visitor(self, visitor, gw_wire_verdict_name(verdict));
}

/* Frames that still come from a source that is connected. */
static void
take_last_frames(GwSink *self)
{
    for (;;) {
        g_auto(GwControlFrame) frame = {0};
        if (!self->control || !gw_control_next(self->control, &frame))
            return;
        if (frame.header.type == GW_FRAME_GO)
            gw_sink_feed(self, GW_HANDOVER_EV_GO, NULL);
        else if (frame.header.type == GW_FRAME_ABORT)
            gw_sink_feed(self, GW_HANDOVER_EV_ABORT, NULL);
        else if (frame.header.type == GW_FRAME_DONE)
            gw_sink_feed(self, GW_HANDOVER_EV_PEER_DONE, NULL);
        self->nobody_asks |= frame.header.type == GW_FRAME_DONE;
    }
}

bool
gw_sink_answer(GwSink *self)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64)self->options.answer_us;
    while (!gw_sink_is_leaving(self) && g_get_monotonic_time() < deadline_us) {
        uint64_t seen = gw_bell_count(&self->bell);
        bool again = self->handover.state == GW_HANDOVER_REFUSING;
        if (again)
            gw_sink_feed(self, GW_HANDOVER_EV_DEADLINE, NULL);
        take_last_frames(self);
        gw_sink_take_visitors(self);
        if (self->nobody_asks)
            break;
        gw_bell_wait(&self->bell, seen, again ? g_get_monotonic_time() + RETRY_US : deadline_us + 1);
    }
    return self->nobody_asks;
}

GwOutcome
gw_sink_pick_up(GwSink *self, bool ready, bool go, bool refused, bool runs, GError **error)
{
    self->picked_up = true;
    self->go_runs = runs;
    carry_out_plan(self, gw_handover_restore(&self->handover, GW_HANDOVER_DESTINATION, go, refused, false),
                   error);
    self->nobody_asks |= !ready; /* the source never heard LOADED, so GO never was */
    GwOutcome outcome = gw_sink_outcome(self);
    gw_progress_set_state(self->options.progress,
                          outcome == GW_OUTCOME_ARRIVED ? GW_MOTION_COMPLETED : GW_MOTION_FAILED);
    if (outcome == GW_OUTCOME_REFUSED && error && !*error)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_PEER_LOST,
                            "the supervisor that received the VM died before it was handed over");
    return outcome;
}
