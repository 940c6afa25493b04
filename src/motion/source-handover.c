/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The source's side of the handover: GO, what became of it, and how to ask when nobody said.
 *
 * What the machine says goes out over the connection that there is: the control stream, or, when that is
 * lost, a stream for asking, of which a new one is opened each time. */
#include "error.h"
#include "source-internal.h"

#include <errno.h>
#include <string.h>

#define ANSWER_TIMEOUT_MS 5000
#define ABORT_TIMEOUT_MS  200 /* the guest stands still meanwhile, and the peer may have stopped reading */
#define ASK_INTERVAL_US   (500 * 1000)
#define REASON_WAIT_US    (100 * 1000)

/* The guest as it was before the motion. After a crash that has to be said: the VMM knows only whether it
 * stopped it. */
static bool
take_back(GwSource *self, GError **error)
{
    const GwSourceOptions *o = &self->options;
    gw_progress_step(o->progress, "taking-back", 0);
    if (!o->vmm) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_VMM_FAILED, "the VM's QEMU is gone");
        return false;
    }
    return gw_vmm_take_back(o->vmm, error) &&
           (!self->restored || !o->guest_runs || gw_vmm_resume(o->vmm, NULL, error));
}

/* On the stream for asking. */
static int
say(GwSource *self, GwFrameType type, uint32_t count)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    gw_wire_encode_header(
        &(GwWireHeader){.type = (uint8_t)type, .count = count, .sequence = self->ask_sequence++}, bytes);
    return gw_stream_send(self->ask_stream, &(struct iovec){bytes, sizeof bytes}, 1);
}

static void
tell(GwSource *self, GwFrameType type, uint32_t count)
{
    if (self->ask_stream)
        say(self, type, count);
    else if (self->control)
        gw_control_send(self->control, type, 0, count, NULL, 0);
}

static void
send_abort(GwSource *self, const GError *why)
{
    const char *text = why ? why->message : "";
    if (self->ask_stream || !self->control)
        return; /* there it would mean another thing: "withdraw" */
    gw_control_set_send_timeout(self->control, ABORT_TIMEOUT_MS);
    gw_control_send(self->control, GW_FRAME_ABORT, 0, 0, text, MIN(strlen(text), GW_WIRE_MAX_TEXT));
}

static void
send_go(GwSource *self)
{
    self->go_us = g_get_monotonic_time();
    gw_progress_step(self->options.progress, "go", self->go_us);
    tell(self, GW_FRAME_GO, self->options.guest_runs);
}

static bool
journal(GwSource *self, GwHandoverAction action, GError **error)
{
    return self->options.hooks.journal(action, self->options.hooks.user_data, error);
}

/* False only for a line of the journal that could not be written: for all else the machine asks again, or it
 * is told in *error and goes on. */
static bool
carry_out(GwSource *self, GwHandoverAction action, const GError *why, GError **error)
{
    g_autoptr(GError) cause = NULL;
    switch (action) {
    case GW_HANDOVER_ACT_SEND_GO:
        send_go(self);
        return true;
    case GW_HANDOVER_ACT_SEND_ABORT:
        send_abort(self, why);
        return true;
    case GW_HANDOVER_ACT_SEND_WITHDRAW:
        if (self->ask_stream)
            say(self, GW_FRAME_ABORT, 0);
        return true;
    case GW_HANDOVER_ACT_SEND_DONE:
        tell(self, GW_FRAME_DONE, 0);
        return true;
    case GW_HANDOVER_ACT_RESUME:
        if (!take_back(self, &cause) && error && !*error)
            g_propagate_error(error, g_steal_pointer(&cause));
        return true;
    case GW_HANDOVER_ACT_ASK:
    case GW_HANDOVER_ACT_DISCARD:
        return true; /* the caller's: see ask(), and GW_OUTCOME_LEFT */
    default:
        return journal(self, action, error);
    }
}

static bool
carry_out_plan(GwSource *self, GwHandoverPlan plan, const GError *why, GError **error)
{
    for (unsigned i = 0; i < plan.n_actions; i++) {
        if (carry_out(self, plan.actions[i], why, error))
            continue;
        g_autoptr(GError) more = NULL;
        carry_out_plan(self, gw_handover_feed(&self->handover, GW_HANDOVER_EV_FAILED), why, &more);
        return false;
    }
    return true;
}

