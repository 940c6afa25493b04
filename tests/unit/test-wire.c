/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames: each type with each of its limits from both sides, each verdict, round trips, and the bytes as
 * docs/protocol.md has them. */
#include "wire.h"

#include "error.h"
#include "kernel-abi.h"

#include <string.h>

/* The fuzz target is the checker of the corpus: one set of invariants for both. */
#include "../fuzz/fuzz-wire.c"

#define PAGE    GW_PAGE_SIZE
#define ALL_64  UINT64_MAX
#define ALL_32  UINT32_MAX
#define N_TYPES (GW_FRAME_N_TYPES - 1)

/* The contract, written down a second time. */
static const struct {
    GwFrameType type;
    const char *name;
    uint32_t min_payload, max_payload;
    uint64_t max_arg;
    uint32_t min_count, max_count;
    const char *places; /* who sends it, on control, data, ask: s(ource), d(estination), b(oth), - */
} contract[N_TYPES] = {
    {GW_FRAME_HELLO, "HELLO", 80, 80, 0, 0, 0, "sss"},
    {GW_FRAME_WELCOME, "WELCOME", 16, 16, 0, 0, 0, "ddd"},
    {GW_FRAME_ABORT, "ABORT", 0, 1024, ALL_32, 0, 0, "bdb"},
    {GW_FRAME_PAGES, "PAGES", PAGE, 256 * PAGE, ALL_64, 1, 256, "-s-"},
    {GW_FRAME_ZERO, "ZERO", 0, 0, ALL_64, 0, ALL_32, "-s-"},
    {GW_FRAME_END, "END", 0, 0, ALL_64, 0, 0, "-s-"},
    {GW_FRAME_PING, "PING", 0, 0, ALL_64, 0, 0, "b--"},
    {GW_FRAME_PONG, "PONG", 0, 0, ALL_64, 0, 0, "b--"},
    {GW_FRAME_ROUND, "ROUND", 0, 0, ALL_64, 1, 8, "d--"},
    {GW_FRAME_STATE, "STATE", 1, 65536, UINT64_MAX, 0, 1, "s--"},
    {GW_FRAME_STATE_END, "STATE_END", 0, 0, 256ull << 20, 0, 0, "s--"},
    {GW_FRAME_LOADED, "LOADED", 0, 0, 0, 0, 0, "d--"},
    {GW_FRAME_GO, "GO", 0, 0, 0, 0, 1, "s-s"},
    {GW_FRAME_RUNS, "RUNS", 0, 0, ALL_64, 0, 0, "d-d"},
    {GW_FRAME_DONE, "DONE", 0, 0, 0, 0, 0, "s-s"},
    {GW_FRAME_ASK, "ASK", 0, 0, 0, 0, 0, "--s"},
    {GW_FRAME_NEVER, "NEVER", 0, 0, 0, 0, 0, "d-d"},
    {GW_FRAME_READY, "READY", 0, 0, 0, 0, 0, "--d"},
};

/* A frame of that type that is as small as it may be. */
static GwWireHeader
smallest(size_t i)
{
    return (GwWireHeader){
        .type = (uint8_t)contract[i].type,
        .payload_bytes = contract[i].min_payload,
        .count = contract[i].min_count,
        .sequence = 7,
    };
}

static GwWireVerdict
verdict_of(const GwWireHeader *header)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    GwWireHeader decoded;
    gw_wire_encode_header(header, bytes);
    GwWireVerdict verdict = gw_wire_decode_header(bytes, 7, &decoded);
    if (verdict == GW_WIRE_OK) {
        g_assert_cmpuint(decoded.type, ==, header->type);
        g_assert_cmpuint(decoded.payload_bytes, ==, header->payload_bytes);
        g_assert_cmpuint(decoded.sequence, ==, header->sequence);
        g_assert_cmpuint(decoded.arg, ==, header->arg);
        g_assert_cmpuint(decoded.count, ==, header->count);
    }
    return verdict;
}

static void
check(const GwWireHeader *header, GwWireVerdict expected)
{
    g_assert_cmpstr(gw_wire_verdict_name(verdict_of(header)), ==, gw_wire_verdict_name(expected));
}

