/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Adds up what looks at pages found, keeps the first findings, and tells the console of each that is new. */
#include "page-tally.h"

#include <inttypes.h>
#include <string.h>

static void
print_finding(GwPageReporter *reporter, const GwPageTallyEntry *finding)
{
    if (reporter->n_printed > GW_PAGE_TALLY_MAX_KEPT) {
        return;
    }
    if (reporter->n_printed++ == GW_PAGE_TALLY_MAX_KEPT) {
        fprintf(stderr, "GODWIT-WRONG %s more, no longer printed\n", reporter->name);
        return;
    }
    const char *what =
        finding->errnum != 0 ? strerror(finding->errnum) : gw_page_verdict_name(finding->found.verdict);
    fprintf(stderr,
            "GODWIT-WRONG %s area=%s page=%" PRIu64 " what=%s expected=%" PRIu64 " found=%" PRIu64
            " word=%u\n",
            reporter->name, finding->area->name, finding->page_no, what, finding->expected_generation,
            finding->found.generation, finding->found.bad_word);
}

static void
keep_finding(GwPageTally *self, const GwPageTallyEntry *finding)
{
    if (self->n_kept < GW_PAGE_TALLY_MAX_KEPT) {
        self->kept[self->n_kept++] = *finding;
    }
}

void
gw_page_tally_add(GwPageTally *self, GwPageReporter *reporter, GwPageArea *area, uint64_t page_no,
                  GwPageFinding found, bool only_news)
{
    bool was_known = area->is_wrong[page_no] != 0;
    if (found.verdict == GW_PAGE_OK || (was_known && only_news)) {
        self->n_by_verdict[GW_PAGE_OK] += found.verdict == GW_PAGE_OK;
        return;
    }
    GwPageTallyEntry finding = {
        .area = area,
        .page_no = page_no,
        .expected_generation = gw_page_area_expected_generation(area, page_no),
        .found = found,
    };
    area->is_wrong[page_no] = 1;
    self->n_by_verdict[found.verdict]++;
    keep_finding(self, &finding);
    if (!was_known) {
        print_finding(reporter, &finding);
    }
}

void
gw_page_tally_add_io_error(GwPageTally *self, GwPageReporter *reporter, const GwPageArea *area,
                           uint64_t page_no, int errnum)
{
    GwPageTallyEntry finding = {
        .area = area,
        .page_no = page_no,
        .expected_generation = gw_page_area_expected_generation(area, page_no),
        .errnum = errnum,
    };
    self->n_io_errors++;
    keep_finding(self, &finding);
    print_finding(reporter, &finding);
}

static uint64_t
n_wrong(const GwPageTally *self)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < GW_N_PAGE_VERDICTS; i++) {
        sum += i == GW_PAGE_OK ? 0 : self->n_by_verdict[i];
    }
    return sum;
}

void
gw_page_tally_print(const GwPageTally *self, FILE *out)
{
    fprintf(out, "\"verified\":%" PRIu64 ",\"wrong\":%" PRIu64 ",\"io_errors\":%" PRIu64 ",\"kinds\":{",
            self->n_verified, n_wrong(self), self->n_io_errors);
    const char *separator = "";
    for (unsigned i = 0; i < GW_N_PAGE_VERDICTS; i++) {
        if (i != GW_PAGE_OK) {
            fprintf(out, "%s\"%s\":%" PRIu64, separator, gw_page_verdict_name((GwPageVerdict)i),
                    self->n_by_verdict[i]);
            separator = ",";
        }
    }
    fputs("},\"first\":[", out);
    for (unsigned i = 0; i < self->n_kept; i++) {
        const GwPageTallyEntry *finding = &self->kept[i];
        fprintf(out,
                "%s{\"area\":\"%s\",\"page\":%" PRIu64 ",\"what\":\"%s\",\"expected\":%" PRIu64
                ",\"found\":%" PRIu64 ",\"word\":%u}",
                i == 0 ? "" : ",", finding->area->name, finding->page_no,
                finding->errnum != 0 ? strerror(finding->errnum)
                                     : gw_page_verdict_name(finding->found.verdict),
                finding->expected_generation, finding->found.generation, finding->found.bad_word);
    }
    fputs("]", out);
}
