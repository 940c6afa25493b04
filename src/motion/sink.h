/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A motion's destination: the story of a VM that arrives, from the open door to the guest's first step here,
 * and the answers to a source that lost its connection on the way.
 *
 * One thread runs it and sleeps on one bell; beside it there are the door's threads, the control stream's
 * reader and a receiving thread a data stream. */
#pragma once

#include "door.h"
#include "motion.h"

typedef struct {
    GwImage *image;   /* borrowed; all holes */
    GwVmm *vmm;       /* borrowed; started to wait for a state. NULL: it is gone (gw_sink_pick_up() only) */
    GwTicket *ticket; /* borrowed; its ports are filled in */
    const GwTlsIdentity *identity; /* borrowed; NULL: without TLS */
    GwProgress *progress;          /* borrowed */
    uint64_t memory_bytes;         /* of the image, also where there is none any more */
    uint64_t wait_us;              /* how long to wait for the source's first word */
    uint64_t decide_us;            /* how long a VM that is ready waits, its source lost, for the decision */
    uint64_t answer_us;            /* how long, after the end, a source that lost us is still answered */
    unsigned lost_ms;              /* see control.h; 0: as usual */
    GwMotionHooks hooks;
} GwSinkOptions;

typedef struct GwSink GwSink;

/* Opens the door; NULL if an address cannot be listened on. */
GwSink *gw_sink_new(const GwSinkOptions *options, GError **error);

/* Receives; returns as soon as it is decided where the VM runs. `error` is set for GW_OUTCOME_REFUSED. Image
 * and VMM are not used any more then, unless the outcome is open. */
GwOutcome gw_sink_run(GwSink *self, GError **error);

/* Instead of gw_sink_run(), for a motion that another supervisor was receiving, by what stands in its
 * journal; `runs`: what GO said. Lets the guest run that was handed over, and refuses what was not. */
GwOutcome gw_sink_pick_up(GwSink *self, bool ready, bool go, bool refused, bool runs, GError **error);

/* Then: answers a source that has not heard how it ended, until it has, or answer_us have passed, or
 * gw_sink_leave(). True if nobody will ask any more. */
bool gw_sink_answer(GwSink *self);

/* What GO said: whether the guest is to run. The motion's thread, once GO has come. */
bool gw_sink_guest_runs(const GwSink *self);

/* Any thread. Cancels; false if the VM is this host's already. */
bool gw_sink_cancel(GwSink *self, const char *why);
/* Any thread. A person decides for a VM that waits, ready, for a source that is lost. */
bool gw_sink_resolve(GwSink *self, bool run, GError **error);
/* Any thread. The supervisor ends. */
void gw_sink_leave(GwSink *self);

void gw_sink_free(GwSink *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwSink, gw_sink_free)
