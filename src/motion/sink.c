/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The destination: the story, in gw_sink_run(); gather(), receive() and decide() are its chapters. */
#include "error.h"
#include "sink-internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GATHER_TIMEOUT_US  (10 * G_TIME_SPAN_SECOND)
#define LAST_WORD_US       (300 * 1000)
#define PROGRESS_US        (100 * 1000)
#define VMM_READ_TIMEOUT_S 30

GwSink *
gw_sink_new(const GwSinkOptions *options, GError **error)
{
    g_autoptr(GwSink) self = g_new0(GwSink, 1);
    self->options = *options;
    self->state_fd = -1;
    gw_bell_init(&self->bell);
    g_mutex_init(&self->lock);
    g_queue_init(&self->held_state);
    gw_handover_init(&self->handover, GW_HANDOVER_DESTINATION);
    GwDoorOptions door = {
        .identity = options->identity,
        .memory_bytes = options->memory_bytes,
        .bell = &self->bell,
        .refused = options->hooks.refused,
        .user_data = options->hooks.user_data,
    };
    self->door = gw_door_open(options->ticket, &door, error);
    return self->door ? g_steal_pointer(&self) : NULL;
}

void
gw_sink_refuse_visitor(GwSink *self, const GwVisitor *visitor, const char *why)
{
    if (self->options.hooks.refused)
        self->options.hooks.refused(gw_stream_peer(visitor->stream), why, self->options.hooks.user_data);
}

bool
gw_sink_is_cancelled(GwSink *self, GError **error)
{
    g_mutex_lock(&self->lock);
    bool cancelled = self->cancelled != NULL;
    if (cancelled && error)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_CANCELLED, self->cancelled);
    g_mutex_unlock(&self->lock);
    return cancelled;
}

bool
gw_sink_is_leaving(GwSink *self)
{
    g_mutex_lock(&self->lock);
    bool leaving = self->leaving;
    g_mutex_unlock(&self->lock);
    return leaving;
}

static bool
take_control(GwSink *self, GwVisitor *visitor)
{
    if (self->control || gw_door_welcome(visitor) < 0)
        return false;
    gw_progress_set_state(self->options.progress, GW_MOTION_CONNECTING);
    self->n_streams = visitor->hello.n_streams;
    gw_progress_set_peer(self->options.progress, gw_stream_peer(visitor->stream),
                         gw_stream_cipher(visitor->stream), gw_stream_is_encrypted(visitor->stream),
                         self->n_streams);
    self->control =
        gw_control_new(g_steal_pointer(&visitor->stream), true, &self->bell, self->options.lost_ms);
    return true;
}

static bool
take_data(GwSink *self, GwVisitor *visitor)
{
    unsigned index = visitor->hello.index;
    if (!self->control || self->intake || visitor->hello.n_streams != self->n_streams ||
        self->streams[index] || gw_door_welcome(visitor) < 0)
        return false;
    self->streams[index] = g_steal_pointer(&visitor->stream);
    self->n_here++;
    return true;
}

/* Not once it is decided: who comes then would copy its memory for nothing. */
static bool
take_stream(GwSink *self, GwVisitor *visitor)
{
    if (self->handover.state != GW_HANDOVER_WAITS)
        return false;
    return visitor->hello.kind == GW_STREAM_CONTROL ? take_control(self, visitor) : take_data(self, visitor);
}

void
gw_sink_take_visitors(GwSink *self)
{
    for (;;) {
        g_auto(GwVisitor) visitor = {0};
        if (!gw_door_next(self->door, &visitor))
            return;
        if (visitor.hello.kind == GW_STREAM_ASK)
            gw_sink_hear_question(self, &visitor);
        else if (!take_stream(self, &visitor))
            gw_sink_refuse_visitor(self, &visitor, "a stream that this motion has already, or does not have");
    }
}

/* The source said ABORT. Frees it. */
static void
set_abort(const GwControlFrame *frame, GError **error)
{
    char text[GW_WIRE_MAX_TEXT + 1];
    gw_wire_decode_text(frame->payload, frame->header.payload_bytes, text);
    g_set_error(error, GW_ERROR, GW_ERROR_PEER_LOST, "the source gave up: %s", text);
}

/* What can end a motion at any time before the decision. */
static bool
is_over(GwSink *self, GError **error)
{
    if (gw_sink_is_cancelled(self, error) || (self->intake && gw_intake_failed(self->intake, error)) ||
        (self->control && gw_control_failed(self->control, error)))
        return true;
    if (gw_sink_outcome(self) != GW_OUTCOME_REFUSED)
        return false;
    g_set_error_literal(error, GW_ERROR, GW_ERROR_CANCELLED, "the source called the motion off");
    return true;
}

