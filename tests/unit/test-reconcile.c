/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reconciliation: each row of the table in docs/design/cluster.md, and what must hold for all cases. */
#include "reconcile.h"

typedef struct {
    const char *what;
    GwReconcileCase given;
    GwReconcileAction action;
} Row;

#define KNOWN .is_known = true
#define HOME  .is_known = true, .is_home = true

static const Row rows[] = {
    {"at home", {HOME, .here = GW_PLACE_RUNNING}, GW_RECONCILE_NOTHING},
    {"moved by hand", {KNOWN, .here = GW_PLACE_RUNNING, .home = GW_PLACE_ABSENT}, GW_RECONCILE_TAKE_HOME},
    {"moved by hand, paused",
     {KNOWN, .here = GW_PLACE_PAUSED, .home = GW_PLACE_MOVED},
     GW_RECONCILE_TAKE_HOME},
    {"home crashed", {KNOWN, .here = GW_PLACE_RUNNING, .home = GW_PLACE_CRASHED}, GW_RECONCILE_TAKE_HOME},
    {"twice", {KNOWN, .here = GW_PLACE_RUNNING, .home = GW_PLACE_RUNNING}, GW_RECONCILE_TELL_DUPLICATE},
    {"twice, paused",
     {KNOWN, .here = GW_PLACE_RUNNING, .home = GW_PLACE_PAUSED},
     GW_RECONCILE_TELL_DUPLICATE},
    {"home is silent", {KNOWN, .here = GW_PLACE_RUNNING, .home = GW_PLACE_UNKNOWN}, GW_RECONCILE_TELL_UNSURE},
    {"home does not know yet",
     {KNOWN, .here = GW_PLACE_RUNNING, .home = GW_PLACE_PAUSED, .home_has_motion = true},
     GW_RECONCILE_TELL_UNSURE},
    {"a motion's destination", {KNOWN, .in_motion = true, .here = GW_PLACE_RUNNING}, GW_RECONCILE_NOTHING},
    {"waits for nobody", {KNOWN, .here = GW_PLACE_INCOMING, .home = GW_PLACE_RUNNING}, GW_RECONCILE_REMOVE},
    {"waits for its motion", {KNOWN, .in_motion = true, .here = GW_PLACE_INCOMING}, GW_RECONCILE_NOTHING},
    {"left over", {KNOWN, .here = GW_PLACE_MOVED, .home = GW_PLACE_RUNNING}, GW_RECONCILE_REMOVE},
    {"left over, its motion not over",
     {KNOWN, .in_motion = true, .here = GW_PLACE_MOVED},
     GW_RECONCILE_NOTHING},
    {"moved, nobody knows where to", {HOME, .here = GW_PLACE_MOVED}, GW_RECONCILE_NOTHING},
    {"crashed elsewhere", {KNOWN, .here = GW_PLACE_CRASHED, .home = GW_PLACE_RUNNING}, GW_RECONCILE_REMOVE},
    {"off elsewhere", {KNOWN, .here = GW_PLACE_OFF, .home = GW_PLACE_ABSENT}, GW_RECONCILE_REMOVE},
    {"off where it went", {KNOWN, .here = GW_PLACE_OFF, .home = GW_PLACE_MOVED}, GW_RECONCILE_TAKE_HOME},
    {"off, home is silent", {KNOWN, .here = GW_PLACE_OFF, .home = GW_PLACE_UNKNOWN}, GW_RECONCILE_NOTHING},
    {"off at home", {HOME, .here = GW_PLACE_OFF}, GW_RECONCILE_NOTHING},
    {"a stranger", {.here = GW_PLACE_RUNNING}, GW_RECONCILE_TELL_UNKNOWN},
    {"a stranger that waits", {.here = GW_PLACE_INCOMING}, GW_RECONCILE_TELL_UNKNOWN},
    {"no supervisor lives", {KNOWN, .here = GW_PLACE_UNKNOWN, .home = GW_PLACE_ABSENT}, GW_RECONCILE_NOTHING},
};

static void
test_rows(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_test_message("%s", rows[i].what);
        g_assert_cmpint(gw_reconcile_decide(&rows[i].given), ==, rows[i].action);
    }
}

static void
check(const GwReconcileCase *given)
{
    GwReconcileAction action = gw_reconcile_decide(given);
    bool is_alive =
        given->here == GW_PLACE_RUNNING || given->here == GW_PLACE_PAUSED || given->here == GW_PLACE_STARTING;
    if (given->in_motion)
        g_assert_cmpint(action, ==, GW_RECONCILE_NOTHING);
    if (action == GW_RECONCILE_REMOVE)
        g_assert_true(!is_alive && given->is_known);
    if (action == GW_RECONCILE_TAKE_HOME)
        g_assert_true(!given->is_home && given->home != GW_PLACE_UNKNOWN && given->home != GW_PLACE_RUNNING &&
                      given->home != GW_PLACE_PAUSED);
}

static void
test_all_cases(void)
{
    for (int bits = 0; bits < 16; bits++)
        for (int here = 0; here < GW_N_PLACES; here++)
            for (int home = 0; home < GW_N_PLACES; home++)
                check(&(GwReconcileCase){.is_known = bits & 1,
                                         .is_home = (bits & 3) == 3,
                                         .in_motion = bits & 4,
                                         .home_has_motion = bits & 8,
                                         .here = here,
                                         .home = home});
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/reconcile/rows", test_rows);
    g_test_add_func("/reconcile/all-cases", test_all_cases);
    return g_test_run();
}
