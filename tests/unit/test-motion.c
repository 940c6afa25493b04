/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whole motions in one process: a guest that writes arrives with the memory that it had; whatever a VMM or a
 * journal refuses on the way, exactly one guest runs, both ends know which, and nothing is left behind. */
#include "motion-rig.h"

#include "census.h"
#include "certificates.h"
#include "error.h"

#include <string.h>

static GwTlsIdentity *identity;
static Census before;

/* --- motions that work -------------------------------------------------------------------------------- */

static void
test_move(gconstpointer is_tls)
{
    RigPlan plan = {.name = "move", .identity = is_tls ? identity : NULL};
    Rig *self = rig_new(&plan);
    GwProgressData source, sink;
    rig_start(self);
    rig_join(self);
    rig_check_moved(self);
    g_assert_true(self->source_knows);
    g_assert_no_error(self->errors[0]);
    g_assert_no_error(self->errors[1]);
    g_assert_cmpstr(self->journals[1]->str, ==, "journal-handed-over journal-released ");
    g_assert_cmpstr(self->journals[0]->str, ==, "ready journal-go ");

    gw_progress_get(self->progress[1], &source);
    gw_progress_get(self->progress[0], &sink);
    g_assert_cmpuint(source.n_rounds, >=, 2);
    g_assert_cmpuint(source.rounds[0].found_pages, >, 0);
    g_assert_cmpint(source.encrypted, ==, is_tls != NULL);
    g_assert_cmpint(sink.encrypted, ==, is_tls != NULL);
    g_assert_true(source.has_downtime);
    g_assert_cmpuint(source.downtime_us, >, 0);
    g_assert_cmpint((gint64)source.downtime_us, <=, fake_world_pause_us(self->world) + 50000);
    g_assert_cmpuint(source.pages_sent + source.pages_zero, >=, source.rounds[0].found_pages);
    g_assert_cmpuint(source.bytes_on_wire, ==, sink.bytes_on_wire);
    g_assert_cmpuint(source.pages_sent, ==, sink.pages_sent);
    static const char *const steps[] = {
        "flushing",    "setting-up", "stopping",    "stopped", "drained", "memory-complete",
        "state-saved", "verified",   "peer-loaded", "go",      "runs"};
    g_assert_cmpuint(source.n_steps, ==, G_N_ELEMENTS(steps));
    for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
        g_assert_cmpstr(source.steps[i].step, ==, steps[i]);
        g_assert_cmpint(source.steps[i].at_us, >=, source.steps[i ? i - 1 : 0].at_us);
    }
    rig_free(self);
    census_check(&before);
}

static RigExpected
moves(const RigPlan *plan)
{
    return RIG_MOVES;
}

static RigExpected
stays(const RigPlan *plan)
{
    return RIG_STAYS;
}

static void
test_kinds(void)
{
    const RigPlan plans[] = {
        {.name = "one stream", .n_streams = 1},
        {.name = "eight streams", .n_streams = 8, .size_bytes = 40 << 20},
        {.name = "eight streams, TLS", .n_streams = 8, .identity = identity},
        {.name = "a paused guest", .paused = true},
        {.name = "a paused guest, TLS", .paused = true, .identity = identity},
        {.name = "a quiet guest", .quiet = true},
        {.name = "a guest that gives memory back", .punches = true},
        {.name = "little state", .state_bytes = 1},
        {.name = "much state", .state_bytes = 9 << 20},
        {.name = "much state, TLS", .state_bytes = 9 << 20, .identity = identity},
        {.name = "little memory", .size_bytes = 64 << 10},
        {.name = "slow prepare-save", .source_fault = {FAKE_OP_PREPARE_SAVE, FAKE_IS_SLOW, 1, 400000}},
        {.name = "slow stop", .source_fault = {FAKE_OP_STOP, FAKE_IS_SLOW, 1, 400000}},
        {.name = "slow save", .source_fault = {FAKE_OP_SAVE, FAKE_IS_SLOW, 1, 400000}},
        {.name = "slow await-saved", .source_fault = {FAKE_OP_AWAIT_SAVED, FAKE_IS_SLOW, 1, 400000}},
        {.name = "slow prepare-load", .sink_fault = {FAKE_OP_PREPARE_LOAD, FAKE_IS_SLOW, 1, 400000}},
        {.name = "slow await-loaded", .sink_fault = {FAKE_OP_AWAIT_LOADED, FAKE_IS_SLOW, 1, 400000}},
        {.name = "slow resume", .sink_fault = {FAKE_OP_RESUME, FAKE_IS_SLOW, 1, 400000}},
        {.name = "released not journalled", .source_journal_fails = GW_HANDOVER_ACT_JOURNAL_RELEASED},
    };
    rig_run_all(plans, G_N_ELEMENTS(plans), moves);
    census_check(&before);
}

