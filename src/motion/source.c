/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The source: the story, in gw_source_run(), and its one chapter in which the guest stands still. */
#include "error.h"
#include "source-internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STATE_BUFFER_BYTES           (48 * 1024)
#define PROGRESS_US                  (100 * 1000)
/* A switchover that takes this much longer than its goal is taken back: the guest must not stand still for a
 * peer that has stopped answering. Ten goals at most, and two seconds at least, since the goal is a wish
 * about the network and this a statement that something is broken. */
#define SWITCHOVER_LIMIT_US(goal_us) (MIN(10 * (goal_us), 10 * G_TIME_SPAN_SECOND) + 2 * G_TIME_SPAN_SECOND)

GwSource *
gw_source_new(const GwSourceOptions *options)
{
    GwSource *self = g_new0(GwSource, 1);
    self->options = *options;
    self->vmm_fd = -1;
    gw_handover_init(&self->handover, GW_HANDOVER_SOURCE);
    gw_bell_init(&self->bell);
    g_mutex_init(&self->lock);
    return self;
}

static void
take_abort(GwSource *self, const GwControlFrame *frame)
{
    char text[GW_WIRE_MAX_TEXT + 1];
    gw_wire_decode_text(frame->payload, frame->header.payload_bytes, text);
    g_clear_error(&self->peer_abort);
    self->peer_abort = g_error_new(GW_ERROR, GW_ERROR_PEER_LOST, "the destination gave up: %s", text);
}

/* Whether an honest destination could say this now. */
static bool
is_in_place(GwSource *self, const GwWireHeader *header)
{
    switch (header->type) {
    case GW_FRAME_ROUND:
        return header->arg == self->n_arrived && header->arg < self->n_rounds &&
               header->count == self->options.n_streams;
    case GW_FRAME_LOADED:
        return !self->peer_loaded && self->pump && gw_state_pump_is_at_end(self->pump);
    case GW_FRAME_RUNS:
        return self->go_us != 0;
    case GW_FRAME_NEVER: /* true whenever it is said */
    case GW_FRAME_ABORT:
        return true;
    default:
        return false;
    }
}

static void
refuse_frame(GwSource *self, const GwControlFrame *frame)
{
    self->peer_lies = true;
    g_clear_error(&self->peer_abort);
    self->peer_abort =
        g_error_new(GW_ERROR, GW_ERROR_PROTOCOL, "the peer sent a frame that is refused: %s %s",
                    gw_wire_verdict_name(GW_WIRE_BAD_PLACE), gw_frame_type_name(frame->header.type));
}

void
gw_source_take_frames(GwSource *self)
{
    for (;;) {
        g_auto(GwControlFrame) frame = {0};
        if (!self->control || self->peer_lies || !gw_control_next(self->control, &frame))
            return;
        if (!is_in_place(self, &frame.header)) {
            refuse_frame(self, &frame);
            return;
        }
        switch (frame.header.type) {
        case GW_FRAME_ROUND:
            self->n_arrived++;
            break;
        case GW_FRAME_LOADED:
            self->peer_loaded = true;
            break;
        case GW_FRAME_RUNS:
            self->peer_runs = true;
            self->go_to_run_us = frame.header.arg;
            break;
        case GW_FRAME_NEVER:
            self->peer_never = true;
            break;
        default:
            take_abort(self, &frame);
            break;
        }
    }
}

bool
gw_source_is_cancelled(GwSource *self, GError **error)
{
    g_mutex_lock(&self->lock);
    bool cancelled = self->cancelled != NULL && !self->handing;
    if (cancelled)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_CANCELLED, self->cancelled);
    g_mutex_unlock(&self->lock);
    return cancelled;
}

bool
gw_source_await(GwSource *self, GwSourceReady ready, gint64 deadline_us, const char *what, GError **error)
{
    for (;;) {
        uint64_t seen = gw_bell_count(&self->bell);
        gw_source_take_frames(self);
        if (ready(self))
            return true;
        if (self->peer_abort) {
            *error = g_steal_pointer(&self->peer_abort);
            return false;
        }
        if (gw_source_is_cancelled(self, error) || gw_control_failed(self->control, error))
            return false;
        gint64 now = g_get_monotonic_time();
        if (deadline_us && now > deadline_us) {
            g_set_error(error, GW_ERROR, GW_ERROR_TIMED_OUT, "%s took too long", what);
            return false;
        }
        gw_bell_wait(&self->bell, seen, MIN(deadline_us ? deadline_us + 1 : G_MAXINT64, now + PROGRESS_US));
    }
}

static bool
prepare_state(GwSource *self, GError **error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "socketpair");
    self->vmm_fd = pair[1];
    /* Less than a state's head, so that the VMM waits for us with it (gw_vmm_begin_save()); more than what a
     * set-up writes, which would otherwise wait as well, with the VMM's lock held. The kernel doubles it. */
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &(int){STATE_BUFFER_BYTES}, sizeof(int));
    self->pump = gw_state_pump_new(pair[0], self->control, &self->bell);
    bool ok = gw_vmm_prepare_save(self->options.vmm, self->vmm_fd, error);
    /* The VMM has its copy. Ours would keep the state from ever coming to an end. */
    close(g_steal_fd(&self->vmm_fd));
    return ok;
}

static bool
state_is_sent(GwSource *self)
{
    uint64_t n_bytes;
    return gw_state_pump_is_done(self->pump, &n_bytes);
}

static bool
peer_has_loaded(GwSource *self)
{
    return self->peer_loaded;
}

/* The VMM's own word that its state was complete: what the destination loads while we look is in memory as it
 * was. That holds only if nothing was written since the last pass, which this proves; measured it never was.
 */