static bool
gather(GwSink *self, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64)self->options.wait_us;
    while (!self->control || self->n_here < self->n_streams) {
        uint64_t seen = gw_bell_count(&self->bell);
        bool had_control = self->control != NULL;
        gw_sink_take_visitors(self);
        if (is_over(self, error))
            return false;
        if (self->control && !had_control)
            deadline_us = g_get_monotonic_time() + GATHER_TIMEOUT_US;
        if (g_get_monotonic_time() > deadline_us) {
            g_set_error(error, GW_ERROR, GW_ERROR_TIMED_OUT,
                        self->control ? "%u of %u data streams have come" : "no source has come",
                        self->n_here, self->n_streams);
            return false;
        }
        if (!self->control || self->n_here < self->n_streams)
            gw_bell_wait(&self->bell, seen, deadline_us + 1);
    }
    return true;
}

static bool
give_to_vmm(GwSink *self, const GwControlFrame *frame, GError **error)
{
    const uint8_t *at = frame->payload;
    size_t left = frame->header.payload_bytes;
    while (left > 0) {
        ssize_t n = send(self->state_fd, at, left, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return gw_set_errno(error, GW_ERROR_VMM_FAILED, errno, "giving the device state to the VMM");
        at += n;
        left -= (size_t)n;
    }
    return true;
}

static bool
refuse_frame(const GwControlFrame *frame, GwWireVerdict verdict, GError **error)
{
    g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "the peer sent a frame that is refused: %s %s",
                gw_wire_verdict_name(verdict), gw_frame_type_name(frame->header.type));
    return false;
}

static bool
take_state(GwSink *self, GwControlFrame *frame, GError **error)
{
    if (self->devices_began && frame->header.count == 0)
        return refuse_frame(frame, GW_WIRE_BAD_PLACE, error);
    self->devices_began = frame->header.count != 0;
    self->state_bytes += frame->header.payload_bytes;
    if (self->state_ended || self->state_bytes > GW_WIRE_MAX_STATE) {
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "more device state than %s",
                    self->state_ended ? "there is" : "is allowed");
        return false;
    }
    if (!self->devices_began)
        return give_to_vmm(self, frame, error);
    g_queue_push_tail(&self->held_state, g_memdup2(frame, sizeof *frame));
    frame->payload = NULL;
    return true;
}

static bool
take_frame(GwSink *self, GwControlFrame *frame, GError **error)
{
    switch (frame->header.type) {
    case GW_FRAME_STATE:
        return take_state(self, frame, error);
    case GW_FRAME_STATE_END:
        self->state_ended = true;
        return frame->header.arg == self->state_bytes || refuse_frame(frame, GW_WIRE_BAD_FIELD, error);
    case GW_FRAME_ABORT:
        set_abort(frame, error);
        return false;
    default:
        return refuse_frame(frame, GW_WIRE_BAD_PLACE, error);
    }
}

/* Devices' state is loaded when the memory that belongs to it is there: loading reads it. */
static bool
release_state(GwSink *self, GError **error)
{
    while (!g_queue_is_empty(&self->held_state)) {
        GwControlFrame *first = g_queue_peek_head(&self->held_state);
        if (first->header.arg >= gw_intake_n_rounds(self->intake))
            return true;
        bool ok = give_to_vmm(self, first, error);
        gw_control_frame_clear(first);
        g_free(g_queue_pop_head(&self->held_state));
        if (!ok)
            return false;
    }
    return true;
}

static void
show_progress(GwSink *self)
{
    GwIntakeCounters counters;
    gw_intake_progress(self->intake, &counters);
    uint64_t n_rounds = gw_intake_n_rounds(self->intake);
    gw_progress_set_counters(self->options.progress, counters.wire_bytes, counters.content_pages,
                             counters.zero_pages, 0);
    gw_progress_set_rtt(self->options.progress, gw_control_rtt_us(self->control));
    gw_progress_round_begins(self->options.progress, (unsigned)n_rounds);
    gw_progress_set_state(self->options.progress, n_rounds == 0 ? GW_MOTION_FIRST_ROUND : GW_MOTION_PRE_COPY);
}

/* A source that gives up says why on the control stream and closes the others; these may be quicker. */
static void
prefer_abort(GwSink *self, GError **error)
{
    gint64 until_us = g_get_monotonic_time() + LAST_WORD_US;
    while (g_error_matches(*error, GW_ERROR, GW_ERROR_PEER_LOST) && !gw_control_failed(self->control, NULL) &&
           g_get_monotonic_time() < until_us) {
        uint64_t seen = gw_bell_count(&self->bell);
        g_auto(GwControlFrame) frame = {0};
        if (!gw_control_next(self->control, &frame)) {
            gw_bell_wait(&self->bell, seen, until_us);
        } else if (frame.header.type == GW_FRAME_ABORT) {
            g_clear_error(error);
            set_abort(&frame, error);
            return;
        }
    }
}

