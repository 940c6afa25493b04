/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tests that every kind of damage to a verified page is found and called by its name. */
#include <glib.h>
#include <string.h>

#include "verified-page.h"

#define N_WORDS    GW_VERIFIED_PAGE_N_WORDS
#define N_HEADER   GW_VERIFIED_PAGE_N_HEADER
#define PAGE_BYTES GW_VERIFIED_PAGE_SIZE_BYTES

typedef uint64_t Page[N_WORDS];

static const GwPageRegion region_of_fill[GW_N_PAGE_FILLS] = {
    {.region_id = 0x1234, .seed = 1, .fill = GW_PAGE_FILL_RANDOM},
    {.region_id = 0x1234, .seed = 1, .fill = GW_PAGE_FILL_TEXT},
    {.region_id = 0x1234, .seed = 1, .fill = GW_PAGE_FILL_ZERO},
};
static const GwPageRegion *const region = &region_of_fill[GW_PAGE_FILL_RANDOM];

static void
assert_finding(const uint64_t *page, uint64_t page_no, uint64_t generation, GwPageVerdict verdict,
               unsigned bad_word)
{
    GwPageFinding finding = gw_verified_page_verify(page, region, page_no, generation);
    g_assert_cmpstr(gw_page_verdict_name(finding.verdict), ==, gw_page_verdict_name(verdict));
    g_assert_cmpuint(finding.bad_word, ==, bad_word);
}

static void
test_layout(void)
{
    /* The table in verified-page.h, as the tests on the host read it. */
    Page page;
    GwPageRegion text = {.region_id = 0x1122334455667788, .seed = 77, .fill = GW_PAGE_FILL_TEXT};
    gw_verified_page_render(page, &text, 5, 9);
    const guint8 *bytes = (const guint8 *)page;
    g_assert_cmpmem(bytes, 8, "GWVPAGE1", 8);
    g_assert_cmphex(page[1], ==, 0x1122334455667788);
    g_assert_cmpuint(page[2], ==, 5);
    g_assert_cmpuint(page[3], ==, 9);
    g_assert_cmpuint(page[4], ==, GW_PAGE_FILL_TEXT);
    g_assert_cmpuint(page[5], ==, 77);
    g_assert_cmpuint(page[6], ==, 0);
    uint64_t checksum = 0;
    for (unsigned w = 0; w < N_WORDS; w++) {
        checksum += w == 7 ? 0 : page[w] * (2 * (uint64_t)w + 1);
    }
    g_assert_cmphex(page[7], ==, checksum);
}

static void
test_word_generation(void)
{
    for (uint64_t generation = 1; generation < 200; generation++) {
        for (unsigned i = 0; i < GW_VERIFIED_PAGE_N_PAYLOAD; i++) {
            uint64_t expected = 1;
            for (uint64_t g = 2; g <= generation; g++) {
                expected = g % GW_VERIFIED_PAGE_STRIDE == i % GW_VERIFIED_PAGE_STRIDE ? g : expected;
            }
            g_assert_cmpuint(gw_verified_page_word_generation(i, generation), ==, expected);
        }
    }
}

static void
test_advance_equals_render(void)
{
    for (unsigned fill = 0; fill < GW_N_PAGE_FILLS; fill++) {
        Page page, rendered;
        gw_verified_page_render(page, &region_of_fill[fill], 3, 1);
        for (uint64_t generation = 2; generation < 150; generation++) {
            gw_verified_page_advance(page, &region_of_fill[fill], 3, generation);
            gw_verified_page_render(rendered, &region_of_fill[fill], 3, generation);
            g_assert_cmpmem(page, sizeof page, rendered, sizeof rendered);
            GwPageFinding finding = gw_verified_page_verify(page, &region_of_fill[fill], 3, generation);
            g_assert_cmpint(finding.verdict, ==, GW_PAGE_OK);
        }
    }
}

static void
test_advance_is_small(void)
{
    Page before, after;
    gw_verified_page_render(before, region, 3, 40);
    memcpy(after, before, sizeof after);
    gw_verified_page_advance(after, region, 3, 41);
    unsigned n_changed = 0;
    for (unsigned w = 0; w < N_WORDS; w++) {
        n_changed += before[w] != after[w];
    }
    g_assert_cmpuint(n_changed, >=, 15 + 2);
    g_assert_cmpuint(n_changed, <=, 16 + 2);
}

static void
test_every_flipped_word_is_found(void)
{
    for (unsigned w = 0; w < N_WORDS; w++) {
        Page page;
        gw_verified_page_render(page, region, 3, 40);
        page[w] ^= UINT64_C(1) << (w % 64);
        GwPageFinding finding = gw_verified_page_verify(page, region, 3, 40);
        g_assert_cmpint(finding.verdict, !=, GW_PAGE_OK);
        if (w >= 6) { /* those before have verdicts of their own */
            g_assert_cmpint(finding.verdict, ==, GW_PAGE_CORRUPT);
            g_assert_cmpuint(finding.bad_word, ==, w);
        }
    }
}

