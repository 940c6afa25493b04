/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of a motion's source share: source.c (the story, the switchover), source-copy.c (connections
 * and rounds), source-handover.c (who may run the VM, and what became of it). All of it in the motion's
 * thread. */
#pragma once

#include "crew.h"
#include "source.h"
#include "state-pump.h"

struct GwSource {
    /* set once */
    GwSourceOptions options;
    GwBell bell;
    /* the motion's thread's */
    GwControl *control;
    GwCrew *crew;
    GwStatePump *pump;
    bool flushed;    /* the guest's disks, before the stop would do it */
    bool save_begun; /* the VMM has set up its save */
    int vmm_fd;      /* the VMM's end of the state's stream, ours to close */
    GwPace pace;
    GwHandover handover;
    bool restored;        /* after a crash of another supervisor's */
    GwStream *ask_stream; /* while a question is asked */
    uint64_t ask_sequence, answer_sequence;
    unsigned n_asked;
    uint64_t n_rounds; /* begun */
    GwPassCounters total;
    uint64_t first_round_pages;
    gint64 began_us, stopped_us, go_us;
    /* what the destination has said */
    uint64_t n_arrived; /* rounds */
    bool peer_loaded, peer_runs, peer_never;
    uint64_t go_to_run_us;
    GError *peer_abort; /* it gave up, or broke the protocol */
    bool peer_lies;     /* the latter: nothing more is heard from it */
    /* guarded by lock */
    GMutex lock;
    char *cancelled; /* why; NULL: not */
    bool handing;    /* too late to cancel */
    bool leaving;
    bool told, told_run;
};

typedef bool (*GwSourceReady)(GwSource *self);

/* Waits until `ready`, or for whatever makes that impossible: the destination gave up, the connection was
 * lost, somebody cancelled, or `deadline_us` (CLOCK_MONOTONIC; 0: none) has passed, of which `what` tells in
 * the error. */
bool
gw_source_await(GwSource *self, GwSourceReady ready, gint64 deadline_us, const char *what, GError **error);
bool gw_source_is_cancelled(GwSource *self, GError **error);
/* Takes in what the destination has said. */
void gw_source_take_frames(GwSource *self);

bool gw_source_connect_streams(GwSource *self, GError **error);
/* Pre-copy: until what is left fits a pause. */
bool gw_source_copy_rounds(GwSource *self, GError **error);
/* One round, until the other end has all of it. */
bool gw_source_copy_round(GwSource *self, GwPassKind kind, gint64 deadline_us, GwRoundStats *ret_stats,
                          GwPassCounters *ret_counters, GError **error);
/* The pass that has been begun, until all of it has gone out. */
bool gw_source_await_pass(GwSource *self, gint64 deadline_us, GwPassCounters *ret_counters, GError **error);

/* Feeds the handover machine and does what it plans; `why`: what an ABORT says. False with an error if a line
 * could not be journalled: the machine knows. */
bool gw_source_feed(GwSource *self, GwHandoverEvent event, const GError *why, GError **error);
/* Where there is no control stream: a source that has not handed over tells a destination that may wait for
 * it. One try, over a stream for asking. */
void gw_source_call_off(GwSource *self);
/* What the machine's last state means. `error`: what went wrong on the way; set where the VM stays. */
GwOutcome gw_source_conclude(GwSource *self, GError **error);
/* All is there and nobody cancelled in time: from GO to the word of what became of it. */
GwOutcome gw_source_hand_over(GwSource *self, GError **error);
