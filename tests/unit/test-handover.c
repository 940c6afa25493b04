/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The handover's machines, one at a time: the stories told in words, what holds for every state and event,
 * and that the tables in docs/protocol.md are those of the code. `test-handover --tables` prints them. Both
 * ends together are walked in test-handover-model.c. */
#include "handover.h"

#include <stdio.h>
#include <string.h>

#define TABLES_BEGIN "<!-- handover tables: from test-handover, see `--tables` -->\n"
#define TABLES_END   "<!-- end of handover tables -->\n"

static bool
is_of_source(GwHandoverState state)
{
    return state <= GW_HANDOVER_RELEASED;
}

static GwHandover
machine_in(GwHandoverState state)
{
    GwHandover machine;
    gw_handover_init(&machine, is_of_source(state) ? GW_HANDOVER_SOURCE : GW_HANDOVER_DESTINATION);
    machine.state = machine.before = state;
    return machine;
}

static bool
is_journal(GwHandoverAction action)
{
    return g_str_has_prefix(gw_handover_action_name(action), "journal-");
}

static char *
plan_text(const GwHandoverPlan *plan, const char *separator)
{
    GString *text = g_string_new(NULL);
    for (unsigned i = 0; i < plan->n_actions; i++)
        g_string_append_printf(text, "%s%s", i > 0 ? separator : "",
                               gw_handover_action_name(plan->actions[i]));
    return g_string_free(text, FALSE);
}

static void
assert_plan(const GwHandover *machine, GwHandoverPlan plan, const char *actions, GwHandoverState state)
{
    g_autofree char *text = plan_text(&plan, " ");
    g_assert_cmpstr(text, ==, actions);
    g_assert_cmpstr(gw_handover_state_name(machine->state), ==, gw_handover_state_name(state));
}

