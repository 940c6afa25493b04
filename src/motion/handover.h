/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may run the VM: two pure state machines, one at each end of a motion, that never both have the right.
 *
 *   source:       OWNS ──all there──▶ HANDING ──peer runs──▶ RELEASED
 *                  │                     │   └───────────┐
 *                  │ fails               │ peer never    │ crash
 *                  ▼                     ▼               ▼
 *                 KEEPS ◀────────────────┴──────────── UNSURE ──peer runs──▶ RELEASED
 *
 *   destination:  WAITS ──state loaded──▶ READY ──go──▶ RUNS
 *                  └──────────┬─────────────┘
 *                          abort, withdrawal, deadline ──▶ REFUSED (for ever)
 *
 * Rules. The source owns the VM and may resume it at any time until "handed-over" is in its journal; the
 * journal is written before GO may leave. In HANDING it neither runs the VM nor gives it up: it asks until it
 * knows, or a person (or the center) decides. The destination runs only after GO, with "go" in its journal
 * first. REFUSED is written to the journal before anybody is told, and is for ever: from there GO is answered
 * "never". So whatever is lost, repeated, delayed or killed, at most one runs; and once both can speak again,
 * exactly one does. More than that: the VM never goes on at both ends, not even one after the other.
 *
 * A motion has a pair of machines of its own; words of another motion (session) do not reach them.
 *
 * A machine says what to do as a list of actions, to be carried out in order, each one whole before the next,
 * and the whole list before the next event is fed. What can fail so that it matters are the journal's
 * actions, of which a plan has at most one: such a failure is fed as GW_HANDOVER_EV_FAILED, and the actions
 * behind it are dropped for those of the new plan. A line that could not be synced may be in the journal or
 * not; both are provided for. Messages are sent as well as it goes; what is lost is asked for again.
 * tests/unit/test-handover-model.c walks every state of the pair with loss, repetition, reordering, crashes
 * between any two actions, and journals that fail either way. */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef enum { GW_HANDOVER_SOURCE, GW_HANDOVER_DESTINATION } GwHandoverSide;

typedef enum {
    /* source */
    GW_HANDOVER_OWNS,     /* may run the VM; leaves by COMPLETE, FAIL, PEER_NEVER */
    GW_HANDOVER_HANDING,  /* "handed-over" journalled by this process, nothing changed since: stays paused;
                             leaves by PEER_RUNS, PEER_NEVER, TOLD_… */
    GW_HANDOVER_UNSURE,   /* "handed-over" was found in the journal after a crash: as HANDING, but GO is not
                             sent   (again), for the guest may have run since; a peer that is ready is asked to
                             refuse.   If the guest is found running, GO never left (the line was written, its
                             sync   failed, the guest was resumed): let it run */
    GW_HANDOVER_KEEPS,    /* runs it, the motion is over; end */
    GW_HANDOVER_RELEASED, /* never runs it again; end */
    /* destination */
    GW_HANDOVER_WAITS,    /* has no right and no complete VM; leaves by LOADED, or what refuses */
    GW_HANDOVER_READY,    /* could run; GO or refusal decides. A lost link alone changes nothing */
    GW_HANDOVER_RUNS,     /* "go" journalled: runs it; end */
    GW_HANDOVER_REFUSING, /* will not run it, but could not journal that yet, so that nobody may be told:
                             tried again with each event. The caller feeds DEADLINE from time to time */
    GW_HANDOVER_REFUSED,  /* "refused" journalled: never runs it; end */
    GW_HANDOVER_N_STATES
} GwHandoverState;

