/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbered probes and their answers in; gaps, losses, reordering and round-trip times out. Arithmetic only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"

/* Theory
 * ------
 * What a client of a migrating guest notices is the time in which nothing came back. So the measure is the
 * longest gap between two consecutive *arrivals*, by the kernel's receive time stamps, and not a count of
 * lost probes: a probe that waited in a queue while the guest stood still arrives late and is no loss.
 *
 * The same events are summed up in several scopes at once: everything since the start, the window since the
 * last mark, the current second. A scope owns the probes *sent* in it. A gap belongs to the scope in which it
 * ends, whole, even if it began before; one that has not ended counts as open.
 *
 * A probe without an answer is lost if a later probe was answered (it was overtaken), or after the loss
 * timeout. Until then it is outstanding. Should the answer come after all, it is no longer lost in later
 * reports.
 */

#define GW_PROBE_LOG_N_GAPS 5
#define GW_PROBE_LOG_CAPACITY                                                                                \
    65536 /* probes whose answers are waited for; a minute at one per millisecond                            \
           */

typedef enum {
    GW_PROBE_SCOPE_TOTAL,
    GW_PROBE_SCOPE_WINDOW,
    GW_PROBE_SCOPE_SECOND,
    GW_N_PROBE_SCOPES
} GwProbeScopeId;

typedef struct GwProbeGap {
    uint64_t start_ns; /* the arrival before; CLOCK_MONOTONIC as all times here */
    uint64_t end_ns;   /* the arrival after, or the time of the report */
    uint64_t
        sender_late_ns; /* how late the prober itself was in this gap: as much of it may be its own doing */
    bool is_open;
} GwProbeGap;

/* What a scope has seen so far; the fields from n_lost on are brought up to date by gw_probe_log_report(). */
typedef struct GwProbeScope {
    uint64_t start_ns;
    uint64_t first_seq;
    uint64_t n_sent;
    uint64_t n_received;
    uint64_t n_reordered;  /* arrived after a probe that was sent later (RFC 4737, type-P-reordered) */
    uint64_t n_duplicates; /* answered before */
    uint64_t n_stragglers; /* answers to probes of an earlier scope, or too old to be known */
    uint64_t n_send_errors;
    uint64_t n_skipped_slots;
    uint64_t sender_late_max_ns;
    GwHistogram rtt_us;
    unsigned n_gaps;
    GwProbeGap gaps[GW_PROBE_LOG_N_GAPS]; /* the longest first */
    uint64_t n_evicted_lost;
    uint64_t n_lost;
    uint64_t n_outstanding;
    uint64_t end_ns;
} GwProbeScope;

typedef struct GwProbeLog GwProbeLog;

/* NULL if there is no memory. */
GwProbeLog *gw_probe_log_new(uint64_t now_ns, uint64_t loss_timeout_ns);
void gw_probe_log_free(GwProbeLog *self);

/* The number that the next probe carries. */
uint64_t gw_probe_log_next_seq(const GwProbeLog *self);

/* The probe with that number was sent at sent_ns; it had been due at due_ns. */
void gw_probe_log_sent(GwProbeLog *self, uint64_t due_ns, uint64_t sent_ns);

/* Nothing was sent: the kernel refused it. The number is used for the next probe. */
void gw_probe_log_send_failed(GwProbeLog *self);

/* Probes that were due while the prober did not run and are not sent any more. */
void gw_probe_log_skipped(GwProbeLog *self, uint64_t n_slots);

void gw_probe_log_arrived(GwProbeLog *self, uint64_t seq, uint64_t arrival_ns);

/* Has anything arrived at all? */
bool gw_probe_log_has_arrivals(const GwProbeLog *self);

/* Has every probe been answered? */
bool gw_probe_log_is_complete(const GwProbeLog *self);

/* Sums a scope up as of now_ns; what arrived by then must have been told. `is_over`: no probe was sent after
 * now_ns, nor are answers waited for any more, so that what is outstanding is lost. */
void gw_probe_log_report(const GwProbeLog *self, GwProbeScopeId scope, uint64_t now_ns, bool is_over,
                         GwProbeScope *ret_report);

/* Starts a scope anew, with the next probe. */
void gw_probe_log_reset(GwProbeLog *self, GwProbeScopeId scope, uint64_t now_ns);