static bool
verify_stillness(GwSource *self, gint64 deadline_us, GError **error)
{
    GwPassCounters counters;
    gw_crew_begin(self->crew, GW_PASS_VERIFY, 0);
    if (!gw_source_await_pass(self, deadline_us, &counters, error))
        return false;
    if (counters.found_pages == 0)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_VMM_FAILED,
                "%" G_GUINT64_FORMAT " pages of guest memory were written while the guest stood still",
                counters.found_pages);
    return false;
}

/* The last moment at which the motion can be cancelled. */
static bool
claim_handover(GwSource *self, GError **error)
{
    if (gw_source_is_cancelled(self, error))
        return false;
    g_mutex_lock(&self->lock);
    self->handing = self->cancelled == NULL;
    g_mutex_unlock(&self->lock);
    return self->handing || !gw_source_is_cancelled(self, error);
}

/* The guest stands still from here on. On failure it is taken back by who called. */
static bool
switch_over(GwSource *self, GError **error)
{
    const GwSourceOptions *o = &self->options;
    GwRoundStats stats;
    GwPassCounters counters;
    gw_progress_set_state(o->progress, GW_MOTION_SWITCHOVER);
    gw_progress_step(o->progress, "stopping", 0);
    gw_state_pump_open(self->pump);
    if (!gw_vmm_stop(o->vmm, &self->stopped_us, error))
        return false;
    gint64 stopped_us = g_get_monotonic_time(),
           deadline_us = stopped_us + SWITCHOVER_LIMIT_US((gint64)o->goal_us);
    gw_progress_step(o->progress, "stopped", self->stopped_us ? self->stopped_us : stopped_us);
    gw_progress_step(o->progress, "drained", stopped_us);
    gw_motion_hold(&o->hooks, "stopped");

    /* Devices write their state while the last of memory is on its way. */
    gw_state_pump_set_round(self->pump, self->n_rounds);
    if (!gw_vmm_save(o->vmm, error) ||
        !gw_source_copy_round(self, o->may_punch ? GW_PASS_WRITTEN_AND_HOLES : GW_PASS_WRITTEN, deadline_us,
                              &stats, &counters, error))
        return false;
    gw_progress_step(o->progress, "memory-complete", 0);
    if (!gw_vmm_await_saved(o->vmm, error) ||
        !gw_source_await(self, state_is_sent, deadline_us, "saving the device state", error))
        return false;
    gw_progress_step(o->progress, "state-saved", 0);
    gw_motion_hold(&o->hooks, "device-state");

    if (!verify_stillness(self, deadline_us, error))
        return false;
    gw_progress_step(o->progress, "verified", 0);
    if (!gw_source_await(self, peer_has_loaded, deadline_us, "loading the device state at the destination",
                         error))
        return false;
    gw_progress_step(o->progress, "peer-loaded", 0);
    gw_motion_hold(&o->hooks, "before-go");
    return !gw_control_failed(self->control, error) && claim_handover(self, error);
}

GwOutcome
gw_source_run(GwSource *self, GError **error)
{
    self->began_us = g_get_monotonic_time();
    gw_progress_set_memory(self->options.progress, self->options.memory_bytes);
    g_autoptr(GError) why = NULL;
    if (gw_source_connect_streams(self, &why) && prepare_state(self, &why) &&
        gw_source_copy_rounds(self, &why) && switch_over(self, &why))
        return gw_source_hand_over(self, error);

    g_autoptr(GError) worse = NULL;
    if (self->pump) /* a VMM that is taken back ends its state, which is then no state of any VM */
        gw_state_pump_abandon(self->pump);
    gw_source_feed(self, GW_HANDOVER_EV_FAIL, why, &worse);
    if (!self->control && g_error_matches(why, GW_ERROR, GW_ERROR_CANCELLED))
        gw_source_call_off(self);
    if (worse)
        g_prefix_error(&why, "%s; and before that: ", worse->message);
    g_propagate_error(error, g_steal_pointer(&why));
    return gw_source_conclude(self, error);
}

bool
gw_source_cancel(GwSource *self, const char *why)
{
    g_mutex_lock(&self->lock);
    bool in_time = !self->handing;
    if (in_time && !self->cancelled)
        self->cancelled = g_strdup(why);
    g_mutex_unlock(&self->lock);
    gw_bell_ring(&self->bell);
    return in_time;
}

bool
gw_source_resolve(GwSource *self, bool run, GError **error)
{
    g_mutex_lock(&self->lock);
    bool open = self->handing;
    if (open) {
        self->told = true;
        self->told_run = run;
    }
    g_mutex_unlock(&self->lock);
    gw_bell_ring(&self->bell);
    if (!open)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_WRONG_STATE, "the motion is not unresolved");
    return open;
}

void
gw_source_leave(GwSource *self)
{
    gw_source_cancel(self, "the supervisor ends");
    g_mutex_lock(&self->lock);
    self->leaving = true;
    g_mutex_unlock(&self->lock);
    gw_bell_ring(&self->bell);
}

void
gw_source_free(GwSource *self)
{
    if (!self)
        return;
    gw_stream_free(self->ask_stream);
    if (self->control)
        gw_control_shutdown(self->control); /* what the pump may be sending must not keep us */
    gw_state_pump_free(self->pump);
    gw_crew_free(self->crew);
    gw_control_free(self->control);
    if (self->vmm_fd >= 0)
        close(self->vmm_fd);
    g_clear_error(&self->peer_abort);
    g_free(self->cancelled);
    gw_bell_clear(&self->bell);
    g_mutex_clear(&self->lock);
    g_free(self);
}
