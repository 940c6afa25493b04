/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections that break, vanish or stall, at every step of a motion: exactly one guest runs, and both ends
 * come to know which. What cannot be known is asked for, left open, picked up by another supervisor, or
 * decided by a person. */
#include "motion-rig.h"

#include "census.h"
#include "certificates.h"
#include "error.h"

#include <string.h>

#define LOST_MS 500

static GwTlsIdentity *identity;
static Census before;

/* --- at every step ------------------------------------------------------------------------------------ */

static void
cut(Rig *rig)
{
    tcp_proxy_set(rig->proxy, PROXY_CUTS_ONCE);
}

static void
take_down(Rig *rig)
{
    tcp_proxy_set(rig->proxy, PROXY_IS_DOWN);
}

static void
stall(Rig *rig)
{
    tcp_proxy_set(rig->proxy, PROXY_STALLS);
}

static const struct {
    const char *step;
    RigExpected if_cut, if_gone; /* broken once; gone or silent for a while */
} steps[] = {
    {"first-round", RIG_STAYS, RIG_STAYS},
    {"receiving", RIG_STAYS, RIG_STAYS},
    {"later-round", RIG_STAYS, RIG_STAYS},
    {"stopped", RIG_STAYS, RIG_STAYS},
    {"device-state", RIG_EITHER, RIG_EITHER}, /* all may be there, and LOADED said */
    {"loaded", RIG_EITHER, RIG_EITHER},
    {"before-go", RIG_EITHER, RIG_EITHER}, /* GO may be sent before the loss is known */
    {"after-go", RIG_MOVES, RIG_EITHER},   /* a destination that has not heard it may have to refuse */
    {"got-go", RIG_MOVES, RIG_MOVES},
};

static RigExpected
expected_of(const RigPlan *plan)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++)
        if (strcmp(steps[i].step, plan->at) == 0)
            return plan->act == cut ? steps[i].if_cut : steps[i].if_gone;
    g_assert_not_reached();
}

static void
test_every_step(gconstpointer act)
{
    RigPlan plans[2 * G_N_ELEMENTS(steps)];
    for (unsigned i = 0; i < G_N_ELEMENTS(plans); i++) {
        const char *step = steps[i / 2].step;
        bool decides = strcmp(step, "after-go") == 0;
        plans[i] = (RigPlan){.name = step,
                             .at = step,
                             .act = (void (*)(Rig *))act,
                             .mend_us = act == cut ? 0 : 900000,
                             .identity = i % 2 ? identity : NULL,
                             .lost_ms = LOST_MS,
                             /* one that has to hear GO again waits for it, however slow this machine is */
                             .decide_us = decides && act == cut ? 5 * G_TIME_SPAN_SECOND : 0};
    }
    rig_run_all(plans, G_N_ELEMENTS(plans), expected_of);
    census_check(&before);
}

/* By bytes: in the midst of hellos, of frames, of pages, of the state. */
static RigExpected
either(const RigPlan *plan)
{
    return RIG_EITHER;
}

static void
test_every_byte(void)
{
    enum { N = 60 };
    RigPlan plans[N];
    for (unsigned i = 0; i < N; i++) {
        uint64_t n_bytes = i < 20 ? i * 47 : (uint64_t)g_test_rand_int_range(900, 2500000);
        plans[i] = (RigPlan){.name = "bytes",
                             .identity = i % 3 == 0 ? identity : NULL,
                             .cut = PROXY_CUTS_ONCE,
                             .cut_after = n_bytes,
                             .quiet = i % 2,
                             .size_bytes = 3 << 20,
                             .lost_ms = LOST_MS,
                             .decide_us = 100000,
                             /* a destination whose source never came */
                             .cancel_sink_us = 700000};
    }
    rig_run_all(plans, N, either);
    census_check(&before);
}

/* The guest does not stand still for a link that is silent: not for longer than it takes to know it, and when
 * somebody cancels, not even that long, although the state's bytes are stuck in the connection. */
static void
stall_and_cancel(Rig *rig)
{
    stall(rig);
    g_assert_true(gw_source_cancel(rig->source, "it takes too long"));
}