/* --- what a VMM refuses ------------------------------------------------------------------------------- */

static void
test_vmm_refuses(void)
{
    static const FakeOp source_ops[] = {FAKE_OP_PREPARE_SAVE, FAKE_OP_STOP, FAKE_OP_SAVE,
                                        FAKE_OP_AWAIT_SAVED},
                        sink_ops[] = {FAKE_OP_PREPARE_LOAD, FAKE_OP_AWAIT_LOADED, FAKE_OP_RESUME};
    static const char *const names[] = {"says no", "dies", "dies behind"};
    g_autoptr(GArray) plans = g_array_new(FALSE, TRUE, sizeof(RigPlan));
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    for (FakeHow how = FAKE_FAILS; how <= FAKE_DIES_AFTER; how++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(source_ops) + G_N_ELEMENTS(sink_ops); i++) {
            bool at_source = i < G_N_ELEMENTS(source_ops);
            FakeOp op = at_source ? source_ops[i] : sink_ops[i - G_N_ELEMENTS(source_ops)];
            RigPlan plan = {.name = g_strdup_printf("op %u %s", op, names[how]),
                            .identity = i % 2 ? identity : NULL};
            *(at_source ? &plan.source_fault : &plan.sink_fault) = (FakeFault){.op = op, .how = how};
            g_ptr_array_add(texts, (void *)plan.name);
            if (op == FAKE_OP_RESUME && how != FAKE_FAILS)
                continue; /* it has arrived, and died there: see below */
            if (op == FAKE_OP_AWAIT_SAVED && how == FAKE_DIES_AFTER)
                continue; /* all of it is there: see below */
            g_array_append_val(plans, plan);
        }
    }
    rig_run_all((const RigPlan *)(void *)plans->data, plans->len, stays);
    census_check(&before);
}

/* The source's VMM dies when it has given all away, or the destination's once it was told to let the guest
 * run: it has moved. Nobody can know any more whether it ran for a moment there, so it must not go on at the
 * source. */
static void
test_vmm_dies_late(void)
{
    const RigPlan plans[] = {
        {.name = "the source's", .source_fault = {.op = FAKE_OP_AWAIT_SAVED, .how = FAKE_DIES_AFTER}},
        {.name = "the destination's", .sink_fault = {.op = FAKE_OP_RESUME, .how = FAKE_DIES_AFTER}},
        {.name = "the destination's, unheard", .sink_fault = {.op = FAKE_OP_RESUME, .how = FAKE_DIES}},
    };
    rig_run_all(plans, G_N_ELEMENTS(plans), moves);
    census_check(&before);
}

/* What each end says of it. */
static void
test_reasons(void)
{
    const struct {
        RigPlan plan;
        const char *source, *sink;
    } cases[] = {
        {{.source_fault = {.op = FAKE_OP_STOP}},
         "stop: the VMM says no",
         "the source gave up: stop: the VMM says no"},
        {{.sink_fault = {.op = FAKE_OP_PREPARE_LOAD}},
         "the destination gave up: prepare-load: the VMM says no",
         "prepare-load: the VMM says no"},
        {{.sink_fault = {.op = FAKE_OP_AWAIT_LOADED}},
         "the destination gave up: await-loaded: the VMM says no",
         "await-loaded: the VMM says no"},
        {{.ready_fails = true}, "the destination gave up: no room for ready", "no room for ready"},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        Rig *self = rig_new(&cases[i].plan);
        rig_start(self);
        rig_join(self);
        rig_check_stayed(self);
        g_assert_cmpstr(self->errors[1]->message, ==, cases[i].source);
        g_assert_cmpstr(self->errors[0]->message, ==, cases[i].sink);
        rig_free(self);
    }
    census_check(&before);
}

