/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a page writer tells about itself: its counters, its rate of late, and both as JSON. No locks: that is
 * the owner's business. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "page-area.h"
#include "page-tally.h"

#define GW_WRITER_N_SAMPLES 11 /* ten intervals of 100 ms: "the last second" */

typedef struct GwWriterStatus {
    bool is_paused;
    uint64_t rate_bytes_per_s; /* asked for; UINT64_MAX: as fast as possible */
    uint64_t n_written;
    uint64_t n_syncs;
    uint64_t n_write_errors;
    uint64_t longest_gap_ns;
    uint64_t last_batch_ns; /* 0: nothing was due lately */
    GwPageTally tally; /* of checks before writes and of the rolling check; sweeps report for themselves */
} GwWriterStatus;

/* How many pages had been written at times of the last second. All zero: none yet. */
typedef struct GwWriterRate {
    uint64_t n_written[GW_WRITER_N_SAMPLES];
    uint64_t at_ns[GW_WRITER_N_SAMPLES];
    unsigned n_samples;
} GwWriterRate;

/* Takes a sample if one is due. */
void gw_writer_rate_add(GwWriterRate *self, uint64_t n_written, uint64_t now_ns);

/* Bytes per second since the oldest sample, `n_written` pages being written by now. */
uint64_t gw_writer_rate_bytes_per_s(const GwWriterRate *self, uint64_t n_written, uint64_t now_ns);

/* The fields of a JSON object, without its braces. `recent_bytes_per_s`: the measured rate; `start_ns`: when
 * the writer started. */
void gw_writer_status_print(const GwWriterStatus *self, const GwPageArea *areas, unsigned n_areas,
                            uint64_t recent_bytes_per_s, uint64_t start_ns, uint64_t now_ns, FILE *out);
