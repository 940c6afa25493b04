/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A page whose whole content can be foretold: writing, advancing and verifying it. */
#include "verified-page.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum {
    WORD_MAGIC,
    WORD_REGION,
    WORD_NUMBER,
    WORD_GENERATION,
    WORD_FILL,
    WORD_SEED,
    WORD_RESERVED,
    WORD_CHECKSUM,
};

/* How many rewrites of a word, back and forth, a torn page is looked for. A migration mixes versions that are
 * some rounds apart, thus thousands of generations at most for a page rewritten all the time. */
#define TORN_SEARCH_STEPS 64

#define N_SYLLABLES 16

static const char *const fill_names[] = {"random", "text", "zero"};
_Static_assert(sizeof fill_names / sizeof fill_names[0] == GW_N_PAGE_FILLS, "a name for each fill");

static const char *const verdict_names[] = {"ok",    "wrong-magic", "wrong-region", "wrong-number",
                                            "stale", "future",      "torn",         "corrupt"};
_Static_assert(sizeof verdict_names / sizeof verdict_names[0] == GW_N_PAGE_VERDICTS,
               "a name for each verdict");

/* Eight bytes each. The first is drawn most often: it is what makes long matches, and so the ratio. */
static const char syllables[N_SYLLABLES][9] = {
    "the bird", " and the", " flies s", "outh in ", "one trip", " without", " a stop,", "\nwaders ",
    "feeding ", "on mud, ", "at night", " over se", "as, wind", " behind.", " In May ", "again: 9",
};

const char *
gw_page_fill_name(GwPageFill fill)
{
    return fill < GW_N_PAGE_FILLS ? fill_names[fill] : "unknown";
}

