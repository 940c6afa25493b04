/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A histogram of durations with a relative error of 1/32 and a fixed size, for percentiles over millions of
 * values. */
#pragma once

#include <stdint.h>

/* Values below 32 have a bucket each; above, each power of two is cut into 32 buckets. 1920 buckets span 64
 * bits. */
#define GW_HISTOGRAM_SUB_BITS  5
#define GW_HISTOGRAM_N_BUCKETS ((64 - GW_HISTOGRAM_SUB_BITS + 1) << GW_HISTOGRAM_SUB_BITS)

typedef struct GwHistogram {
    uint64_t count;
    uint64_t max;
    uint64_t buckets[GW_HISTOGRAM_N_BUCKETS];
} GwHistogram;

void gw_histogram_reset(GwHistogram *self);
void gw_histogram_add(GwHistogram *self, uint64_t value);

/* The upper edge of the bucket in which the given share (per mille, 990 for p99) of all values ends, never
 * above the true maximum. 0 if there are none. */
uint64_t gw_histogram_quantile(const GwHistogram *self, unsigned per_mille);
