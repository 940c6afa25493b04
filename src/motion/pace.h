/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When to switch over: pure arithmetic on what the rounds of a pre-copy showed. No clock, no thread, no I/O.
 * pace.c has the model. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t goal_us;     /* the longest pause that is acceptable for memory and state together */
    uint64_t deadline_us; /* of the whole motion, from its beginning; 0: none */
    uint64_t overhead_us; /* what a pause costs beside memory: stop, state, load, resume. Without the last
                             scan and the round trip of the last pages, which the rounds show. A first guess,
                             see gw_pace_set_overhead() */
} GwPaceOptions;

/* What one round did. Round 0 sends all that there is, each later one what was written since. */
typedef struct {
    uint64_t found_bytes;   /* memory that the trace found written (round 0: that the image holds) */
    uint64_t payload_bytes; /* of it, what had to be sent: without pages of zeros */
    uint64_t duration_us;   /* from the first scan until the other end had it all */
} GwPaceRound;

typedef enum {
    GW_PACE_GO_ON,          /* another round makes the pause shorter */
    GW_PACE_SWITCH_OVER,    /* what is left fits, and another round would not make it clearly less */
    GW_PACE_NOT_CONVERGING, /* another round, but the pause does not get shorter and does not fit the goal */
    GW_PACE_GIVE_UP,        /* the deadline has passed, and it does not fit the goal */
    GW_PACE_N_STEPS
} GwPaceStep;

/* What is expected now, for decisions and for people. Rates are smoothed. After round 0 alone nothing is
 * known of the guest's writing: remaining_bytes is then all of it, the upper bound. */
typedef struct {
    uint64_t link_bytes_per_s;  /* 0: not known yet */
    uint64_t write_bytes_per_s; /* how fast the guest dirties memory anew, pages counted whole; of a guest
                                   that rewrites the same pages it is the less the longer a round */
    uint64_t remaining_bytes;   /* would have to be sent in a pause that began now */
    uint64_t pause_us;          /* what that pause would be; UINT64_MAX: no link to be seen */
    uint64_t eta_us;            /* until a switchover is expected; UINT64_MAX: none in sight */
} GwPaceEstimate;

typedef struct {
    GwPaceOptions options;
    GwPaceEstimate estimate;
    unsigned n_rounds;
    /* the arithmetic's own: pace.c */
    double floor_us, byte_us; /* what a round takes: floor_us + bytes x byte_us; byte_us 0: not known */
    double var_floor, var_byte, covar; /* and how sure that is */
    double found_bytes, exposure_us;   /* the last round's: so much is written in so long a time */
    double before_bytes, before_us;    /* an earlier round's, of a clearly different exposure if possible */
    double elasticity;                 /* found grows as exposure to this power, 0 … 1; < 0: not known */
    double payload_share;              /* of what is found */
    double write_rate, highest_rate;   /* bytes per second, smoothed; the most that a round showed */
    double most_found_bytes;           /* in any round */
    double best_bytes, previous_bytes; /* least remaining that was clearly less than before; remaining after
                                          the round before */
    uint64_t last_duration_us;
    unsigned n_stuck; /* rounds since best_bytes got clearly less */
} GwPace;

void gw_pace_init(GwPace *self, const GwPaceOptions *options);

/* Once it is known better: from the size of the state, the round trip, the number of devices. */
void gw_pace_set_overhead(GwPace *self, uint64_t overhead_us);

/* After each round, with the time since the motion's beginning. Updates self->estimate. */
GwPaceStep gw_pace_round_done(GwPace *self, const GwPaceRound *round, uint64_t elapsed_us);

/* While round 0 runs: how much of it is done; only the estimate changes. */
void gw_pace_round_progress(GwPace *self, uint64_t done_bytes, uint64_t total_bytes, uint64_t round_us);

/* Why a motion does not come to its end, in one sentence for people: write rate, link rate, what would help.
 * Free it. */
char *gw_pace_explain(const GwPace *self);
const char *gw_pace_step_name(GwPaceStep step);
