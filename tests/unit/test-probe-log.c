/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tests the prober's bookkeeping by tables: events in, counts and gaps out. */
#include <glib.h>

#include "probe-log.h"

#define MS              UINT64_C(1000000)
#define LOSS_TIMEOUT_MS 1000
#define NEVER           0

/* At which millisecond after its sending each probe, one a millisecond from 0 on, is answered. NEVER: it is
 * lost. */
typedef struct Case {
    const char *name;
    unsigned n_probes;
    struct {
        unsigned first, last;
        unsigned answered_at_ms; /* absolute, for all of them; 0: lost */
    } exceptions[3];
    unsigned report_at_ms;
    bool is_over;
    uint64_t received, lost, outstanding, reordered;
    uint64_t longest_gap_ms, gap_start_ms;
    bool is_open;
} Case;

static const Case cases[] = {
    {.name = "steady",
     .n_probes = 100,
     .report_at_ms = 100,
     .received = 100,
     .longest_gap_ms = 1,
     .gap_start_ms = 1},
    {.name = "queued-while-paused",
     .n_probes = 500,
     .exceptions = {{100, 298, 300}}, /* nothing is lost, all of it comes late */
     .report_at_ms = 501,
     .received = 500,
     .longest_gap_ms = 200,
     .gap_start_ms = 100},
    {.name = "dropped-while-paused",
     .n_probes = 500,
     .exceptions = {{100, 298, NEVER}},
     .report_at_ms = 501,
     .received = 301,
     .lost = 199,
     .longest_gap_ms = 200,
     .gap_start_ms = 100},
    {.name = "two-pauses-the-second-longer",
     .n_probes = 500,
     .exceptions = {{50, 98, 100}, {200, 278, 280}},
     .report_at_ms = 501,
     .received = 500,
     .longest_gap_ms = 80,
     .gap_start_ms = 200},
    {.name = "died",
     .n_probes = 500,
     .exceptions = {{400, 499, NEVER}},
     .report_at_ms = 500,
     .received = 400,
     .outstanding = 100, /* it may yet come back */
     .longest_gap_ms = 100,
     .gap_start_ms = 400,
     .is_open = true},
    {.name = "died-and-over",
     .n_probes = 500,
     .exceptions = {{400, 499, NEVER}},
     .report_at_ms = 500,
     .is_over = true,
     .received = 400,
     .lost = 100,
     .longest_gap_ms = 100,
     .gap_start_ms = 400,
     .is_open = true},
    {.name = "died-long-ago",
     .n_probes = 500,
     .exceptions = {{400, 499, NEVER}},
     .report_at_ms = 3000,
     .received = 400,
     .lost = 100,
     .longest_gap_ms = 2600,
     .gap_start_ms = 400,
     .is_open = true},
    {.name = "never-answered",
     .n_probes = 100,
     .exceptions = {{0, 99, NEVER}},
     .report_at_ms = 100,
     .outstanding = 100,
     .longest_gap_ms = 100,
     .gap_start_ms = 0,
     .is_open = true},
    {.name = "one-overtaken",
     .n_probes = 100,
     .exceptions = {{50, 50, 60}},
     .report_at_ms = 101,
     .received = 100,
     .reordered = 1,
     .longest_gap_ms = 2,
     .gap_start_ms = 50},
    {.name = "silence-after-the-last-answer-is-no-gap",
     .n_probes = 100,
     .report_at_ms = 900,
     .received = 100,
     .longest_gap_ms = 1,
     .gap_start_ms = 1},
};

static unsigned
answer_time_ms(const Case *c, unsigned probe)
{
    for (size_t i = 0; i < G_N_ELEMENTS(c->exceptions); i++) {
        bool is_used = c->exceptions[i].last != 0;
        if (is_used && probe >= c->exceptions[i].first && probe <= c->exceptions[i].last) {
            return c->exceptions[i].answered_at_ms;
        }
    }
    return probe + 1;
}

