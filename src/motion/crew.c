/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copying threads of the source. The hot path: no allocation, no lock but for claiming. */
#include "crew.h"

#include "codec.h"
#include "kernel-abi.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Small enough that unequal streams end a pass together (1 MiB is 8 ms at 1 Gbit/s), large enough that a
 * claim and its system calls are nothing beside it; of large images more at a time, or the walk itself would
 * cost. */
#define CHUNK_MIN_BYTES (1ull << 20)
#define CHUNK_MAX_BYTES (16ull << 20)
#define CHUNKS_WANTED   4096

/* Frames gathered into one sendmsg(2): with pages that were written here and there, four pages a frame or
 * fewer, the system call would otherwise cost as much as the copy. */
#define BATCH_FRAMES 64
#define BATCH_BYTES  (1u << 20)

#define SCAN_RUNS 256

/* What is copied at a time where memory may be punched: as much as one sendmsg(2) takes. */
#define COPY_BYTES BATCH_BYTES

typedef struct {
    struct GwCrew *crew;
    unsigned index;
    GThread *thread;
    GwStream *stream; /* owned */
    uint64_t sequence;
    uint8_t *copy;     /* NULL: what is sent is sent from the image itself */
    uint32_t n_copied; /* bytes in it that the batch may point to */
    /* the batch */
    unsigned n_frames, n_parts;
    uint32_t n_bytes;
    uint8_t headers[BATCH_FRAMES][GW_WIRE_HEADER_BYTES];
    struct iovec parts[2 * BATCH_FRAMES];
    /* written by the thread alone, read by any */
    _Atomic uint64_t found_pages, sent_pages, zero_pages, wire_bytes;
} Worker;

struct GwCrew {
    /* set once */
    GwImage *image; /* borrowed */
    GwTrace *trace; /* borrowed */
    GwBell *bell;   /* borrowed */
    const uint8_t *map;
    uint64_t size_bytes, chunk_bytes;
    unsigned n_workers;
    Worker *workers;
    /* of the pass; set before it begins, constant while it runs */
    GwPassKind kind;
    uint64_t round;
    _Atomic uint64_t cursor;
    GwDataHint hint;
    _Atomic int failed; /* the first; makes the others stop */
    int failed_stream;  /* guarded by lock */
    /* guarded by lock */
    GMutex lock;
    GCond order;
    uint64_t n_passes; /* begun */
    unsigned n_busy;
    bool ending;
};

static void
fail(GwCrew *self, int r, int stream)
{
    g_mutex_lock(&self->lock);
    if (atomic_load(&self->failed) == 0) {
        self->failed_stream = stream;
        atomic_store(&self->failed, r);
    }
    g_mutex_unlock(&self->lock);
}

static int
flush(Worker *self)
{
    if (self->n_parts == 0)
        return 0;
    int r = gw_stream_send(self->stream, self->parts, self->n_parts);
    self->n_frames = self->n_parts = 0;
    self->n_bytes = 0;
    if (r < 0)
        fail(self->crew, r, (int)self->index);
    return r;
}

static int
add_frame(Worker *self, GwFrameType type, uint64_t arg, uint32_t count, const uint8_t *payload)
{
    GwWireHeader header = {
        .type = type,
        .arg = arg,
        .count = count,
        .payload_bytes = payload ? count * GW_PAGE_SIZE : 0,
        .sequence = self->sequence++,
    };
    uint8_t *bytes = self->headers[self->n_frames++];
    gw_wire_encode_header(&header, bytes);
    self->parts[self->n_parts++] = (struct iovec){bytes, GW_WIRE_HEADER_BYTES};
    if (payload)
        self->parts[self->n_parts++] = (struct iovec){(void *)payload, header.payload_bytes};
    self->n_bytes += GW_WIRE_HEADER_BYTES + header.payload_bytes;
    self->wire_bytes += GW_WIRE_HEADER_BYTES + header.payload_bytes;
    return self->n_frames == BATCH_FRAMES || self->n_bytes >= BATCH_BYTES ? flush(self) : 0;
}

static int
send_pieces(Worker *self, uint64_t mem_off, const uint8_t *bytes, uint32_t n_pages)
{
    self->found_pages += n_pages;
    while (n_pages > 0) {
        GwPiece piece = gw_codec_next(bytes, n_pages);
        int r = add_frame(self, piece.is_zero ? GW_FRAME_ZERO : GW_FRAME_PAGES, mem_off, piece.n_pages,
                          piece.is_zero ? NULL : bytes);
        if (r < 0)
            return r;
        if (piece.is_zero)
            self->zero_pages += piece.n_pages;
        else
            self->sent_pages += piece.n_pages;
        n_pages -= piece.n_pages;
        mem_off += (uint64_t)piece.n_pages * GW_PAGE_SIZE;
        bytes += (uint64_t)piece.n_pages * GW_PAGE_SIZE;
    }
    return 0;
}