/* --- headers ------------------------------------------------------------------------------------------ */

static void
test_bytes(void)
{
    static const uint8_t expected[GW_WIRE_HEADER_BYTES] = {
        'G',  'w',  'M',  'o',                          /* magic */
        4,    0,    0,    0,                            /* type, reserved */
        0x00, 0x20, 0x00, 0x00,                         /* payload */
        0x02, 0x00, 0x00, 0x00,                         /* count */
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* sequence */
        0x00, 0x10, 0xcc, 0xbb, 0xaa, 0x00, 0x00, 0x80, /* arg */
    };
    GwWireHeader header =
                     {
                         .type = GW_FRAME_PAGES,
                         .payload_bytes = 2 * PAGE,
                         .count = 2,
                         .sequence = 0x1122334455667788,
                         .arg = 0x800000aabbcc1000,
                     },
                 decoded;
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    gw_wire_encode_header(&header, bytes);
    g_assert_cmpmem(bytes, sizeof bytes, expected, sizeof expected);
    g_assert_cmpint((int)gw_wire_decode_header(bytes, header.sequence, &decoded), ==, GW_WIRE_OK);
    g_assert_cmpuint(decoded.arg, ==, header.arg);
}

static void
test_types(void)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        g_assert_cmpuint(contract[i].type, ==, i + 1); /* numbers are the protocol's */
        g_assert_cmpstr(gw_frame_type_name(contract[i].type), ==, contract[i].name);
        GwWireHeader header = smallest(i);
        check(&header, GW_WIRE_OK);
    }
    for (unsigned type = 0; type < 256; type++) {
        GwWireHeader header = {.type = (uint8_t)type, .sequence = 7};
        bool is_known = type > 0 && type <= N_TYPES;
        g_assert_true((verdict_of(&header) == GW_WIRE_BAD_TYPE) == !is_known);
        g_assert_true((strcmp(gw_frame_type_name(type), "?") == 0) == !is_known);
    }
    g_assert_cmpstr(gw_frame_type_name(UINT32_MAX), ==, "?");
}

static void
test_payload_limits(void)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        GwWireHeader header = smallest(i);
        bool is_pages = contract[i].type == GW_FRAME_PAGES;
        header.payload_bytes = contract[i].max_payload;
        header.count = is_pages ? contract[i].max_count : header.count;
        check(&header, GW_WIRE_OK);
        header.payload_bytes++;
        check(&header, GW_WIRE_BAD_LENGTH);
        header.payload_bytes = UINT32_MAX;
        check(&header, GW_WIRE_BAD_LENGTH);
        header = smallest(i);
        if (header.payload_bytes-- > 0)
            check(&header, GW_WIRE_BAD_LENGTH);
    }
}

/* The payload is the count's pages, exactly. */
static void
test_pages_and_payload(void)
{
    for (uint32_t count = 0; count <= 300; count++) {
        GwWireHeader header = {
            .type = GW_FRAME_PAGES, .count = count, .payload_bytes = count * PAGE, .sequence = 7};
        check(&header, count >= 1 && count <= GW_WIRE_MAX_RUN_PAGES ? GW_WIRE_OK : GW_WIRE_BAD_LENGTH);
        header.payload_bytes += PAGE;
        check(&header, GW_WIRE_BAD_LENGTH);
        header.payload_bytes -= PAGE + 1;
        check(&header, GW_WIRE_BAD_LENGTH);
    }
    /* a count whose bytes are the payload's modulo 2^32 */
    GwWireHeader header = {
        .type = GW_FRAME_PAGES, .count = (1u << 20) + 1, .payload_bytes = PAGE, .sequence = 7};
    check(&header, GW_WIRE_BAD_LENGTH);
}

static void
test_arg_limits(void)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        GwWireHeader header = smallest(i);
        GwWireVerdict beyond = contract[i].max_arg ? GW_WIRE_BAD_FIELD : GW_WIRE_BAD_RESERVED;
        header.arg = contract[i].max_arg;
        check(&header, GW_WIRE_OK);
        if (contract[i].max_arg < ALL_64) {
            header.arg = contract[i].max_arg + 1;
            check(&header, beyond);
            header.arg = ALL_64;
            check(&header, beyond);
        }
    }
}