/* A device that writes memory while the guest stands still would be lost: the motion is not done. */
static void
test_late_write(void)
{
    RigPlan plan = {.name = "late write", .late_write = true};
    Rig *self = rig_new(&plan);
    rig_start(self);
    rig_join(self);
    rig_check_stayed(self);
    g_assert_error(self->errors[1], GW_ERROR, GW_ERROR_VMM_FAILED);
    g_assert_cmpstr(self->errors[1]->message, ==,
                    "1 pages of guest memory were written while the guest stood still");
    rig_free(self);
    census_check(&before);
}

/* The destination's VMM hangs as it loads: the guest does not stand still for ever. */
static void
test_load_hangs(void)
{
    RigPlan plan = {.name = "load hangs",
                    .quiet = true,
                    .goal_us = 10000,
                    .sink_fault = {FAKE_OP_AWAIT_LOADED, FAKE_IS_SLOW, 1, 3 * G_TIME_SPAN_SECOND}};
    Rig *self = rig_new(&plan);
    rig_start(self);
    rig_join(self);
    rig_check_stayed(self);
    g_assert_error(self->errors[1], GW_ERROR, GW_ERROR_TIMED_OUT);
    g_assert_cmpint(fake_world_pause_us(self->world), >=, 2 * G_TIME_SPAN_SECOND);
    g_assert_cmpint(fake_world_pause_us(self->world), <, 2800000);
    rig_free(self);
    census_check(&before);
}

/* --- what a journal refuses --------------------------------------------------------------------------- */

static void
test_journal_refuses(void)
{
    const RigPlan plans[] = {
        {.name = "handed-over", .source_journal_fails = GW_HANDOVER_ACT_JOURNAL_HANDED_OVER},
        {.name = "ready", .ready_fails = true},
        {.name = "go", .sink_journal_fails = GW_HANDOVER_ACT_JOURNAL_GO},
        {.name = "go, and then the refusal once",
         .sink_journal_fails = GW_HANDOVER_ACT_JOURNAL_GO,
         .sink_refusal_fails = true},
        {.name = "refused, after no to a load",
         .sink_fault = {.op = FAKE_OP_AWAIT_LOADED},
         .sink_journal_fails = GW_HANDOVER_ACT_JOURNAL_REFUSED},
    };
    rig_run_all(plans, G_N_ELEMENTS(plans), stays);
    census_check(&before);
}

/* --- cancelled ---------------------------------------------------------------------------------------- */

static void
cancel_source(Rig *self)
{
    g_assert_true(gw_source_cancel(self->source, "somebody said so"));
}

static void
cancel_sink(Rig *self)
{
    g_assert_true(gw_sink_cancel(self->sink, "somebody there said so"));
}

static void
test_cancelled(void)
{
    static const char *const source_steps[] = {"connect", "first-round",  "later-round",
                                               "stopped", "device-state", "before-go"},
                             *const sink_steps[] = {"receiving", "loaded"};
    for (unsigned i = 0; i < G_N_ELEMENTS(source_steps) + G_N_ELEMENTS(sink_steps); i++) {
        bool at_source = i < G_N_ELEMENTS(source_steps);
        const char *step = at_source ? source_steps[i] : sink_steps[i - G_N_ELEMENTS(source_steps)];
        RigPlan plan = {.name = step,
                        .at = step,
                        .act = at_source ? cancel_source : cancel_sink,
                        .identity = i % 2 ? identity : NULL};
        Rig *self = rig_new(&plan);
        rig_start(self);
        if (strcmp(step, "connect") == 0)
            g_usleep(20000);
        if (strcmp(step, "connect") == 0)
            rig_cancel_sink(self, "nobody comes"); /* it was never heard of */
        rig_join(self);
        rig_check_stayed(self);
        g_assert_true(self->reached);
        g_assert_error(self->errors[at_source], GW_ERROR, GW_ERROR_CANCELLED);
        g_assert_cmpint(rig_state(self, at_source), ==, GW_MOTION_CANCELLED);
        g_assert_cmpint(fake_world_pause_us(self->world), <, G_TIME_SPAN_SECOND);
        rig_free(self);
    }
    census_check(&before);
}