/* Where memory may be punched, it is not touched through the mapping. A page that is punched while it is on
 * its way would leave here half as it was and half as zeros, and the read of the other half would make it a
 * page again: neither the trace nor a look at the holes would find it any more, and the half would stay at
 * the destination. What is read by a system call stays a hole, of which the next pass that tells holes tells.
 */
static int
send_copied(Worker *self, uint64_t mem_off, uint64_t run_bytes)
{
    while (run_bytes > 0) {
        if (self->n_copied == COPY_BYTES) {
            int r = flush(self);
            if (r < 0)
                return r;
            self->n_copied = 0;
        }
        uint8_t *bytes = self->copy + self->n_copied;
        uint32_t n_bytes = (uint32_t)MIN(run_bytes, COPY_BYTES - self->n_copied);
        int r = gw_image_read(self->crew->image, mem_off, bytes, n_bytes);
        if (r < 0) {
            fail(self->crew, r, -1);
            return r;
        }
        self->n_copied += n_bytes;
        r = send_pieces(self, mem_off, bytes, n_bytes / GW_PAGE_SIZE);
        if (r < 0)
            return r;
        mem_off += n_bytes;
        run_bytes -= n_bytes;
    }
    return 0;
}

static int
send_run(Worker *self, uint64_t mem_off, uint64_t run_bytes)
{
    if (self->copy)
        return send_copied(self, mem_off, run_bytes);
    return send_pieces(self, mem_off, self->crew->map + mem_off, (uint32_t)(run_bytes / GW_PAGE_SIZE));
}

/* Protected first, read then: what is written in between is found by the next pass. */
static int
copy_all(Worker *self, uint64_t at, uint64_t end)
{
    int r = gw_trace_protect(self->crew->trace, at, end);
    if (r < 0) {
        fail(self->crew, r, -1);
        return r;
    }
    for (uint64_t run_end; gw_image_next_data(self->crew->image, &self->crew->hint, &at, &run_end, end);
         at = run_end) {
        r = send_run(self, at, run_end - at);
        if (r < 0)
            return r;
    }
    return 0;
}

