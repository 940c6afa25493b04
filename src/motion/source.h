/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A motion's source: the story of a VM that leaves, from the first connection to the word that it runs
 * elsewhere.
 *
 * One thread runs it, top to bottom, and sleeps on one bell; beside it there are the control stream's reader,
 * a copying thread a data stream, and the one that carries the device state. All of them, every connection
 * and every descriptor exist before the guest is stopped, and none ends while it stands still. */
#pragma once

#include "motion.h"
#include "trace.h"

typedef struct {
    GwImage *image;                /* borrowed; mapped by us */
    uint64_t memory_bytes;         /* of the image, also where there is none any more */
    GwVmm *vmm;                    /* borrowed; NULL: it is gone (gw_source_pick_up() only) */
    GwTrace *trace;                /* borrowed; registered, nothing protected yet */
    const GwTicket *ticket;        /* borrowed */
    const GwTlsIdentity *identity; /* borrowed; NULL: without TLS */
    GwProgress *progress;          /* borrowed */
    unsigned n_streams;            /* 1 … GW_WIRE_MAX_STREAMS */
    bool guest_runs;               /* it is to run there; else it was paused, and stays so */
    bool may_punch; /* something gives guest memory back: holes are told in the pause as well (crew.h) */
    uint64_t goal_us, deadline_us; /* see pace.h */
    unsigned lost_ms;              /* see control.h; 0: as usual */
    GwMotionHooks hooks;
} GwSourceOptions;

typedef struct GwSource GwSource;

GwSource *gw_source_new(const GwSourceOptions *options);

/* Blocks until the motion has ended. `error` is set for GW_OUTCOME_STAYS, and where something went wrong that
 * did not stop the motion. */
GwOutcome gw_source_run(GwSource *self, GError **error);

/* Instead of gw_source_run(), for a motion that another supervisor began and did not bring to its end, by
 * what stands in its journal: gives the guest back, or asks the destination until it is known where the VM
 * runs. Of the options `image`, `trace`, goal and deadline are not needed, nor `vmm` if it is gone. */
GwOutcome gw_source_pick_up(GwSource *self, bool handed_over, bool owns, bool released, GError **error);

/* Any thread. Cancels; false if the handover has begun. `why`: what the error says. */
bool gw_source_cancel(GwSource *self, const char *why);
/* Any thread. A person (or the center) says whether the VM is to run here or never again; only while
 * unresolved. */
bool gw_source_resolve(GwSource *self, bool run, GError **error);
/* Any thread. The supervisor ends: a motion whose handover has begun is left open, any other is cancelled. */
void gw_source_leave(GwSource *self);

/* After the story has returned. */
void gw_source_free(GwSource *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwSource, gw_source_free)
