/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbered probes and their answers in; gaps, losses, reordering and round-trip times out. */
#include "probe-log.h"

#include <stdlib.h>
#include <string.h>

typedef struct Probe {
    uint64_t sent_ns;
    bool is_answered;
} Probe;

struct GwProbeLog {
    uint64_t loss_timeout_ns;
    uint64_t next_seq;
    uint64_t max_answered_seq; /* valid if has_arrivals */
    uint64_t last_arrival_ns;  /* the start, before there are any */
    uint64_t late_since_arrival_ns;
    bool has_arrivals;
    GwProbeScope scopes[GW_N_PROBE_SCOPES];
    Probe probes[GW_PROBE_LOG_CAPACITY]; /* the last ones, by number modulo capacity */
};

static uint64_t
oldest_known_seq(const GwProbeLog *self)
{
    return self->next_seq > GW_PROBE_LOG_CAPACITY ? self->next_seq - GW_PROBE_LOG_CAPACITY : 0;
}

GwProbeLog *
gw_probe_log_new(uint64_t now_ns, uint64_t loss_timeout_ns)
{
    GwProbeLog *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->loss_timeout_ns = loss_timeout_ns;
    self->last_arrival_ns = now_ns;
    for (unsigned i = 0; i < GW_N_PROBE_SCOPES; i++) {
        self->scopes[i].start_ns = now_ns;
    }
    return self;
}

void
gw_probe_log_free(GwProbeLog *self)
{
    free(self);
}

uint64_t
gw_probe_log_next_seq(const GwProbeLog *self)
{
    return self->next_seq;
}

void
gw_probe_log_sent(GwProbeLog *self, uint64_t due_ns, uint64_t sent_ns)
{
    uint64_t seq = self->next_seq;
    Probe *probe = &self->probes[seq % GW_PROBE_LOG_CAPACITY];
    uint64_t late_ns = sent_ns > due_ns ? sent_ns - due_ns : 0;
    bool evicts_lost = seq >= GW_PROBE_LOG_CAPACITY && !probe->is_answered;
    for (unsigned i = 0; i < GW_N_PROBE_SCOPES; i++) {
        GwProbeScope *scope = &self->scopes[i];
        scope->n_sent++;
        if (late_ns > scope->sender_late_max_ns) {
            scope->sender_late_max_ns = late_ns;
        }
        if (evicts_lost && seq - GW_PROBE_LOG_CAPACITY >= scope->first_seq) {
            scope->n_evicted_lost++;
        }
    }
    if (late_ns > self->late_since_arrival_ns) {
        self->late_since_arrival_ns = late_ns;
    }
    *probe = (Probe){.sent_ns = sent_ns};
    self->next_seq++;
}

void
gw_probe_log_send_failed(GwProbeLog *self)
{
    for (unsigned i = 0; i < GW_N_PROBE_SCOPES; i++) {
        self->scopes[i].n_send_errors++;
    }
}

void
gw_probe_log_skipped(GwProbeLog *self, uint64_t n_slots)
{
    for (unsigned i = 0; i < GW_N_PROBE_SCOPES; i++) {
        self->scopes[i].n_skipped_slots += n_slots;
    }
}

static void
note_gap(GwProbeScope *scope, const GwProbeGap *gap)
{
    uint64_t length_ns = gap->end_ns - gap->start_ns;
    unsigned at = scope->n_gaps;
    while (at > 0 && scope->gaps[at - 1].end_ns - scope->gaps[at - 1].start_ns < length_ns) {
        at--;
    }
    if (at == GW_PROBE_LOG_N_GAPS) {
        return;
    }
    unsigned n_moved = (scope->n_gaps < GW_PROBE_LOG_N_GAPS ? scope->n_gaps : GW_PROBE_LOG_N_GAPS - 1) - at;
    memmove(&scope->gaps[at + 1], &scope->gaps[at], n_moved * sizeof scope->gaps[0]);
    scope->gaps[at] = *gap;
    if (scope->n_gaps < GW_PROBE_LOG_N_GAPS) {
        scope->n_gaps++;
    }
}

