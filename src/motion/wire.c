/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames: little-endian, fixed places. The byte tables are in docs/protocol.md: a change here is a change
 * there. */
#include "wire.h"

#include "kernel-abi.h"

#include <string.h>

#define MAGIC 0x6f4d7747u /* "GwMo" */

static void
put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static void
put32(uint8_t *at, uint32_t value)
{
    put16(at, (uint16_t)value);
    put16(at + 2, (uint16_t)(value >> 16));
}

static void
put64(uint8_t *at, uint64_t value)
{
    put32(at, (uint32_t)value);
    put32(at + 4, (uint32_t)(value >> 32));
}

static uint16_t
get16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t
get32(const uint8_t *at)
{
    return get16(at) | (uint32_t)get16(at + 2) << 16;
}

static uint64_t
get64(const uint8_t *at)
{
    return get32(at) | (uint64_t)get32(at + 4) << 32;
}

/* Where a type of frame may come: by kind of stream, from source and from destination. */
#define FROM_SOURCE(kind)      (1u << (2 * (kind)))
#define FROM_DESTINATION(kind) (2u << (2 * (kind)))
#define C_S                    FROM_SOURCE(GW_STREAM_CONTROL)
#define C_D                    FROM_DESTINATION(GW_STREAM_CONTROL)
#define D_S                    FROM_SOURCE(GW_STREAM_DATA)
#define D_D                    FROM_DESTINATION(GW_STREAM_DATA)
#define A_S                    FROM_SOURCE(GW_STREAM_ASK)
#define A_D                    FROM_DESTINATION(GW_STREAM_ASK)

#define MAX_PAGES_BYTES (GW_WIRE_MAX_RUN_PAGES * GW_PAGE_SIZE)

static const struct {
    const char *name;
    uint32_t min_payload, max_payload; /* PAGES is checked against its count */
    uint64_t max_arg;                  /* 0: not used, has to be zero */
    uint32_t min_count, max_count;     /* likewise; of PAGES and ZERO: gw_wire_check_range() */
    unsigned places;
} types[GW_FRAME_N_TYPES] = {
    [GW_FRAME_HELLO] = {"HELLO", GW_WIRE_HELLO_BYTES, GW_WIRE_HELLO_BYTES, 0, 0, 0, C_S | D_S | A_S},
    [GW_FRAME_WELCOME] = {"WELCOME", GW_WIRE_WELCOME_BYTES, GW_WIRE_WELCOME_BYTES, 0, 0, 0, C_D | D_D | A_D},
    [GW_FRAME_ABORT] = {"ABORT", 0, GW_WIRE_MAX_TEXT, UINT32_MAX, 0, 0, C_S | C_D | D_D | A_S | A_D},
    [GW_FRAME_PAGES] = {"PAGES", GW_PAGE_SIZE, MAX_PAGES_BYTES, UINT64_MAX, 0, UINT32_MAX, D_S},
    [GW_FRAME_ZERO] = {"ZERO", 0, 0, UINT64_MAX, 0, UINT32_MAX, D_S},
    [GW_FRAME_END] = {"END", 0, 0, UINT64_MAX, 0, 0, D_S},
    [GW_FRAME_PING] = {"PING", 0, 0, UINT64_MAX, 0, 0, C_S | C_D},
    [GW_FRAME_PONG] = {"PONG", 0, 0, UINT64_MAX, 0, 0, C_S | C_D},
    [GW_FRAME_ROUND] = {"ROUND", 0, 0, UINT64_MAX, 1, GW_WIRE_MAX_STREAMS, C_D},
    [GW_FRAME_STATE] = {"STATE", 1, GW_WIRE_MAX_PAYLOAD, UINT64_MAX, 0, 1, C_S},
    [GW_FRAME_STATE_END] = {"STATE_END", 0, 0, GW_WIRE_MAX_STATE, 0, 0, C_S},
    [GW_FRAME_LOADED] = {"LOADED", 0, 0, 0, 0, 0, C_D},
    [GW_FRAME_GO] = {"GO", 0, 0, 0, 0, 1, C_S | A_S},
    [GW_FRAME_RUNS] = {"RUNS", 0, 0, UINT64_MAX, 0, 0, C_D | A_D},
    [GW_FRAME_DONE] = {"DONE", 0, 0, 0, 0, 0, C_S | A_S},
    [GW_FRAME_ASK] = {"ASK", 0, 0, 0, 0, 0, A_S},
    [GW_FRAME_NEVER] = {"NEVER", 0, 0, 0, 0, 0, C_D | A_D},
    [GW_FRAME_READY] = {"READY", 0, 0, 0, 0, 0, A_D},
};

