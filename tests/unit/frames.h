/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other end of a motion's stream, by hand: one frame at a time, right or wrong. */
#pragma once

#include "stream.h"
#include "wire.h"

/* Hellos have been said. */
typedef struct {
    GwStream *stream; /* owned */
    uint64_t send_sequence, receive_sequence;
} FramePeer;

void frame_peer_init(FramePeer *self, GwStream *stream);
void frame_peer_clear(FramePeer *self);

/* 0 or -errno. `payload_bytes` 0: none; of PAGES it follows from count. */
int frame_peer_send(FramePeer *self, GwFrameType type, uint64_t arg, uint32_t count, const void *payload,
                    size_t payload_bytes);

/* 0 or -errno; what is no frame fails the test. The payload, at most `size` bytes, goes to `ret_payload`. */
int frame_peer_receive(FramePeer *self, GwWireHeader *ret_header, void *ret_payload, size_t size);

/* The next one of this type: PINGs and PONGs before it are passed over, others fail the test. */
GwWireHeader frame_peer_expect(FramePeer *self, GwFrameType type, void *ret_payload, size_t size);
