/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Verified pages of one kind in a row, and what their owner knows of each. */
#include "page-area.h"

#include <stdlib.h>
#include <sys/random.h>

#include "clock.h"

bool
gw_page_area_init(GwPageArea *area, const char *name, uint64_t n_pages, uint64_t seed, GwPageFill fill,
                  bool writable)
{
    *area = (GwPageArea){.name = name, .n_pages = n_pages, .region = {.seed = seed, .fill = fill}};
    if (getrandom(&area->region.region_id, sizeof area->region.region_id, GRND_NONBLOCK) !=
        sizeof area->region.region_id) {
        /* Early in the boot of a machine without a source of entropy: unique enough, for a label. */
        area->region.region_id = gw_clock_now_ns(CLOCK_REALTIME) ^ (uint64_t)(uintptr_t)area;
    }
    area->is_wrong = calloc(n_pages + 1, sizeof *area->is_wrong);
    if (writable) {
        area->generations = calloc(n_pages + 1, sizeof *area->generations);
    }
    return area->is_wrong != NULL && (!writable || area->generations != NULL);
}