#define feed(event, actions, state)                                                                          \
    assert_plan(&machine, gw_handover_feed(&machine, GW_HANDOVER_EV_##event), actions, GW_HANDOVER_##state)

static void
test_moves(void)
{
    GwHandover machine;
    gw_handover_init(&machine, GW_HANDOVER_SOURCE);
    g_assert_cmpint(machine.state, ==, GW_HANDOVER_OWNS);
    feed(COMPLETE, "journal-handed-over send-go", HANDING);
    feed(COMPLETE, "", HANDING); /* said twice */
    feed(PEER_RUNS, "journal-released send-done discard", RELEASED);
    feed(PEER_RUNS, "send-done", RELEASED);
    feed(PEER_NEVER, "", RELEASED);
    feed(FAIL, "", RELEASED);

    gw_handover_init(&machine, GW_HANDOVER_DESTINATION);
    g_assert_cmpint(machine.state, ==, GW_HANDOVER_WAITS);
    feed(LOADED, "send-loaded", READY);
    feed(GO, "journal-go resume answer-runs", RUNS);
    feed(GO, "answer-runs", RUNS);
    feed(ASKED, "answer-runs", RUNS);
    feed(WITHDRAW, "answer-runs", RUNS);
    feed(LINK_LOST, "", RUNS);
    feed(DEADLINE, "", RUNS);
    feed(TOLD_DISCARD, "", RUNS);
}

static void
test_source_keeps(void)
{
    GwHandover machine = machine_in(GW_HANDOVER_OWNS);
    feed(FAIL, "resume send-abort", KEEPS);
    feed(COMPLETE, "", KEEPS); /* too late: the guest runs */

    /* too late to take it back by itself: it asks */
    machine = machine_in(GW_HANDOVER_HANDING);
    feed(FAIL, "ask", HANDING);
    feed(PEER_READY, "send-go", HANDING);
    feed(PEER_NEVER, "journal-owns resume send-done", KEEPS);
    feed(PEER_RUNS, "", KEEPS);

    machine = machine_in(GW_HANDOVER_UNSURE);
    feed(PEER_READY, "send-withdraw", UNSURE);
    feed(PEER_NEVER, "journal-owns resume send-done", KEEPS);
}

static void
test_told(void)
{
    GwHandover machine = machine_in(GW_HANDOVER_HANDING);
    feed(TOLD_RUN, "journal-owns resume send-abort", KEEPS);
    machine = machine_in(GW_HANDOVER_UNSURE);
    feed(TOLD_DISCARD, "journal-released discard", RELEASED);
    machine = machine_in(GW_HANDOVER_OWNS);
    feed(TOLD_DISCARD, "", OWNS); /* nothing is unresolved */
    machine = machine_in(GW_HANDOVER_WAITS);
    feed(TOLD_RUN, "", WAITS); /* its memory is not complete */
    machine = machine_in(GW_HANDOVER_READY);
    feed(TOLD_RUN, "journal-go resume answer-runs", RUNS);
    machine = machine_in(GW_HANDOVER_REFUSED);
    feed(TOLD_RUN, "", REFUSED); /* for ever */
}

static void
test_destination_refuses(void)
{
    GwHandover machine = machine_in(GW_HANDOVER_WAITS);
    feed(GO, "journal-refused answer-never discard", REFUSED);
    machine = machine_in(GW_HANDOVER_WAITS);
    feed(LINK_LOST, "journal-refused answer-never discard leave", REFUSED);
    machine = machine_in(GW_HANDOVER_WAITS);
    feed(ABORT, "journal-refused discard leave", REFUSED);

    machine = machine_in(GW_HANDOVER_READY);
    feed(LINK_LOST, "", READY);
    feed(ASKED, "answer-ready", READY);
    feed(DEADLINE, "journal-refused answer-never discard", REFUSED);
    feed(GO, "answer-never", REFUSED);
    feed(LOADED, "", REFUSED);
    feed(ASKED, "answer-never", REFUSED);
    feed(PEER_DONE, "leave", REFUSED);
    machine = machine_in(GW_HANDOVER_READY);
    feed(ABORT, "journal-refused discard leave", REFUSED);
    machine = machine_in(GW_HANDOVER_READY);
    feed(WITHDRAW, "journal-refused answer-never discard", REFUSED);
}

static void
test_failing_journal_at_source(void)
{
    GwHandover machine = machine_in(GW_HANDOVER_OWNS);
    feed(COMPLETE, "journal-handed-over send-go", HANDING);
    feed(FAILED, "journal-owns resume send-abort", KEEPS);
    feed(FAILED, "resume send-withdraw", KEEPS);
    feed(FAILED, "", KEEPS); /* nothing was to be journalled */
    feed(PEER_NEVER, "journal-owns send-done", KEEPS);
    feed(FAILED, "", KEEPS);

    machine = machine_in(GW_HANDOVER_HANDING);
    feed(PEER_NEVER, "journal-owns resume send-done", KEEPS);
    feed(FAILED, "resume", KEEPS);

    machine = machine_in(GW_HANDOVER_UNSURE);
    feed(PEER_RUNS, "journal-released send-done discard", RELEASED);
    feed(FAILED, "discard", RELEASED);

    /* a plan without a journal's action cannot fail */
    machine = machine_in(GW_HANDOVER_HANDING);
    feed(FAIL, "ask", HANDING);
    feed(FAILED, "", HANDING);
}

static void
test_failing_journal_at_destination(void)
{
    GwHandover machine = machine_in(GW_HANDOVER_READY);
    feed(GO, "journal-go resume answer-runs", RUNS);
    feed(FAILED, "journal-refused answer-never discard", REFUSED);
    feed(FAILED, "", REFUSING);
    feed(LOADED, "", REFUSING);
    feed(TOLD_RUN, "", REFUSING);
    feed(ASKED, "journal-refused answer-never discard", REFUSED);
    feed(FAILED, "", REFUSING);
    feed(DEADLINE, "journal-refused answer-never discard", REFUSED);
    feed(GO, "answer-never", REFUSED);

    machine = machine_in(GW_HANDOVER_WAITS);
    feed(ABORT, "journal-refused discard leave", REFUSED);
    feed(FAILED, "", REFUSING);
}

static const struct {
    GwHandoverSide side;
    bool first, second, released;
    const char *actions;
    GwHandoverState state;
} restores[] = {
    {GW_HANDOVER_SOURCE, false, false, false, "resume send-abort", GW_HANDOVER_KEEPS},
    {GW_HANDOVER_SOURCE, true, false, false, "ask", GW_HANDOVER_UNSURE},
    {GW_HANDOVER_SOURCE, true, true, false, "resume send-abort", GW_HANDOVER_KEEPS},
    {GW_HANDOVER_SOURCE, false, true, false, "resume send-abort", GW_HANDOVER_KEEPS},
    {GW_HANDOVER_SOURCE, true, false, true, "discard", GW_HANDOVER_RELEASED},
    {GW_HANDOVER_DESTINATION, false, false, false, "journal-refused answer-never discard",
     GW_HANDOVER_REFUSED},
    {GW_HANDOVER_DESTINATION, true, false, false, "resume", GW_HANDOVER_RUNS},
    {GW_HANDOVER_DESTINATION, false, true, false, "discard", GW_HANDOVER_REFUSED},
    {GW_HANDOVER_DESTINATION, true, true, false, "discard", GW_HANDOVER_REFUSED},
};

static void
test_restore(void)
{
    GwHandover machine;
    for (unsigned i = 0; i < G_N_ELEMENTS(restores); i++) {
        GwHandoverPlan plan = gw_handover_restore(&machine, restores[i].side, restores[i].first,
                                                  restores[i].second, restores[i].released);
        g_assert_cmpint(machine.side, ==, restores[i].side);
        assert_plan(&machine, plan, restores[i].actions, restores[i].state);
    }
    gw_handover_restore(&machine, GW_HANDOVER_DESTINATION, false, false, false);
    feed(FAILED, "", REFUSING);
    feed(ASKED, "journal-refused answer-never discard", REFUSED);
}

static unsigned
index_of(const GwHandoverPlan *plan, GwHandoverAction action)
{
    unsigned i = 0;
    while (i < plan->n_actions && plan->actions[i] != action)
        i++;
    return i;
}

static bool
has(const GwHandoverPlan *plan, GwHandoverAction action)
{
    return index_of(plan, action) < plan->n_actions;
}

/* For each state and event: one line in the journal at most, before anything else; no word that the journal
 * does not bear out; nobody resumes without the right; each side keeps to its own states. */
static void
assert_sound(const GwHandover *before, const GwHandover *after, const GwHandoverPlan *plan)
{
    g_assert_cmpint(is_of_source(before->state), ==, is_of_source(after->state));
    unsigned n_journal = 0;
    for (unsigned i = 0; i < plan->n_actions; i++)
        n_journal += is_journal(plan->actions[i]);
    g_assert_cmpuint(n_journal, <=, 1);
    g_assert_true(n_journal == 0 || is_journal(plan->actions[0]));
    if (has(plan, GW_HANDOVER_ACT_SEND_GO))
        g_assert_true(before->state == GW_HANDOVER_HANDING || has(plan, GW_HANDOVER_ACT_JOURNAL_HANDED_OVER));
    if (has(plan, GW_HANDOVER_ACT_ANSWER_NEVER))
        g_assert_true(before->state == GW_HANDOVER_REFUSED || has(plan, GW_HANDOVER_ACT_JOURNAL_REFUSED));
    if (has(plan, GW_HANDOVER_ACT_ANSWER_RUNS))
        g_assert_true(before->state == GW_HANDOVER_RUNS || has(plan, GW_HANDOVER_ACT_JOURNAL_GO));
    if (has(plan, GW_HANDOVER_ACT_RESUME))
        g_assert_true(after->state == GW_HANDOVER_KEEPS || after->state == GW_HANDOVER_RUNS);
    if (has(plan, GW_HANDOVER_ACT_DISCARD))
        g_assert_true(after->state == GW_HANDOVER_RELEASED || after->state == GW_HANDOVER_REFUSED);
    if (after->state == GW_HANDOVER_RUNS)
        g_assert_true(before->state == GW_HANDOVER_READY || before->state == GW_HANDOVER_RUNS);
    if (before->state == GW_HANDOVER_RELEASED || before->state == GW_HANDOVER_REFUSED ||
        before->state == GW_HANDOVER_RUNS || before->state == GW_HANDOVER_KEEPS)
        g_assert_cmpint(after->state, ==, before->state);
}

static void
test_every_state_and_event(void)
{
    for (unsigned state = 0; state < GW_HANDOVER_N_STATES; state++) {
        for (unsigned event = 0; event < GW_HANDOVER_N_EVENTS; event++) {
            GwHandover before = machine_in(state), after = before;
            GwHandoverPlan plan = gw_handover_feed(&after, event);
            assert_sound(&before, &after, &plan);
            /* and again when its journal fails, and once more */
            for (unsigned i = 0; i < 2 && plan.n_actions > 0 && is_journal(plan.actions[0]); i++) {
                plan = gw_handover_feed(&after, GW_HANDOVER_EV_FAILED);
                g_assert_false(has(&plan, GW_HANDOVER_ACT_SEND_GO));
                g_assert_false(has(&plan, GW_HANDOVER_ACT_ANSWER_RUNS));
                g_assert_false(has(&plan, GW_HANDOVER_ACT_SEND_DONE));
                g_assert_true(after.state != GW_HANDOVER_RUNS && after.state != GW_HANDOVER_READY);
            }
        }
    }
}

static void
test_names(void)
{
    g_assert_cmpstr(gw_handover_state_name(GW_HANDOVER_REFUSING), ==, "refusing");
    g_assert_cmpstr(gw_handover_state_name(GW_HANDOVER_N_STATES), ==, "?");
    g_assert_cmpstr(gw_handover_event_name(GW_HANDOVER_EV_PEER_DONE), ==, "peer-done");
    g_assert_cmpstr(gw_handover_event_name(GW_HANDOVER_N_EVENTS), ==, "?");
    g_assert_cmpstr(gw_handover_action_name(GW_HANDOVER_ACT_LEAVE), ==, "leave");
    g_assert_cmpstr(gw_handover_action_name(GW_HANDOVER_N_ACTIONS), ==, "?");
}

static void
append_row(GString *text, const char *state, const char *event, const GwHandoverPlan *plan, const char *next)
{
    g_autofree char *actions = plan_text(plan, ", ");
    g_string_append_printf(text, "| %s | %s | %s | %s |\n", state, event, plan->n_actions > 0 ? actions : "–",
                           next);
}

static void
append_rules(GString *text, bool of_source)
{
    g_string_append_printf(text, "| %s | event | does, in this order | then |\n| --- | --- | --- | --- |\n",
                           of_source ? "source" : "destination");
    for (unsigned state = 0; state < GW_HANDOVER_N_STATES; state++) {
        for (unsigned event = 0; event < GW_HANDOVER_N_EVENTS && is_of_source(state) == of_source; event++) {
            GwHandover machine = machine_in(state);
            GwHandoverPlan plan = gw_handover_feed(&machine, event);
            if (plan.n_actions > 0 || machine.state != state)
                append_row(text, gw_handover_state_name(state), gw_handover_event_name(event), &plan,
                           gw_handover_state_name(machine.state));
        }
    }
    g_string_append_c(text, '\n');
}

/* Each way in which a journal's line can fail, found by failing them. */
static void
append_failures(GString *text)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_string_append(text, "| in | could not be written | does instead | then |\n| --- | --- | --- | --- |\n");
    for (unsigned state = 0; state < GW_HANDOVER_N_STATES; state++) {
        for (unsigned event = 0; event < GW_HANDOVER_N_EVENTS; event++) {
            GwHandover machine = machine_in(state);
            GwHandoverPlan plan = gw_handover_feed(&machine, event);
            while (plan.n_actions > 0 && is_journal(plan.actions[0])) {
                const char *line = gw_handover_action_name(plan.actions[0]);
                plan = gw_handover_feed(&machine, GW_HANDOVER_EV_FAILED);
                if (g_hash_table_add(seen, g_strdup_printf("%u %s", state, line)))
                    append_row(text, gw_handover_state_name(state), line, &plan,
                               gw_handover_state_name(machine.state));
            }
        }
    }
    g_string_append_c(text, '\n');
}

static void
append_restores(GString *text)
{
    static const struct {
        const char *lines;
        GwHandoverSide side;
        bool first, second, released;
    } rows[] = {
        {"none", GW_HANDOVER_SOURCE, false, false, false},
        {"handed-over", GW_HANDOVER_SOURCE, true, false, false},
        {"handed-over, owns", GW_HANDOVER_SOURCE, true, true, false},
        {"handed-over, released", GW_HANDOVER_SOURCE, true, false, true},
        {"none", GW_HANDOVER_DESTINATION, false, false, false},
        {"go", GW_HANDOVER_DESTINATION, true, false, false},
        {"refused; or go, refused", GW_HANDOVER_DESTINATION, false, true, false},
    };
    g_string_append(text,
                    "| after a crash | in the journal | does first | then |\n| --- | --- | --- | --- |\n");
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        GwHandover machine;
        GwHandoverPlan plan =
            gw_handover_restore(&machine, rows[i].side, rows[i].first, rows[i].second, rows[i].released);
        append_row(text, rows[i].side == GW_HANDOVER_SOURCE ? "source" : "destination", rows[i].lines, &plan,
                   gw_handover_state_name(machine.state));
    }
}