typedef enum {
    /* source */
    GW_HANDOVER_EV_COMPLETE,   /* memory and state are complete there, by the peer's word (its LOADED), and
                                  nothing changed since: the guest is paused and all of it was sent */
    GW_HANDOVER_EV_PEER_RUNS,  /* the peer said so */
    GW_HANDOVER_EV_PEER_NEVER, /* the peer swore that it never will */
    GW_HANDOVER_EV_PEER_READY, /* the peer has not been told yet */
    GW_HANDOVER_EV_FAIL,       /* anything went wrong, or was cancelled, at this end or on the way; the peer
                                  aborted; it does not answer */
    /* destination */
    GW_HANDOVER_EV_LOADED,    /* memory and state are complete here */
    GW_HANDOVER_EV_GO,        /* the peer's word, the first or a repeated one */
    GW_HANDOVER_EV_ABORT,     /* the peer's word: it keeps the VM, GO never left, and it will not ask */
    GW_HANDOVER_EV_WITHDRAW,  /* the peer's word: GO may have left, but if it did not arrive, refuse, and say
                                 so */
    GW_HANDOVER_EV_ASKED,     /* the peer asks how it stands */
    GW_HANDOVER_EV_PEER_DONE, /* the peer's word: it has heard RUNS or NEVER, and journalled what it means */
    GW_HANDOVER_EV_LINK_LOST, /* the connection over which memory and state came */
    GW_HANDOVER_EV_DEADLINE,  /* nobody spoke to us for too long, or something failed at this end */
    /* both */
    GW_HANDOVER_EV_TOLD_RUN,     /* a person or the center decides: this end runs it. At the source that is an
                                    oath that the other end never does and never did; at the destination, that
                                    the source is no more or stays paused */
    GW_HANDOVER_EV_TOLD_DISCARD, /* … or this end never does */
    GW_HANDOVER_EV_FAILED,       /* the journal's action under way could not be carried out */
    GW_HANDOVER_N_EVENTS
} GwHandoverEvent;

typedef enum {
    GW_HANDOVER_ACT_NONE,
    GW_HANDOVER_ACT_JOURNAL_HANDED_OVER, /* to stable storage; as are all of the journal's */
    GW_HANDOVER_ACT_JOURNAL_OWNS,        /* the source has the right again */
    GW_HANDOVER_ACT_JOURNAL_RELEASED,    /* the source is done */
    GW_HANDOVER_ACT_JOURNAL_GO,
    GW_HANDOVER_ACT_JOURNAL_REFUSED,
    GW_HANDOVER_ACT_SEND_GO,
    GW_HANDOVER_ACT_SEND_ABORT,
    GW_HANDOVER_ACT_SEND_WITHDRAW,
    GW_HANDOVER_ACT_SEND_DONE,
    GW_HANDOVER_ACT_ASK,         /* again and again, over any connection that can be had, until this state is
                                    left; with a pause in between */
    GW_HANDOVER_ACT_SEND_LOADED, /* destination to source, as are the answers */
    GW_HANDOVER_ACT_ANSWER_RUNS,
    GW_HANDOVER_ACT_ANSWER_NEVER,
    GW_HANDOVER_ACT_ANSWER_READY,
    GW_HANDOVER_ACT_RESUME,  /* let the guest run, if it does not and did before the motion (source: take it
                                back; destination: first time) */
    GW_HANDOVER_ACT_DISCARD, /* end the VM at this end. The destination goes on answering until LEAVE */
    GW_HANDOVER_ACT_LEAVE,   /* destination: nobody will ask any more; what is left may be removed, the
                                supervisor may end. One that never gets there may end when it likes to, but a
                                source that asks then needs a person to tell it */
    GW_HANDOVER_N_ACTIONS
} GwHandoverAction;

#define GW_HANDOVER_MAX_ACTIONS 4

typedef struct {
    GwHandoverSide side; /* constant */
    GwHandoverState state;
    /* of the last plan, for FAILED: handover.c */
    GwHandoverState before;
    GwHandoverAction journals;
} GwHandover;

typedef struct {
    GwHandoverAction actions[GW_HANDOVER_MAX_ACTIONS];
    unsigned n_actions;
} GwHandoverPlan;

void gw_handover_init(GwHandover *self, GwHandoverSide side);

/* What a supervisor that comes after a crash starts with, by the lines of this motion in the journal, and
 * what it has to do first. Source: released is RELEASED; owns is KEEPS; handed-over alone is UNSURE; none is
 * KEEPS, for the motion died with the process. Destination: refused is REFUSED, whatever else is there; go is
 * RUNS; none is refused now, for the memory that would be needed to go on is only known to the dead.
 * A plan that says RESUME means a guest that has not run since; a later pause that somebody asked for is to
 * be seen in the journal's other lines. Not called for a motion that has ended. */
GwHandoverPlan gw_handover_restore(GwHandover *self, GwHandoverSide side, bool handed_over_or_go,
                                   bool owns_or_refused, bool released);

/* Takes an event. Every event is allowed in every state; one that means nothing there changes nothing and
 * plans nothing. The state changes at once. */
GwHandoverPlan gw_handover_feed(GwHandover *self, GwHandoverEvent event);

/* "handing", "peer-runs", "journal-go" */
const char *gw_handover_state_name(GwHandoverState state);
const char *gw_handover_event_name(GwHandoverEvent event);
const char *gw_handover_action_name(GwHandoverAction action);