static void
test_case(const void *data)
{
    const Case *c = data;
    GwProbeLog *log = gw_probe_log_new(0, LOSS_TIMEOUT_MS * MS);
    GwProbeScope *report = g_new0(GwProbeScope, 1);
    for (unsigned ms = 0; ms <= c->report_at_ms; ms++) {
        for (unsigned probe = 0; probe < c->n_probes && probe < ms; probe++) {
            if (answer_time_ms(c, probe) == ms) {
                gw_probe_log_arrived(log, probe, ms * MS);
            }
        }
        if (ms < c->n_probes) {
            g_assert_cmpuint(gw_probe_log_next_seq(log), ==, ms);
            gw_probe_log_sent(log, ms * MS, ms * MS);
        }
    }
    gw_probe_log_report(log, GW_PROBE_SCOPE_TOTAL, c->report_at_ms * MS, c->is_over, report);
    g_assert_cmpuint(report->n_sent, ==, c->n_probes);
    g_assert_cmpuint(report->n_received, ==, c->received);
    g_assert_cmpuint(report->n_lost, ==, c->lost);
    g_assert_cmpuint(report->n_outstanding, ==, c->outstanding);
    g_assert_cmpuint(report->n_reordered, ==, c->reordered);
    g_assert_cmpuint(report->n_duplicates, ==, 0);
    g_assert_cmpuint(report->n_gaps, >, 0);
    g_assert_cmpuint(report->gaps[0].end_ns - report->gaps[0].start_ns, ==, c->longest_gap_ms * MS);
    g_assert_cmpuint(report->gaps[0].start_ns, ==, c->gap_start_ms * MS);
    g_assert_cmpint(report->gaps[0].is_open, ==, c->is_open);
    for (unsigned i = 1; i < report->n_gaps; i++) {
        const GwProbeGap *gap = &report->gaps[i];
        g_assert_cmpuint(gap->end_ns - gap->start_ns, <=, gap[-1].end_ns - gap[-1].start_ns);
    }
    g_free(report);
    gw_probe_log_free(log);
}

static void
test_windows(void)
{
    GwProbeLog *log = gw_probe_log_new(0, LOSS_TIMEOUT_MS * MS);
    GwProbeScope *report = g_new0(GwProbeScope, 1);
    gw_probe_log_sent(log, 0, 0);
    gw_probe_log_arrived(log, 0, 1 * MS);
    gw_probe_log_sent(log, 10 * MS, 10 * MS);
    gw_probe_log_arrived(log, 1, 100 * MS);
    gw_probe_log_sent(log, 100 * MS, 100 * MS); /* under way when the mark falls */
    gw_probe_log_report(log, GW_PROBE_SCOPE_WINDOW, 110 * MS, false, report);
    g_assert_cmpuint(report->n_outstanding, ==, 1);
    g_assert_cmpuint(report->gaps[0].end_ns, ==, 100 * MS);

    gw_probe_log_reset(log, GW_PROBE_SCOPE_WINDOW, 110 * MS);
    gw_probe_log_sent(log, 120 * MS, 120 * MS);
    gw_probe_log_arrived(log, 2, 150 * MS);
    gw_probe_log_arrived(log, 3, 151 * MS);
    gw_probe_log_report(log, GW_PROBE_SCOPE_WINDOW, 152 * MS, false, report);
    g_assert_cmpuint(report->n_sent, ==, 1);
    g_assert_cmpuint(report->n_received, ==, 1);
    g_assert_cmpuint(report->n_stragglers, ==, 1);
    /* The gap that began before the mark counts whole; the longer one that ended before does not. */
    g_assert_cmpuint(report->gaps[0].start_ns, ==, 100 * MS);
    g_assert_cmpuint(report->gaps[0].end_ns, ==, 150 * MS);

    gw_probe_log_report(log, GW_PROBE_SCOPE_TOTAL, 152 * MS, false, report);
    g_assert_cmpuint(report->n_received, ==, 4);
    g_assert_cmpuint(report->gaps[0].end_ns - report->gaps[0].start_ns, ==, 99 * MS);
    g_assert_true(gw_probe_log_is_complete(log));
    g_free(report);
    gw_probe_log_free(log);
}

static void
test_odd_answers(void)
{
    GwProbeLog *log = gw_probe_log_new(0, LOSS_TIMEOUT_MS * MS);
    GwProbeScope *report = g_new0(GwProbeScope, 1);
    gw_probe_log_arrived(log, 7, 1 * MS); /* never sent */
    g_assert_false(gw_probe_log_has_arrivals(log));
    gw_probe_log_sent(log, 1 * MS, 2 * MS);
    gw_probe_log_arrived(log, 0, 3 * MS);
    gw_probe_log_arrived(log, 0, 4 * MS);
    gw_probe_log_arrived(log, UINT64_MAX, 4 * MS);
    gw_probe_log_report(log, GW_PROBE_SCOPE_TOTAL, 5 * MS, false, report);
    g_assert_cmpuint(report->n_received, ==, 1);
    g_assert_cmpuint(report->n_duplicates, ==, 1);
    g_assert_cmpuint(report->rtt_us.max, ==, 1000);
    g_free(report);
    gw_probe_log_free(log);
}

