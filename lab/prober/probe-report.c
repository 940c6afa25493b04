/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the prober prints: a report as one JSON line, or as text for people. */
#include "probe-report.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "clock.h"

#define WALL_TIME_SIZE sizeof "2026-01-01T00:00:00.000000Z"

static double
ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static double
length_ms(const GwProbeGap *gap)
{
    return ms(gap->end_ns - gap->start_ns);
}

/* CLOCK_MONOTONIC as wall time, in UTC, by the difference of the clocks now. */
static const char *
wall_time(uint64_t monotonic_ns, char text[static WALL_TIME_SIZE])
{
    uint64_t wall_ns = monotonic_ns + (gw_clock_now_ns(CLOCK_REALTIME) - gw_now_ns());
    struct timespec t = gw_timespec_from_ns(wall_ns);
    struct tm parts;
    gmtime_r(&t.tv_sec, &parts);
    size_t n = strftime(text, WALL_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + n, WALL_TIME_SIZE - n, ".%06dZ", (int)((unsigned long)t.tv_nsec / 1000 % 1000000));
    return text;
}

static void
print_gap_json(const GwProbeGap *gap, FILE *out)
{
    char start[WALL_TIME_SIZE], end[WALL_TIME_SIZE];
    fprintf(out,
            "{\"ms\":%.3f,\"start_monotonic_ns\":%" PRIu64 ",\"end_monotonic_ns\":%" PRIu64
            ",\"start_time\":\"%s\",\"end_time\":\"%s\",\"sender_late_ms\":%.3f,\"open\":%s}",
            length_ms(gap), gap->start_ns, gap->end_ns, wall_time(gap->start_ns, start),
            wall_time(gap->end_ns, end), ms(gap->sender_late_ns), gap->is_open ? "true" : "false");
}

static void
print_tcp_json(const GwProbeReport *report, FILE *out)
{
    const GwTcpStream *tcp = report->tcp;
    uint64_t start_ns, end_ns;
    gw_tcp_stream_longest_stall(tcp, report->is_window, report->scope->end_ns, &start_ns, &end_ns);
    fprintf(out,
            "{\"connected\":%s,\"lost\":%s,\"error\":\"%s\",\"sent_bytes\":%" PRIu64
            ",\"echoed_bytes\":%" PRIu64 ",\"wrong_bytes\":%" PRIu64
            ",\"longest_stall_ms\":%.3f,\"stall_start_monotonic_ns\":%" PRIu64
            ",\"stall_end_monotonic_ns\":%" PRIu64 "}",
            tcp->is_connected ? "true" : "false", tcp->was_lost ? "true" : "false",
            !tcp->was_lost     ? ""
            : tcp->errnum == 0 ? "closed by the peer"
                               : strerror(tcp->errnum),
            tcp->n_sent, tcp->n_echoed, tcp->n_wrong_bytes, ms(end_ns - start_ns), start_ns, end_ns);
}

void
gw_probe_report_print_json(const GwProbeReport *report, FILE *out)
{
    const GwProbeScope *scope = report->scope;
    fprintf(out,
            "{\"type\":\"%s\",\"target\":\"%s\",\"mode\":\"%s\",\"interval_us\":%" PRIu64
            ",\"start_monotonic_ns\":%" PRIu64 ",\"end_monotonic_ns\":%" PRIu64,
            report->type, report->target, report->mode, report->interval_us, scope->start_ns, scope->end_ns);
    fprintf(out,
            ",\"sent\":%" PRIu64 ",\"received\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"outstanding\":%" PRIu64
            ",\"reordered\":%" PRIu64 ",\"duplicates\":%" PRIu64 ",\"stragglers\":%" PRIu64
            ",\"send_errors\":%" PRIu64 ",\"skipped_slots\":%" PRIu64 ",\"sender_late_max_ms\":%.3f",
            scope->n_sent, scope->n_received, scope->n_lost, scope->n_outstanding, scope->n_reordered,
            scope->n_duplicates, scope->n_stragglers, scope->n_send_errors, scope->n_skipped_slots,
            ms(scope->sender_late_max_ns));
    fprintf(out, ",\"rtt_us\":{\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"max\":%" PRIu64 "}",
            gw_histogram_quantile(&scope->rtt_us, 500), gw_histogram_quantile(&scope->rtt_us, 990),
            scope->rtt_us.max);
    fprintf(out, ",\"longest_gap_ms\":%.3f,\"gaps\":[", scope->n_gaps > 0 ? length_ms(&scope->gaps[0]) : 0.0);
    for (unsigned i = 0; i < scope->n_gaps; i++) {
        fputs(i == 0 ? "" : ",", out);
        print_gap_json(&scope->gaps[i], out);
    }
    fputs("],\"tcp\":", out);
    if (report->tcp != NULL) {
        print_tcp_json(report, out);
    } else {
        fputs("null", out);
    }
    fputs("}\n", out);
    fflush(out);
}

void
gw_probe_report_print_text(const GwProbeReport *report, FILE *out)
{
    const GwProbeScope *scope = report->scope;
    fprintf(out, "%s echo to %s every %" PRIu64 " us for %.1f s\n", report->mode, report->target,
            report->interval_us, ms(scope->end_ns - scope->start_ns) / 1000);
    fprintf(out,
            "  sent %" PRIu64 ", received %" PRIu64 ", lost %" PRIu64 ", reordered %" PRIu64
            ", duplicates %" PRIu64 "\n",
            scope->n_sent, scope->n_received, scope->n_lost, scope->n_reordered, scope->n_duplicates);
    fprintf(out, "  round trip: p50 %" PRIu64 " us, p99 %" PRIu64 " us, longest %" PRIu64 " us\n",
            gw_histogram_quantile(&scope->rtt_us, 500), gw_histogram_quantile(&scope->rtt_us, 990),
            scope->rtt_us.max);
    for (unsigned i = 0; i < scope->n_gaps; i++) {
        const GwProbeGap *gap = &scope->gaps[i];
        char start[WALL_TIME_SIZE];
        fprintf(out, "  %s %9.3f ms from %s%s\n", i == 0 ? "longest gap" : "        gap", length_ms(gap),
                wall_time(gap->start_ns, start), gap->is_open ? ", still open" : "");
    }
    fprintf(out, "  the prober itself was up to %.3f ms late\n", ms(scope->sender_late_max_ns));
    if (report->tcp != NULL) {
        uint64_t start_ns, end_ns;
        gw_tcp_stream_longest_stall(report->tcp, report->is_window, scope->end_ns, &start_ns, &end_ns);
        fprintf(out, "  TCP: %s, %" PRIu64 " bytes echoed, %" PRIu64 " wrong, longest stall %.3f ms\n",
                report->tcp->was_lost       ? "connection LOST"
                : report->tcp->is_connected ? "connection kept"
                                            : "never connected",
                report->tcp->n_echoed, report->tcp->n_wrong_bytes, ms(end_ns - start_ns));
    }
    fflush(out);
}