bool
gw_source_feed(GwSource *self, GwHandoverEvent event, const GError *why, GError **error)
{
    return carry_out_plan(self, gw_handover_feed(&self->handover, event), why, error);
}

static bool
is_open(const GwSource *self)
{
    return self->handover.state == GW_HANDOVER_HANDING || self->handover.state == GW_HANDOVER_UNSURE;
}

/* A person's word, if there is one. */
static bool
take_order(GwSource *self, GwHandoverEvent *ret_event)
{
    g_mutex_lock(&self->lock);
    bool told = self->told;
    *ret_event = self->told_run ? GW_HANDOVER_EV_TOLD_RUN : GW_HANDOVER_EV_TOLD_DISCARD;
    self->told = false;
    g_mutex_unlock(&self->lock);
    return told;
}

static bool
is_leaving(GwSource *self)
{
    g_mutex_lock(&self->lock);
    bool leaving = self->leaving;
    g_mutex_unlock(&self->lock);
    return leaving;
}

static bool
hear_answer(GwSource *self, GwHandoverEvent *ret_event)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    GwWireHeader answer = {0};
    if (gw_stream_receive(self->ask_stream, bytes, sizeof bytes) < 0 ||
        gw_wire_decode_header(bytes, self->answer_sequence++, &answer) != GW_WIRE_OK ||
        gw_wire_check_place(GW_STREAM_ASK, false, answer.type) != GW_WIRE_OK)
        return false;
    *ret_event = answer.type == GW_FRAME_RUNS    ? GW_HANDOVER_EV_PEER_RUNS
                 : answer.type == GW_FRAME_NEVER ? GW_HANDOVER_EV_PEER_NEVER
                                                 : GW_HANDOVER_EV_PEER_READY;
    return answer.type == GW_FRAME_RUNS || answer.type == GW_FRAME_NEVER || answer.type == GW_FRAME_READY;
}

static bool
open_ask_stream(GwSource *self)
{
    const GwSourceOptions *o = &self->options;
    g_autoptr(GError) error = NULL;
    self->ask_sequence = self->answer_sequence = 1;
    self->ask_stream =
        gw_ticket_dial(o->ticket, self->n_asked++ % o->ticket->endpoints->len, GW_STREAM_ASK, 0, o->n_streams,
                       o->memory_bytes, o->identity, ANSWER_TIMEOUT_MS, &error);
    if (!self->ask_stream)
        g_debug("asking: %s, ignoring", error->message);
    return self->ask_stream != NULL;
}

/* One conversation: ASK, and what follows from the answers, until it is settled or the stream fails. */
static void
converse(GwSource *self, GError **error)
{
    GwHandoverEvent event;
    if (open_ask_stream(self) && say(self, GW_FRAME_ASK, 0) == 0)
        while (is_open(self) && hear_answer(self, &event))
            gw_source_feed(self, event, NULL, error);
    g_clear_pointer(&self->ask_stream, gw_stream_free);
}

/* Until the destination answers, somebody decides, or this supervisor ends. */
static void
ask(GwSource *self, GError **error)
{
    while (is_open(self) && !is_leaving(self)) {
        uint64_t seen = gw_bell_count(&self->bell);
        GwHandoverEvent order;
        if (take_order(self, &order))
            gw_source_feed(self, order, NULL, error);
        else
            converse(self, error);
        if (!is_open(self))
            break;
        gw_progress_set_state(self->options.progress, GW_MOTION_UNRESOLVED);
        gw_bell_wait(&self->bell, seen, g_get_monotonic_time() + ASK_INTERVAL_US);
    }
}

/* The pause: from the stop to GO by our clock, from GO's arrival to the guest's first step by theirs, and
 * GO's way. */
static void
tell_downtime(GwSource *self)
{
    if (self->stopped_us == 0 || !self->options.guest_runs)
        return;
    uint64_t way_us = gw_control_rtt_us(self->control) / 2;
    gw_progress_set_rtt(self->options.progress, gw_control_rtt_us(self->control));
    gw_progress_set_downtime(self->options.progress,
                             (uint64_t)(self->go_us - self->stopped_us) + way_us + self->go_to_run_us);
    gw_progress_step(self->options.progress, "runs", self->go_us + (gint64)(way_us + self->go_to_run_us));
}

