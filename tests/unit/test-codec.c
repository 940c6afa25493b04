/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory to frames: no byte of content is taken for a zero, and no run grows beyond a frame. */
#include "codec.h"

#include "kernel-abi.h"
#include "wire.h"

#include <glib.h>
#include <string.h>

static uint8_t *
pages_new(uint32_t n_pages)
{
    return g_malloc0((gsize)n_pages * GW_PAGE_SIZE);
}

/* Every byte, with each of its bits alone, and whatever it is that lies around the page. */
static void
test_every_position(void)
{
    g_autofree uint8_t *bytes = g_malloc(3 * GW_PAGE_SIZE);
    uint8_t *page = bytes + GW_PAGE_SIZE;
    memset(bytes, 0xff, 3 * GW_PAGE_SIZE);
    memset(page, 0, GW_PAGE_SIZE);
    g_assert_true(gw_page_is_zero(page));
    for (unsigned at = 0; at < GW_PAGE_SIZE; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            page[at] = (uint8_t)(1u << bit);
            if (gw_page_is_zero(page))
                g_error("bit %u of byte %u was not seen", bit, at);
        }
        page[at] = 0;
    }
    g_assert_true(gw_page_is_zero(page));
}

/* Pages are 'c' (content) or '0'; what is to come out: the length of each piece in turn. */
static void
check_pieces(const char *pages, const char *expected)
{
    uint32_t n_pages = (uint32_t)strlen(pages);
    g_autofree uint8_t *bytes = pages_new(n_pages);
    g_autoptr(GString) got = g_string_new("");
    for (uint32_t i = 0; i < n_pages; i++)
        bytes[(gsize)i * GW_PAGE_SIZE + (i * 977) % GW_PAGE_SIZE] = pages[i] == 'c';
    for (uint32_t at = 0; at < n_pages;) {
        GwPiece piece = gw_codec_next(bytes + (gsize)at * GW_PAGE_SIZE, n_pages - at);
        g_assert_cmpuint(piece.n_pages, >=, 1);
        g_string_append_printf(got, "%s%c%u", got->len ? " " : "", piece.is_zero ? '0' : 'c', piece.n_pages);
        at += piece.n_pages;
        g_assert_cmpuint(at, <=, n_pages);
    }
    g_assert_cmpstr(got->str, ==, expected);
}

static void
test_pieces(void)
{
    check_pieces("0", "01");
    check_pieces("c", "c1");
    check_pieces("00000", "05");
    check_pieces("ccc", "c3");
    check_pieces("0c0c", "01 c1 01 c1");
    check_pieces("ccc00ccccc0", "c3 02 c5 01");
    check_pieces("00cc", "02 c2");
}

/* The memory behind the run may not be ours to read: under AddressSanitizer a step too far ends the test. */
static void
test_not_beyond(void)
{
    for (uint32_t n = 1; n < 5; n++) {
        g_autofree uint8_t *zeros = pages_new(n);
        GwPiece piece = gw_codec_next(zeros, n);
        g_assert_cmpuint(piece.n_pages, ==, n);
        g_assert_true(piece.is_zero);
        g_autofree uint8_t *content = pages_new(n);
        memset(content, 1, (gsize)n * GW_PAGE_SIZE);
        piece = gw_codec_next(content, n);
        g_assert_cmpuint(piece.n_pages, ==, n);
        g_assert_false(piece.is_zero);
    }
}

/* Content at most a frame's worth at a time; zeros, which have no payload, without a limit. */
static void
test_limits(void)
{
    uint32_t n_pages = 2 * GW_WIRE_MAX_RUN_PAGES + 1;
    g_autofree uint8_t *bytes = pages_new(n_pages);
    g_assert_cmpuint(gw_codec_next(bytes, n_pages).n_pages, ==, n_pages);
    for (uint32_t i = 0; i < n_pages; i++)
        bytes[(gsize)i * GW_PAGE_SIZE + GW_PAGE_SIZE - 1] = 1;
    static const uint32_t pieces[] = {GW_WIRE_MAX_RUN_PAGES, GW_WIRE_MAX_RUN_PAGES, 1};
    uint32_t at = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(pieces); i++) {
        GwPiece piece = gw_codec_next(bytes + (gsize)at * GW_PAGE_SIZE, n_pages - at);
        g_assert_false(piece.is_zero);
        g_assert_cmpuint(piece.n_pages, ==, pieces[i]);
        at += piece.n_pages;
    }
    for (uint32_t n = GW_WIRE_MAX_RUN_PAGES - 1; n <= GW_WIRE_MAX_RUN_PAGES + 1; n++)
        g_assert_cmpuint(gw_codec_next(bytes, n).n_pages, ==, MIN(n, GW_WIRE_MAX_RUN_PAGES));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/codec/every-position", test_every_position);
    g_test_add_func("/codec/pieces", test_pieces);
    g_test_add_func("/codec/not-beyond", test_not_beyond);
    g_test_add_func("/codec/limits", test_limits);
    return g_test_run();
}
