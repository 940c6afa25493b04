/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A whole motion in one process: gw_source_run() against gw_sink_run() over loopback, with a fake VMM at each
 * end, journals that are written down, a wire between them that can be cut, and supervisors that do what an
 * outcome asks for. */
#pragma once

#include "fake-vmm.h"
#include "sink.h"
#include "source.h"
#include "tcp-proxy.h"

typedef struct Rig Rig;

/* What is special about one; zeros are the usual. */
typedef struct {
    const char *name;
    const GwTlsIdentity *identity;
    unsigned n_streams; /* 0: 2 */
    bool paused;        /* the guest does not run */
    bool quiet;         /* it writes nothing */
    bool late_write, punches;
    size_t state_bytes;  /* 0: 200,000 */
    uint64_t size_bytes; /* 0: 10 MiB */
    uint64_t goal_us;    /* 0: 500 ms */
    unsigned lost_ms;    /* 0: as usual */
    gint64 decide_us;    /* 0: 200 ms */
    gint64 answer_us;    /* 0: 10 s */
    FakeFault source_fault, sink_fault;
    /* lines of the journal that cannot be written, so many times (0: always) */
    GwHandoverAction source_journal_fails, sink_journal_fails;
    unsigned n_source_journal_fails, n_sink_journal_fails;
    bool sink_refusal_fails, ready_fails; /* beside sink_journal_fails: "refused", once; "ready" */
    /* when the step `at`, of whichever end has it, is reached: in that end's motion thread */
    const char *at;
    void (*act)(Rig *rig);
    ProxyState cut; /* after cut_after bytes */
    uint64_t cut_after;
    /* 0: not; from the start, or, where there is `at`, from when that was reached */
    gint64 mend_us, cancel_source_us, cancel_sink_us;
} RigPlan;

struct Rig {
    RigPlan plan;
    FakeWorld *world;
    TcpProxy *proxy;
    GwTicket *ticket, *source_ticket; /* the source's leads through the proxy */
    GwProgress *progress[2];          /* destination's, source's */
    GwSource *source;
    GwSink *sink; /* NULL once it is over; changed under lock */
    GThread *threads[2];
    /* once joined */
    GwOutcome outcomes[2];
    GError *errors[2];
    bool source_knows; /* what gw_sink_answer() said */
    /* guarded by lock */
    GMutex lock;
    GCond changed;
    GString *journals[2]; /* "journal-handed-over " … and "ready " */
    unsigned n_failed[2];
    bool reached; /* `at` */
    bool decided[2], answered;
};

Rig *rig_new(const RigPlan *plan);
void rig_start(Rig *self);
void rig_start_sink(Rig *self);
/* Waits for both ends, the answers too. */
void rig_join(Rig *self);
void rig_join_sink(Rig *self);
void rig_join_source(Rig *self);
/* At any time. */
bool rig_cancel_sink(Rig *self, const char *why);
/* In the place of a destination's supervisor that has ended: the same addresses, nothing else. */
void rig_replace_sink(Rig *self);
void rig_free(Rig *self);

/* Waits until that end has an outcome, or until the motion there is in this state. */
void rig_await_decided(Rig *self, bool at_source);
void rig_await_state(Rig *self, bool at_source, GwMotionState state);
GwMotionState rig_state(Rig *self, bool at_source);

/* Fails, naming the plan, unless the two ends agree, the right one runs (or none, if it was paused or its VMM
 * has died), and the journals say so. */
void rig_check(Rig *self);
/* And unless this was the outcome. */
void rig_check_moved(Rig *self);
void rig_check_stayed(Rig *self);

/* What is expected of a plan. */
typedef enum { RIG_STAYS, RIG_MOVES, RIG_EITHER } RigExpected;

/* New, started, joined and checked. */
void rig_run(const RigPlan *plan, RigExpected expected);
/* Many of them, some at a time, in an order that does not matter. */
void rig_run_all(const RigPlan *plans, unsigned n, RigExpected (*expected)(const RigPlan *plan));

/* The options of that end, for a supervisor that comes after a crash. */
GwSourceOptions rig_source_options(Rig *self);
GwSinkOptions rig_sink_options(Rig *self);
