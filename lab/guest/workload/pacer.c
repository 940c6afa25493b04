/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How many bytes are due now, at a rate that may change. */
#include "pacer.h"

#define NS_PER_S UINT64_C(1000000000)

void
gw_pacer_start(GwPacer *self, uint64_t rate_bytes_per_s, uint64_t unit_bytes, uint64_t now_ns)
{
    *self = (GwPacer){.rate_bytes_per_s = rate_bytes_per_s, .unit_bytes = unit_bytes, .last_ns = now_ns};
}

uint64_t
gw_pacer_due(GwPacer *self, uint64_t now_ns)
{
    if (self->rate_bytes_per_s == UINT64_MAX) {
        self->last_ns = now_ns;
        return UINT64_MAX;
    }
    uint64_t elapsed_ns = now_ns - self->last_ns;
    self->last_ns = now_ns;
    unsigned __int128 earned = (unsigned __int128)elapsed_ns * self->rate_bytes_per_s + self->credit_fraction;
    unsigned __int128 credit = earned / NS_PER_S + self->credit_bytes;
    self->credit_fraction = (uint64_t)(earned % NS_PER_S);
    unsigned __int128 limit = (unsigned __int128)self->rate_bytes_per_s * GW_PACER_MAX_DEBT_NS / NS_PER_S;
    if (limit < self->unit_bytes) {
        limit = self->unit_bytes;
    }
    self->credit_bytes = (uint64_t)(credit < limit ? credit : limit);
    return self->credit_bytes / self->unit_bytes;
}

void
gw_pacer_spend(GwPacer *self, uint64_t n_units)
{
    if (self->rate_bytes_per_s != UINT64_MAX) {
        self->credit_bytes -= n_units * self->unit_bytes;
    }
}

uint64_t
gw_pacer_next_ns(const GwPacer *self)
{
    if (self->rate_bytes_per_s == 0) {
        return UINT64_MAX;
    }
    if (self->rate_bytes_per_s == UINT64_MAX || self->credit_bytes >= self->unit_bytes) {
        return self->last_ns;
    }
    uint64_t missing = self->unit_bytes - self->credit_bytes;
    uint64_t wait_ns = (uint64_t)((unsigned __int128)missing * NS_PER_S / self->rate_bytes_per_s) + 1;
    return self->last_ns + (wait_ns > GW_PACER_TICK_NS ? wait_ns : GW_PACER_TICK_NS);
}
