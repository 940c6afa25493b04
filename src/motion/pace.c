/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The arithmetic of a pre-copy's end.
 *
 * A pause that began now would have to send what was written since each page was last scanned, so the
 * question after every round is how much that is. What is known are pairs: a round that found F bytes after
 * an exposure of T. F(T) of a guest that does not change its ways is concave: it begins as a straight line
 * (every write hits a page that is clean yet) and ends flat, at the working set (every write hits a page that
 * is dirty already). Between the last two rounds it is taken as a power of T,
 *
 *     F(T) = F_last x (T / T_last) ^ e,   e = log(F_last / F_before) / log(T_last / T_before) in 0 … 1
 *
 * 1 is a plain write rate, 0 a working set that is rewritten whole in every round. Since rounds get shorter,
 * and e of a concave F grows towards 1 as T shrinks, an old e promises too much memory and never too little.
 * While there is no e yet, the upper bound is taken, 0 for a shorter time and 1 for a longer one; or the
 * middle between the bounds, where they are close. Nothing is expected to be more than the most that a round
 * found.
 *
 * Exposure. A round scans and sends chunk by chunk, so a page at the beginning of the walk was exposed to the
 * guest for the whole round before, one at its end for this round instead. A guest's working set lies
 * anywhere in between, or all over: T of a round is the duration of the one before and half of its own, a
 * little less than what it is for pages spread evenly. For a working set at the very beginning of the walk
 * that expects up to a third too little; for one at its end it expects too much, without limit.
 *
 * Link. A round that sends B bytes takes floor + B / rate: the floor is its scans and a round trip, and part
 * of the pause as well. Both are followed by a Kalman filter, since no round shows them apart: one that
 * carried much says much of the rate and nothing of the floor, one that carried next to nothing the reverse,
 * and what is sure already is moved the less by what is noise.
 *
 * Rejected: plain averages of write rates, which for a working set that is rewritten promise a pause that
 * gets shorter for ever; and a threshold on remaining bytes, which is a pause only on one link. */
#include "pace.h"

#include <math.h>

/* What is supposed of a round's duration: off by so much of it, and by what timers and schedulers do. */
#define NOISE_SHARE       0.15
#define NOISE_US          500.0
/* From one round to the next, link and floor may have changed by so much: other traffic comes and goes. */
#define DRIFT_SHARE       0.25
/* Before anything is known: a floor of none, up to the round trips of a continent. */
#define FLOOR_UNSURE_US   50000.0
/* A rate of writing that was seen for less time is not the guest's. */
#define SHORT_EXPOSURE_US 5000.0
/* A round less would save less than what it costs the guest: the parts of a pause that are not memory are
 * 8 ms and more. */
#define GOOD_ENOUGH_US    2000.0
/* "Clearly shorter": a fifth, beyond the noise of rounds. */
#define CLEARLY_LESS      0.8
/* So many rounds without that, and no further one is tried for its sake. */
#define STUCK_ROUNDS      2
/* Exposures that differ by less tell nothing of the elasticity. */
#define COMPARABLE        1.5
/* Of rounds that an ETA looks ahead: who needs more does not converge. */
#define ETA_MAX_ROUNDS    100

void
gw_pace_init(GwPace *self, const GwPaceOptions *options)
{
    *self = (GwPace){
        .options = *options,
        .elasticity = -1,
        .payload_share = 1,
        .best_bytes = (double)INFINITY,
        .previous_bytes = (double)INFINITY,
    };
    self->estimate = (GwPaceEstimate){.pause_us = UINT64_MAX, .eta_us = UINT64_MAX};
}

static uint64_t
to_us(double us)
{
    return us < 1e18 ? (uint64_t)(us + 0.5) : UINT64_MAX;
}

static double
link_us_for(const GwPace *self, double bytes)
{
    if (bytes <= 0)
        return 0;
    return self->byte_us > 0 ? bytes * self->byte_us : (double)INFINITY;
}

static double
square(double x)
{
    return x * x;
}