static void
test_count_limits(void)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        GwWireHeader header = smallest(i);
        if (contract[i].type == GW_FRAME_PAGES)
            continue;
        header.count = contract[i].max_count;
        check(&header, GW_WIRE_OK);
        if (contract[i].max_count < ALL_32) {
            header.count = contract[i].max_count + 1;
            check(&header, contract[i].max_count ? GW_WIRE_BAD_FIELD : GW_WIRE_BAD_RESERVED);
        }
        if (contract[i].min_count > 0) {
            header.count = contract[i].min_count - 1;
            check(&header, GW_WIRE_BAD_FIELD);
        }
    }
}

static void
test_every_bit_of_the_fixed_part(void)
{
    static const GwWireVerdict expected[8] = {
        GW_WIRE_BAD_MAGIC, GW_WIRE_BAD_MAGIC,    GW_WIRE_BAD_MAGIC,    GW_WIRE_BAD_MAGIC,
        GW_WIRE_OK,        GW_WIRE_BAD_RESERVED, GW_WIRE_BAD_RESERVED, GW_WIRE_BAD_RESERVED,
    };
    for (size_t i = 0; i < N_TYPES; i++) {
        GwWireHeader header = smallest(i), decoded;
        for (unsigned bit = 0; bit < 64; bit++) {
            uint8_t bytes[GW_WIRE_HEADER_BYTES];
            gw_wire_encode_header(&header, bytes);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            if (bit / 8 != 4) /* the type */
                g_assert_cmpint((int)gw_wire_decode_header(bytes, 7, &decoded), ==, (int)expected[bit / 8]);
        }
    }
}

static void
test_sequence(void)
{
    static const uint64_t at[] = {0, 1, 6, 8, 7 + (1ull << 32), ALL_64};
    for (size_t i = 0; i < N_TYPES; i++) {
        GwWireHeader header = smallest(i), decoded;
        uint8_t bytes[GW_WIRE_HEADER_BYTES];
        gw_wire_encode_header(&header, bytes);
        g_assert_cmpint((int)gw_wire_decode_header(bytes, 7, &decoded), ==, GW_WIRE_OK);
        for (size_t k = 0; k < G_N_ELEMENTS(at); k++)
            g_assert_cmpint((int)gw_wire_decode_header(bytes, at[k], &decoded), ==, GW_WIRE_BAD_SEQUENCE);
    }
}

static void
test_refused_leaves_header(void)
{
    GwWireHeader header = {.type = GW_FRAME_GO, .count = 2}, decoded;
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    uint8_t before[sizeof decoded];
    memset(&decoded, 0x5a, sizeof decoded);
    memset(before, 0x5a, sizeof before);
    gw_wire_encode_header(&header, bytes);
    g_assert_cmpint((int)gw_wire_decode_header(bytes, 0, &decoded), ==, GW_WIRE_BAD_FIELD);
    g_assert_cmpmem(&decoded, sizeof decoded, before, sizeof before);
}

static void
test_places(void)
{
    static const char *const senders[2] = {"sb", "db"};
    for (size_t i = 0; i < N_TYPES; i++)
        for (unsigned kind = 0; kind < GW_STREAM_N_KINDS; kind++)
            for (unsigned side = 0; side < 2; side++) {
                bool expected = strchr(senders[side], contract[i].places[kind]) != NULL;
                GwWireVerdict verdict = gw_wire_check_place(kind, side == 0, contract[i].type);
                if (verdict != (expected ? GW_WIRE_OK : GW_WIRE_BAD_PLACE))
                    g_error("%s on kind %u from side %u: %s", contract[i].name, kind, side,
                            gw_wire_verdict_name(verdict));
            }
    g_assert_cmpint((int)gw_wire_check_place(GW_STREAM_N_KINDS, true, GW_FRAME_HELLO), ==, GW_WIRE_BAD_PLACE);
    g_assert_cmpint((int)gw_wire_check_place(UINT32_MAX, true, GW_FRAME_HELLO), ==, GW_WIRE_BAD_PLACE);
    g_assert_cmpint((int)gw_wire_check_place(GW_STREAM_CONTROL, true, 0), ==, GW_WIRE_BAD_PLACE);
    g_assert_cmpint((int)gw_wire_check_place(GW_STREAM_CONTROL, true, GW_FRAME_N_TYPES), ==,
                    GW_WIRE_BAD_PLACE);
}

