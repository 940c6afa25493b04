/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Motions disturbed at random, by several things at once: cancelled at either end at any moment, connections
 * cut or stalled at any byte, VMMs and journals that fail. Whatever happens, one guest runs, and both ends
 * know which. The seed is printed (--seed repeats it, as far as threads let it), and each motion is named by
 * what is special about it. */
#include "motion-rig.h"

#include "census.h"
#include "certificates.h"

#define N_RUNS 200

static GwTlsIdentity *identity;

static bool
one_in(GRand *random, gint32 n)
{
    return g_rand_int_range(random, 0, n) == 0;
}

static FakeFault
random_fault(GRand *random, FakeOp first, FakeOp last)
{
    return (FakeFault){.op = (FakeOp)g_rand_int_range(random, (gint32)first, (gint32)last + 1),
                       .how = (FakeHow)g_rand_int_range(random, 0, 2) ? FAKE_FAILS : FAKE_IS_SLOW,
                       .n_times = 1,
                       .slow_us = g_rand_int_range(random, 0, 50000)};
}

static void
append_fault(GString *text, const char *end, FakeFault fault)
{
    if (fault.op == FAKE_OP_NONE)
        return;
    g_string_append_printf(text, ", %s's %s ", end, fake_op_name(fault.op));
    if (fault.how == FAKE_IS_SLOW)
        g_string_append_printf(text, "takes %d us", (int)fault.slow_us);
    else
        g_string_append(text, "fails");
}

static void
append_journal(GString *text, const char *end, GwHandoverAction line, unsigned n_times)
{
    if (line)
        g_string_append_printf(text, ", %s's %s fails %u times", end, gw_handover_action_name(line), n_times);
}

static char *
describe(const RigPlan *plan, unsigned number)
{
    static const char *const cuts[] = {"works", "is cut once", "is cut for good", "stalls"};
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "random %u: %u pages, %u streams%s%s%s%s", number,
                           (unsigned)(plan->size_bytes / 4096), plan->n_streams,
                           plan->identity ? ", TLS" : "", plan->paused ? ", paused" : "",
                           plan->quiet ? ", quiet" : "", plan->punches ? ", punches" : "");
    if (plan->cancel_source_us)
        g_string_append_printf(text, ", source cancelled at %d us", (int)plan->cancel_source_us);
    if (plan->cancel_sink_us)
        g_string_append_printf(text, ", destination cancelled at %d us", (int)plan->cancel_sink_us);
    if (plan->cut != PROXY_WORKS)
        g_string_append_printf(text, ", the wire %s after %u bytes, until %d us", cuts[plan->cut],
                               (unsigned)plan->cut_after, (int)plan->mend_us);
    append_fault(text, "source", plan->source_fault);
    append_fault(text, "destination", plan->sink_fault);
    append_journal(text, "source", plan->source_journal_fails, plan->n_source_journal_fails);
    append_journal(text, "destination", plan->sink_journal_fails, plan->n_sink_journal_fails);
    return g_string_free(text, FALSE);
}

static RigPlan
random_plan(GRand *random)
{
    static const GwHandoverAction sink_lines[] = {GW_HANDOVER_ACT_JOURNAL_GO,
                                                  GW_HANDOVER_ACT_JOURNAL_REFUSED},
                                  source_lines[] = {GW_HANDOVER_ACT_JOURNAL_HANDED_OVER,
                                                    GW_HANDOVER_ACT_JOURNAL_OWNS,
                                                    GW_HANDOVER_ACT_JOURNAL_RELEASED};
    RigPlan plan = {.identity = one_in(random, 4) ? identity : NULL,
                    .n_streams = (unsigned)g_rand_int_range(random, 1, 4),
                    .paused = one_in(random, 10),
                    .quiet = one_in(random, 4),
                    .punches = one_in(random, 4),
                    .state_bytes = (size_t)g_rand_int_range(random, 1, 300000),
                    .size_bytes = (uint64_t)g_rand_int_range(random, 16, 700) * 4096,
                    .lost_ms = 400,
                    .decide_us = g_rand_int_range(random, 1, 150000),
                    .mend_us = g_rand_int_range(random, 1, 300000)};
    if (one_in(random, 2))
        plan.cancel_source_us = g_rand_int_range(random, 1, 40000);
    if (one_in(random, 4))
        plan.cancel_sink_us = g_rand_int_range(random, 1, 40000);
    if (one_in(random, 2)) {
        plan.cut = (ProxyState)g_rand_int_range(random, PROXY_CUTS_ONCE, PROXY_STALLS + 1);
        plan.cut_after = (uint64_t)g_rand_int_range(random, 0, one_in(random, 2) ? 1500 : 1500000);
        if (!plan.cancel_sink_us)
            plan.cancel_sink_us = 800000; /* its source may never come */
    }
    if (one_in(random, 6))
        plan.source_fault = random_fault(random, FAKE_OP_PREPARE_SAVE, FAKE_OP_AWAIT_SAVED);
    if (one_in(random, 6))
        plan.sink_fault = random_fault(random, FAKE_OP_PREPARE_LOAD, FAKE_OP_RESUME);
    if (one_in(random, 8)) {
        plan.source_journal_fails = source_lines[g_rand_int_range(random, 0, 3)];
        plan.n_source_journal_fails = (unsigned)g_rand_int_range(random, 0, 3);
    }
    if (one_in(random, 8)) {
        plan.sink_journal_fails = sink_lines[g_rand_int_range(random, 0, 2)];
        plan.n_sink_journal_fails = 1;
    }
    return plan;
}

static RigExpected
either(const RigPlan *plan)
{
    return RIG_EITHER;
}

static void
test_random(void)
{
    Census before = census_take();
    guint32 seed = (guint32)g_test_rand_int();
    g_test_message("seed %u", seed);
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    g_autofree RigPlan *plans = g_new(RigPlan, N_RUNS);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    for (unsigned i = 0; i < N_RUNS; i++) {
        plans[i] = random_plan(random);
        g_ptr_array_add(names, describe(&plans[i], i));
        plans[i].name = g_ptr_array_index(names, i);
    }
    rig_run_all(plans, N_RUNS, either);
    census_check(&before);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_dir_make_tmp("test-motion-random-XXXXXX", &error);
    g_autoptr(TestAuthority) authority = test_authority_new("the authority");
    test_identity_make(dir, "host1", authority, authority, -60, 3600);
    g_autoptr(GwTlsIdentity) mine = gw_tls_identity_load(dir, &error);
    g_assert_no_error(error);
    identity = mine;
    g_test_add_func("/motion-random/all", test_random);
    int result = g_test_run();
    test_identity_remove(dir);
    return result;
}