static void
note_arrival_time(GwProbeLog *self, uint64_t arrival_ns)
{
    GwProbeGap gap = {
        .start_ns = self->last_arrival_ns,
        .end_ns = arrival_ns,
        .sender_late_ns = self->late_since_arrival_ns,
    };
    if (self->has_arrivals && arrival_ns > self->last_arrival_ns) {
        for (unsigned i = 0; i < GW_N_PROBE_SCOPES; i++) {
            note_gap(&self->scopes[i], &gap);
        }
    }
    if (!self->has_arrivals || arrival_ns > self->last_arrival_ns) {
        self->last_arrival_ns = arrival_ns;
        self->late_since_arrival_ns = 0;
    }
}

void
gw_probe_log_arrived(GwProbeLog *self, uint64_t seq, uint64_t arrival_ns)
{
    if (seq >= self->next_seq) {
        return; /* never sent: not an answer to us, whatever it looks like */
    }
    note_arrival_time(self, arrival_ns);
    bool is_known = seq >= oldest_known_seq(self);
    Probe *probe = &self->probes[seq % GW_PROBE_LOG_CAPACITY];
    bool is_duplicate = is_known && probe->is_answered;
    bool is_reordered = self->has_arrivals && seq < self->max_answered_seq;
    for (unsigned i = 0; i < GW_N_PROBE_SCOPES; i++) {
        GwProbeScope *scope = &self->scopes[i];
        if (!is_known || seq < scope->first_seq) {
            scope->n_stragglers++;
        } else if (is_duplicate) {
            scope->n_duplicates++;
        } else {
            scope->n_received++;
            scope->n_reordered += is_reordered;
            gw_histogram_add(&scope->rtt_us,
                             arrival_ns > probe->sent_ns ? (arrival_ns - probe->sent_ns) / 1000 : 0);
        }
    }
    if (is_known) {
        probe->is_answered = true;
    }
    if (!self->has_arrivals || seq > self->max_answered_seq) {
        self->max_answered_seq = seq;
    }
    self->has_arrivals = true;
}

bool
gw_probe_log_has_arrivals(const GwProbeLog *self)
{
    return self->has_arrivals;
}

bool
gw_probe_log_is_complete(const GwProbeLog *self)
{
    for (uint64_t seq = oldest_known_seq(self); seq < self->next_seq; seq++) {
        if (!self->probes[seq % GW_PROBE_LOG_CAPACITY].is_answered) {
            return false;
        }
    }
    return true;
}

void
gw_probe_log_report(const GwProbeLog *self, GwProbeScopeId scope_id, uint64_t now_ns, bool is_over,
                    GwProbeScope *ret_report)
{
    *ret_report = self->scopes[scope_id];
    ret_report->end_ns = now_ns;
    ret_report->n_lost = ret_report->n_evicted_lost;
    ret_report->n_outstanding = 0;
    bool is_silent = false; /* something was asked since the last answer */
    uint64_t seq = oldest_known_seq(self);
    for (seq = seq > ret_report->first_seq ? seq : ret_report->first_seq; seq < self->next_seq; seq++) {
        const Probe *probe = &self->probes[seq % GW_PROBE_LOG_CAPACITY];
        if (probe->is_answered) {
            continue;
        }
        bool is_overtaken = self->has_arrivals && seq < self->max_answered_seq;
        bool is_timed_out = now_ns > probe->sent_ns && now_ns - probe->sent_ns > self->loss_timeout_ns;
        is_silent |= probe->sent_ns > self->last_arrival_ns;
        if (is_overtaken || is_timed_out || is_over) {
            ret_report->n_lost++;
        } else {
            ret_report->n_outstanding++;
        }
    }
    if (now_ns > self->last_arrival_ns && is_silent) {
        GwProbeGap gap = {
            .start_ns = self->last_arrival_ns,
            .end_ns = now_ns,
            .sender_late_ns = self->late_since_arrival_ns,
            .is_open = true,
        };
        note_gap(ret_report, &gap);
    }
}

void
gw_probe_log_reset(GwProbeLog *self, GwProbeScopeId scope_id, uint64_t now_ns)
{
    self->scopes[scope_id] = (GwProbeScope){.start_ns = now_ns, .first_seq = self->next_seq};
}