/* The first round that carries something: all of its time is taken for the link's, unsure by the floor. */
static void
learn_first_link(GwPace *self, double bytes, double us)
{
    if (bytes <= 0)
        return;
    self->byte_us = us / bytes;
    self->floor_us = 0;
    self->var_floor = square(FLOOR_UNSURE_US);
    self->covar = -self->var_floor / bytes;
    self->var_byte = (square(us * NOISE_SHARE) + self->var_floor) / square(bytes);
}

static void
learn_link(GwPace *self, const GwPaceRound *round)
{
    double bytes = (double)round->payload_bytes, us = MAX((double)round->duration_us, 1);
    if (self->byte_us <= 0) {
        learn_first_link(self, bytes, us);
        return;
    }
    self->var_byte += square(self->byte_us * DRIFT_SHARE);
    self->var_floor += square(self->floor_us * DRIFT_SHARE) + square(NOISE_US);
    double with_floor = self->var_floor + bytes * self->covar,
           with_byte = self->covar + bytes * self->var_byte;
    double var_us = with_floor + bytes * with_byte + square(us * NOISE_SHARE) + square(NOISE_US);
    double surprise_us = us - (self->floor_us + bytes * self->byte_us);
    self->floor_us = MAX(self->floor_us + with_floor / var_us * surprise_us, 0);
    self->byte_us = MAX(self->byte_us + with_byte / var_us * surprise_us, self->byte_us / 4);
    self->var_floor -= square(with_floor) / var_us;
    self->var_byte -= square(with_byte) / var_us;
    self->covar -= with_floor * with_byte / var_us;
}

/* What is written in so long a time. Before the second round: everything. */
static double
found_in(const GwPace *self, double exposure_us, double unknown_elasticity)
{
    if (self->exposure_us <= 0)
        return self->most_found_bytes;
    double e = self->elasticity < 0 ? unknown_elasticity : self->elasticity;
    double found = self->found_bytes * pow(exposure_us / self->exposure_us, e);
    return MIN(found, self->most_found_bytes);
}

static double
expected_in(const GwPace *self, double exposure_us)
{
    if (exposure_us > self->exposure_us)
        return found_in(self, exposure_us, 1);
    return found_in(self, exposure_us, exposure_us > self->exposure_us / 2 ? 0.5 : 0);
}

static double
exposure_of(uint64_t duration_before_us, double duration_us)
{
    return (double)duration_before_us + duration_us / 2;
}

static void
learn_rate(GwPace *self, double found, double exposure_us)
{
    double rate = found / exposure_us * 1e6;
    double weight = self->exposure_us > 0 ? MIN(exposure_us / SHORT_EXPOSURE_US, 1) / 2 : 1;
    self->write_rate += (rate - self->write_rate) * weight;
    if (exposure_us >= SHORT_EXPOSURE_US)
        self->highest_rate = MAX(self->highest_rate, rate);
}

static bool
is_comparable(double a, double b)
{
    return a < b * COMPARABLE && b < a * COMPARABLE;
}

/* From this round and an earlier one of clearly different exposure. Where exposures are alike and finds are
 * not, the guest has changed its ways. */
static void
learn_elasticity(GwPace *self, double found, double exposure_us)
{
    bool alike = is_comparable(exposure_us, self->before_us);
    if (alike && is_comparable(found, self->before_bytes))
        return;
    self->elasticity = -1;
    if (!alike && found > 0 && self->before_bytes > 0) {
        double e = log(found / self->before_bytes) / log(exposure_us / self->before_us);
        self->elasticity = CLAMP(e, 0, 1);
    }
    self->before_bytes = found;
    self->before_us = exposure_us;
}

static void
learn_writing(GwPace *self, const GwPaceRound *round)
{
    double found = (double)round->found_bytes;
    double exposure_us = MAX(exposure_of(self->last_duration_us, (double)round->duration_us), 1);
    learn_rate(self, found, exposure_us);
    if (self->exposure_us > 0) {
        double expected = expected_in(self, exposure_us);
        learn_elasticity(self, found, exposure_us);
        if (self->elasticity >= 0 && is_comparable(found, expected))
            found = (found + expected) / 2;
    } else {
        self->before_bytes = found;
        self->before_us = exposure_us;
    }
    self->found_bytes = found;
    self->exposure_us = exposure_us;
}