static void
try_to_cancel(Rig *self)
{
    g_assert_false(gw_source_cancel(self->source, "too late"));
}

static void
test_cancelled_too_late(void)
{
    RigPlan plan = {.name = "cancelled too late", .at = "after-go", .act = try_to_cancel};
    rig_run(&plan, RIG_MOVES);
    census_check(&before);
}

/* --- ends --------------------------------------------------------------------------------------------- */

/* Made, and never run. */
static void
test_never_run(void)
{
    Rig *self = rig_new(&(RigPlan){.name = "never run"});
    rig_free(self);
    gw_source_free(NULL);
    gw_sink_free(NULL);
    census_check(&before);
}

/* No source comes. */
static void
test_nobody_comes(void)
{
    Rig *self = rig_new(&(RigPlan){.name = "nobody comes"});
    g_autoptr(GError) error = NULL;
    GwSinkOptions options = rig_sink_options(self);
    options.wait_us = 30000;
    options.ticket = gw_ticket_new(NULL);
    gw_ticket_add(options.ticket, "127.0.0.1", 0, NULL);
    GwSink *sink = gw_sink_new(&options, &error);
    g_assert_no_error(error);
    g_assert_cmpint(gw_sink_run(sink, &error), ==, GW_OUTCOME_REFUSED);
    g_assert_error(error, GW_ERROR, GW_ERROR_TIMED_OUT);
    g_assert_cmpstr(error->message, ==, "no source has come");
    g_assert_cmpstr(self->journals[0]->str, ==, "journal-refused ");
    gw_sink_free(sink);
    gw_ticket_free(options.ticket);
    rig_free(self);
    census_check(&before);
}

/* Nobody is there to go to. */
static void
test_no_destination(void)
{
    Rig *self = rig_new(&(RigPlan){.name = "no destination"});
    g_autoptr(GError) error = NULL;
    tcp_proxy_set(self->proxy, PROXY_IS_DOWN);
    g_assert_cmpint(gw_source_run(self->source, &error), ==, GW_OUTCOME_STAYS);
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED); /* what a closed connection is taken for */
    g_assert_true(fake_vmm_runs(self->world, true));
    g_assert_cmpstr(self->journals[1]->str, ==, "");
    rig_free(self);
    census_check(&before);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_dir_make_tmp("test-motion-XXXXXX", &error);
    g_autoptr(TestAuthority) authority = test_authority_new("the authority");
    test_identity_make(dir, "host1", authority, authority, -60, 3600);
    g_autoptr(GwTlsIdentity) mine = gw_tls_identity_load(dir, &error);
    g_assert_no_error(error);
    identity = mine;
    before = census_take();

    g_test_add_data_func("/motion/move/plain", NULL, test_move);
    g_test_add_data_func("/motion/move/tls", "", test_move);
    g_test_add_func("/motion/kinds", test_kinds);
    g_test_add_func("/motion/vmm-refuses", test_vmm_refuses);
    g_test_add_func("/motion/vmm-dies-late", test_vmm_dies_late);
    g_test_add_func("/motion/reasons", test_reasons);
    g_test_add_func("/motion/late-write", test_late_write);
    g_test_add_func("/motion/load-hangs", test_load_hangs);
    g_test_add_func("/motion/journal-refuses", test_journal_refuses);
    g_test_add_func("/motion/cancelled", test_cancelled);
    g_test_add_func("/motion/cancelled-too-late", test_cancelled_too_late);
    g_test_add_func("/motion/never-run", test_never_run);
    g_test_add_func("/motion/nobody-comes", test_nobody_comes);
    g_test_add_func("/motion/no-destination", test_no_destination);
    int result = g_test_run();
    test_identity_remove(dir);
    return result;
}
