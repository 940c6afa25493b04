/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How many bytes are due now, at a rate that may change: arithmetic only, the caller brings the clock. */
#pragma once

#include <stdint.h>

/* Work is done in ticks, as a wake-up for each page would cost more than the page. A process that could not
 * run does not owe all that it missed: the burst would be a workload that nobody asked for. */
#define GW_PACER_TICK_NS     UINT64_C(5000000)
#define GW_PACER_MAX_DEBT_NS UINT64_C(100000000)

typedef struct GwPacer {
    uint64_t rate_bytes_per_s; /* UINT64_MAX: no limit */
    uint64_t unit_bytes;       /* what is written at once: a page */
    uint64_t last_ns;
    uint64_t credit_bytes;
    uint64_t credit_fraction; /* in 1/10^9 byte, so that slow rates lose nothing to rounding */
} GwPacer;

void gw_pacer_start(GwPacer *self, uint64_t rate_bytes_per_s, uint64_t unit_bytes, uint64_t now_ns);

/* Whole units due now. What is done of them is told with gw_pacer_spend(). */
uint64_t gw_pacer_due(GwPacer *self, uint64_t now_ns);
void gw_pacer_spend(GwPacer *self, uint64_t n_units);

/* When to come back: at least a tick from the last call, and at least one unit due then. UINT64_MAX at rate
 * 0. */
uint64_t gw_pacer_next_ns(const GwPacer *self);