static void
test_pause_of_a_stalled_link(void)
{
    RigPlan stalled = {.name = "stalled",
                       .at = "stopped",
                       .act = stall,
                       .lost_ms = 1000,
                       .state_bytes = 20 << 20},
            cancelled = {.name = "stalled and cancelled",
                         .at = "device-state",
                         .act = stall_and_cancel,
                         .state_bytes = 1000};
    Rig *self = rig_new(&stalled);
    rig_start(self);
    rig_join(self);
    rig_check_stayed(self);
    g_assert_error(self->errors[1], GW_ERROR, GW_ERROR_PEER_LOST);
    g_assert_cmpint(fake_world_pause_us(self->world), <, 2500000);
    rig_free(self);

    self = rig_new(&cancelled);
    rig_start(self);
    rig_await_decided(self, true);
    g_assert_error(self->errors[1], GW_ERROR, GW_ERROR_CANCELLED);
    g_assert_cmpint(fake_world_pause_us(self->world), <, G_TIME_SPAN_SECOND);
    tcp_proxy_set(self->proxy, PROXY_CUTS_ONCE);
    rig_join(self);
    rig_check_stayed(self);
    rig_free(self);
    census_check(&before);
}

static void
test_cancel_while_the_state_is_stuck(void)
{
    RigPlan plan = {.name = "stuck state", .at = "stopped", .act = stall, .state_bytes = 30 << 20};
    Rig *self = rig_new(&plan);
    rig_start(self);
    while (!fake_world_is_stopped(self->world))
        g_usleep(1000);
    g_usleep(100000); /* the pump waits in a send by now */
    gint64 began_us = g_get_monotonic_time();
    g_assert_true(gw_source_cancel(self->source, "it takes too long"));
    while (!fake_vmm_runs(self->world, true))
        g_usleep(1000);
    g_assert_cmpint(g_get_monotonic_time() - began_us, <, 4 * G_TIME_SPAN_SECOND);
    tcp_proxy_set(self->proxy, PROXY_WORKS);
    rig_join(self);
    rig_check_stayed(self);
    rig_free(self);
    census_check(&before);
}

/* --- unresolved --------------------------------------------------------------------------------------- */

/* GO is lost in the wire, and then there is no wire: the source cannot know. */
static Rig *
make_unresolved(const char *name, gint64 decide_us)
{
    RigPlan plan = {
        .name = name, .at = "before-go", .act = stall, .lost_ms = LOST_MS, .decide_us = decide_us};
    Rig *self = rig_new(&plan);
    rig_start(self);
    rig_await_state(self, true, GW_MOTION_HANDING_OVER);
    g_usleep(30000);
    tcp_proxy_set(self->proxy, PROXY_IS_DOWN);
    rig_await_state(self, true, GW_MOTION_UNRESOLVED);
    g_assert_false(fake_vmm_runs(self->world, true) || fake_vmm_runs(self->world, false));
    g_assert_false(gw_source_cancel(self->source, "too late"));
    return self;
}

static void
end(Rig *self)
{
    rig_join(self);
    rig_free(self);
    census_check(&before);
}

static void
mend(Rig *self)
{
    tcp_proxy_set(self->proxy, PROXY_WORKS);
}

/* The wire comes back in time: the question is answered with "ready", and GO is said again. */
static void
test_asked_in_time(void)
{
    Rig *self = make_unresolved("asked in time", 20 * G_TIME_SPAN_SECOND);
    mend(self);
    rig_join(self);
    rig_check_moved(self);
    g_assert_true(self->source_knows);
    rig_free(self);
    census_check(&before);
}

/* It comes back too late: the destination has refused, and says so. */
static void
test_asked_too_late(void)
{
    Rig *self = make_unresolved("asked too late", 100000);
    rig_await_decided(self, false);
    g_assert_cmpint(self->outcomes[0], ==, GW_OUTCOME_REFUSED);
    mend(self);
    rig_join(self);
    rig_check_stayed(self);
    g_assert_true(self->source_knows);
    g_assert_cmpstr(self->journals[1]->str, ==, "journal-handed-over journal-owns ");
    rig_free(self);
    census_check(&before);
}

