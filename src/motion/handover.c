/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two machines as one table: in which state which event has which plan. What is not in it means nothing.
 *
 * Why it is safe, in short. GO leaves only behind "handed-over"; the guest is resumed at the source, once
 * that may stand in the journal, only by the peer's NEVER or a person's word, or by the process that knows
 * that it never sent GO. NEVER leaves only behind "refused", and after "refused" (or a failed attempt at it)
 * GO is not taken. So of GO and NEVER the destination gives itself, durably, only to the one that came first.
 *
 * Journals that fail. A line whose sync fails may be found after a crash, or not.
 * - "handed-over": GO was not sent. The source takes the VM back; but a successor may find the line, so
 *   "owns" is written behind it. If that fails too, the guest is resumed all the same, and the peer is asked
 * to withdraw and keeps answering: a successor that is UNSURE will hear NEVER. UNSURE never sends GO, because
 *   the guest may have gone on since the state was sent.
 * - "owns", "released": the peer's word still holds; it is acted upon, and DONE is not sent, so that a
 *   successor can ask again.
 * - "go": refused, for a host whose disk fails is no place to run a guest. A successor that finds both lines
 * has refused; one that finds "go" alone runs, which is right, since nobody was told NEVER.
 * - "refused": nobody is told, GO is not taken any more: REFUSING.
 *
 * Rejected: resuming at the source after a time-out (nothing is known then); a source that sends GO again
 * after a crash (the state at the destination may be old); a destination that ends with its refusal (the
 * source would ask nobody, and wait for a person). */
#include "handover.h"

typedef struct {
    GwHandoverState state;
    GwHandoverEvent event;
    GwHandoverState next;
    GwHandoverAction actions[GW_HANDOVER_MAX_ACTIONS];
} Rule;

/* clang-format off */
#define ON(state, event, next, ...)                                                                          \
    {GW_HANDOVER_##state, GW_HANDOVER_EV_##event, GW_HANDOVER_##next, {__VA_ARGS__}}
#define DO(action) GW_HANDOVER_ACT_##action

static const Rule rules[] = {
    ON(OWNS, COMPLETE, HANDING, DO(JOURNAL_HANDED_OVER), DO(SEND_GO)),
    ON(OWNS, PEER_NEVER, KEEPS, DO(RESUME), DO(SEND_DONE)),
    ON(OWNS, FAIL, KEEPS, DO(RESUME), DO(SEND_ABORT)),

    ON(HANDING, PEER_RUNS, RELEASED, DO(JOURNAL_RELEASED), DO(SEND_DONE), DO(DISCARD)),
    ON(HANDING, PEER_NEVER, KEEPS, DO(JOURNAL_OWNS), DO(RESUME), DO(SEND_DONE)),
    ON(HANDING, PEER_READY, HANDING, DO(SEND_GO)),
    ON(HANDING, FAIL, HANDING, DO(ASK)),
    ON(HANDING, TOLD_RUN, KEEPS, DO(JOURNAL_OWNS), DO(RESUME), DO(SEND_ABORT)),
    ON(HANDING, TOLD_DISCARD, RELEASED, DO(JOURNAL_RELEASED), DO(DISCARD)),

    ON(UNSURE, PEER_RUNS, RELEASED, DO(JOURNAL_RELEASED), DO(SEND_DONE), DO(DISCARD)),
    ON(UNSURE, PEER_NEVER, KEEPS, DO(JOURNAL_OWNS), DO(RESUME), DO(SEND_DONE)),
    ON(UNSURE, PEER_READY, UNSURE, DO(SEND_WITHDRAW)),
    ON(UNSURE, FAIL, UNSURE, DO(ASK)),
    ON(UNSURE, TOLD_RUN, KEEPS, DO(JOURNAL_OWNS), DO(RESUME), DO(SEND_ABORT)),
    ON(UNSURE, TOLD_DISCARD, RELEASED, DO(JOURNAL_RELEASED), DO(DISCARD)),

    /* "handed-over" may stand in the journal although it could not be synced: "owns" behind it */
    ON(KEEPS, PEER_NEVER, KEEPS, DO(JOURNAL_OWNS), DO(SEND_DONE)),
    ON(RELEASED, PEER_RUNS, RELEASED, DO(SEND_DONE)),

    ON(WAITS, LOADED, READY, DO(SEND_LOADED)),
    ON(WAITS, GO, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD)),
    ON(WAITS, ABORT, REFUSED, DO(JOURNAL_REFUSED), DO(DISCARD), DO(LEAVE)),
    ON(WAITS, WITHDRAW, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD)),
    ON(WAITS, ASKED, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD)),
    /* LOADED was never said: the source owns it, and will not ask */
    ON(WAITS, LINK_LOST, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD), DO(LEAVE)),
    ON(WAITS, DEADLINE, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD), DO(LEAVE)),
    ON(WAITS, TOLD_DISCARD, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD), DO(LEAVE)),

    ON(READY, GO, RUNS, DO(JOURNAL_GO), DO(RESUME), DO(ANSWER_RUNS)),
    ON(READY, ABORT, REFUSED, DO(JOURNAL_REFUSED), DO(DISCARD), DO(LEAVE)),
    ON(READY, WITHDRAW, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD)),
    ON(READY, ASKED, READY, DO(ANSWER_READY)),
    ON(READY, DEADLINE, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD)),
    ON(READY, TOLD_RUN, RUNS, DO(JOURNAL_GO), DO(RESUME), DO(ANSWER_RUNS)),
    ON(READY, TOLD_DISCARD, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD)),

    ON(RUNS, GO, RUNS, DO(ANSWER_RUNS)),
    ON(RUNS, WITHDRAW, RUNS, DO(ANSWER_RUNS)),
    ON(RUNS, ASKED, RUNS, DO(ANSWER_RUNS)),

    ON(REFUSING, GO, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD)),
    ON(REFUSING, ABORT, REFUSED, DO(JOURNAL_REFUSED), DO(DISCARD), DO(LEAVE)),
    ON(REFUSING, WITHDRAW, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD)),
    ON(REFUSING, ASKED, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD)),
    ON(REFUSING, DEADLINE, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD)),
    ON(REFUSING, TOLD_DISCARD, REFUSED, DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD)),

    ON(REFUSED, GO, REFUSED, DO(ANSWER_NEVER)),
    ON(REFUSED, ABORT, REFUSED, DO(LEAVE)),
    ON(REFUSED, WITHDRAW, REFUSED, DO(ANSWER_NEVER)),
    ON(REFUSED, ASKED, REFUSED, DO(ANSWER_NEVER)),
    ON(REFUSED, PEER_DONE, REFUSED, DO(LEAVE)),
};

