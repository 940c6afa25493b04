/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections, and the rounds of a pre-copy. */
#include "error.h"
#include "kernel-abi.h"
#include "source-internal.h"

#include <errno.h>

#define CONNECT_TIMEOUT_MS 10000
#define LAST_WORD_US       (100 * 1000) /* the guest may stand still meanwhile */
/* What a pause costs with no memory to copy, before this motion has seen one (engine.md; docs/pause.md). */
#define PAUSE_OVERHEAD_US  8000

static GwStream *
dial(GwSource *self, GwStreamKind kind, unsigned index, GError **error)
{
    const GwSourceOptions *o = &self->options;
    if (gw_source_is_cancelled(self, error))
        return NULL;
    return gw_ticket_dial(o->ticket, index % o->ticket->endpoints->len, kind, index, o->n_streams,
                          o->memory_bytes, o->identity, CONNECT_TIMEOUT_MS, error);
}

static bool
dial_data(GwSource *self, GwStream **streams, GError **error)
{
    unsigned n = 0;
    for (; n < self->options.n_streams; n++) {
        streams[n] = dial(self, GW_STREAM_DATA, n, error);
        if (!streams[n])
            break;
        gw_stream_set_timeout(streams[n], -1); /* the heartbeat on control tells when to give up */
    }
    if (n == self->options.n_streams)
        return true;
    g_prefix_error(error, "data stream %u: ", n);
    while (n > 0)
        gw_stream_free(streams[--n]);
    return false;
}

bool
gw_source_connect_streams(GwSource *self, GError **error)
{
    const GwSourceOptions *o = &self->options;
    GwStream *streams[GW_WIRE_MAX_STREAMS];
    gw_progress_set_state(o->progress, GW_MOTION_CONNECTING);
    gw_motion_hold(&o->hooks, "connect");
    if (!gw_image_map(o->image, error))
        return false;
    GwStream *control = dial(self, GW_STREAM_CONTROL, 0, error);
    if (!control)
        return false;
    gw_progress_set_peer(o->progress, gw_stream_peer(control), gw_stream_cipher(control),
                         gw_stream_is_encrypted(control), o->n_streams);
    self->control = gw_control_new(control, false, &self->bell, o->lost_ms);
    if (!dial_data(self, streams, error))
        return false;
    self->crew = gw_crew_new(o->image, o->trace, streams, o->n_streams, o->may_punch, &self->bell);
    return true;
}

static void
show_counters(GwSource *self, const GwPassCounters *now)
{
    GwPassCounters sum = self->total;
    sum.wire_bytes += now->wire_bytes;
    sum.sent_pages += now->sent_pages;
    sum.zero_pages += now->zero_pages;
    sum.found_pages += now->found_pages;
    uint64_t first = self->n_rounds > 1 ? self->first_round_pages : sum.found_pages;
    gw_progress_set_counters(self->options.progress, sum.wire_bytes, sum.sent_pages, sum.zero_pages,
                             sum.found_pages - first);
    gw_progress_set_rtt(self->options.progress, gw_control_rtt_us(self->control));
}

static bool
pass_is_over(GwSource *self)
{
    GwPassCounters counters;
    int failed, stream;
    bool done = gw_crew_is_done(self->crew, &counters, &failed, &stream);
    if (!done) {
        gw_crew_progress(self->crew, &counters);
        show_counters(self, &counters);
        if (self->n_rounds == 1) {
            uint64_t total = gw_image_resident(self->options.image);
            gw_pace_round_progress(&self->pace, counters.found_pages * GW_PAGE_SIZE, MAX(total, 1),
                                   (uint64_t)(g_get_monotonic_time() - self->began_us));
            gw_progress_set_estimate(self->options.progress, &self->pace.estimate);
        }
    }
    return done || failed;
}

static bool
round_has_arrived(GwSource *self)
{
    return self->n_arrived == self->n_rounds;
}

static void
set_pass_error(int failed, int stream, GError **error)
{
    if (stream < 0)
        gw_set_errno(error, GW_ERROR_IO, -failed, "tracing guest memory");
    else
        gw_set_errno(error, failed == -EPROTO ? GW_ERROR_PROTOCOL : GW_ERROR_PEER_LOST, -failed,
                     "data stream %d", stream);
}

/* What the destination says comes on the control stream and is a better reason than a data stream that broke,
 * which it may come behind. */
static void
await_peer_abort(GwSource *self)
{
    gint64 until_us = g_get_monotonic_time() + LAST_WORD_US;
    for (;;) {
        uint64_t seen = gw_bell_count(&self->bell);
        gw_source_take_frames(self);
        if (self->peer_abort || gw_control_failed(self->control, NULL) || g_get_monotonic_time() > until_us)
            return;
        gw_bell_wait(&self->bell, seen, until_us);
    }
}

/* A pass whose content has gone out; the caller waits for its arrival. */
bool
gw_source_await_pass(GwSource *self, gint64 deadline_us, GwPassCounters *ret_counters, GError **error)
{
    int failed = 0, stream = -1;
    if (!gw_source_await(self, pass_is_over, deadline_us, "copying memory", error))
        return false;
    if (!gw_crew_is_done(self->crew, ret_counters, &failed, &stream) || failed) {
        await_peer_abort(self);
        if (self->peer_abort)
            g_propagate_error(error, g_steal_pointer(&self->peer_abort));
        else
            set_pass_error(failed, stream, error);
        return false;
    }
    return true;
}

static void
add_to_total(GwSource *self, const GwPassCounters *counters)
{
    if (self->n_rounds == 1)
        self->first_round_pages = counters->found_pages;
    self->total.found_pages += counters->found_pages;
    self->total.sent_pages += counters->sent_pages;
    self->total.zero_pages += counters->zero_pages;
    self->total.wire_bytes += counters->wire_bytes;
    show_counters(self, &(GwPassCounters){0});
}

