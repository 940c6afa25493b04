/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a page writer tells about itself. */
#include "writer-status.h"

#include <inttypes.h>

#include "clock.h"
#include "verified-page.h"

#define SAMPLE_NS (100 * GW_NS_PER_MS)

void
gw_writer_rate_add(GwWriterRate *self, uint64_t n_written, uint64_t now_ns)
{
    unsigned last = (self->n_samples + GW_WRITER_N_SAMPLES - 1) % GW_WRITER_N_SAMPLES;
    if (self->n_samples == 0 || now_ns - self->at_ns[last] >= SAMPLE_NS) {
        unsigned slot = self->n_samples % GW_WRITER_N_SAMPLES;
        self->n_written[slot] = n_written;
        self->at_ns[slot] = now_ns;
        self->n_samples++;
        if (self->n_samples == 2 * GW_WRITER_N_SAMPLES) {
            self->n_samples = GW_WRITER_N_SAMPLES; /* keeps "filled at least once" and the slot */
        }
    }
}

uint64_t
gw_writer_rate_bytes_per_s(const GwWriterRate *self, uint64_t n_written, uint64_t now_ns)
{
    if (self->n_samples == 0) {
        return 0;
    }
    unsigned oldest = self->n_samples < GW_WRITER_N_SAMPLES ? 0 : self->n_samples % GW_WRITER_N_SAMPLES;
    uint64_t elapsed_ns = now_ns - self->at_ns[oldest];
    uint64_t n_pages = n_written - self->n_written[oldest];
    return elapsed_ns == 0 ? 0
                           : n_pages * GW_VERIFIED_PAGE_SIZE_BYTES * 1000 / (elapsed_ns / GW_NS_PER_MS + 1);
}

static void
print_areas(const GwPageArea *areas, unsigned n_areas, FILE *out)
{
    fprintf(out, "\"areas\":[");
    for (unsigned i = 0; i < n_areas; i++) {
        const GwPageArea *area = &areas[i];
        fprintf(out,
                "%s{\"name\":\"%s\",\"region\":\"%016" PRIx64 "\",\"pages\":%" PRIu64 ",\"seed\":%" PRIu64
                ",\"fill\":\"%s\"}",
                i == 0 ? "" : ",", area->name, area->region.region_id, area->n_pages, area->region.seed,
                gw_page_fill_name(area->region.fill));
    }
    fprintf(out, "],");
}

void
gw_writer_status_print(const GwWriterStatus *self, const GwPageArea *areas, unsigned n_areas,
                       uint64_t recent_bytes_per_s, uint64_t start_ns, uint64_t now_ns, FILE *out)
{
    uint64_t gap_ns = self->longest_gap_ns;
    if (self->last_batch_ns != 0 && now_ns > self->last_batch_ns && now_ns - self->last_batch_ns > gap_ns) {
        gap_ns = now_ns - self->last_batch_ns; /* the one that is going on */
    }
    print_areas(areas, n_areas, out);
    fprintf(out, "\"paused\":%s,", self->is_paused ? "true" : "false");
    if (self->rate_bytes_per_s == UINT64_MAX) {
        fputs("\"target_bytes_per_s\":\"max\",", out);
    } else {
        fprintf(out, "\"target_bytes_per_s\":%" PRIu64 ",", self->rate_bytes_per_s);
    }
    fprintf(out,
            "\"written_pages\":%" PRIu64 ",\"rate_bytes_per_s\":%" PRIu64 ",\"write_errors\":%" PRIu64
            ",\"syncs\":%" PRIu64 ",\"longest_gap_ms\":%.3f,\"uptime_s\":%.3f,",
            self->n_written, recent_bytes_per_s, self->n_write_errors, self->n_syncs, (double)gap_ns / 1e6,
            (double)(now_ns - start_ns) / 1e9);
    gw_page_tally_print(&self->tally, out);
}
