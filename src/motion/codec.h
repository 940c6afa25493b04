/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory to frames: which pages of a run are zeros and cost nothing. Pure. Compression will come in here. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A part of a run: all zeros, or content, at most as long as one frame may be. */
typedef struct {
    uint32_t n_pages;
    bool is_zero;
} GwPiece;

bool gw_page_is_zero(const uint8_t *page);

/* The next piece of `n_pages` (at least 1) pages at `bytes`: pages of zeros together, of any number; others
 * together, at most GW_WIRE_MAX_RUN_PAGES. */
GwPiece gw_codec_next(const uint8_t *bytes, uint32_t n_pages);