static void
test_range(void)
{
    static const struct {
        uint64_t offset;
        uint32_t count;
        uint64_t memory;
        bool is_ok;
    } cases[] = {
        {0, 1, PAGE, true},
        {0, 0, PAGE, false},
        {0, 2, PAGE, false},
        {PAGE, 1, PAGE, false},
        {1, 1, 16 * PAGE, false},
        {PAGE / 2, 1, 16 * PAGE, false},
        {15 * PAGE, 1, 16 * PAGE, true},
        {15 * PAGE, 2, 16 * PAGE, false},
        {16 * PAGE, 1, 16 * PAGE, false},
        {0, 16, 16 * PAGE, true},
        {0, 17, 16 * PAGE, false},
        {0, ALL_32, 16 * PAGE, false},
        {ALL_64, 1, 16 * PAGE, false},
        {ALL_64 - PAGE + 1, 1, 16 * PAGE, false},   /* the end of it wraps to 0 */
        {ALL_64 - PAGE + 1, ALL_32, ALL_64, false}, /* likewise */
        {ALL_64 - 2 * PAGE + 1, 1, ALL_64, true},   /* the last whole page of an image of 2^64-1 */
        {0, ALL_32, (uint64_t)ALL_32 * PAGE, true}, /* ZERO of 16 TiB */
        {0, 1, PAGE - 1, false},                    /* no whole page there */
        {0, 1, 0, false},
        {PAGE, 1, 2 * PAGE + 100, true},
        {2 * PAGE, 1, 2 * PAGE + 100, false},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GwWireHeader header = {.type = GW_FRAME_ZERO, .arg = cases[i].offset, .count = cases[i].count};
        if ((gw_wire_check_range(&header, cases[i].memory) == GW_WIRE_OK) != cases[i].is_ok)
            g_error("case %zu: %s", i, gw_wire_verdict_name(gw_wire_check_range(&header, cases[i].memory)));
        if (!cases[i].is_ok)
            g_assert_cmpint((int)gw_wire_check_range(&header, cases[i].memory), ==, GW_WIRE_BAD_RANGE);
    }
}

/* --- payloads ----------------------------------------------------------------------------------------- */

static GwWireHello
a_hello(void)
{
    GwWireHello hello = {
        .version_min = 1,
        .version_max = 1,
        .kind = GW_STREAM_DATA,
        .index = 2,
        .n_streams = 3,
        .page_bytes = PAGE,
        .memory_bytes = 0x40000000,
    };
    memset(hello.session, 0xaa, sizeof hello.session);
    memset(hello.secret, 0xbb, sizeof hello.secret);
    return hello;
}

static void
test_hello_bytes(void)
{
    uint8_t expected[GW_WIRE_HELLO_BYTES] = {1, 0, 1, 0, 1, 2, 3, 0, 0x00, 0x10,
                                             0, 0, 0, 0, 0, 0, 0, 0, 0,    0x40};
    memset(expected + 24, 0xaa, 16);
    memset(expected + 40, 0xbb, 32);
    GwWireHello hello = a_hello(), decoded;
    uint8_t bytes[GW_WIRE_HELLO_BYTES];
    gw_wire_encode_hello(&hello, bytes);
    g_assert_cmpmem(bytes, sizeof bytes, expected, sizeof expected);
    g_assert_cmpint((int)gw_wire_decode_hello(bytes, sizeof bytes, &decoded), ==, GW_WIRE_OK);
    g_assert_cmpuint(decoded.version_min, ==, 1);
    g_assert_cmpuint(decoded.version_max, ==, 1);
    g_assert_cmpuint(decoded.kind, ==, GW_STREAM_DATA);
    g_assert_cmpuint(decoded.index, ==, 2);
    g_assert_cmpuint(decoded.n_streams, ==, 3);
    g_assert_cmpuint(decoded.page_bytes, ==, PAGE);
    g_assert_cmpuint(decoded.memory_bytes, ==, 0x40000000);
    g_assert_cmpmem(decoded.session, 16, hello.session, 16);
    g_assert_cmpmem(decoded.secret, 32, hello.secret, 32);
}