static void
test_told_run_at_source(void)
{
    g_autoptr(GError) error = NULL;
    Rig *self = make_unresolved("told run at the source", 100000);
    rig_await_decided(self, false);
    g_assert_true(gw_source_resolve(self->source, true, &error));
    g_assert_no_error(error);
    rig_await_decided(self, true);
    rig_check_stayed(self);
    g_assert_cmpstr(self->journals[1]->str, ==, "journal-handed-over journal-owns ");
    end(self);
}

/* A person may also be wrong about the destination's fate; what is told is done. */
static void
test_told_discard_at_source(void)
{
    g_autoptr(GError) error = NULL;
    Rig *self = make_unresolved("told discard at the source", 100000);
    rig_await_decided(self, false);
    g_assert_true(gw_source_resolve(self->source, false, &error));
    rig_await_decided(self, true);
    g_assert_cmpint(self->outcomes[1], ==, GW_OUTCOME_LEFT);
    g_assert_cmpint(self->outcomes[0], ==, GW_OUTCOME_REFUSED);
    g_assert_false(fake_vmm_runs(self->world, true) || fake_vmm_runs(self->world, false));
    g_assert_cmpstr(self->journals[1]->str, ==, "journal-handed-over journal-released ");
    end(self);
}

static void
test_told_run_at_destination(void)
{
    g_autoptr(GError) error = NULL;
    Rig *self = make_unresolved("told run at the destination", 20 * G_TIME_SPAN_SECOND);
    rig_await_state(self, false, GW_MOTION_UNRESOLVED);
    g_assert_true(gw_sink_resolve(self->sink, true, &error));
    g_assert_no_error(error);
    rig_await_decided(self, false);
    g_assert_cmpint(self->outcomes[0], ==, GW_OUTCOME_ARRIVED);
    g_assert_true(fake_vmm_runs(self->world, false));
    mend(self);
    rig_join(self);
    rig_check_moved(self);
    rig_free(self);
    census_check(&before);
}

static void
test_told_discard_at_destination(void)
{
    Rig *self = make_unresolved("told discard at the destination", 20 * G_TIME_SPAN_SECOND);
    rig_await_state(self, false, GW_MOTION_UNRESOLVED);
    g_assert_true(gw_sink_resolve(self->sink, false, NULL));
    rig_await_decided(self, false);
    g_assert_cmpint(self->outcomes[0], ==, GW_OUTCOME_REFUSED);
    mend(self);
    rig_join(self);
    rig_check_stayed(self);
    rig_free(self);
    census_check(&before);
}

