/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is known of a motion: states that end are left no more, rounds and steps are kept within bounds, and
 * whoever listens is told of each change once, without a lock. */
#include "progress.h"

#include <string.h>

typedef struct {
    GwProgress *progress;
    GString *told;
} Listener;

static void
on_changed(const char *step, void *user_data)
{
    Listener *self = user_data;
    GwProgressData data;
    gw_progress_get(self->progress, &data); /* would wait for ever if the lock were held */
    g_string_append_printf(self->told, "%s ", step);
}

static void
set_up(Listener *self)
{
    self->told = g_string_new("");
    self->progress = gw_progress_new(on_changed, self);
}

static void
tear_down(Listener *self)
{
    gw_progress_free(self->progress);
    g_string_free(self->told, TRUE);
}

static void
test_names(void)
{
    static const struct {
        GwMotionState state;
        const char *name;
        bool is_final;
    } states[] = {
        {GW_MOTION_WAITING, "waiting", false},         {GW_MOTION_CONNECTING, "connecting", false},
        {GW_MOTION_FIRST_ROUND, "first-round", false}, {GW_MOTION_PRE_COPY, "pre-copy", false},
        {GW_MOTION_SWITCHOVER, "switchover", false},   {GW_MOTION_HANDING_OVER, "handing-over", false},
        {GW_MOTION_COMPLETED, "completed", true},      {GW_MOTION_FAILED, "failed", true},
        {GW_MOTION_CANCELLED, "cancelled", true},      {GW_MOTION_UNRESOLVED, "unresolved", false},
    };
    G_STATIC_ASSERT(G_N_ELEMENTS(states) == GW_MOTION_N_STATES);
    for (unsigned i = 0; i < G_N_ELEMENTS(states); i++) {
        g_assert_cmpstr(gw_motion_state_name(states[i].state), ==, states[i].name);
        g_assert_cmpint(gw_motion_state_is_final(states[i].state), ==, states[i].is_final);
    }
}

static void
test_beginning(void)
{
    gint64 before = g_get_monotonic_time();
    GwProgress *progress = gw_progress_new(NULL, NULL);
    GwProgressData data;
    gw_progress_get(progress, &data);
    g_assert_cmpint(data.state, ==, GW_MOTION_WAITING);
    g_assert_cmpstr(data.step, ==, "");
    g_assert_true(data.converging);
    g_assert_false(data.has_downtime);
    g_assert_cmpint(data.started_us, >=, before);
    g_assert_cmpint(data.first_round_us + data.stopped_us + data.ended_us, ==, 0);
    gw_progress_set_state(progress, GW_MOTION_FAILED); /* nobody listens */
    gw_progress_free(progress);
    gw_progress_free(NULL);
}

static void
test_states(void)
{
    Listener self;
    GwProgressData data;
    set_up(&self);
    gw_progress_set_state(self.progress, GW_MOTION_WAITING); /* no change */
    gw_progress_set_state(self.progress, GW_MOTION_CONNECTING);
    gw_progress_set_state(self.progress, GW_MOTION_CONNECTING);
    gw_progress_set_state(self.progress, GW_MOTION_UNRESOLVED);
    gw_progress_set_state(self.progress, GW_MOTION_HANDING_OVER);
    gw_progress_get(self.progress, &data);
    g_assert_cmpint(data.ended_us, ==, 0);
    gw_progress_set_state(self.progress, GW_MOTION_COMPLETED);
    gw_progress_get(self.progress, &data);
    gint64 ended_us = data.ended_us;
    g_assert_cmpint(ended_us, >=, data.started_us);
    for (GwMotionState state = 0; state < GW_MOTION_N_STATES; state++) /* for good */
        gw_progress_set_state(self.progress, state);
    gw_progress_get(self.progress, &data);
    g_assert_cmpint(data.state, ==, GW_MOTION_COMPLETED);
    g_assert_cmpint(data.ended_us, ==, ended_us);
    g_assert_cmpstr(self.told->str, ==, "connecting unresolved handing-over completed ");
    tear_down(&self);
}

static void
test_steps(void)
{
    Listener self;
    GwProgressData data;
    set_up(&self);
    gint64 before = g_get_monotonic_time();
    gw_progress_step(self.progress, "stopping", 0);
    gw_progress_step(self.progress, "stopped", 1234);
    gw_progress_get(self.progress, &data);
    g_assert_cmpuint(data.n_steps, ==, 2);
    g_assert_cmpstr(data.steps[0].step, ==, "stopping");
    g_assert_cmpint(data.steps[0].at_us, >=, before);
    g_assert_cmpint(data.steps[1].at_us, ==, 1234);
    g_assert_cmpint(data.stopped_us, ==, 1234);
    g_assert_cmpstr(data.step, ==, "stopped");
    for (unsigned i = 0; i < 3 * GW_PROGRESS_MAX_STEPS; i++)
        gw_progress_step(self.progress, "more", i + 1);
    gw_progress_step(self.progress, "last", 5);
    gw_progress_get(self.progress, &data);
    g_assert_cmpuint(data.n_steps, ==, GW_PROGRESS_MAX_STEPS);
    g_assert_cmpstr(data.steps[1].step, ==, "stopped"); /* the first ones are kept */
    g_assert_cmpint(data.steps[GW_PROGRESS_MAX_STEPS - 1].at_us, ==, GW_PROGRESS_MAX_STEPS - 2);
    g_assert_cmpstr(data.step, ==, "last");
    tear_down(&self);
}