static void
test_sender_is_told_apart(void)
{
    GwProbeLog *log = gw_probe_log_new(0, LOSS_TIMEOUT_MS * MS);
    GwProbeScope *report = g_new0(GwProbeScope, 1);
    gw_probe_log_sent(log, 0, 0);
    gw_probe_log_arrived(log, 0, 1 * MS);
    gw_probe_log_skipped(log, 49);
    gw_probe_log_sent(log, 1 * MS, 50 * MS);
    gw_probe_log_arrived(log, 1, 51 * MS);
    gw_probe_log_sent(log, 51 * MS, 51 * MS);
    gw_probe_log_arrived(log, 2, 91 * MS);
    gw_probe_log_report(log, GW_PROBE_SCOPE_TOTAL, 92 * MS, false, report);
    g_assert_cmpuint(report->sender_late_max_ns, ==, 49 * MS);
    g_assert_cmpuint(report->n_skipped_slots, ==, 49);
    g_assert_cmpuint(report->gaps[0].sender_late_ns, ==, 49 * MS);
    g_assert_cmpuint(report->gaps[1].end_ns - report->gaps[1].start_ns, ==, 40 * MS);
    g_assert_cmpuint(report->gaps[1].sender_late_ns, ==, 0);
    g_free(report);
    gw_probe_log_free(log);
}

static void
test_more_than_capacity(void)
{
    const uint64_t n_probes = 3 * GW_PROBE_LOG_CAPACITY;
    GwProbeLog *log = gw_probe_log_new(0, LOSS_TIMEOUT_MS * MS);
    GwProbeScope *report = g_new0(GwProbeScope, 1);
    for (uint64_t seq = 0; seq < n_probes; seq++) {
        gw_probe_log_sent(log, seq * MS, seq * MS);
        if (seq % 10 != 0) {
            gw_probe_log_arrived(log, seq, seq * MS + 1);
        }
    }
    gw_probe_log_arrived(log, 10, n_probes * MS); /* too late to be known */
    gw_probe_log_report(log, GW_PROBE_SCOPE_TOTAL, n_probes * MS, true, report);
    g_assert_cmpuint(report->n_lost, ==, (n_probes + 9) / 10);
    g_assert_cmpuint(report->n_received + report->n_lost, ==, n_probes);
    g_assert_cmpuint(report->n_stragglers, ==, 1);
    g_free(report);
    gw_probe_log_free(log);
}

static void
test_histogram(void)
{
    GwHistogram *histogram = g_new0(GwHistogram, 1);
    g_assert_cmpuint(gw_histogram_quantile(histogram, 500), ==, 0);
    for (uint64_t value = 1; value <= 10000; value++) {
        gw_histogram_add(histogram, value);
    }
    static const struct {
        unsigned per_mille;
        uint64_t exact;
    } quantiles[] = {{1, 10}, {500, 5000}, {990, 9900}, {999, 9990}, {1000, 10000}};
    for (size_t i = 0; i < G_N_ELEMENTS(quantiles); i++) {
        uint64_t value = gw_histogram_quantile(histogram, quantiles[i].per_mille);
        g_assert_cmpuint(value, >=, quantiles[i].exact);
        g_assert_cmpuint(value, <=, quantiles[i].exact + quantiles[i].exact / 32 + 1);
    }
    gw_histogram_add(histogram, UINT64_MAX);
    g_assert_cmpuint(gw_histogram_quantile(histogram, 1000), ==, UINT64_MAX);
    g_free(histogram);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/probe-log/%s", cases[i].name);
        g_test_add_data_func(path, &cases[i], test_case);
    }
    g_test_add_func("/probe-log/windows", test_windows);
    g_test_add_func("/probe-log/odd-answers", test_odd_answers);
    g_test_add_func("/probe-log/sender-is-told-apart", test_sender_is_told_apart);
    g_test_add_func("/probe-log/more-than-capacity", test_more_than_capacity);
    g_test_add_func("/probe-log/histogram", test_histogram);
    return g_test_run();
}
