/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A histogram of durations with a bounded relative error. */
#include "histogram.h"

#include <string.h>

#define SUB_BITS    GW_HISTOGRAM_SUB_BITS
#define SUB_BUCKETS (UINT64_C(1) << SUB_BITS)

static unsigned
bucket_of(uint64_t value)
{
    if (value < SUB_BUCKETS) {
        return (unsigned)value;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - SUB_BITS;
    return (unsigned)((shift << SUB_BITS) + (value >> shift));
}

static uint64_t
bucket_top(unsigned bucket)
{
    if (bucket < 2 * SUB_BUCKETS) {
        return bucket;
    }
    unsigned shift = (bucket >> SUB_BITS) - 1;
    return ((SUB_BUCKETS + bucket % SUB_BUCKETS + 1) << shift) - 1;
}

void
gw_histogram_reset(GwHistogram *self)
{
    memset(self, 0, sizeof *self);
}

void
gw_histogram_add(GwHistogram *self, uint64_t value)
{
    self->buckets[bucket_of(value)]++;
    self->count++;
    if (value > self->max) {
        self->max = value;
    }
}

uint64_t
gw_histogram_quantile(const GwHistogram *self, unsigned per_mille)
{
    uint64_t rank = (self->count * per_mille + 999) / 1000;
    uint64_t seen = 0;
    for (unsigned i = 0; i < GW_HISTOGRAM_N_BUCKETS && rank != 0; i++) {
        seen += self->buckets[i];
        if (seen >= rank) {
            uint64_t top = bucket_top(i);
            return top < self->max ? top : self->max;
        }
    }
    return 0;
}
