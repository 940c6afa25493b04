/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: any bytes from a peer are frames within every limit, or are refused by name.
 *
 * `make fuzz` builds and runs it; test-wire replays corpus/wire through this same function. The input's first
 * byte is the size of the image in pages, the rest is what one direction of one stream brings. */
#include "kernel-abi.h"
#include "wire.h"

#include <glib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What holds of every frame that was let through, whatever was sent. */
static void
check_header(const uint8_t *bytes, const GwWireHeader *header, uint64_t memory_bytes)
{
    uint8_t again[GW_WIRE_HEADER_BYTES];
    gw_wire_encode_header(header, again);
    g_assert_cmpmem(again, sizeof again, bytes, GW_WIRE_HEADER_BYTES);
    g_assert_cmpstr(gw_frame_type_name(header->type), !=, "?");
    if (header->type == GW_FRAME_PAGES) {
        g_assert_cmpuint(header->count, >=, 1);
        g_assert_cmpuint(header->count, <=, GW_WIRE_MAX_RUN_PAGES);
        g_assert_cmpuint(header->payload_bytes, ==, header->count * GW_PAGE_SIZE);
    } else
        g_assert_cmpuint(header->payload_bytes, <=, GW_WIRE_MAX_PAYLOAD);
    if (gw_wire_check_range(header, memory_bytes) == GW_WIRE_OK) {
        /* in 128 bits, where nothing wraps */
        __extension__ typedef unsigned __int128 Wide;
        g_assert_true((Wide)header->arg + (Wide)header->count * GW_PAGE_SIZE <= memory_bytes);
        g_assert_cmpuint(header->arg % GW_PAGE_SIZE, ==, 0);
        g_assert_cmpuint(header->count, >, 0);
    }
    unsigned n_places = 0;
    for (unsigned place = 0; place < 2 * GW_STREAM_N_KINDS; place++)
        n_places += gw_wire_check_place(place / 2, place % 2, header->type) == GW_WIRE_OK;
    g_assert_cmpuint(n_places, >=, 1);
}

static void
check_hello(const uint8_t *payload, size_t size)
{
    GwWireHello hello;
    uint8_t again[GW_WIRE_HELLO_BYTES];
    if (gw_wire_decode_hello(payload, size, &hello) != GW_WIRE_OK)
        return;
    g_assert_cmpuint(gw_wire_choose_version(&hello), ==, GW_WIRE_VERSION);
    g_assert_cmpuint(hello.n_streams, <=, GW_WIRE_MAX_STREAMS);
    g_assert_cmpuint(hello.index, <, hello.n_streams);
    g_assert_cmpuint(hello.kind, <, GW_STREAM_N_KINDS);
    g_assert_cmpuint(hello.memory_bytes % GW_PAGE_SIZE, ==, 0);
    gw_wire_encode_hello(&hello, again);
    g_assert_cmpmem(again, sizeof again, payload, size);
}

static void
check_welcome(const uint8_t *payload, size_t size)
{
    GwWireWelcome welcome;
    uint8_t again[GW_WIRE_WELCOME_BYTES];
    if (gw_wire_decode_welcome(payload, size, &welcome) != GW_WIRE_OK)
        return;
    gw_wire_encode_welcome(&welcome, again);
    g_assert_cmpmem(again, sizeof again, payload, size);
}

static void
check_text(const uint8_t *payload, size_t size)
{
    char text[GW_WIRE_MAX_TEXT + 1];
    memset(text, 0xff, sizeof text);
    gw_wire_decode_text(payload, size, text);
    g_assert_cmpuint(strlen(text), ==, MIN(size, GW_WIRE_MAX_TEXT));
    for (const char *p = text; *p; p++)
        g_assert_true(g_ascii_isprint(*p));
}

/* Copies, so that a sanitizer sees what reads behind it. */
static void
check_payload(const GwWireHeader *header, const uint8_t *bytes)
{
    g_autofree uint8_t *payload = g_memdup2(bytes, header->payload_bytes);
    if (header->type == GW_FRAME_HELLO)
        check_hello(payload, header->payload_bytes);
    else if (header->type == GW_FRAME_WELCOME)
        check_welcome(payload, header->payload_bytes);
    else if (header->type == GW_FRAME_ABORT)
        check_text(payload, header->payload_bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    uint64_t memory_bytes = (uint64_t)data[0] * GW_PAGE_SIZE, sequence = 0;
    check_text(data, size);
    for (size_t at = 1; size - at >= GW_WIRE_HEADER_BYTES; sequence++) {
        GwWireHeader header, before;
        memset(&header, 0xa5, sizeof header);
        memset(&before, 0xa5, sizeof before);
        g_autofree uint8_t *bytes = g_memdup2(data + at, GW_WIRE_HEADER_BYTES);
        GwWireVerdict verdict = gw_wire_decode_header(bytes, sequence, &header);
        g_assert_cmpstr(gw_wire_verdict_name(verdict), !=, "?");
        if (verdict != GW_WIRE_OK) {
            g_assert_cmpmem(&header, sizeof header, &before, sizeof before);
            break;
        }
        g_assert_cmpuint(header.sequence, ==, sequence);
        check_header(bytes, &header, memory_bytes);
        at += GW_WIRE_HEADER_BYTES;
        if (header.payload_bytes > size - at)
            break;
        check_payload(&header, data + at);
        at += header.payload_bytes;
    }
    return 0;
}