static bool
begin_receiving(GwSink *self, GError **error)
{
    const GwSinkOptions *o = &self->options;
    int pair[2];
    struct timeval patience = {.tv_sec = VMM_READ_TIMEOUT_S};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "socketpair");
    self->state_fd = pair[0];
    setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    bool ok = gw_vmm_prepare_load(o->vmm, pair[1], error);
    close(pair[1]);
    /* What a VMM may have touched before would shine through where the source has a hole. */
    if (ok && gw_image_resident(o->image) > 0) {
        int r = gw_image_punch(o->image, 0, o->memory_bytes);
        ok = r == 0 || gw_set_errno(error, GW_ERROR_IO, -r, "emptying guest memory");
    }
    if (!ok)
        return false;
    self->intake = gw_intake_new(o->image, self->streams, self->n_streams, self->control, &self->bell);
    memset(self->streams, 0, sizeof self->streams);
    return true;
}

/* Memory and state, until the VMM has loaded the latter. */
static bool
receive(GwSink *self, GError **error)
{
    if (!begin_receiving(self, error))
        return false;
    gw_motion_hold(&self->options.hooks, "receiving");
    while (!self->state_ended || !g_queue_is_empty(&self->held_state)) {
        uint64_t seen = gw_bell_count(&self->bell);
        g_auto(GwControlFrame) frame = {0};
        gw_sink_take_visitors(self);
        bool any = gw_control_next(self->control, &frame);
        if ((any && !take_frame(self, &frame, error)) || !release_state(self, error))
            return false;
        if (any)
            continue;
        if (is_over(self, error)) {
            prefer_abort(self, error);
            return false;
        }
        show_progress(self);
        if (!self->state_ended || !g_queue_is_empty(&self->held_state))
            gw_bell_wait(&self->bell, seen, g_get_monotonic_time() + PROGRESS_US);
    }
    show_progress(self); /* all of it */
    gw_progress_set_state(self->options.progress, GW_MOTION_SWITCHOVER);
    gw_progress_step(self->options.progress, "state-complete", 0);
    shutdown(self->state_fd, SHUT_WR); /* of a state that was cut short the VMM would wait for the rest */
    if (!gw_vmm_await_loaded(self->options.vmm, error))
        return false;
    gw_progress_step(self->options.progress, "loaded", 0);
    return true;
}

/* From here on it cannot be cancelled at this end. */
static bool
claim(GwSink *self)
{
    g_mutex_lock(&self->lock);
    bool ours = self->cancelled == NULL;
    self->decided |= ours;
    g_mutex_unlock(&self->lock);
    return ours;
}

/* What came on the control stream while we are ready. True if it decides. */
static bool
take_decision(GwSink *self, GError **error)
{
    g_auto(GwControlFrame) frame = {0};
    if (!gw_control_next(self->control, &frame))
        return false;
    if (frame.header.type == GW_FRAME_GO && claim(self)) {
        gw_motion_hold(&self->options.hooks, "got-go");
        self->go_us = frame.received_us;
        self->go_runs = frame.header.count == 1;
        gw_progress_set_state(self->options.progress, GW_MOTION_HANDING_OVER);
        gw_sink_feed(self, GW_HANDOVER_EV_GO, error);
        return true;
    }
    if (frame.header.type == GW_FRAME_ABORT) {
        set_abort(&frame, error);
        gw_sink_feed(self, GW_HANDOVER_EV_ABORT, NULL);
        return true;
    }
    return false;
}

/* A person's word. */
static bool
take_order(GwSink *self, GError **error)
{
    g_mutex_lock(&self->lock);
    bool told = self->told;
    GwHandoverEvent event = self->told_run ? GW_HANDOVER_EV_TOLD_RUN : GW_HANDOVER_EV_TOLD_DISCARD;
    self->told = false;
    g_mutex_unlock(&self->lock);
    if (!told)
        return false;
    self->go_runs = true;
    gw_sink_feed(self, event, error);
    return true;
}

static void
tell_source(GwSink *self, const GError *why)
{
    if (self->control && why)
        gw_control_send(self->control, GW_FRAME_ABORT, 0, 0, why->message,
                        MIN(strlen(why->message), GW_WIRE_MAX_TEXT));
}

