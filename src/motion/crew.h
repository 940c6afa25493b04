/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The source's copying threads, one a data stream: each claims a chunk of memory, finds what is to be sent in
 * it, sends that, and claims the next. They share nothing but the cursor, so that a fast stream simply takes
 * more chunks.
 *
 * A pass is one walk over the whole image. The threads stay alive between passes and wait on a condition:
 * nothing is created in a pause. */
#pragma once

#include "control.h"
#include "image.h"
#include "trace.h"

typedef enum {
    GW_PASS_ALL,               /* protects each chunk, then sends all that the image holds there */
    GW_PASS_WRITTEN,           /* finds and protects again what was written, and sends it */
    GW_PASS_WRITTEN_AND_HOLES, /* and says where the image has holes: a hole that was punched is no write that
                                * a trace sees. Costs a look at every page of the image, some 3 ms a GiB */
    GW_PASS_VERIFY,            /* only finds: sends nothing, and says no END */
} GwPassKind;

typedef struct {
    uint64_t found_pages; /* that had to be looked at */
    uint64_t sent_pages;  /* with content */
    uint64_t zero_pages;
    uint64_t wire_bytes;
} GwPassCounters;

typedef struct GwCrew GwCrew;

/* Takes the streams of the array `streams` (the array itself stays the caller's). `image` is mapped; `trace`
 * and `bell` are borrowed. The bell rings when a pass is over. `may_punch`: the image may be punched at any
 * time; what is sent is then copied first, so that reading it makes no page of a hole. */
GwCrew *gw_crew_new(GwImage *image, GwTrace *trace, GwStream **streams, unsigned n_streams, bool may_punch,
                    GwBell *bell);

/* Begins a pass; none may be under way. `round`: what the ENDs say. */
void gw_crew_begin(GwCrew *self, GwPassKind kind, uint64_t round);

/* True once every thread has finished the pass: then *ret_counters is that pass', and *ret_failed the first
 * -errno, or 0, with the stream that met it named in *ret_stream (-1: the trace). */
bool gw_crew_is_done(GwCrew *self, GwPassCounters *ret_counters, int *ret_failed, int *ret_stream);

/* What the pass under way, or the last one, has done so far. Any thread. */
void gw_crew_progress(GwCrew *self, GwPassCounters *ret_counters);

/* Ends the streams: whoever sends gets an error. Any thread. */
void gw_crew_shutdown(GwCrew *self);
void gw_crew_free(GwCrew *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwCrew, gw_crew_free)
