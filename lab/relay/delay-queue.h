/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A queue of frames, each with the instant before which it must not leave: memory only, no I/O, no clock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* First in, first out, whatever the deadlines: a frame whose deadline is earlier than that of the frame
 * before it (the delay was shortened meanwhile) gets the deadline of that one, since a link does not reorder.
 *
 * A frame is written in place: reserve room, fill it (a read() from the TAP, say), commit what was filled.
 * Memory is taken in chunks as frames arrive and given back as they leave; `max_bytes` bounds it. When
 * the bound is reached, reserve returns NULL and the caller stops taking frames in; nothing is dropped here.
 *
 * Not thread-safe: one owner. */
typedef struct GwDelayQueue GwDelayQueue;

/* Frames leave in chunks of this size, which is also the unit of `max_bytes`. */
#define GW_DELAY_QUEUE_CHUNK_BYTES ((size_t)1 << 20)

/* The largest frame: a 64 KiB GSO frame with its Ethernet and virtio-net headers, and some air. */
#define GW_DELAY_QUEUE_FRAME_MAX ((size_t)80 << 10)

/* NULL if memory is short or `max_bytes` is less than two chunks (one would stall the writer until the queue
 * had run empty). */
GwDelayQueue *gw_delay_queue_new(size_t max_bytes);
void gw_delay_queue_free(GwDelayQueue *self);

/* Room for GW_DELAY_QUEUE_FRAME_MAX bytes, or NULL while the queue is full (or the system out of memory).
 * Calling it again without a commit returns the same room. */
void *gw_delay_queue_reserve(GwDelayQueue *self);

/* Appends the first `len` bytes of the room last reserved, 1 … GW_DELAY_QUEUE_FRAME_MAX. */
void gw_delay_queue_commit(GwDelayQueue *self, size_t len, uint64_t deadline_ns);

/* The oldest frame if its deadline is `now_ns` or earlier, else NULL. Valid until the next pop. */
const void *gw_delay_queue_peek_due(const GwDelayQueue *self, uint64_t now_ns, size_t *ret_len);
void gw_delay_queue_pop(GwDelayQueue *self);

/* False if the queue is empty. */
bool gw_delay_queue_next_deadline(const GwDelayQueue *self, uint64_t *ret_deadline_ns);

uint64_t gw_delay_queue_n_frames(const GwDelayQueue *self);

/* Memory held now, spare chunks included. */
size_t gw_delay_queue_allocated_bytes(const GwDelayQueue *self);