const char *
gw_wire_verdict_name(GwWireVerdict verdict)
{
    static const char *const names[GW_WIRE_N_VERDICTS] = {
        [GW_WIRE_OK] = "ok",
        [GW_WIRE_BAD_MAGIC] = "bad-magic",
        [GW_WIRE_BAD_TYPE] = "bad-type",
        [GW_WIRE_BAD_RESERVED] = "bad-reserved",
        [GW_WIRE_BAD_LENGTH] = "bad-length",
        [GW_WIRE_BAD_SEQUENCE] = "bad-sequence",
        [GW_WIRE_BAD_RANGE] = "bad-range",
        [GW_WIRE_BAD_VERSION] = "bad-version",
        [GW_WIRE_BAD_FIELD] = "bad-field",
        [GW_WIRE_BAD_SECRET] = "bad-secret",
        [GW_WIRE_BAD_PLACE] = "bad-place",
    };
    return verdict < GW_WIRE_N_VERDICTS ? names[verdict] : "?";
}

const char *
gw_frame_type_name(unsigned type)
{
    return type < GW_FRAME_N_TYPES && types[type].name ? types[type].name : "?";
}

void
gw_wire_encode_header(const GwWireHeader *header, uint8_t *ret_bytes)
{
    put32(ret_bytes, MAGIC);
    ret_bytes[4] = header->type;
    memset(ret_bytes + 5, 0, 3);
    put32(ret_bytes + 8, header->payload_bytes);
    put32(ret_bytes + 12, header->count);
    put64(ret_bytes + 16, header->sequence);
    put64(ret_bytes + 24, header->arg);
}

/* Of what the type has and what it has not: a value where none belongs is "reserved". */
static GwWireVerdict
check_values(const GwWireHeader *header)
{
    if ((header->arg && !types[header->type].max_arg) || (header->count && !types[header->type].max_count))
        return GW_WIRE_BAD_RESERVED;
    if (header->arg > types[header->type].max_arg || header->count < types[header->type].min_count ||
        header->count > types[header->type].max_count)
        return GW_WIRE_BAD_FIELD;
    return GW_WIRE_OK;
}

static GwWireVerdict
check_length(const GwWireHeader *header)
{
    if (header->payload_bytes < types[header->type].min_payload ||
        header->payload_bytes > types[header->type].max_payload)
        return GW_WIRE_BAD_LENGTH;
    if (header->type == GW_FRAME_PAGES && header->payload_bytes != (uint64_t)header->count * GW_PAGE_SIZE)
        return GW_WIRE_BAD_LENGTH;
    return GW_WIRE_OK;
}

GwWireVerdict
gw_wire_decode_header(const uint8_t *bytes, uint64_t sequence, GwWireHeader *ret_header)
{
    GwWireHeader header = {
        .type = bytes[4],
        .payload_bytes = get32(bytes + 8),
        .count = get32(bytes + 12),
        .sequence = get64(bytes + 16),
        .arg = get64(bytes + 24),
    };
    if (get32(bytes) != MAGIC)
        return GW_WIRE_BAD_MAGIC;
    if (header.type >= GW_FRAME_N_TYPES || !types[header.type].name)
        return GW_WIRE_BAD_TYPE;
    if (bytes[5] || bytes[6] || bytes[7])
        return GW_WIRE_BAD_RESERVED;
    if (header.sequence != sequence)
        return GW_WIRE_BAD_SEQUENCE;
    GwWireVerdict verdict = check_values(&header);
    if (verdict == GW_WIRE_OK)
        verdict = check_length(&header);
    if (verdict == GW_WIRE_OK)
        *ret_header = header;
    return verdict;
}

GwWireVerdict
gw_wire_check_place(GwStreamKind kind, bool from_source, unsigned type)
{
    if (kind >= GW_STREAM_N_KINDS || type >= GW_FRAME_N_TYPES)
        return GW_WIRE_BAD_PLACE;
    unsigned place = from_source ? FROM_SOURCE(kind) : FROM_DESTINATION(kind);
    return types[type].places & place ? GW_WIRE_OK : GW_WIRE_BAD_PLACE;
}

GwWireVerdict
gw_wire_check_range(const GwWireHeader *header, uint64_t memory_bytes)
{
    uint64_t n_pages = memory_bytes / GW_PAGE_SIZE, first = header->arg / GW_PAGE_SIZE;
    if (header->arg % GW_PAGE_SIZE != 0 || header->count == 0 || first >= n_pages ||
        header->count > n_pages - first)
        return GW_WIRE_BAD_RANGE;
    return GW_WIRE_OK;
}