static void
resolve_both(Rig *self)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(gw_source_resolve(self->source, true, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    g_clear_error(&error);
    g_assert_false(gw_sink_resolve(self->sink, true, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
}

static void
test_nothing_to_resolve(void)
{
    static const char *const at[] = {"first-round", "stopped", "before-go"};
    for (unsigned i = 0; i < G_N_ELEMENTS(at); i++) {
        RigPlan plan = {.name = "nothing to resolve", .at = at[i], .act = resolve_both};
        rig_run(&plan, RIG_MOVES);
    }
    census_check(&before);
}

/* --- supervisors that end and others that pick up ----------------------------------------------------- */

static void
test_source_leaves(void)
{
    g_autoptr(GError) error = NULL;
    Rig *self = make_unresolved("the source's supervisor leaves", 20 * G_TIME_SPAN_SECOND);
    gint64 began_us = g_get_monotonic_time();
    gw_source_leave(self->source);
    rig_await_decided(self, true);
    g_assert_cmpint(g_get_monotonic_time() - began_us, <, 4 * G_TIME_SPAN_SECOND);
    g_assert_cmpint(self->outcomes[1], ==, GW_OUTCOME_OPEN);
    g_assert_false(fake_vmm_runs(self->world, true));

    /* Another one comes. It cannot know whether GO left, so it asks for a refusal. */
    mend(self);
    GwSourceOptions options = rig_source_options(self);
    GwSource *next = gw_source_new(&options);
    self->outcomes[1] = gw_source_pick_up(next, true, false, false, &self->errors[1]);
    gw_source_free(next);
    rig_join(self);
    rig_check_stayed(self);
    rig_free(self);
    census_check(&before);
}

/* The destination has it; the source's next supervisor hears so. */
static void
test_source_dies_after_go(void)
{
    RigPlan plan = {.name = "the source's supervisor dies behind GO",
                    .at = "got-go",
                    .act = take_down,
                    .lost_ms = LOST_MS};
    Rig *self = rig_new(&plan);
    rig_start(self);
    rig_await_decided(self, false);
    g_assert_cmpint(self->outcomes[0], ==, GW_OUTCOME_ARRIVED);
    gw_source_leave(self->source);
    rig_await_decided(self, true);
    g_assert_cmpint(self->outcomes[1], ==, GW_OUTCOME_OPEN);
    mend(self);
    GwSourceOptions options = rig_source_options(self);
    GwSource *next = gw_source_new(&options);
    self->outcomes[1] = gw_source_pick_up(next, true, false, false, &self->errors[1]);
    gw_source_free(next);
    rig_join(self);
    rig_check(self);
    g_assert_cmpint(self->outcomes[1], ==, GW_OUTCOME_LEFT);
    g_assert_true(self->source_knows);
    rig_free(self);
    census_check(&before);
}

static void
leave_at_source(Rig *self)
{
    gw_source_leave(self->source);
}

/* Before the handover a supervisor that ends takes its guest back. */
static void
test_source_leaves_early(void)
{
    static const char *const at[] = {"first-round", "later-round", "stopped", "before-go"};
    for (unsigned i = 0; i < G_N_ELEMENTS(at); i++) {
        RigPlan plan = {.name = "the source's supervisor leaves early", .at = at[i], .act = leave_at_source};
        rig_run(&plan, RIG_STAYS);
    }
    census_check(&before);
}

/* A supervisor that died in the midst of copying: the next one takes the guest back and calls the motion off,
 * so that the destination does not wait. */
static void
test_source_dies_early(void)
{
    RigPlan plan = {.name = "the source's supervisor dies early", .answer_us = 20 * G_TIME_SPAN_SECOND};
    Rig *self = rig_new(&plan);
    self->threads[0] = NULL;
    GwSourceOptions options = rig_source_options(self);
    GwSource *next = gw_source_new(&options);
    rig_start_sink(self);
    self->outcomes[1] = gw_source_pick_up(next, false, false, false, &self->errors[1]);
    gw_source_free(next);
    g_assert_cmpint(self->outcomes[1], ==, GW_OUTCOME_STAYS);
    rig_await_decided(self, false);
    g_assert_cmpint(self->outcomes[0], ==, GW_OUTCOME_REFUSED);
    g_assert_true(fake_vmm_runs(self->world, true));
    rig_join_sink(self);
    rig_free(self);
    census_check(&before);
}

static void
test_picked_up_after_the_end(void)
{
    Rig *self = rig_new(&(RigPlan){.name = "picked up after the end"});
    g_autoptr(GError) error = NULL;
    GwSourceOptions options = rig_source_options(self);
    options.progress = gw_progress_new(NULL, NULL);
    GwSource *next = gw_source_new(&options);
    g_assert_cmpint(gw_source_pick_up(next, true, false, true, &error), ==, GW_OUTCOME_LEFT);
    gw_source_free(next);
    gw_progress_free(options.progress);
    options.progress = gw_progress_new(NULL, NULL);
    next = gw_source_new(&options);
    g_assert_cmpint(gw_source_pick_up(next, true, true, false, &error), ==, GW_OUTCOME_STAYS);
    gw_source_free(next);
    gw_progress_free(options.progress);
    g_assert_true(fake_vmm_runs(self->world, true));
    rig_free(self);
    census_check(&before);
}

/* The destination's supervisor ends while all is ready; the next one finds no "go" and refuses, for good. */
static void
test_destination_leaves(void)
{
    Rig *self = make_unresolved("the destination's supervisor leaves", 20 * G_TIME_SPAN_SECOND);
    gw_sink_leave(self->sink);
    rig_await_decided(self, false);
    g_assert_cmpint(self->outcomes[0], ==, GW_OUTCOME_OPEN);
    rig_join_sink(self);
    rig_replace_sink(self);
    self->outcomes[0] = gw_sink_pick_up(self->sink, true, false, false, false, &self->errors[0]);
    g_assert_cmpint(self->outcomes[0], ==, GW_OUTCOME_REFUSED);
    mend(self);
    g_assert_true(gw_sink_answer(self->sink));
    rig_await_decided(self, true);
    rig_join_source(self);
    rig_check_stayed(self);
    rig_free(self);
    census_check(&before);
}

/* It dies behind "go", before or after the guest was let go: the next one sees that it runs, and says so. */
static void
test_destination_dies_after_go(void)
{
    RigPlan plan = {.name = "the destination's supervisor dies behind GO",
                    .at = "got-go",
                    .act = take_down,
                    .lost_ms = LOST_MS};
    Rig *self = rig_new(&plan);
    rig_start(self);
    rig_await_decided(self, false);
    g_assert_cmpint(self->outcomes[0], ==, GW_OUTCOME_ARRIVED);
    gw_sink_leave(self->sink);
    rig_join_sink(self);
    rig_replace_sink(self);
    self->outcomes[0] = gw_sink_pick_up(self->sink, true, true, false, true, &self->errors[0]);
    g_assert_cmpint(self->outcomes[0], ==, GW_OUTCOME_ARRIVED);
    mend(self);
    g_assert_true(gw_sink_answer(self->sink));
    rig_await_decided(self, true);
    rig_join_source(self);
    rig_check(self);
    g_assert_cmpint(self->outcomes[1], ==, GW_OUTCOME_LEFT);
    rig_free(self);
    census_check(&before);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_dir_make_tmp("test-motion-loss-XXXXXX", &error);
    g_autoptr(TestAuthority) authority = test_authority_new("the authority");
    test_identity_make(dir, "host1", authority, authority, -60, 3600);
    g_autoptr(GwTlsIdentity) mine = gw_tls_identity_load(dir, &error);
    g_assert_no_error(error);
    identity = mine;
    before = census_take();

    g_test_add_data_func("/motion-loss/every-step/cut", cut, test_every_step);
    g_test_add_data_func("/motion-loss/every-step/down", take_down, test_every_step);
    g_test_add_data_func("/motion-loss/every-step/stalled", stall, test_every_step);
    g_test_add_func("/motion-loss/every-byte", test_every_byte);
    g_test_add_func("/motion-loss/pause", test_pause_of_a_stalled_link);
    g_test_add_func("/motion-loss/pause/stuck-state", test_cancel_while_the_state_is_stuck);
    g_test_add_func("/motion-loss/asked/in-time", test_asked_in_time);
    g_test_add_func("/motion-loss/asked/too-late", test_asked_too_late);
    g_test_add_func("/motion-loss/told/run-at-source", test_told_run_at_source);
    g_test_add_func("/motion-loss/told/discard-at-source", test_told_discard_at_source);
    g_test_add_func("/motion-loss/told/run-at-destination", test_told_run_at_destination);
    g_test_add_func("/motion-loss/told/discard-at-destination", test_told_discard_at_destination);
    g_test_add_func("/motion-loss/told/nothing-to-resolve", test_nothing_to_resolve);
    g_test_add_func("/motion-loss/source/leaves", test_source_leaves);
    g_test_add_func("/motion-loss/source/leaves-early", test_source_leaves_early);
    g_test_add_func("/motion-loss/source/dies-early", test_source_dies_early);
    g_test_add_func("/motion-loss/source/dies-after-go", test_source_dies_after_go);
    g_test_add_func("/motion-loss/source/after-the-end", test_picked_up_after_the_end);
    g_test_add_func("/motion-loss/destination/leaves", test_destination_leaves);
    g_test_add_func("/motion-loss/destination/dies-after-go", test_destination_dies_after_go);
    int result = g_test_run();
    test_identity_remove(dir);
    return result;
}