static void
learn(GwPace *self, const GwPaceRound *round)
{
    learn_link(self, round);
    self->most_found_bytes = MAX(self->most_found_bytes, (double)round->found_bytes);
    if (round->found_bytes > 0)
        self->payload_share = (double)round->payload_bytes / (double)round->found_bytes;
    if (self->n_rounds > 0)
        learn_writing(self, round);
    self->last_duration_us = round->duration_us;
    self->n_rounds++;
}

static double
pause_us_for(const GwPace *self, double remaining_bytes)
{
    return (double)self->options.overhead_us + self->floor_us + link_us_for(self, remaining_bytes);
}

/* Measured against the best so far, not against the round before: a guest that writes in waves would
 * "converge" for ever. What got clearly less in two rounds together counts. */
static void
count_stuck(double remaining, double *best, unsigned *n_stuck)
{
    if (remaining < *best * CLEARLY_LESS) {
        *best = remaining;
        *n_stuck = 0;
    } else {
        ++*n_stuck;
    }
}

/* Plays the rounds to come. A guest of which one round is known is hoped to have a plain write rate. */
static double
eta_us(const GwPace *self, double remaining)
{
    double total_us = 0, best = self->best_bytes;
    unsigned n_stuck = self->n_stuck;
    for (unsigned i = 0; i < ETA_MAX_ROUNDS; i++) {
        bool fits = pause_us_for(self, remaining) <= (double)self->options.goal_us;
        if (fits && (link_us_for(self, remaining) <= GOOD_ENOUGH_US || n_stuck >= STUCK_ROUNDS))
            return total_us;
        if (n_stuck >= STUCK_ROUNDS && i >= STUCK_ROUNDS)
            break;
        double duration_us = self->floor_us + link_us_for(self, remaining);
        total_us += duration_us;
        remaining = found_in(self, duration_us, 1) * self->payload_share;
        count_stuck(remaining, &best, &n_stuck);
    }
    return (double)INFINITY;
}

static double
expected_bytes(const GwPace *self)
{
    return expected_in(self, (double)self->last_duration_us) * self->payload_share;
}

static void
estimate(GwPace *self, double remaining)
{
    self->estimate = (GwPaceEstimate){
        .link_bytes_per_s = self->byte_us > 0 ? (uint64_t)(1e6 / self->byte_us) : 0,
        .write_bytes_per_s = (uint64_t)self->write_rate,
        .remaining_bytes = (uint64_t)remaining,
        .pause_us = to_us(pause_us_for(self, remaining)),
        .eta_us = to_us(eta_us(self, remaining)),
    };
}

/* The next step. What else can be done about a guest that writes faster than the link sends belongs where
 * NOT_CONVERGING is returned. */
static GwPaceStep
decide(const GwPace *self, double remaining, uint64_t elapsed_us)
{
    bool fits = self->estimate.pause_us <= self->options.goal_us;
    bool good_enough = link_us_for(self, remaining) <= GOOD_ENOUGH_US;
    bool is_late = self->options.deadline_us > 0 && elapsed_us >= self->options.deadline_us;
    bool is_stuck = self->n_stuck >= STUCK_ROUNDS;
    if (fits)
        return good_enough || is_stuck || is_late ? GW_PACE_SWITCH_OVER : GW_PACE_GO_ON;
    if (is_late)
        return GW_PACE_GIVE_UP;
    bool is_shrinking = remaining < self->previous_bytes * CLEARLY_LESS;
    return good_enough || (is_stuck && !is_shrinking) ? GW_PACE_NOT_CONVERGING : GW_PACE_GO_ON;
}