/* HELLO: 0 min, 2 max, 4 kind, 5 index, 6 streams, 7 zero, 8 page size, 12 zero, 16 memory, 24 session, 40
 * secret, 72 zero. */
void
gw_wire_encode_hello(const GwWireHello *hello, uint8_t ret_payload[GW_WIRE_HELLO_BYTES])
{
    memset(ret_payload, 0, GW_WIRE_HELLO_BYTES);
    put16(ret_payload, hello->version_min);
    put16(ret_payload + 2, hello->version_max);
    ret_payload[4] = hello->kind;
    ret_payload[5] = hello->index;
    ret_payload[6] = hello->n_streams;
    put32(ret_payload + 8, hello->page_bytes);
    put64(ret_payload + 16, hello->memory_bytes);
    memcpy(ret_payload + 24, hello->session, GW_WIRE_SESSION_BYTES);
    memcpy(ret_payload + 40, hello->secret, GW_WIRE_SECRET_BYTES);
}

static bool
all_zero(const uint8_t *bytes, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= bytes[i];
    return any == 0;
}

GwWireVerdict
gw_wire_decode_hello(const uint8_t *payload, size_t size, GwWireHello *ret_hello)
{
    if (size != GW_WIRE_HELLO_BYTES)
        return GW_WIRE_BAD_LENGTH;
    GwWireHello hello = {
        .version_min = get16(payload),
        .version_max = get16(payload + 2),
        .kind = payload[4],
        .index = payload[5],
        .n_streams = payload[6],
        .page_bytes = get32(payload + 8),
        .memory_bytes = get64(payload + 16),
    };
    if (hello.version_min == 0 || hello.version_min > hello.version_max)
        return GW_WIRE_BAD_FIELD;
    if (gw_wire_choose_version(&hello) == 0)
        return GW_WIRE_BAD_VERSION;
    if (payload[7] || !all_zero(payload + 12, 4) || !all_zero(payload + 72, 8))
        return GW_WIRE_BAD_RESERVED;
    if (hello.kind >= GW_STREAM_N_KINDS || hello.n_streams < 1 || hello.n_streams > GW_WIRE_MAX_STREAMS ||
        hello.index >= (hello.kind == GW_STREAM_DATA ? hello.n_streams : 1) ||
        hello.page_bytes != GW_PAGE_SIZE || hello.memory_bytes == 0 || hello.memory_bytes % GW_PAGE_SIZE != 0)
        return GW_WIRE_BAD_FIELD;
    memcpy(hello.session, payload + 24, GW_WIRE_SESSION_BYTES);
    memcpy(hello.secret, payload + 40, GW_WIRE_SECRET_BYTES);
    *ret_hello = hello;
    return GW_WIRE_OK;
}

void
gw_wire_encode_welcome(const GwWireWelcome *welcome, uint8_t ret_payload[GW_WIRE_WELCOME_BYTES])
{
    memset(ret_payload, 0, GW_WIRE_WELCOME_BYTES);
    put16(ret_payload, welcome->version);
}

GwWireVerdict
gw_wire_decode_welcome(const uint8_t *payload, size_t size, GwWireWelcome *ret_welcome)
{
    if (size != GW_WIRE_WELCOME_BYTES)
        return GW_WIRE_BAD_LENGTH;
    if (get16(payload) != GW_WIRE_VERSION)
        return GW_WIRE_BAD_VERSION;
    if (!all_zero(payload + 2, GW_WIRE_WELCOME_BYTES - 2))
        return GW_WIRE_BAD_RESERVED;
    ret_welcome->version = get16(payload);
    return GW_WIRE_OK;
}

/* Bytes beyond ASCII are replaced: every reason of ours is ASCII, and a log is no place for surprises. */
void
gw_wire_decode_text(const uint8_t *payload, size_t size, char *ret_text)
{
    size_t n = size < GW_WIRE_MAX_TEXT ? size : GW_WIRE_MAX_TEXT;
    for (size_t i = 0; i < n; i++)
        ret_text[i] = payload[i] >= 0x20 && payload[i] < 0x7f ? (char)payload[i] : '?';
    ret_text[n] = '\0';
}

uint16_t
gw_wire_choose_version(const GwWireHello *hello)
{
    return hello->version_min <= GW_WIRE_VERSION && hello->version_max >= GW_WIRE_VERSION ? GW_WIRE_VERSION
                                                                                          : 0;
}

bool
gw_wire_secrets_equal(const uint8_t a[GW_WIRE_SECRET_BYTES], const uint8_t b[GW_WIRE_SECRET_BYTES])
{
    uint8_t differ = 0;
    for (unsigned i = 0; i < GW_WIRE_SECRET_BYTES; i++)
        differ |= a[i] ^ b[i];
    return differ == 0;
}