static void
test_header_damage(void)
{
    static const struct {
        unsigned word;
        GwPageVerdict verdict;
    } cases[] = {
        {0, GW_PAGE_WRONG_MAGIC},  {1, GW_PAGE_WRONG_REGION}, {2, GW_PAGE_WRONG_NUMBER},
        {4, GW_PAGE_WRONG_REGION}, {5, GW_PAGE_WRONG_REGION},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Page page;
        gw_verified_page_render(page, region, 3, 40);
        page[cases[i].word] += 1;
        assert_finding(page, 3, 40, cases[i].verdict, cases[i].word);
        g_assert_cmpint(gw_verified_page_check_header(page, region, 3, 40), ==, cases[i].verdict);
    }
    Page hole = {0};
    assert_finding(hole, 3, 40, GW_PAGE_WRONG_MAGIC, 0);
}

static void
test_page_of_elsewhere(void)
{
    Page page;
    gw_verified_page_render(page, region, 4, 40);
    assert_finding(page, 3, 40, GW_PAGE_WRONG_NUMBER, 2);
}

static void
test_stale_and_future(void)
{
    Page page;
    gw_verified_page_render(page, region, 3, 40);
    assert_finding(page, 3, 41, GW_PAGE_STALE, 3);
    assert_finding(page, 3, 1000, GW_PAGE_STALE, 3);
    assert_finding(page, 3, 39, GW_PAGE_FUTURE, 3);
    g_assert_cmpuint(gw_verified_page_verify(page, region, 3, 41).generation, ==, 40);
    g_assert_cmpint(gw_verified_page_check_header(page, region, 3, 41), ==, GW_PAGE_STALE);
    g_assert_cmpint(gw_verified_page_check_header(page, region, 3, 39), ==, GW_PAGE_FUTURE);

    /* Old and damaged besides is not just old. */
    page[100] ^= 1;
    assert_finding(page, 3, 41, GW_PAGE_CORRUPT, 100);

    /* A generation that was never written says nothing about the content. */
    gw_verified_page_render(page, region, 3, 40);
    page[3] = 0;
    assert_finding(page, 3, 40, GW_PAGE_CORRUPT, 3);
}

static void
test_torn(void)
{
    static const struct {
        uint64_t header_generation, tail_generation;
    } cases[] = {{40, 39}, {40, 41}, {40, 1},   {40, 8},    {1, 40},
                 {5, 3},   {2, 1},   {100, 60}, {1000, 40}, {2000, 1500}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Page head, tail;
        gw_verified_page_render(head, region, 3, cases[i].header_generation);
        gw_verified_page_render(tail, region, 3, cases[i].tail_generation);
        memcpy(&head[N_WORDS / 2], &tail[N_WORDS / 2], sizeof head / 2);
        GwPageFinding finding = gw_verified_page_verify(head, region, 3, cases[i].header_generation);
        g_assert_cmpstr(gw_page_verdict_name(finding.verdict), ==, "torn");
        g_assert_cmpuint(finding.bad_word, >=, N_WORDS / 2);
        g_assert_cmpuint(finding.bad_word, <, N_WORDS / 2 + GW_VERIFIED_PAGE_STRIDE);
    }
}

static void
test_overwritten_damage_still_shows(void)
{
    Page page;
    gw_verified_page_render(page, region, 3, 1);
    page[N_HEADER + 2] ^= 1; /* rewritten by generation 2 */
    gw_verified_page_advance(page, region, 3, 2);
    assert_finding(page, 3, 2, GW_PAGE_CORRUPT, 7);
}

static void
test_zero_fill(void)
{
    Page page;
    gw_verified_page_render(page, &region_of_fill[GW_PAGE_FILL_ZERO], 3, 40);
    for (unsigned w = N_HEADER; w < N_WORDS; w++) {
        g_assert_cmpuint(page[w], ==, 0);
    }
}

static void
test_names(void)
{
    for (unsigned fill = 0; fill < GW_N_PAGE_FILLS; fill++) {
        GwPageFill parsed;
        g_assert_cmpint(gw_page_fill_from_name(gw_page_fill_name((GwPageFill)fill), &parsed), ==, 0);
        g_assert_cmpint(parsed, ==, fill);
    }
    GwPageFill unused;
    g_assert_cmpint(gw_page_fill_from_name("ones", &unused), <, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/verified-page/layout", test_layout);
    g_test_add_func("/verified-page/word-generation", test_word_generation);
    g_test_add_func("/verified-page/advance-equals-render", test_advance_equals_render);
    g_test_add_func("/verified-page/advance-is-small", test_advance_is_small);
    g_test_add_func("/verified-page/every-flipped-word-is-found", test_every_flipped_word_is_found);
    g_test_add_func("/verified-page/header-damage", test_header_damage);
    g_test_add_func("/verified-page/page-of-elsewhere", test_page_of_elsewhere);
    g_test_add_func("/verified-page/stale-and-future", test_stale_and_future);
    g_test_add_func("/verified-page/torn", test_torn);
    g_test_add_func("/verified-page/overwritten-damage-still-shows", test_overwritten_damage_still_shows);
    g_test_add_func("/verified-page/zero-fill", test_zero_fill);
    g_test_add_func("/verified-page/names", test_names);
    return g_test_run();
}