/* FAILED: by the state that the failed plan began in, and what it would have journalled. */
static const struct {
    GwHandoverState before;
    GwHandoverAction journals;
    GwHandoverState next;
    GwHandoverAction actions[GW_HANDOVER_MAX_ACTIONS];
} failures[] = {
    {GW_HANDOVER_OWNS, DO(JOURNAL_HANDED_OVER), GW_HANDOVER_KEEPS,
     {DO(JOURNAL_OWNS), DO(RESUME), DO(SEND_ABORT)}},
    {GW_HANDOVER_OWNS, DO(JOURNAL_OWNS), GW_HANDOVER_KEEPS, {DO(RESUME), DO(SEND_WITHDRAW)}},
    {GW_HANDOVER_HANDING, DO(JOURNAL_OWNS), GW_HANDOVER_KEEPS, {DO(RESUME)}},
    {GW_HANDOVER_UNSURE, DO(JOURNAL_OWNS), GW_HANDOVER_KEEPS, {DO(RESUME)}},
    {GW_HANDOVER_HANDING, DO(JOURNAL_RELEASED), GW_HANDOVER_RELEASED, {DO(DISCARD)}},
    {GW_HANDOVER_UNSURE, DO(JOURNAL_RELEASED), GW_HANDOVER_RELEASED, {DO(DISCARD)}},
    {GW_HANDOVER_READY, DO(JOURNAL_GO), GW_HANDOVER_REFUSED,
     {DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD)}},
    {GW_HANDOVER_WAITS, DO(JOURNAL_REFUSED), GW_HANDOVER_REFUSING, {DO(NONE)}},
    {GW_HANDOVER_READY, DO(JOURNAL_REFUSED), GW_HANDOVER_REFUSING, {DO(NONE)}},
    {GW_HANDOVER_REFUSING, DO(JOURNAL_REFUSED), GW_HANDOVER_REFUSING, {DO(NONE)}},
};