static void
check_one_hello(const uint8_t *bytes, size_t size, GwWireVerdict expected)
{
    GwWireHello decoded;
    uint8_t before[sizeof decoded];
    memset(&decoded, 0x5a, sizeof decoded);
    memset(before, 0x5a, sizeof before);
    g_assert_cmpstr(gw_wire_verdict_name(gw_wire_decode_hello(bytes, size, &decoded)), ==,
                    gw_wire_verdict_name(expected));
    if (expected != GW_WIRE_OK)
        g_assert_cmpmem(&decoded, sizeof decoded, before, sizeof before);
}

static void
test_hello_fields(void)
{
    static const struct {
        uint16_t version_min, version_max;
        uint8_t kind, index, n_streams;
        uint32_t page_bytes;
        uint64_t memory_bytes;
        GwWireVerdict expected;
    } cases[] = {
        {1, 1, GW_STREAM_CONTROL, 0, 1, PAGE, PAGE, GW_WIRE_OK},
        {1, 65535, GW_STREAM_ASK, 0, 8, PAGE, ALL_64 - PAGE + 1, GW_WIRE_OK},
        {1, 2, GW_STREAM_DATA, 7, 8, PAGE, PAGE, GW_WIRE_OK},
        {0, 1, GW_STREAM_CONTROL, 0, 1, PAGE, PAGE, GW_WIRE_BAD_FIELD},
        {2, 1, GW_STREAM_CONTROL, 0, 1, PAGE, PAGE, GW_WIRE_BAD_FIELD},
        {2, 2, GW_STREAM_CONTROL, 0, 1, PAGE, PAGE, GW_WIRE_BAD_VERSION},
        {2, 65535, 77, 77, 77, 77, 77, GW_WIRE_BAD_VERSION},
        {1, 1, GW_STREAM_CONTROL, 1, 2, PAGE, PAGE, GW_WIRE_BAD_FIELD},
        {1, 1, GW_STREAM_ASK, 1, 2, PAGE, PAGE, GW_WIRE_BAD_FIELD},
        {1, 1, GW_STREAM_DATA, 8, 8, PAGE, PAGE, GW_WIRE_BAD_FIELD},
        {1, 1, GW_STREAM_DATA, 0, 0, PAGE, PAGE, GW_WIRE_BAD_FIELD},
        {1, 1, GW_STREAM_CONTROL, 0, 0, PAGE, PAGE, GW_WIRE_BAD_FIELD},
        {1, 1, GW_STREAM_CONTROL, 0, 9, PAGE, PAGE, GW_WIRE_BAD_FIELD},
        {1, 1, GW_STREAM_N_KINDS, 0, 1, PAGE, PAGE, GW_WIRE_BAD_FIELD},
        {1, 1, 255, 0, 1, PAGE, PAGE, GW_WIRE_BAD_FIELD},
        {1, 1, GW_STREAM_CONTROL, 0, 1, 65536, 65536, GW_WIRE_BAD_FIELD},
        {1, 1, GW_STREAM_CONTROL, 0, 1, 0, PAGE, GW_WIRE_BAD_FIELD},
        {1, 1, GW_STREAM_CONTROL, 0, 1, PAGE, 0, GW_WIRE_BAD_FIELD},
        {1, 1, GW_STREAM_CONTROL, 0, 1, PAGE, PAGE + 1, GW_WIRE_BAD_FIELD},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GwWireHello hello = a_hello();
        uint8_t bytes[GW_WIRE_HELLO_BYTES];
        hello.version_min = cases[i].version_min;
        hello.version_max = cases[i].version_max;
        hello.kind = cases[i].kind;
        hello.index = cases[i].index;
        hello.n_streams = cases[i].n_streams;
        hello.page_bytes = cases[i].page_bytes;
        hello.memory_bytes = cases[i].memory_bytes;
        gw_wire_encode_hello(&hello, bytes);
        check_one_hello(bytes, sizeof bytes, cases[i].expected);
    }
}

