/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A queue of frames, each with the instant before which it must not leave. */
#include "delay-queue.h"

#include <assert.h>
#include <stdlib.h>

/* A singly linked list of chunks, written at the tail and read at the head:
 *
 *     head                                   tail
 *     [ read ..frames.. ] → [ frames ] → … → [ frames, used | free ]
 *
 * A frame is a record header followed by its bytes, and never spans two chunks: a chunk with less than a
 * whole FRAME_MAX left is closed. That wastes at most 8 % of it, and lets the TAP write straight into the
 * queue. Rejected: a ring of fixed slots (1 GiB would hold only 13000 pings) and one malloc per frame
 * (800000/s). */

typedef struct Chunk {
    struct Chunk *next; /* owned */
    size_t used;        /* bytes written */
    size_t read;        /* bytes popped, <= used */
    _Alignas(8) unsigned char bytes[];
} Chunk;

typedef struct {
    uint64_t deadline_ns;
    uint64_t len;
} Record;

#define CHUNK_CAPACITY (GW_DELAY_QUEUE_CHUNK_BYTES - sizeof(Chunk))
#define RECORD_MAX     (sizeof(Record) + GW_DELAY_QUEUE_FRAME_MAX)

/* Chunks kept for reuse. A link in steady state frees one as it fills one, so a few spare it the page faults.
 */
#define SPARE_CHUNKS_MAX 8

struct GwDelayQueue {
    Chunk *head, *tail; /* owned; both NULL or neither */
    Chunk *spare;       /* owned */
    size_t n_chunks;    /* in the list and spare */
    size_t n_spare;
    size_t n_chunks_max;
    uint64_t n_frames;
    uint64_t last_deadline_ns;
};

static void
free_chunks(Chunk *chunk)
{
    while (chunk) {
        Chunk *next = chunk->next;

        free(chunk);
        chunk = next;
    }
}

GwDelayQueue *
gw_delay_queue_new(size_t max_bytes)
{
    GwDelayQueue *self;

    if (max_bytes < 2 * GW_DELAY_QUEUE_CHUNK_BYTES)
        return NULL;
    self = calloc(1, sizeof(*self));
    if (self)
        self->n_chunks_max = max_bytes / GW_DELAY_QUEUE_CHUNK_BYTES;
    return self;
}

void
gw_delay_queue_free(GwDelayQueue *self)
{
    if (!self)
        return;
    free_chunks(self->head);
    free_chunks(self->spare);
    free(self);
}

static Chunk *
take_chunk(GwDelayQueue *self)
{
    Chunk *chunk = self->spare;

    if (chunk) {
        self->spare = chunk->next;
        self->n_spare--;
    } else {
        if (self->n_chunks == self->n_chunks_max)
            return NULL;
        chunk = malloc(GW_DELAY_QUEUE_CHUNK_BYTES);
        if (!chunk)
            return NULL;
        self->n_chunks++;
    }
    chunk->next = NULL;
    chunk->used = chunk->read = 0;
    return chunk;
}

static void
return_chunk(GwDelayQueue *self, Chunk *chunk)
{
    if (self->n_spare >= SPARE_CHUNKS_MAX) {
        free(chunk);
        self->n_chunks--;
        return;
    }
    chunk->next = self->spare;
    self->spare = chunk;
    self->n_spare++;
}

static bool
has_room(const Chunk *chunk)
{
    return CHUNK_CAPACITY - chunk->used >= RECORD_MAX;
}

void *
gw_delay_queue_reserve(GwDelayQueue *self)
{
    Record *record;

    if (self->n_frames == 0 && self->tail && !has_room(self->tail)) {
        /* Empty, so head is tail, and no room is out in it: start it anew rather than chain a chunk to an
         * empty head, which first_record() must never see. */
        self->tail->used = self->tail->read = 0;
    }
    if (!self->tail || !has_room(self->tail)) {
        Chunk *chunk = take_chunk(self);

        if (!chunk)
            return NULL;
        if (self->tail)
            self->tail->next = chunk;
        else
            self->head = chunk;
        self->tail = chunk;
    }
    record = (Record *)(void *)(self->tail->bytes + self->tail->used);
    return record + 1;
}

void
gw_delay_queue_commit(GwDelayQueue *self, size_t len, uint64_t deadline_ns)
{
    Record *record;

    assert(len > 0 && len <= GW_DELAY_QUEUE_FRAME_MAX);
    assert(self->tail && has_room(self->tail));

    if (self->n_frames > 0 && deadline_ns < self->last_deadline_ns)
        deadline_ns = self->last_deadline_ns;
    record = (Record *)(void *)(self->tail->bytes + self->tail->used);
    record->deadline_ns = deadline_ns;
    record->len = len;
    self->tail->used += sizeof(*record) + ((len + 7) & ~(size_t)7);
    self->last_deadline_ns = deadline_ns;
    self->n_frames++;
}

static const Record *
first_record(const GwDelayQueue *self)
{
    if (self->n_frames == 0)
        return NULL;
    return (const Record *)(const void *)(self->head->bytes + self->head->read);
}

const void *
gw_delay_queue_peek_due(const GwDelayQueue *self, uint64_t now_ns, size_t *ret_len)
{
    const Record *record = first_record(self);

    if (!record || record->deadline_ns > now_ns)
        return NULL;
    *ret_len = record->len;
    return record + 1;
}

void
gw_delay_queue_pop(GwDelayQueue *self)
{
    const Record *record = first_record(self);
    Chunk *chunk = self->head;

    assert(record);
    chunk->read += sizeof(*record) + ((record->len + 7) & ~(size_t)7);
    self->n_frames--;
    if (chunk->read < chunk->used)
        return;

    /* The chunk has run empty. The tail stays even then, since room may be out in it; reserve starts it anew.
     */
    if (chunk != self->tail) {
        self->head = chunk->next;
        return_chunk(self, chunk);
    }
}

bool
gw_delay_queue_next_deadline(const GwDelayQueue *self, uint64_t *ret_deadline_ns)
{
    const Record *record = first_record(self);

    if (!record)
        return false;
    *ret_deadline_ns = record->deadline_ns;
    return true;
}

uint64_t
gw_delay_queue_n_frames(const GwDelayQueue *self)
{
    return self->n_frames;
}

size_t
gw_delay_queue_allocated_bytes(const GwDelayQueue *self)
{
    return self->n_chunks * GW_DELAY_QUEUE_CHUNK_BYTES;
}