/* What a crash leaves: the state that comes out, and what it begins with. */
static const struct {
    GwHandoverState state;
    GwHandoverAction actions[GW_HANDOVER_MAX_ACTIONS];
} successors[] = {
    {GW_HANDOVER_RELEASED, {DO(DISCARD)}},
    {GW_HANDOVER_KEEPS, {DO(RESUME), DO(SEND_ABORT)}},
    {GW_HANDOVER_UNSURE, {DO(ASK)}},
    {GW_HANDOVER_REFUSED, {DO(DISCARD)}},
    {GW_HANDOVER_RUNS, {DO(RESUME)}},
    {GW_HANDOVER_REFUSING, {DO(JOURNAL_REFUSED), DO(ANSWER_NEVER), DO(DISCARD)}},
};
/* clang-format on */

static bool
is_journal(GwHandoverAction action)
{
    return action >= GW_HANDOVER_ACT_JOURNAL_HANDED_OVER && action <= GW_HANDOVER_ACT_JOURNAL_REFUSED;
}

static GwHandoverPlan
plan_made(GwHandover *self, const GwHandoverAction actions[GW_HANDOVER_MAX_ACTIONS])
{
    GwHandoverPlan plan = {.n_actions = 0};
    self->journals = GW_HANDOVER_ACT_NONE;
    while (plan.n_actions < GW_HANDOVER_MAX_ACTIONS && actions[plan.n_actions] != GW_HANDOVER_ACT_NONE) {
        GwHandoverAction action = actions[plan.n_actions];
        plan.actions[plan.n_actions++] = action;
        if (is_journal(action))
            self->journals = action;
    }
    return plan;
}

void
gw_handover_init(GwHandover *self, GwHandoverSide side)
{
    GwHandoverState state = side == GW_HANDOVER_SOURCE ? GW_HANDOVER_OWNS : GW_HANDOVER_WAITS;
    *self = (GwHandover){.side = side, .state = state, .before = state};
}

static GwHandoverState
restored_state(GwHandoverSide side, bool handed_over_or_go, bool owns_or_refused, bool released)
{
    if (side == GW_HANDOVER_SOURCE) {
        if (released)
            return GW_HANDOVER_RELEASED;
        return handed_over_or_go && !owns_or_refused ? GW_HANDOVER_UNSURE : GW_HANDOVER_KEEPS;
    }
    if (owns_or_refused)
        return GW_HANDOVER_REFUSED;
    return handed_over_or_go ? GW_HANDOVER_RUNS : GW_HANDOVER_REFUSING;
}

GwHandoverPlan
gw_handover_restore(GwHandover *self, GwHandoverSide side, bool handed_over_or_go, bool owns_or_refused,
                    bool released)
{
    GwHandoverState state = restored_state(side, handed_over_or_go, owns_or_refused, released);
    *self = (GwHandover){.side = side, .state = state, .before = state};
    for (unsigned i = 0; i < G_N_ELEMENTS(successors); i++) {
        if (successors[i].state != state)
            continue;
        if (state == GW_HANDOVER_REFUSING) /* as its plan leaves it, if that does not fail */
            self->state = GW_HANDOVER_REFUSED;
        return plan_made(self, successors[i].actions);
    }
    g_assert_not_reached();
}

static GwHandoverPlan
feed_failed(GwHandover *self)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(failures); i++) {
        if (failures[i].before != self->before || failures[i].journals != self->journals)
            continue;
        /* `before` stays: if the new plan's journal fails as well, it is the same story */
        self->state = failures[i].next;
        return plan_made(self, failures[i].actions);
    }
    return (GwHandoverPlan){.n_actions = 0};
}

GwHandoverPlan
gw_handover_feed(GwHandover *self, GwHandoverEvent event)
{
    if (event == GW_HANDOVER_EV_FAILED)
        return feed_failed(self);
    self->journals = GW_HANDOVER_ACT_NONE;
    for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++) {
        if (rules[i].state != self->state || rules[i].event != event)
            continue;
        self->before = self->state;
        self->state = rules[i].next;
        return plan_made(self, rules[i].actions);
    }
    return (GwHandoverPlan){.n_actions = 0};
}

