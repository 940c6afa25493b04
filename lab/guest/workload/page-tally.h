/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Adds up what looks at pages found, keeps the first findings, and tells the console of each that is new. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "page-area.h"

#define GW_PAGE_TALLY_MAX_KEPT 16

/* Where findings are told at once: standard error, which is the guest's console. The first 16 only, as a lost
 * memory would otherwise drown in its own report. */
typedef struct GwPageReporter {
    const char *name; /* "memory" or "disk" */
    unsigned n_printed;
} GwPageReporter;

typedef struct GwPageTallyEntry {
    const GwPageArea *area;
    uint64_t page_no;
    uint64_t expected_generation;
    GwPageFinding found;
    int errnum; /* > 0: the page could not be read at all */
} GwPageTallyEntry;

/* What a look at pages adds up to. */
typedef struct GwPageTally {
    uint64_t n_verified;
    uint64_t n_io_errors;
    uint64_t n_by_verdict[GW_N_PAGE_VERDICTS];
    unsigned n_kept;
    GwPageTallyEntry kept[GW_PAGE_TALLY_MAX_KEPT];
} GwPageTally;

/* Files a verdict, and marks the page as wrong if it is. `only_news`: pages that are known to be wrong are
 * not counted again. */
void gw_page_tally_add(GwPageTally *self, GwPageReporter *reporter, GwPageArea *area, uint64_t page_no,
                       GwPageFinding found, bool only_news);

/* The page could not be read or written. */
void gw_page_tally_add_io_error(GwPageTally *self, GwPageReporter *reporter, const GwPageArea *area,
                                uint64_t page_no, int errnum);

/* The fields of a JSON object, without its braces. */
void gw_page_tally_print(const GwPageTally *self, FILE *out);