/* The first and the last ones are kept. */
static void
test_rounds(void)
{
    Listener self;
    GwProgressData data;
    set_up(&self);
    for (unsigned round = 0; round < 200; round++) {
        gw_progress_round_begins(self.progress, round);
        gw_progress_get(self.progress, &data);
        g_assert_cmpuint(data.round, ==, round);
        g_assert_cmpuint(data.n_rounds, ==, MIN(round, GW_PROGRESS_MAX_ROUNDS));
        gw_progress_round_done(self.progress, round, &(GwRoundStats){round, 10 * round, 100 * round});
        gw_progress_get(self.progress, &data);
        g_assert_cmpuint(data.n_rounds, ==, MIN(round + 1, GW_PROGRESS_MAX_ROUNDS));
        g_assert_cmpuint(data.n_rounds + data.n_left_out, ==, round + 1);
        g_assert_cmpuint(data.rounds[0].found_pages, ==, 0);
        for (unsigned i = 1; i < data.n_rounds; i++)
            g_assert_cmpuint(data.rounds[i].found_pages, ==, i + data.n_left_out);
    }
    g_assert_cmpuint(data.rounds[GW_PROGRESS_MAX_ROUNDS - 1].sent_bytes, ==, 1990);
    g_assert_cmpuint(self.told->len, ==, 200 * strlen("round "));
    tear_down(&self);
}

/* The beginning of the first round is that of the first time that it is said. */
static void
test_first_round(void)
{
    Listener self;
    GwProgressData data;
    set_up(&self);
    gw_progress_round_begins(self.progress, 0);
    gw_progress_get(self.progress, &data);
    gint64 first_us = data.first_round_us;
    g_assert_cmpint(first_us, >, 0);
    g_usleep(2000);
    gw_progress_round_begins(self.progress, 0);
    gw_progress_round_begins(self.progress, 1);
    gw_progress_get(self.progress, &data);
    g_assert_cmpint(data.first_round_us, ==, first_us);
    tear_down(&self);
}

static void
test_explanation(void)
{
    Listener self;
    GwProgressData data;
    g_autofree char *text = g_strnfill(1000, 'x');
    set_up(&self);
    gw_progress_set_explanation(self.progress, NULL);
    gw_progress_set_explanation(self.progress, "it writes too fast");
    gw_progress_set_explanation(self.progress, text);
    gw_progress_get(self.progress, &data);
    g_assert_false(data.converging);
    g_assert_cmpuint(strlen(data.explanation), ==, sizeof data.explanation - 1);
    gw_progress_set_explanation(self.progress, NULL);
    gw_progress_get(self.progress, &data);
    g_assert_true(data.converging);
    g_assert_cmpstr(data.explanation, ==, "");
    gw_progress_set_explanation(self.progress, "again");
    g_assert_cmpstr(self.told->str, ==, "not-converging not-converging "); /* once each time */
    tear_down(&self);
}

static void
test_values(void)
{
    Listener self;
    GwProgressData data;
    g_autofree char *text = g_strnfill(1000, 'x');
    set_up(&self);
    gw_progress_set_peer(self.progress, text, text, true, 3);
    gw_progress_set_counters(self.progress, 1, 2, 3, 4);
    gw_progress_set_estimate(self.progress, &(GwPaceEstimate){.eta_us = 5});
    gw_progress_set_memory(self.progress, 6);
    gw_progress_set_rtt(self.progress, 7);
    gw_progress_set_downtime(self.progress, 0);
    gw_progress_get(self.progress, &data);
    g_assert_cmpuint(strlen(data.peer), ==, sizeof data.peer - 1);
    g_assert_cmpuint(strlen(data.cipher), ==, sizeof data.cipher - 1);
    g_assert_true(data.encrypted);
    g_assert_cmpuint(data.n_streams, ==, 3);
    g_assert_cmpuint(data.bytes_on_wire, ==, 1);
    g_assert_cmpuint(data.pages_sent, ==, 2);
    g_assert_cmpuint(data.pages_zero, ==, 3);
    g_assert_cmpuint(data.pages_resent, ==, 4);
    g_assert_cmpuint(data.estimate.eta_us, ==, 5);
    g_assert_cmpuint(data.memory_bytes, ==, 6);
    g_assert_cmpuint(data.rtt_us, ==, 7);
    g_assert_true(data.has_downtime); /* also one of nothing */
    tear_down(&self);
}

static void *
count_up(void *data)
{
    for (uint64_t i = 0; i < 20000; i++)
        gw_progress_set_counters(data, i, i, i, i);
    return NULL;
}

/* A copy is of one moment. */
static void
test_threads(void)
{
    GwProgress *progress = gw_progress_new(NULL, NULL);
    GThread *thread = g_thread_new("writer", count_up, progress);
    GwProgressData data = {0};
    while (data.bytes_on_wire < 19999) {
        gw_progress_get(progress, &data);
        g_assert_cmpuint(data.pages_sent, ==, data.bytes_on_wire);
        g_assert_cmpuint(data.pages_resent, ==, data.bytes_on_wire);
    }
    g_thread_join(thread);
    gw_progress_free(progress);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/progress/names", test_names);
    g_test_add_func("/progress/beginning", test_beginning);
    g_test_add_func("/progress/states", test_states);
    g_test_add_func("/progress/steps", test_steps);
    g_test_add_func("/progress/rounds", test_rounds);
    g_test_add_func("/progress/first-round", test_first_round);
    g_test_add_func("/progress/explanation", test_explanation);
    g_test_add_func("/progress/values", test_values);
    g_test_add_func("/progress/threads", test_threads);
    return g_test_run();
}
