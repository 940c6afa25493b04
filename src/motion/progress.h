/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is known of a motion: where it stands, what it has done, what is expected. Written by the motion's
 * threads, read by anyone, under a lock of its own that is a leaf. */
#pragma once

#include "pace.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum {
    GW_MOTION_WAITING,      /* destination: for the source */
    GW_MOTION_CONNECTING,   /* source: streams are being made */
    GW_MOTION_FIRST_ROUND,  /* all that the image holds is being copied */
    GW_MOTION_PRE_COPY,     /* what was written since */
    GW_MOTION_SWITCHOVER,   /* the guest stands still; the source still owns it */
    GW_MOTION_HANDING_OVER, /* the right to run it is passing */
    GW_MOTION_COMPLETED,
    GW_MOTION_FAILED,     /* the guest is where it was */
    GW_MOTION_CANCELLED,  /* likewise, on somebody's order */
    GW_MOTION_UNRESOLVED, /* handed over, and the peer does not answer: asked until it does, or somebody
                             decides */
    GW_MOTION_N_STATES
} GwMotionState;

const char *gw_motion_state_name(GwMotionState state);
/* Whether nothing more will happen. */
bool gw_motion_state_is_final(GwMotionState state);

typedef struct {
    uint64_t found_pages; /* that the trace found written; round 0: that the image held */
    uint64_t sent_bytes;  /* on the wire */
    uint64_t duration_us;
} GwRoundStats;

typedef struct {
    const char *step; /* a literal */
    gint64 at_us;     /* CLOCK_MONOTONIC */
} GwTimelineStep;

#define GW_PROGRESS_MAX_ROUNDS 64u /* kept: the first, and the last ones */
#define GW_PROGRESS_MAX_STEPS  24u

/* A copy for the reader. */
typedef struct {
    GwMotionState state;
    const char *step;  /* a literal; the last step of the timeline, or of the set-up */
    unsigned round;    /* under way, or the last */
    unsigned n_rounds; /* kept; behind the first one, n_left_out are missing */
    unsigned n_left_out;
    GwRoundStats rounds[GW_PROGRESS_MAX_ROUNDS];
    unsigned n_steps;
    GwTimelineStep steps[GW_PROGRESS_MAX_STEPS];

    unsigned n_streams;
    bool encrypted;
    char cipher[64], peer[64];
    uint64_t memory_bytes;
    uint64_t bytes_on_wire, pages_sent, pages_zero, pages_resent;
    GwPaceEstimate estimate;
    bool converging;
    char explanation[256]; /* why it does not converge; "" if it does */

    gint64 started_us, first_round_us, stopped_us, ended_us; /* CLOCK_MONOTONIC; 0: not yet */
    uint64_t downtime_us;                                    /* known if has_downtime */
    bool has_downtime;
    uint64_t rtt_us; /* the shortest that was measured; 0: none */
} GwProgressData;

typedef struct GwProgress GwProgress;

/* Called without a lock held, in whatever thread made the change. `step`: a literal. */
typedef void (*GwProgressChanged)(const char *step, void *user_data);

GwProgress *gw_progress_new(GwProgressChanged changed, void *user_data);
void gw_progress_free(GwProgress *self);

void gw_progress_get(GwProgress *self, GwProgressData *ret_data);

void gw_progress_set_state(GwProgress *self, GwMotionState state);
/* A step of the timeline, with the time at which it was taken (0: now). */
void gw_progress_step(GwProgress *self, const char *step, gint64 at_us);
void gw_progress_set_peer(GwProgress *self, const char *peer, const char *cipher, bool encrypted,
                          unsigned n_streams);
void gw_progress_round_begins(GwProgress *self, unsigned round);
void gw_progress_round_done(GwProgress *self, unsigned round, const GwRoundStats *stats);
void gw_progress_set_counters(GwProgress *self, uint64_t bytes_on_wire, uint64_t pages_sent,
                              uint64_t pages_zero, uint64_t pages_resent);
void gw_progress_set_estimate(GwProgress *self, const GwPaceEstimate *estimate);
/* NULL: it converges. */
void gw_progress_set_explanation(GwProgress *self, const char *text);
void gw_progress_set_memory(GwProgress *self, uint64_t memory_bytes);
void gw_progress_set_rtt(GwProgress *self, uint64_t rtt_us);
void gw_progress_set_downtime(GwProgress *self, uint64_t downtime_us);
