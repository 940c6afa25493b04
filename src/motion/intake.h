/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The destination's receiving threads, one a data stream: frames are checked and go straight into the image.
 *
 * A stream that has said END of a round is not read on before every stream has: a page of the next round can
 * then never be overtaken by an older copy of itself. When all have, ROUND is said on the control stream.
 *
 * The image must be all holes at the beginning. Which pages have content is kept as a bit each (32 KiB a
 * GiB), so that a run of zeros costs nothing where nothing was. */
#pragma once

#include "control.h"
#include "image.h"

typedef struct GwIntake GwIntake;

/* Takes the streams of the array; `control` and `bell` are borrowed. The bell rings at the end of each round
 * and on failure. */
GwIntake *
gw_intake_new(GwImage *image, GwStream **streams, unsigned n_streams, GwControl *control, GwBell *bell);

/* How many rounds have arrived whole: those below are complete. Any thread. */
uint64_t gw_intake_n_rounds(GwIntake *self);

/* False while all is well. GW_ERROR_PROTOCOL, with the stream and the reason, or GW_ERROR_PEER_LOST. */
bool gw_intake_failed(GwIntake *self, GError **error);

typedef struct {
    uint64_t wire_bytes, content_pages, zero_pages;
} GwIntakeCounters;
void gw_intake_progress(GwIntake *self, GwIntakeCounters *ret_counters);

/* Whatever comes: behind this nothing is written to the image, which may then go. The source is told nothing
 * here: it would take streams that break for the reason, which it is given on the control stream. Again is
 * fine. */
void gw_intake_stop(GwIntake *self);

void gw_intake_free(GwIntake *self); /* NULL is fine, here and there */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwIntake, gw_intake_free)
