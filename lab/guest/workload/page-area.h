/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Verified pages of one kind in a row, and what their owner knows of each. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "verified-page.h"

/* Pages of one kind in a row. Owned by the writer's thread once that runs. */
typedef struct GwPageArea {
    const char *name;
    GwPageRegion region;
    uint64_t n_pages;
    uint32_t
        *generations;   /* expected, one a page; NULL: the area is never written again, all pages are at 1 */
    uint8_t *is_wrong;  /* one a page */
    uint64_t base_page; /* where page 0 lies, in the store's own count of pages */
} GwPageArea;

/* Makes an area with all pages still to be filled; NULL if there is no memory. `writable` areas have
 * generations. */
bool gw_page_area_init(GwPageArea *area, const char *name, uint64_t n_pages, uint64_t seed, GwPageFill fill,
                       bool writable);

/* What the page must be. */
static inline uint64_t
gw_page_area_expected_generation(const GwPageArea *area, uint64_t page_no)
{
    return area->generations != NULL ? area->generations[page_no] : 1;
}
