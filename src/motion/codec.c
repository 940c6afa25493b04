/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Zero pages found. */
#include "codec.h"

#include "kernel-abi.h"
#include "wire.h"

#include <string.h>

/* 64 bytes at a time, or'ed together: compilers make vector instructions of it. A page with content mostly
 * shows it in its first line, so that one is looked at alone. */
static inline uint64_t
line_bits(const uint8_t *line)
{
    uint64_t words[8];
    memcpy(words, line, sizeof words);
    return words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7];
}

bool
gw_page_is_zero(const uint8_t *page)
{
    if (line_bits(page))
        return false;
    for (unsigned at = 0; at < GW_PAGE_SIZE; at += 4 * 64)
        if (line_bits(page + at) | line_bits(page + at + 64) | line_bits(page + at + 128) |
            line_bits(page + at + 192))
            return false;
    return true;
}

GwPiece
gw_codec_next(const uint8_t *bytes, uint32_t n_pages)
{
    GwPiece piece = {.n_pages = 1, .is_zero = gw_page_is_zero(bytes)};
    uint32_t most = piece.is_zero || n_pages < GW_WIRE_MAX_RUN_PAGES ? n_pages : GW_WIRE_MAX_RUN_PAGES;
    while (piece.n_pages < most &&
           gw_page_is_zero(bytes + (uint64_t)piece.n_pages * GW_PAGE_SIZE) == piece.is_zero)
        piece.n_pages++;
    return piece;
}