static int
copy_written(Worker *self, uint64_t at, uint64_t end)
{
    GwTraceRun runs[SCAN_RUNS];
    while (at < end) {
        int n = gw_trace_scan(self->crew->trace, &at, end, runs, SCAN_RUNS);
        if (n < 0) {
            fail(self->crew, n, -1);
            return n;
        }
        for (int i = 0; i < n; i++) {
            if (self->crew->kind == GW_PASS_VERIFY) {
                self->found_pages += runs[i].size_bytes / GW_PAGE_SIZE;
                continue;
            }
            int r = send_run(self, runs[i].mem_off, runs[i].size_bytes);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int
send_holes(Worker *self, uint64_t at, uint64_t end)
{
    while (at < end) {
        uint64_t data = at, data_end = end;
        if (!gw_image_next_data(self->crew->image, &self->crew->hint, &data, &data_end, end))
            data = data_end = end;
        if (data > at) {
            int r = add_frame(self, GW_FRAME_ZERO, at, (uint32_t)((data - at) / GW_PAGE_SIZE), NULL);
            if (r < 0)
                return r;
        }
        at = data_end;
    }
    return 0;
}

static int
copy_chunk(Worker *self, uint64_t at, uint64_t end)
{
    switch (self->crew->kind) {
    case GW_PASS_ALL:
        return copy_all(self, at, end);
    case GW_PASS_WRITTEN_AND_HOLES: {
        /* Holes first: what is written into one meanwhile is found behind, or by the next pass. */
        int r = send_holes(self, at, end);
        return r < 0 ? r : copy_written(self, at, end);
    }
    case GW_PASS_WRITTEN:
    case GW_PASS_VERIFY:
        break;
    }
    return copy_written(self, at, end);
}

static void
run_pass(Worker *self)
{
    GwCrew *crew = self->crew;
    for (;;) {
        uint64_t at = atomic_fetch_add(&crew->cursor, crew->chunk_bytes);
        if (at >= crew->size_bytes || atomic_load(&crew->failed))
            break;
        uint64_t end = MIN(at + crew->chunk_bytes, crew->size_bytes);
        if (copy_chunk(self, at, end) < 0)
            return;
    }
    if (crew->kind != GW_PASS_VERIFY && !atomic_load(&crew->failed) &&
        add_frame(self, GW_FRAME_END, crew->round, 0, NULL) == 0)
        flush(self);
}

static void *
work(void *data)
{
    Worker *self = data;
    GwCrew *crew = self->crew;
    uint64_t n_done = 0;
    g_mutex_lock(&crew->lock);
    for (;;) {
        while (crew->n_passes == n_done && !crew->ending)
            g_cond_wait(&crew->order, &crew->lock);
        if (crew->ending)
            break;
        n_done++;
        g_mutex_unlock(&crew->lock);
        run_pass(self);
        g_mutex_lock(&crew->lock);
        if (--crew->n_busy == 0) {
            g_mutex_unlock(&crew->lock);
            gw_bell_ring(crew->bell);
            g_mutex_lock(&crew->lock);
        }
    }
    g_mutex_unlock(&crew->lock);
    return NULL;
}

GwCrew *
gw_crew_new(GwImage *image, GwTrace *trace, GwStream **streams, unsigned n_streams, bool may_punch,
            GwBell *bell)
{
    GwCrew *self = g_new0(GwCrew, 1);
    self->image = image;
    self->trace = trace;
    self->bell = bell;
    self->map = gw_image_map(image, NULL);
    self->size_bytes = gw_image_size(image);
    self->chunk_bytes =
        CLAMP(self->size_bytes / CHUNKS_WANTED & ~(CHUNK_MIN_BYTES - 1), CHUNK_MIN_BYTES, CHUNK_MAX_BYTES);
    self->n_workers = n_streams;
    self->workers = g_new0(Worker, n_streams);
    g_mutex_init(&self->lock);
    g_cond_init(&self->order);
    g_mutex_init(&self->hint.lock);
    for (unsigned i = 0; i < n_streams; i++) {
        Worker *worker = &self->workers[i];
        worker->crew = self;
        worker->index = i;
        worker->stream = streams[i];
        worker->sequence = 1; /* the hello was 0 */
        worker->copy = may_punch ? g_malloc(COPY_BYTES) : NULL;
        g_autofree char *name = g_strdup_printf("gw-copy%u", i);
        worker->thread = g_thread_new(name, work, worker);
    }
    return self;
}

void
gw_crew_begin(GwCrew *self, GwPassKind kind, uint64_t round)
{
    g_mutex_lock(&self->lock);
    g_assert(self->n_busy == 0);
    self->kind = kind;
    self->round = round;
    self->hint.start = self->hint.stop = 0;
    self->failed_stream = -1;
    atomic_store(&self->cursor, 0);
    atomic_store(&self->failed, 0);
    for (unsigned i = 0; i < self->n_workers; i++) {
        Worker *worker = &self->workers[i];
        worker->found_pages = worker->sent_pages = worker->zero_pages = worker->wire_bytes = 0;
    }
    self->n_busy = self->n_workers;
    self->n_passes++;
    g_cond_broadcast(&self->order);
    g_mutex_unlock(&self->lock);
}

void
gw_crew_progress(GwCrew *self, GwPassCounters *ret_counters)
{
    *ret_counters = (GwPassCounters){0};
    for (unsigned i = 0; i < self->n_workers; i++) {
        Worker *worker = &self->workers[i];
        ret_counters->found_pages += worker->found_pages;
        ret_counters->sent_pages += worker->sent_pages;
        ret_counters->zero_pages += worker->zero_pages;
        ret_counters->wire_bytes += worker->wire_bytes;
    }
}

bool
gw_crew_is_done(GwCrew *self, GwPassCounters *ret_counters, int *ret_failed, int *ret_stream)
{
    g_mutex_lock(&self->lock);
    bool done = self->n_busy == 0;
    *ret_failed = atomic_load(&self->failed);
    *ret_stream = self->failed_stream;
    g_mutex_unlock(&self->lock);
    if (done)
        gw_crew_progress(self, ret_counters);
    return done;
}

void
gw_crew_shutdown(GwCrew *self)
{
    for (unsigned i = 0; i < self->n_workers; i++)
        gw_stream_shutdown(self->workers[i].stream);
}

void
gw_crew_free(GwCrew *self)
{
    if (!self)
        return;
    gw_crew_shutdown(self);
    g_mutex_lock(&self->lock);
    self->ending = true;
    g_cond_broadcast(&self->order);
    g_mutex_unlock(&self->lock);
    for (unsigned i = 0; i < self->n_workers; i++) {
        g_thread_join(self->workers[i].thread);
        gw_stream_free(self->workers[i].stream);
        g_free(self->workers[i].copy);
    }
    g_free(self->workers);
    g_mutex_clear(&self->hint.lock);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->order);
    g_free(self);
}