GwPaceStep
gw_pace_round_done(GwPace *self, const GwPaceRound *round, uint64_t elapsed_us)
{
    learn(self, round);
    double remaining = expected_bytes(self);
    count_stuck(remaining, &self->best_bytes, &self->n_stuck);
    estimate(self, remaining);
    GwPaceStep step = decide(self, remaining, elapsed_us);
    self->previous_bytes = remaining;
    return step;
}

void
gw_pace_set_overhead(GwPace *self, uint64_t overhead_us)
{
    self->options.overhead_us = overhead_us;
    if (self->n_rounds > 0)
        estimate(self, expected_bytes(self));
}

void
gw_pace_round_progress(GwPace *self, uint64_t done_bytes, uint64_t total_bytes, uint64_t round_us)
{
    uint64_t remaining = total_bytes - MIN(done_bytes, total_bytes);
    self->estimate.remaining_bytes = remaining;
    /* what the first milliseconds show is the start, not the link */
    if (done_bytes == 0 || round_us < (uint64_t)SHORT_EXPOSURE_US)
        return;
    double rate = (double)done_bytes / (double)round_us; /* bytes per microsecond */
    self->estimate.link_bytes_per_s = (uint64_t)(rate * 1e6);
    self->estimate.eta_us = to_us((double)remaining / rate);
    self->estimate.pause_us = to_us((double)self->options.overhead_us + (double)remaining / rate);
}

static char *
time_text(uint64_t us)
{
    if (us >= 100000)
        return g_strdup_printf("%.1f s", (double)us / 1e6);
    return g_strdup_printf("%.0f ms", (double)us / 1e3);
}

static char *
megabytes_text(double bytes)
{
    return g_strdup_printf(bytes < 10e6 ? "%.1f MB" : "%.0f MB", bytes / 1e6);
}

/* The guest's part of the sentence. A guest that outruns the link is told by its rate; one that does not, and
 * still never leaves less, rewrites the same memory again and again, and no rate says that. */
static char *
writing_text(const GwPace *self)
{
    if (self->highest_rate >= (double)self->estimate.link_bytes_per_s) {
        g_autofree char *rate = megabytes_text(self->highest_rate);
        return g_strdup_printf("the guest writes %s/s", rate);
    }
    g_autofree char *size = megabytes_text((double)self->estimate.remaining_bytes);
    return g_strdup_printf("the guest writes %s again in every round", size);
}

char *
gw_pace_explain(const GwPace *self)
{
    if (self->n_rounds < 2)
        return g_strdup("how fast the guest writes is not known before the second round");
    const GwPaceEstimate *now = &self->estimate;
    g_autofree char *goal = time_text(self->options.goal_us);
    if ((double)self->options.overhead_us + self->floor_us > (double)self->options.goal_us) {
        double least_us = (double)self->options.overhead_us + self->floor_us;
        g_autofree char *least = time_text(to_us(least_us));
        return g_strdup_printf("the pause is %s with no memory to copy, the goal is %s; only a longer "
                               "switchover goal would help",
                               least, goal);
    }
    g_autofree char *pause = time_text(now->pause_us);
    if (now->pause_us <= self->options.goal_us)
        return g_strdup_printf("a pause of %s is expected, the goal is %s", pause, goal);
    g_autofree char *writing = writing_text(self);
    g_autofree char *link = megabytes_text((double)now->link_bytes_per_s);
    return g_strdup_printf("%s, the link carries %s/s: a pause of %s would be needed, the goal is %s; a "
                           "faster link, more motion interfaces or a longer switchover goal would help",
                           writing, link, pause, goal);
}

const char *
gw_pace_step_name(GwPaceStep step)
{
    static const char *const names[] = {
        [GW_PACE_GO_ON] = "go-on",
        [GW_PACE_SWITCH_OVER] = "switch-over",
        [GW_PACE_NOT_CONVERGING] = "not-converging",
        [GW_PACE_GIVE_UP] = "give-up",
    };
    G_STATIC_ASSERT(G_N_ELEMENTS(names) == GW_PACE_N_STEPS);
    return (unsigned)step < GW_PACE_N_STEPS ? names[step] : "?";
}