int
gw_page_fill_from_name(const char *name, GwPageFill *ret_fill)
{
    for (unsigned i = 0; i < GW_N_PAGE_FILLS; i++) {
        if (strcmp(name, fill_names[i]) == 0) {
            *ret_fill = (GwPageFill)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *
gw_page_verdict_name(GwPageVerdict verdict)
{
    return verdict < GW_N_PAGE_VERDICTS ? verdict_names[verdict] : "unknown";
}

static uint64_t
mix(uint64_t x)
{
    /* The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) without its last round: enough to defeat
     * compressors, and the multiplications are what costs under TCG. */
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x;
}

/* The part of a word's hash that is the same for the whole page. */
static uint64_t
page_key(const GwPageRegion *region, uint64_t page_no)
{
    return mix(region->seed * UINT64_C(0x9e3779b97f4a7c15) + page_no + 1);
}

static uint64_t
payload_word(GwPageFill fill, uint64_t key, unsigned i, uint64_t word_generation)
{
    if (fill == GW_PAGE_FILL_ZERO) {
        return 0;
    }
    uint64_t hash = mix(key + word_generation * UINT64_C(0xd1342543de82ef95) + i);
    if (fill == GW_PAGE_FILL_RANDOM) {
        return hash;
    }
    /* The product of two uniform numbers leans towards 0, as word frequencies in text do. */
    unsigned choice = (unsigned)(((hash >> 40 & 0xff) * (hash >> 50 & 0xff)) >> 12);
    uint64_t word;
    memcpy(&word, syllables[choice], sizeof word);
    return word;
}

static uint64_t
weight(unsigned word)
{
    return 2 * (uint64_t)word + 1;
}

static uint64_t
header_word(const GwPageRegion *region, uint64_t page_no, uint64_t generation, unsigned word)
{
    switch (word) {
    case WORD_MAGIC:
        return GW_VERIFIED_PAGE_MAGIC;
    case WORD_REGION:
        return region->region_id;
    case WORD_NUMBER:
        return page_no;
    case WORD_GENERATION:
        return generation;
    case WORD_FILL:
        return region->fill;
    case WORD_SEED:
        return region->seed;
    default:
        return 0;
    }
}

uint64_t
gw_verified_page_word_generation(unsigned i, uint64_t generation)
{
    uint64_t age = (generation - i) % GW_VERIFIED_PAGE_STRIDE; /* 2^64 is a multiple of the stride */
    return generation > age ? generation - age : 1;
}

void
gw_verified_page_render(void *page, const GwPageRegion *region, uint64_t page_no, uint64_t generation)
{
    uint64_t *words = page;
    uint64_t key = page_key(region, page_no);
    uint64_t checksum = 0;
    for (unsigned w = 0; w < GW_VERIFIED_PAGE_N_HEADER; w++) {
        words[w] = header_word(region, page_no, generation, w);
        checksum += words[w] * weight(w);
    }
    for (unsigned i = 0; i < GW_VERIFIED_PAGE_N_PAYLOAD; i++) {
        unsigned w = GW_VERIFIED_PAGE_N_HEADER + i;
        words[w] = payload_word(region->fill, key, i, gw_verified_page_word_generation(i, generation));
        checksum += words[w] * weight(w);
    }
    words[WORD_CHECKSUM] = checksum;
}

void
gw_verified_page_advance(void *page, const GwPageRegion *region, uint64_t page_no, uint64_t generation)
{
    uint64_t *words = page;
    uint64_t key = page_key(region, page_no);
    uint64_t checksum =
        words[WORD_CHECKSUM] + (generation - words[WORD_GENERATION]) * weight(WORD_GENERATION);
    words[WORD_GENERATION] = generation;
    for (unsigned i = generation % GW_VERIFIED_PAGE_STRIDE; i < GW_VERIFIED_PAGE_N_PAYLOAD;
         i += GW_VERIFIED_PAGE_STRIDE) {
        unsigned w = GW_VERIFIED_PAGE_N_HEADER + i;
        uint64_t word = payload_word(region->fill, key, i, generation);
        checksum += (word - words[w]) * weight(w);
        words[w] = word;
    }
    words[WORD_CHECKSUM] = checksum;
}

GwPageVerdict
gw_verified_page_check_header(const void *page, const GwPageRegion *region, uint64_t page_no,
                              uint64_t generation)
{
    const uint64_t *words = page;
    if (words[WORD_MAGIC] != GW_VERIFIED_PAGE_MAGIC) {
        return GW_PAGE_WRONG_MAGIC;
    }
    if (words[WORD_REGION] != region->region_id || words[WORD_FILL] != region->fill ||
        words[WORD_SEED] != region->seed) {
        return GW_PAGE_WRONG_REGION;
    }
    if (words[WORD_NUMBER] != page_no) {
        return GW_PAGE_WRONG_NUMBER;
    }
    if (words[WORD_GENERATION] != generation) {
        return words[WORD_GENERATION] < generation ? GW_PAGE_STALE : GW_PAGE_FUTURE;
    }
    return GW_PAGE_OK;
}

/* Is this what payload word i held in some generation near the given one? */
static bool
word_is_of_another_generation(const GwPageRegion *region, uint64_t key, unsigned i, uint64_t generation,
                              uint64_t word)
{
    if (word == payload_word(region->fill, key, i, 1)) {
        return true;
    }
    uint64_t last = gw_verified_page_word_generation(i, generation);
    uint64_t base =
        last % GW_VERIFIED_PAGE_STRIDE == i % GW_VERIFIED_PAGE_STRIDE ? last : i % GW_VERIFIED_PAGE_STRIDE;
    for (uint64_t step = 1; step <= TORN_SEARCH_STEPS; step++) {
        uint64_t distance = step * GW_VERIFIED_PAGE_STRIDE;
        if (word == payload_word(region->fill, key, i, base + distance)) {
            return true;
        }
        if (base > distance && word == payload_word(region->fill, key, i, base - distance)) {
            return true;
        }
    }
    /* A page in its first 32 generations: the word's first rewrite is still to come, at `base` itself. */
    return base != last && word == payload_word(region->fill, key, i, base);
}

static unsigned
first_wrong_header_word(const uint64_t *words, const GwPageRegion *region, uint64_t page_no,
                        uint64_t generation)
{
    for (unsigned w = 0; w < WORD_CHECKSUM; w++) {
        if (words[w] != header_word(region, page_no, generation, w)) {
            return w;
        }
    }
    return WORD_CHECKSUM;
}

GwPageFinding
gw_verified_page_verify(const void *page, const GwPageRegion *region, uint64_t page_no, uint64_t generation)
{
    const uint64_t *words = page;
    GwPageFinding finding = {.generation = words[WORD_GENERATION]};
    finding.verdict = gw_verified_page_check_header(page, region, page_no, generation);
    bool whole_header = finding.verdict == GW_PAGE_OK || finding.verdict == GW_PAGE_STALE ||
                        finding.verdict == GW_PAGE_FUTURE;
    if (!whole_header) {
        finding.bad_word = first_wrong_header_word(words, region, page_no, generation);
        return finding;
    }

    /* From here on the page is measured by the generation that it claims; whether that is the right one is
     * known. */
    uint64_t claimed = words[WORD_GENERATION];
    uint64_t key = page_key(region, page_no);
    uint64_t checksum = 0;
    unsigned first_bad = 0;
    bool all_of_other_generations = true;
    unsigned bad_header = first_wrong_header_word(words, region, page_no, claimed);
    if (bad_header != WORD_CHECKSUM || claimed == 0) {
        finding.verdict = GW_PAGE_CORRUPT;
        finding.bad_word = claimed == 0 ? WORD_GENERATION : bad_header;
        return finding;
    }
    for (unsigned w = 0; w < WORD_CHECKSUM; w++) {
        checksum += words[w] * weight(w);
    }
    for (unsigned i = 0; i < GW_VERIFIED_PAGE_N_PAYLOAD; i++) {
        unsigned w = GW_VERIFIED_PAGE_N_HEADER + i;
        uint64_t word = payload_word(region->fill, key, i, gw_verified_page_word_generation(i, claimed));
        checksum += word * weight(w);
        if (word == words[w]) {
            continue;
        }
        if (first_bad == 0) {
            first_bad = w;
        }
        if (all_of_other_generations && !word_is_of_another_generation(region, key, i, claimed, words[w])) {
            all_of_other_generations = false;
        }
    }
    if (first_bad != 0) {
        finding.verdict = all_of_other_generations ? GW_PAGE_TORN : GW_PAGE_CORRUPT;
        finding.bad_word = first_bad;
    } else if (checksum != words[WORD_CHECKSUM]) {
        finding.verdict = GW_PAGE_CORRUPT;
        finding.bad_word = WORD_CHECKSUM;
    } else if (finding.verdict != GW_PAGE_OK) {
        finding.bad_word = WORD_GENERATION;
    }
    return finding;
}
