/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A page whose whole content can be foretold, so that any damage to it can be found and named. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Theory
 * ------
 * A migration can harm a page in more ways than flipping bits: it can leave an *old* version of it behind (a
 * write that the trace missed), put it somewhere else, mix two versions, or leave a hole. A checksum finds
 * only some of these, as an old page is as valid as a new one. So a page says which page it is and how often
 * it was written, its owner keeps the same count elsewhere, and every word is a pure function of (seed, page
 * number, generation, fill). The verifier recomputes the whole page and compares; the checksum is for those
 * who have no time for that.
 *
 * Writing must be cheap, as it is done under TCG at hundreds of MB/s of dirtied pages. A new generation
 * therefore rewrites only the header and every 32nd payload word: word i in the generations g with g % 32 ==
 * i % 32 (generation 1 writes all). The generation in which a word was last written follows from g by
 * arithmetic, so nothing is remembered per word. The checksum is linear in the words, so it is updated from
 * the words that change:
 *
 *     checksum = sum over all words w[i], except the checksum itself, of w[i] * (2 i + 1), modulo 2^64
 *
 * The weights are odd, so that a change of any single word changes the sum. An update starts from the words
 * *found* in the page, not from those that should be there: damage that is overwritten still shows, as a
 * checksum that does not fit.
 *
 * Layout: 512 words of 64 bits, little-endian. Tests on the host find pages in the memory file by the magic.
 *
 *     offset  size  field
 *          0     8  magic       "GWVPAGE1" as bytes
 *          8     8  region_id   random per run and area: tells this run's pages from leftovers of another
 *         16     8  page_no     number within the region, from 0
 *         24     8  generation  1 when first filled, one more with each write
 *         32     4  fill        GwPageFill
 *         36     4  0
 *         40     8  seed        with it, a page can be verified without asking anyone
 *         48     8  0
 *         56     8  checksum
 *         64  4032  payload     504 words; payload word i is at offset 64 + 8 i
 */

#define GW_VERIFIED_PAGE_SIZE_BYTES 4096
#define GW_VERIFIED_PAGE_MAGIC      UINT64_C(0x3145474150565747) /* the bytes "GWVPAGE1" */
#define GW_VERIFIED_PAGE_N_WORDS    512
#define GW_VERIFIED_PAGE_N_HEADER   8
#define GW_VERIFIED_PAGE_N_PAYLOAD  (GW_VERIFIED_PAGE_N_WORDS - GW_VERIFIED_PAGE_N_HEADER)
#define GW_VERIFIED_PAGE_STRIDE     32

typedef enum {
    GW_PAGE_FILL_RANDOM, /* does not compress */
    GW_PAGE_FILL_TEXT,   /* compresses about 3:1 (lz4) to 5:1 (zstd) */
    GW_PAGE_FILL_ZERO,   /* nothing but the header */
    GW_N_PAGE_FILLS,
} GwPageFill;

typedef enum {
    GW_PAGE_OK,
    GW_PAGE_WRONG_MAGIC,  /* not a verified page at all: a hole, or somebody else's data */
    GW_PAGE_WRONG_REGION, /* a verified page of another run or area, or with another seed or fill */
    GW_PAGE_WRONG_NUMBER, /* a page of this region that belongs elsewhere */
    GW_PAGE_STALE,        /* an older generation, whole and valid: a later write was lost */
    GW_PAGE_FUTURE,       /* a newer generation, whole and valid: the owner's own memory went back in time */
    GW_PAGE_TORN,         /* every word valid, but of more than one generation */
    GW_PAGE_CORRUPT,      /* words that no generation wrote, or a checksum that does not fit */
    GW_N_PAGE_VERDICTS,
} GwPageVerdict;

/* What all pages of a region share. */
typedef struct GwPageRegion {
    uint64_t region_id;
    uint64_t seed;
    GwPageFill fill;
} GwPageRegion;

typedef struct GwPageFinding {
    GwPageVerdict verdict;
    unsigned bad_word;   /* index 0–511 of the first word that is not as expected; 0 if verdict is OK */
    uint64_t generation; /* what the header claims */
} GwPageFinding;

const char *gw_page_fill_name(GwPageFill fill);

/* 0, or -EINVAL for a name that is no fill. */
int gw_page_fill_from_name(const char *name, GwPageFill *ret_fill);

/* A stable name such as "stale", for reports. */
const char *gw_page_verdict_name(GwPageVerdict verdict);

/* The generation in which payload word i of a page of this generation was last written. */
uint64_t gw_verified_page_word_generation(unsigned payload_word, uint64_t generation);

/* Writes the whole page as it is after `generation` (1 or more). `page` is aligned to 8. */
void gw_verified_page_render(void *page, const GwPageRegion *region, uint64_t page_no, uint64_t generation);

/* Takes a page from generation - 1 to generation (2 or more) by writing what differs. Trusts the page. */
void gw_verified_page_advance(void *page, const GwPageRegion *region, uint64_t page_no, uint64_t generation);

/* Looks at the header only: magic, region, number, generation; cheap enough to be done before each write. */
GwPageVerdict gw_verified_page_check_header(const void *page, const GwPageRegion *region, uint64_t page_no,
                                            uint64_t generation);

/* Compares every word with what it must be in the expected generation, and names what is wrong. */
GwPageFinding
gw_verified_page_verify(const void *page, const GwPageRegion *region, uint64_t page_no, uint64_t generation);