const char *
gw_handover_state_name(GwHandoverState state)
{
    static const char *const names[] = {
        [GW_HANDOVER_OWNS] = "owns",         [GW_HANDOVER_HANDING] = "handing",
        [GW_HANDOVER_UNSURE] = "unsure",     [GW_HANDOVER_KEEPS] = "keeps",
        [GW_HANDOVER_RELEASED] = "released", [GW_HANDOVER_WAITS] = "waits",
        [GW_HANDOVER_READY] = "ready",       [GW_HANDOVER_RUNS] = "runs",
        [GW_HANDOVER_REFUSING] = "refusing", [GW_HANDOVER_REFUSED] = "refused",
    };
    G_STATIC_ASSERT(G_N_ELEMENTS(names) == GW_HANDOVER_N_STATES);
    return (unsigned)state < GW_HANDOVER_N_STATES ? names[state] : "?";
}

const char *
gw_handover_event_name(GwHandoverEvent event)
{
    static const char *const names[] = {
        [GW_HANDOVER_EV_COMPLETE] = "complete",
        [GW_HANDOVER_EV_PEER_RUNS] = "peer-runs",
        [GW_HANDOVER_EV_PEER_NEVER] = "peer-never",
        [GW_HANDOVER_EV_PEER_READY] = "peer-ready",
        [GW_HANDOVER_EV_FAIL] = "fail",
        [GW_HANDOVER_EV_LOADED] = "loaded",
        [GW_HANDOVER_EV_GO] = "go",
        [GW_HANDOVER_EV_ABORT] = "abort",
        [GW_HANDOVER_EV_WITHDRAW] = "withdraw",
        [GW_HANDOVER_EV_ASKED] = "asked",
        [GW_HANDOVER_EV_PEER_DONE] = "peer-done",
        [GW_HANDOVER_EV_LINK_LOST] = "link-lost",
        [GW_HANDOVER_EV_DEADLINE] = "deadline",
        [GW_HANDOVER_EV_TOLD_RUN] = "told-run",
        [GW_HANDOVER_EV_TOLD_DISCARD] = "told-discard",
        [GW_HANDOVER_EV_FAILED] = "failed",
    };
    G_STATIC_ASSERT(G_N_ELEMENTS(names) == GW_HANDOVER_N_EVENTS);
    return (unsigned)event < GW_HANDOVER_N_EVENTS ? names[event] : "?";
}

const char *
gw_handover_action_name(GwHandoverAction action)
{
    static const char *const names[] = {
        [GW_HANDOVER_ACT_NONE] = "none",
        [GW_HANDOVER_ACT_JOURNAL_HANDED_OVER] = "journal-handed-over",
        [GW_HANDOVER_ACT_JOURNAL_OWNS] = "journal-owns",
        [GW_HANDOVER_ACT_JOURNAL_RELEASED] = "journal-released",
        [GW_HANDOVER_ACT_JOURNAL_GO] = "journal-go",
        [GW_HANDOVER_ACT_JOURNAL_REFUSED] = "journal-refused",
        [GW_HANDOVER_ACT_SEND_GO] = "send-go",
        [GW_HANDOVER_ACT_SEND_ABORT] = "send-abort",
        [GW_HANDOVER_ACT_SEND_WITHDRAW] = "send-withdraw",
        [GW_HANDOVER_ACT_SEND_DONE] = "send-done",
        [GW_HANDOVER_ACT_ASK] = "ask",
        [GW_HANDOVER_ACT_SEND_LOADED] = "send-loaded",
        [GW_HANDOVER_ACT_ANSWER_RUNS] = "answer-runs",
        [GW_HANDOVER_ACT_ANSWER_NEVER] = "answer-never",
        [GW_HANDOVER_ACT_ANSWER_READY] = "answer-ready",
        [GW_HANDOVER_ACT_RESUME] = "resume",
        [GW_HANDOVER_ACT_DISCARD] = "discard",
        [GW_HANDOVER_ACT_LEAVE] = "leave",
    };
    G_STATIC_ASSERT(G_N_ELEMENTS(names) == GW_HANDOVER_N_ACTIONS);
    return (unsigned)action < GW_HANDOVER_N_ACTIONS ? names[action] : "?";
}