bool
gw_source_copy_round(GwSource *self, GwPassKind kind, gint64 deadline_us, GwRoundStats *ret_stats,
                     GwPassCounters *ret_counters, GError **error)
{
    gint64 began_us = g_get_monotonic_time();
    uint64_t round = self->n_rounds++;
    gw_progress_round_begins(self->options.progress, (unsigned)round);
    gw_crew_begin(self->crew, kind, round);
    if (!gw_source_await_pass(self, deadline_us, ret_counters, error) ||
        !gw_source_await(self, round_has_arrived, deadline_us, "the arrival of a round of memory", error))
        return false;
    *ret_stats = (GwRoundStats){
        .found_pages = ret_counters->found_pages,
        .sent_bytes = ret_counters->wire_bytes,
        .duration_us = (uint64_t)(g_get_monotonic_time() - began_us),
    };
    add_to_total(self, ret_counters);
    gw_progress_round_done(self->options.progress, (unsigned)round, ret_stats);
    return true;
}

static GwPaceStep
judge_round(GwSource *self, const GwRoundStats *stats, const GwPassCounters *counters)
{
    GwPaceRound round = {
        .found_bytes = stats->found_pages * GW_PAGE_SIZE,
        .payload_bytes = counters->sent_pages * GW_PAGE_SIZE,
        .duration_us = stats->duration_us,
    };
    GwPaceStep step =
        gw_pace_round_done(&self->pace, &round, (uint64_t)(g_get_monotonic_time() - self->began_us));
    gw_progress_set_estimate(self->options.progress, &self->pace.estimate);
    g_autofree char *why =
        step == GW_PACE_NOT_CONVERGING || step == GW_PACE_GIVE_UP ? gw_pace_explain(&self->pace) : NULL;
    gw_progress_set_explanation(self->options.progress, why);
    return step;
}

static char *
explain_first_round(GwSource *self)
{
    GwPassCounters counters;
    gw_crew_progress(self->crew, &counters);
    double copied_mb = (double)counters.found_pages * GW_PAGE_SIZE / 1e6,
           total_mb = (double)gw_image_resident(self->options.image) / 1e6,
           took_s = (double)(g_get_monotonic_time() - self->began_us) / 1e6;
    return g_strdup_printf("%.0f MB of %.0f MB of memory have been copied, at %.0f MB/s; a faster link, more "
                           "motion interfaces or a later deadline would help",
                           copied_mb, total_mb, copied_mb / took_s);
}

/* The deadline has passed, at the end of a round or (`error` is set) in one. Always false. */
static bool
give_up(GwSource *self, GError **error)
{
    if (*error && !g_error_matches(*error, GW_ERROR, GW_ERROR_TIMED_OUT))
        return false;
    g_autofree char *why = self->n_rounds < 2 ? explain_first_round(self) : gw_pace_explain(&self->pace);
    g_clear_error(error);
    g_set_error(error, GW_ERROR, GW_ERROR_NOT_CONVERGING, "the deadline of %.0f s has passed: %s",
                (double)self->options.deadline_us / 1e6, why);
    gw_progress_set_explanation(self->options.progress, why);
    return false;
}

/* What would be part of the pause and need not be, one at a time: disks are flushed, the VMM sets its save
 * up. The guest runs, and a round behind each takes what it wrote meanwhile, so that nothing but the stop
 * itself lies between the last round and the pause. */
static bool
prepare_stop(GwSource *self, GError **error)
{
    if (!self->flushed) {
        gw_progress_step(self->options.progress, "flushing", 0);
        gw_vmm_flush(self->options.vmm);
        self->flushed = true;
        return true;
    }
    gw_progress_step(self->options.progress, "setting-up", 0);
    self->save_begun = gw_vmm_begin_save(self->options.vmm, error);
    return self->save_begun;
}

bool
gw_source_copy_rounds(GwSource *self, GError **error)
{
    GwRoundStats stats;
    GwPassCounters counters;
    gw_pace_init(&self->pace, &(GwPaceOptions){.goal_us = self->options.goal_us,
                                               .deadline_us = self->options.deadline_us,
                                               .overhead_us = PAUSE_OVERHEAD_US});
    gw_progress_set_state(self->options.progress, GW_MOTION_FIRST_ROUND);
    gw_motion_hold(&self->options.hooks, "first-round");
    gint64 deadline_us = self->options.deadline_us ? self->began_us + (gint64)self->options.deadline_us : 0;
    if (!gw_source_copy_round(self, GW_PASS_ALL, deadline_us, &stats, &counters, error))
        return give_up(self, error);
    GwPaceStep step = judge_round(self, &stats, &counters);
    gw_progress_set_state(self->options.progress, GW_MOTION_PRE_COPY);
    gw_motion_hold(&self->options.hooks, "later-round");
    for (;; step = judge_round(self, &stats, &counters)) {
        if (step == GW_PACE_SWITCH_OVER && self->save_begun)
            return true;
        if (step == GW_PACE_SWITCH_OVER && !prepare_stop(self, error))
            return false;
        /* Holes once, while the guest runs: nothing in a VM of godwit's punches any, and this is why that is
         * no matter. */
        GwPassKind kind = self->n_rounds == 1 ? GW_PASS_WRITTEN_AND_HOLES : GW_PASS_WRITTEN;
        if (step == GW_PACE_GIVE_UP ||
            !gw_source_copy_round(self, kind, deadline_us, &stats, &counters, error))
            return give_up(self, error);
    }
}
