/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames of the motion protocol: pure functions on bytes, described with byte tables in docs/protocol.md.
 *
 * Every frame has a header of 32 bytes and, by its type, a payload of bounded size. Decoding checks every
 * field and refuses by name; it allocates nothing and never reads beyond what it is given. Who receives asks
 * for one header at a time, so a peer cannot make us wait for, or hold, more than GW_WIRE_MAX_PAYLOAD of
 * anything but page content, which goes straight into the image, at a place that has been checked. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GW_WIRE_VERSION       1u
#define GW_WIRE_HEADER_BYTES  32u
#define GW_WIRE_MAX_PAYLOAD   (64u * 1024) /* of every frame but PAGES */
#define GW_WIRE_MAX_RUN_PAGES 256u         /* in one PAGES frame: 1 MiB */
#define GW_WIRE_MAX_TEXT      1024u        /* of an ABORT's reason */
#define GW_WIRE_MAX_STREAMS   8u
#define GW_WIRE_MAX_STATE     (256ull << 20) /* of device state in one motion: 200 KB is usual, VGA has 16 MB */
#define GW_WIRE_SESSION_BYTES 16
#define GW_WIRE_SECRET_BYTES  32
#define GW_WIRE_HELLO_BYTES   80u
#define GW_WIRE_WELCOME_BYTES 16u

typedef enum {
    /* every stream */
    GW_FRAME_HELLO = 1, /* source's first; payload GwWireHello */
    GW_FRAME_WELCOME,   /* destination's answer; payload GwWireWelcome */
    GW_FRAME_ABORT,     /* arg code (GwError), payload text. The end of the stream. On control from either, at
                           any time; on every stream the destination's answer to a hello that it refuses */
    /* data: source to destination */
    GW_FRAME_PAGES, /* arg offset, count pages, payload their content */
    GW_FRAME_ZERO,  /* arg offset, count pages that read as zeros, any number; no payload */
    GW_FRAME_END,   /* arg round: this stream has nothing more of it */
    /* control */
    GW_FRAME_PING,  /* arg the sender's clock; either side */
    GW_FRAME_PONG,  /* arg of the PING */
    GW_FRAME_ROUND, /* destination: arg round has arrived whole; count of streams that brought it */
    GW_FRAME_STATE, /* source: payload the next bytes of device state. count 1: of devices, to be loaded only
                     * when round arg has arrived whole; count 0: the state's head, from before the stop */
    GW_FRAME_STATE_END, /* source: arg their number */
    GW_FRAME_LOADED,    /* destination: memory and state are complete and loaded */
    GW_FRAME_GO,        /* source: yours; count 1: run, 0: it was paused, leave it so */
    GW_FRAME_RUNS,      /* destination: I have it; arg microseconds from GO's arrival to the first step */
    GW_FRAME_DONE,      /* source: I know */
    GW_FRAME_ASK,       /* source, after a lost connection: how does it stand? */
    GW_FRAME_NEVER,     /* destination: I shall never run it */
    GW_FRAME_READY,     /* destination: I have not been told yet */
    GW_FRAME_N_TYPES
} GwFrameType;

typedef enum { GW_STREAM_CONTROL = 0, GW_STREAM_DATA = 1, GW_STREAM_ASK = 2, GW_STREAM_N_KINDS } GwStreamKind;

typedef struct {
    uint8_t type;           /* GwFrameType */
    uint32_t payload_bytes; /* behind the header */
    uint64_t sequence;      /* of this direction of this stream, from 0 */
    uint64_t arg;
    uint32_t count;
} GwWireHeader;

typedef struct {
    uint16_t version_min, version_max; /* what the sender can speak */
    uint8_t kind;                      /* GwStreamKind */
    uint8_t index;                     /* of a data stream: 0 … n_streams-1; else 0 */
    uint8_t n_streams;                 /* data streams of this motion */
    uint32_t page_bytes;
    uint64_t memory_bytes;
    uint8_t session[GW_WIRE_SESSION_BYTES];
    uint8_t secret[GW_WIRE_SECRET_BYTES];
} GwWireHello;

typedef struct {
    uint16_t version; /* what is spoken from here on */
} GwWireWelcome;

/* Why bytes were refused; names are stable. */
typedef enum {
    GW_WIRE_OK = 0,
    GW_WIRE_BAD_MAGIC,
    GW_WIRE_BAD_TYPE,
    GW_WIRE_BAD_RESERVED, /* a field that has to be zero is not */
    GW_WIRE_BAD_LENGTH,   /* the payload is not what the type allows */
    GW_WIRE_BAD_SEQUENCE, /* repeated, lost or reordered */
    GW_WIRE_BAD_RANGE,    /* pages outside the image, none, or not on a page's boundary */
    GW_WIRE_BAD_VERSION,  /* no common version */
    GW_WIRE_BAD_FIELD,    /* another field has a value that does not exist */
    GW_WIRE_BAD_SECRET,   /* another session, or a wrong secret */
    GW_WIRE_BAD_PLACE,    /* a frame that this stream, side or moment does not have */
    GW_WIRE_N_VERDICTS
} GwWireVerdict;

const char *gw_wire_verdict_name(GwWireVerdict verdict); /* "bad-sequence" */
const char *gw_frame_type_name(unsigned type);           /* "PAGES"; "?" for what is none */

/* Header, and limits of payload, count and arg by type. `sequence`: what the next frame has to carry. `bytes`
 * are 32. Whatever is not GW_WIRE_OK leaves `ret_header`, like every `ret_…` below, as it was. */
GwWireVerdict gw_wire_decode_header(const uint8_t *bytes, uint64_t sequence, GwWireHeader *ret_header);
void gw_wire_encode_header(const GwWireHeader *header, uint8_t *ret_bytes);

/* Whether streams of that kind carry such frames in that direction: OK or BAD_PLACE. The moment is the
 * caller's to know. `type` of a decoded header. */
GwWireVerdict gw_wire_check_place(GwStreamKind kind, bool from_source, unsigned type);

/* Whether a PAGES or ZERO frame lies in an image of `memory_bytes`, whole pages only. */
GwWireVerdict gw_wire_check_range(const GwWireHeader *header, uint64_t memory_bytes);

/* Payloads. `size` is what the header said. A hello without a version of ours is BAD_VERSION, whatever else
 * it holds: another version may define that otherwise. */
GwWireVerdict gw_wire_decode_hello(const uint8_t *payload, size_t size, GwWireHello *ret_hello);
void gw_wire_encode_hello(const GwWireHello *hello, uint8_t ret_payload[GW_WIRE_HELLO_BYTES]);
GwWireVerdict gw_wire_decode_welcome(const uint8_t *payload, size_t size, GwWireWelcome *ret_welcome);
void gw_wire_encode_welcome(const GwWireWelcome *welcome, uint8_t ret_payload[GW_WIRE_WELCOME_BYTES]);

/* An ABORT's text in printable ASCII, every other byte as "?". `ret_text` has GW_WIRE_MAX_TEXT + 1. */
void gw_wire_decode_text(const uint8_t *payload, size_t size, char *ret_text);

/* The version that both can speak, 0: none. */
uint16_t gw_wire_choose_version(const GwWireHello *hello);

/* In time that does not depend on where they differ. */
bool gw_wire_secrets_equal(const uint8_t a[GW_WIRE_SECRET_BYTES], const uint8_t b[GW_WIRE_SECRET_BYTES]);