/* READY: whatever comes first decides; a source that is lost may come back to the door until the deadline. */
static GwOutcome
decide(GwSink *self, GError **error)
{
    const GwSinkOptions *o = &self->options;
    gint64 deadline_us = 0;
    if (!o->hooks.ready(o->hooks.user_data, error)) {
        gw_sink_feed(self, GW_HANDOVER_EV_DEADLINE, NULL);
        tell_source(self, error ? *error : NULL);
        return gw_sink_outcome(self);
    }
    gw_sink_feed(self, GW_HANDOVER_EV_LOADED, NULL);
    gw_motion_hold(&self->options.hooks, "loaded");
    while (self->handover.state == GW_HANDOVER_READY) {
        uint64_t seen = gw_bell_count(&self->bell);
        g_autoptr(GError) why = NULL;
        gw_sink_take_visitors(self);
        if (self->handover.state != GW_HANDOVER_READY || take_decision(self, error) ||
            take_order(self, error))
            continue;
        if (gw_sink_is_leaving(self))
            return GW_OUTCOME_OPEN;
        bool lost = gw_control_failed(self->control, &why);
        if (lost && deadline_us == 0) {
            deadline_us = g_get_monotonic_time() + (gint64)self->options.decide_us;
            gw_control_shutdown(self->control); /* nobody listens there any more */
            gw_progress_set_state(self->options.progress, GW_MOTION_UNRESOLVED);
        }
        if (gw_sink_is_cancelled(self, NULL) || (lost && g_get_monotonic_time() > deadline_us)) {
            if (lost && error && !*error)
                g_propagate_prefixed_error(error, g_steal_pointer(&why),
                                           "the source was lost before it handed over: ");
            else if (error && !*error)
                gw_sink_is_cancelled(self, error);
            gw_sink_feed(self, GW_HANDOVER_EV_DEADLINE, NULL);
            tell_source(self, error ? *error : NULL);
            continue;
        }
        gw_bell_wait(&self->bell, seen, g_get_monotonic_time() + PROGRESS_US);
    }
    if (gw_sink_outcome(self) == GW_OUTCOME_REFUSED && error && !*error)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_CANCELLED, "the VM stays at its source");
    return gw_sink_outcome(self);
}

GwOutcome
gw_sink_run(GwSink *self, GError **error)
{
    const GwSinkOptions *o = &self->options;
    g_autoptr(GError) why = NULL;
    gw_progress_set_memory(o->progress, o->memory_bytes);
    GwOutcome outcome = GW_OUTCOME_REFUSED;
    if (gather(self, &why) && receive(self, &why)) {
        outcome = decide(self, &why);
    } else {
        gw_sink_feed(self, GW_HANDOVER_EV_DEADLINE, NULL);
        tell_source(self, why);
    }
    /* A stream may still be writing; the image is its owner's again, the guest's or to be thrown away. */
    gw_intake_stop(self->intake);
    if (outcome == GW_OUTCOME_ARRIVED)
        gw_progress_set_state(o->progress, GW_MOTION_COMPLETED);
    else if (outcome == GW_OUTCOME_REFUSED)
        gw_progress_set_state(o->progress, g_error_matches(why, GW_ERROR, GW_ERROR_CANCELLED)
                                               ? GW_MOTION_CANCELLED
                                               : GW_MOTION_FAILED);
    if (why)
        g_propagate_error(error, g_steal_pointer(&why));
    return outcome;
}

bool
gw_sink_guest_runs(const GwSink *self)
{
    return self->go_runs;
}

bool
gw_sink_cancel(GwSink *self, const char *why)
{
    g_mutex_lock(&self->lock);
    bool in_time = !self->decided;
    if (in_time && !self->cancelled)
        self->cancelled = g_strdup(why);
    g_mutex_unlock(&self->lock);
    gw_bell_ring(&self->bell);
    return in_time;
}

bool
gw_sink_resolve(GwSink *self, bool run, GError **error)
{
    GwProgressData progress;
    gw_progress_get(self->options.progress, &progress);
    if (progress.state != GW_MOTION_UNRESOLVED) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_WRONG_STATE, "the motion is not unresolved");
        return false;
    }
    g_mutex_lock(&self->lock);
    self->told = true;
    self->told_run = run;
    g_mutex_unlock(&self->lock);
    gw_bell_ring(&self->bell);
    return true;
}

void
gw_sink_leave(GwSink *self)
{
    g_mutex_lock(&self->lock);
    self->leaving = true;
    g_mutex_unlock(&self->lock);
    gw_bell_ring(&self->bell);
}

static void
frame_free(void *frame)
{
    gw_control_frame_clear(frame);
    g_free(frame);
}

void
gw_sink_free(GwSink *self)
{
    if (!self)
        return;
    gw_door_free(self->door);
    gw_intake_free(self->intake);
    gw_control_free(self->control);
    for (unsigned i = 0; i < GW_WIRE_MAX_STREAMS; i++)
        gw_stream_free(self->streams[i]);
    if (self->state_fd >= 0)
        close(self->state_fd);
    g_queue_clear_full(&self->held_state, frame_free);
    g_free(self->cancelled);
    gw_bell_clear(&self->bell);
    g_mutex_clear(&self->lock);
    g_free(self);
}