static void
test_hello_reserved_and_size(void)
{
    static const unsigned reserved[] = {7, 12, 13, 14, 15, 72, 73, 74, 75, 76, 77, 78, 79};
    GwWireHello hello = a_hello();
    uint8_t bytes[GW_WIRE_HELLO_BYTES + 1] = {0};
    for (size_t i = 0; i < G_N_ELEMENTS(reserved); i++) {
        gw_wire_encode_hello(&hello, bytes);
        bytes[reserved[i]] = 0x80;
        check_one_hello(bytes, GW_WIRE_HELLO_BYTES, GW_WIRE_BAD_RESERVED);
    }
    gw_wire_encode_hello(&hello, bytes);
    check_one_hello(bytes, GW_WIRE_HELLO_BYTES - 1, GW_WIRE_BAD_LENGTH);
    check_one_hello(bytes, GW_WIRE_HELLO_BYTES + 1, GW_WIRE_BAD_LENGTH);
    check_one_hello(bytes, 0, GW_WIRE_BAD_LENGTH);
    check_one_hello(bytes, GW_WIRE_HELLO_BYTES, GW_WIRE_OK);
}

static void
test_welcome(void)
{
    GwWireWelcome welcome = {.version = GW_WIRE_VERSION}, decoded = {0};
    uint8_t bytes[GW_WIRE_WELCOME_BYTES], expected[GW_WIRE_WELCOME_BYTES] = {1};
    gw_wire_encode_welcome(&welcome, bytes);
    g_assert_cmpmem(bytes, sizeof bytes, expected, sizeof expected);
    g_assert_cmpint((int)gw_wire_decode_welcome(bytes, sizeof bytes, &decoded), ==, GW_WIRE_OK);
    g_assert_cmpuint(decoded.version, ==, GW_WIRE_VERSION);
    g_assert_cmpint((int)gw_wire_decode_welcome(bytes, sizeof bytes - 1, &decoded), ==, GW_WIRE_BAD_LENGTH);
    for (unsigned i = 2; i < sizeof bytes; i++) {
        bytes[i] = 1;
        g_assert_cmpint((int)gw_wire_decode_welcome(bytes, sizeof bytes, &decoded), ==, GW_WIRE_BAD_RESERVED);
        bytes[i] = 0;
    }
    static const uint16_t versions[] = {0, 2, 256, 257, 65535};
    for (size_t i = 0; i < G_N_ELEMENTS(versions); i++) {
        welcome.version = versions[i];
        gw_wire_encode_welcome(&welcome, bytes);
        decoded.version = 77;
        g_assert_cmpint((int)gw_wire_decode_welcome(bytes, sizeof bytes, &decoded), ==, GW_WIRE_BAD_VERSION);
        g_assert_cmpuint(decoded.version, ==, 77);
    }
}

static void
test_versions(void)
{
    static const struct {
        uint16_t min, max, chosen;
    } cases[] = {{1, 1, 1}, {1, 9, 1}, {0, 1, 1}, {2, 9, 0}, {0, 0, 0}, {9, 1, 0}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GwWireHello hello = {.version_min = cases[i].min, .version_max = cases[i].max};
        g_assert_cmpuint(gw_wire_choose_version(&hello), ==, cases[i].chosen);
    }
}

static void
test_text(void)
{
    char text[GW_WIRE_MAX_TEXT + 1];
    uint8_t every[256], much[GW_WIRE_MAX_TEXT + 10];
    for (unsigned i = 0; i < sizeof every; i++)
        every[i] = (uint8_t)i;
    gw_wire_decode_text(every, sizeof every, text);
    g_assert_cmpuint(strlen(text), ==, 256);
    for (unsigned i = 0; i < sizeof every; i++)
        g_assert_cmpint(text[i], ==, i >= ' ' && i <= '~' ? (int)i : '?');
    gw_wire_decode_text(every, 0, text);
    g_assert_cmpstr(text, ==, "");
    memset(much, 'x', sizeof much);
    gw_wire_decode_text(much, sizeof much, text);
    g_assert_cmpuint(strlen(text), ==, GW_WIRE_MAX_TEXT);
}

