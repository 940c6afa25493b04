/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames by hand. */
#include "frames.h"

void
frame_peer_init(FramePeer *self, GwStream *stream)
{
    *self = (FramePeer){stream, 1, 1}; /* the hellos were 0 */
}

void
frame_peer_clear(FramePeer *self)
{
    g_clear_pointer(&self->stream, gw_stream_free);
}

int
frame_peer_send(FramePeer *self, GwFrameType type, uint64_t arg, uint32_t count, const void *payload,
                size_t payload_bytes)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    GwWireHeader header = {.type = (uint8_t)type,
                           .arg = arg,
                           .count = count,
                           .payload_bytes = (uint32_t)payload_bytes,
                           .sequence = self->send_sequence++};
    gw_wire_encode_header(&header, bytes);
    struct iovec parts[] = {{bytes, sizeof bytes}, {(void *)payload, payload_bytes}};
    return gw_stream_send(self->stream, parts, payload_bytes ? 2 : 1);
}

int
frame_peer_receive(FramePeer *self, GwWireHeader *ret_header, void *ret_payload, size_t size)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    int r = gw_stream_receive(self->stream, bytes, sizeof bytes);
    if (r < 0)
        return r;
    g_assert_cmpint(gw_wire_decode_header(bytes, self->receive_sequence++, ret_header), ==, GW_WIRE_OK);
    g_assert_cmpuint(ret_header->payload_bytes, <=, size);
    return gw_stream_receive(self->stream, ret_payload, ret_header->payload_bytes);
}

GwWireHeader
frame_peer_expect(FramePeer *self, GwFrameType type, void *ret_payload, size_t size)
{
    for (;;) {
        GwWireHeader header;
        g_assert_cmpint(frame_peer_receive(self, &header, ret_payload, size), ==, 0);
        if (header.type == type)
            return header;
        if (header.type != GW_FRAME_PING && header.type != GW_FRAME_PONG)
            g_error("%s came where %s was expected", gw_frame_type_name(header.type),
                    gw_frame_type_name(type));
    }
}