static bool
peer_has_decided(GwSource *self)
{
    return self->peer_runs || self->peer_never;
}

/* What became of GO, by the control stream. */
static void
await_decision(GwSource *self, GError **error)
{
    g_autoptr(GError) lost = NULL;
    if (!gw_source_await(self, peer_has_decided, g_get_monotonic_time() + ANSWER_TIMEOUT_MS * 1000,
                         "the handover", &lost)) {
        g_debug("after GO: %s; asking", lost->message);
        gw_control_shutdown(self->control);
        gw_source_feed(self, GW_HANDOVER_EV_FAIL, lost, error);
        self->peer_abort = g_steal_pointer(&lost); /* the reason, should the destination have given up */
        return;
    }
    if (self->peer_runs)
        tell_downtime(self);
    gw_source_feed(self, self->peer_runs ? GW_HANDOVER_EV_PEER_RUNS : GW_HANDOVER_EV_PEER_NEVER, NULL, error);
}

/* NEVER is followed by the reason. The guest runs again: there is time for it to arrive. */
static void
set_reason(GwSource *self, GError **error)
{
    uint64_t seen = gw_bell_count(&self->bell);
    gw_source_take_frames(self);
    if (self->peer_never && !self->peer_abort) {
        gw_bell_wait(&self->bell, seen, g_get_monotonic_time() + REASON_WAIT_US);
        gw_source_take_frames(self);
    }
    if (self->peer_abort)
        g_propagate_prefixed_error(error, g_steal_pointer(&self->peer_abort), "not handed over: ");
    else
        g_set_error_literal(error, GW_ERROR, GW_ERROR_PEER_LOST,
                            "the destination does not run the VM, and never will");
}

GwOutcome
gw_source_conclude(GwSource *self, GError **error)
{
    GwProgress *progress = self->options.progress;
    /* A pass that was given up may still be under way, and the trace is about to go. */
    g_clear_pointer(&self->crew, gw_crew_free);
    if (is_open(self))
        return GW_OUTCOME_OPEN;
    if (self->handover.state == GW_HANDOVER_RELEASED) {
        gw_progress_set_state(progress, GW_MOTION_COMPLETED);
        return GW_OUTCOME_LEFT;
    }
    if (error && !*error)
        set_reason(self, error);
    bool cancelled = error && g_error_matches(*error, GW_ERROR, GW_ERROR_CANCELLED);
    gw_progress_set_state(progress, cancelled ? GW_MOTION_CANCELLED : GW_MOTION_FAILED);
    return GW_OUTCOME_STAYS;
}

GwOutcome
gw_source_hand_over(GwSource *self, GError **error)
{
    gw_progress_set_state(self->options.progress, GW_MOTION_HANDING_OVER);
    gw_source_feed(self, GW_HANDOVER_EV_COMPLETE, NULL, error);
    if (is_open(self)) {
        gw_motion_hold(&self->options.hooks, "after-go");
        await_decision(self, error);
    }
    ask(self, error);
    return gw_source_conclude(self, error);
}

void
gw_source_call_off(GwSource *self)
{
    GwHandoverEvent event;
    if (open_ask_stream(self) && say(self, GW_FRAME_ABORT, 0) == 0 && hear_answer(self, &event))
        say(self, GW_FRAME_DONE, 0);
    g_clear_pointer(&self->ask_stream, gw_stream_free);
}

GwOutcome
gw_source_pick_up(GwSource *self, bool handed_over, bool owns, bool released, GError **error)
{
    self->restored = true;
    g_mutex_lock(&self->lock);
    self->handing = true;
    g_mutex_unlock(&self->lock);
    carry_out_plan(self,
                   gw_handover_restore(&self->handover, GW_HANDOVER_SOURCE, handed_over, owns, released),
                   NULL, error);
    if (self->handover.state == GW_HANDOVER_KEEPS && !handed_over)
        gw_source_call_off(self);
    ask(self, error);
    return gw_source_conclude(self, error);
}
