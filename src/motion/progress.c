/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Counters and states behind a lock. */
#include "progress.h"

#include <string.h>

struct GwProgress {
    /* set once */
    GwProgressChanged changed;
    void *user_data;
    /* guarded by lock */
    GMutex lock;
    GwProgressData data;
};

static const char *const state_names[] = {
    [GW_MOTION_WAITING] = "waiting",         [GW_MOTION_CONNECTING] = "connecting",
    [GW_MOTION_FIRST_ROUND] = "first-round", [GW_MOTION_PRE_COPY] = "pre-copy",
    [GW_MOTION_SWITCHOVER] = "switchover",   [GW_MOTION_HANDING_OVER] = "handing-over",
    [GW_MOTION_COMPLETED] = "completed",     [GW_MOTION_FAILED] = "failed",
    [GW_MOTION_CANCELLED] = "cancelled",     [GW_MOTION_UNRESOLVED] = "unresolved",
};
G_STATIC_ASSERT(G_N_ELEMENTS(state_names) == GW_MOTION_N_STATES);

const char *
gw_motion_state_name(GwMotionState state)
{
    return state_names[state];
}

bool
gw_motion_state_is_final(GwMotionState state)
{
    return state == GW_MOTION_COMPLETED || state == GW_MOTION_FAILED || state == GW_MOTION_CANCELLED;
}

GwProgress *
gw_progress_new(GwProgressChanged changed, void *user_data)
{
    GwProgress *self = g_new0(GwProgress, 1);
    self->changed = changed;
    self->user_data = user_data;
    self->data.started_us = g_get_monotonic_time();
    self->data.converging = true;
    self->data.step = "";
    g_mutex_init(&self->lock);
    return self;
}

void
gw_progress_free(GwProgress *self)
{
    if (!self)
        return;
    g_mutex_clear(&self->lock);
    g_free(self);
}

void
gw_progress_get(GwProgress *self, GwProgressData *ret_data)
{
    g_mutex_lock(&self->lock);
    *ret_data = self->data;
    g_mutex_unlock(&self->lock);
}

static void
tell(GwProgress *self, const char *step)
{
    if (self->changed)
        self->changed(step, self->user_data);
}

void
gw_progress_set_state(GwProgress *self, GwMotionState state)
{
    g_mutex_lock(&self->lock);
    bool changed = self->data.state != state && !gw_motion_state_is_final(self->data.state);
    if (changed) {
        self->data.state = state;
        if (gw_motion_state_is_final(state))
            self->data.ended_us = g_get_monotonic_time();
    }
    g_mutex_unlock(&self->lock);
    if (changed)
        tell(self, state_names[state]);
}

void
gw_progress_step(GwProgress *self, const char *step, gint64 at_us)
{
    if (at_us == 0)
        at_us = g_get_monotonic_time();
    g_mutex_lock(&self->lock);
    self->data.step = step;
    if (self->data.n_steps < GW_PROGRESS_MAX_STEPS)
        self->data.steps[self->data.n_steps++] = (GwTimelineStep){step, at_us};
    if (strcmp(step, "stopped") == 0)
        self->data.stopped_us = at_us;
    g_mutex_unlock(&self->lock);
}

void
gw_progress_set_peer(GwProgress *self, const char *peer, const char *cipher, bool encrypted,
                     unsigned n_streams)
{
    g_mutex_lock(&self->lock);
    g_strlcpy(self->data.peer, peer, sizeof self->data.peer);
    g_strlcpy(self->data.cipher, cipher, sizeof self->data.cipher);
    self->data.encrypted = encrypted;
    self->data.n_streams = n_streams;
    g_mutex_unlock(&self->lock);
}

void
gw_progress_round_begins(GwProgress *self, unsigned round)
{
    g_mutex_lock(&self->lock);
    self->data.round = round;
    if (self->data.first_round_us == 0)
        self->data.first_round_us = g_get_monotonic_time();
    g_mutex_unlock(&self->lock);
}

void
gw_progress_round_done(GwProgress *self, unsigned round, const GwRoundStats *stats)
{
    g_mutex_lock(&self->lock);
    GwProgressData *data = &self->data;
    if (data->n_rounds == GW_PROGRESS_MAX_ROUNDS) { /* the first is kept, the second oldest goes */
        memmove(data->rounds + 1, data->rounds + 2, (GW_PROGRESS_MAX_ROUNDS - 2) * sizeof *data->rounds);
        data->n_rounds--;
        data->n_left_out++;
    }
    data->rounds[data->n_rounds++] = *stats;
    data->round = round;
    g_mutex_unlock(&self->lock);
    tell(self, "round");
}

void
gw_progress_set_counters(GwProgress *self, uint64_t bytes_on_wire, uint64_t pages_sent, uint64_t pages_zero,
                         uint64_t pages_resent)
{
    g_mutex_lock(&self->lock);
    self->data.bytes_on_wire = bytes_on_wire;
    self->data.pages_sent = pages_sent;
    self->data.pages_zero = pages_zero;
    self->data.pages_resent = pages_resent;
    g_mutex_unlock(&self->lock);
}

void
gw_progress_set_estimate(GwProgress *self, const GwPaceEstimate *estimate)
{
    g_mutex_lock(&self->lock);
    self->data.estimate = *estimate;
    g_mutex_unlock(&self->lock);
}

void
gw_progress_set_explanation(GwProgress *self, const char *text)
{
    g_mutex_lock(&self->lock);
    bool was = self->data.converging;
    self->data.converging = text == NULL;
    g_strlcpy(self->data.explanation, text ? text : "", sizeof self->data.explanation);
    g_mutex_unlock(&self->lock);
    if (was && text)
        tell(self, "not-converging");
}

void
gw_progress_set_memory(GwProgress *self, uint64_t memory_bytes)
{
    g_mutex_lock(&self->lock);
    self->data.memory_bytes = memory_bytes;
    g_mutex_unlock(&self->lock);
}

void
gw_progress_set_rtt(GwProgress *self, uint64_t rtt_us)
{
    g_mutex_lock(&self->lock);
    self->data.rtt_us = rtt_us;
    g_mutex_unlock(&self->lock);
}

void
gw_progress_set_downtime(GwProgress *self, uint64_t downtime_us)
{
    g_mutex_lock(&self->lock);
    self->data.downtime_us = downtime_us;
    self->data.has_downtime = true;
    g_mutex_unlock(&self->lock);
}