static char *
tables_text(void)
{
    GString *text = g_string_new(TABLES_BEGIN);
    append_rules(text, true);
    append_rules(text, false);
    append_failures(text);
    append_restores(text);
    g_string_append(text, TABLES_END);
    return g_string_free(text, FALSE);
}

static void
test_docs(void)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "..", "..", "docs", "protocol.md", NULL);
    g_autofree char *document = NULL, *tables = tables_text();
    if (!g_file_get_contents(path, &document, NULL, NULL) || !strstr(document, TABLES_BEGIN)) {
        g_test_skip("docs/protocol.md has no handover tables");
        return;
    }
    if (!strstr(document, tables))
        g_error("the handover tables in docs/protocol.md are not those of the code; test-handover --tables "
                "prints these");
}

int
main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--tables") == 0) {
        g_autofree char *tables = tables_text();
        return fputs(tables, stdout) < 0;
    }
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/handover/moves", test_moves);
    g_test_add_func("/handover/source-keeps", test_source_keeps);
    g_test_add_func("/handover/told", test_told);
    g_test_add_func("/handover/destination-refuses", test_destination_refuses);
    g_test_add_func("/handover/failing-journal-at-source", test_failing_journal_at_source);
    g_test_add_func("/handover/failing-journal-at-destination", test_failing_journal_at_destination);
    g_test_add_func("/handover/restore", test_restore);
    g_test_add_func("/handover/every-state-and-event", test_every_state_and_event);
    g_test_add_func("/handover/names", test_names);
    g_test_add_func("/handover/docs", test_docs);
    return g_test_run();
}