static void
test_secrets(void)
{
    uint8_t a[GW_WIRE_SECRET_BYTES], b[GW_WIRE_SECRET_BYTES];
    for (unsigned i = 0; i < sizeof a; i++)
        a[i] = b[i] = (uint8_t)(i * 37);
    g_assert_true(gw_wire_secrets_equal(a, b));
    for (unsigned bit = 0; bit < 8 * sizeof a; bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        g_assert_false(gw_wire_secrets_equal(a, b));
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void
test_verdict_names(void)
{
    static const char *const names[GW_WIRE_N_VERDICTS] = {
        "ok",        "bad-magic",   "bad-type",  "bad-reserved", "bad-length", "bad-sequence",
        "bad-range", "bad-version", "bad-field", "bad-secret",   "bad-place",
    };
    for (unsigned i = 0; i < GW_WIRE_N_VERDICTS; i++)
        g_assert_cmpstr(gw_wire_verdict_name(i), ==, names[i]);
    g_assert_cmpstr(gw_wire_verdict_name(GW_WIRE_N_VERDICTS), ==, "?");
    g_assert_cmpstr(gw_wire_verdict_name((GwWireVerdict)-1), ==, "?");
}

/* An ABORT carries a GwError by its number, as docs/protocol.md lists them: new ones come behind. */
static void
test_abort_codes(void)
{
    static const char *const names[] = {
        "failed",    "invalid-argument", "invalid-config", "not-found",
        "exists",    "wrong-state",      "not-supported",  "not-permitted",
        "timed-out", "peer-lost",        "protocol",       "vmm-failed",
        "io",
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        g_assert_cmpstr(gw_error_code_name((int)i), ==, names[i]);
}

static void
test_corpus(void)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "..", "fuzz", "corpus", "wire", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = g_dir_open(path, 0, &error);
    g_assert_no_error(error);
    int n_files = 0;
    for (const char *name; (name = g_dir_read_name(dir)); n_files++) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_autofree char *bytes = NULL;
        gsize n_bytes = 0;
        g_file_get_contents(file, &bytes, &n_bytes, &error);
        g_assert_no_error(error);
        LLVMFuzzerTestOneInput((const uint8_t *)bytes, n_bytes);
    }
    g_assert_cmpint(n_files, >, 20);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wire/bytes", test_bytes);
    g_test_add_func("/wire/types", test_types);
    g_test_add_func("/wire/payload-limits", test_payload_limits);
    g_test_add_func("/wire/pages-and-payload", test_pages_and_payload);
    g_test_add_func("/wire/arg-limits", test_arg_limits);
    g_test_add_func("/wire/count-limits", test_count_limits);
    g_test_add_func("/wire/every-bit-of-the-fixed-part", test_every_bit_of_the_fixed_part);
    g_test_add_func("/wire/sequence", test_sequence);
    g_test_add_func("/wire/refused-leaves-header", test_refused_leaves_header);
    g_test_add_func("/wire/places", test_places);
    g_test_add_func("/wire/range", test_range);
    g_test_add_func("/wire/hello/bytes", test_hello_bytes);
    g_test_add_func("/wire/hello/fields", test_hello_fields);
    g_test_add_func("/wire/hello/reserved-and-size", test_hello_reserved_and_size);
    g_test_add_func("/wire/welcome", test_welcome);
    g_test_add_func("/wire/versions", test_versions);
    g_test_add_func("/wire/text", test_text);
    g_test_add_func("/wire/secrets", test_secrets);
    g_test_add_func("/wire/verdict-names", test_verdict_names);
    g_test_add_func("/wire/abort-codes", test_abort_codes);
    g_test_add_func("/wire/corpus", test_corpus);
    return g_test_run();
}
