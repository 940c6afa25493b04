/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of a motion's destination share: sink.c (the story), sink-handover.c (who may run the VM,
 * and the answers to a source that comes back to ask). All of it in the motion's thread. */
#pragma once

#include "intake.h"
#include "sink.h"

struct GwSink {
    /* set once */
    GwSinkOptions options;
    GwBell bell;
    GwDoor *door;
    /* the motion's thread's */
    GwControl *control;
    GwStream *streams[GW_WIRE_MAX_STREAMS]; /* before the intake has them */
    unsigned n_streams, n_here;
    GwIntake *intake;
    int state_fd; /* to the VMM */
    uint64_t state_bytes;
    GQueue held_state; /* of GwControlFrame: devices' state whose round has not arrived */
    bool devices_began, state_ended;
    GwHandover handover;
    bool go_runs; /* what GO said */
    gint64 go_us;
    uint64_t go_to_run_us;
    GwStream *asker; /* while a question is heard; borrowed: answers go there */
    uint64_t asker_sequence;
    bool picked_up;   /* from a supervisor that died */
    bool nobody_asks; /* the source knows, or never will */
    /* guarded by lock */
    GMutex lock;
    char *cancelled; /* why; NULL: not */
    bool decided;    /* too late to cancel */
    bool leaving;
    bool told, told_run;
};

bool gw_sink_is_cancelled(GwSink *self, GError **error);
bool gw_sink_is_leaving(GwSink *self);

/* Who is at the door: streams of the motion are taken in, questions answered. */
void gw_sink_take_visitors(GwSink *self);
void gw_sink_refuse_visitor(GwSink *self, const GwVisitor *visitor, const char *why);

/* Feeds the handover machine and does what it plans. False with an error if something could not be done: the
 * machine knows. */
bool gw_sink_feed(GwSink *self, GwHandoverEvent event, GError **error);

/* The outcome that the machine's state means. */
GwOutcome gw_sink_outcome(const GwSink *self);

/* One who comes back to ask: ASK, GO or ABORT, each with its answer, until it goes. */
void gw_sink_hear_question(GwSink *self, GwVisitor *visitor);
