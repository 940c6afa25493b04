/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Receiving threads. */
#include "intake.h"

#include "error.h"
#include "kernel-abi.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

typedef struct {
    struct GwIntake *intake;
    unsigned index;
    GThread *thread;
    GwStream *stream; /* owned */
    uint64_t sequence, round;
    _Atomic uint64_t wire_bytes, content_pages, zero_pages; /* written by the thread alone */
} Receiver;

struct GwIntake {
    /* set once */
    GwImage *image;     /* borrowed */
    GwControl *control; /* borrowed */
    GwBell *bell;       /* borrowed */
    uint64_t size_bytes;
    unsigned n_receivers;
    Receiver *receivers;
    _Atomic uint64_t *has_content; /* a bit a page */
    atomic_bool stopped;           /* nothing is taken any more */
    /* guarded by lock */
    GMutex lock;
    GCond turned;      /* a round is over, or everything is */
    uint64_t n_rounds; /* that are complete */
    unsigned n_at_end; /* streams that have said END of the round under way */
    bool ending;
    GError *why;
};

static void
fail(GwIntake *self, GError *why)
{
    g_mutex_lock(&self->lock);
    if (!self->why && !self->ending)
        self->why = g_steal_pointer(&why);
    self->ending = true;
    g_cond_broadcast(&self->turned);
    g_mutex_unlock(&self->lock);
    g_clear_error(&why);
    if (atomic_load(&self->stopped)) /* all are told to end already, and the source is not to notice */
        return;
    for (unsigned i = 0; i < self->n_receivers; i++)
        gw_stream_shutdown(self->receivers[i].stream);
    gw_bell_ring(self->bell);
}

static int
refuse(Receiver *self, GwWireVerdict verdict, const char *frame)
{
    fail(self->intake,
         g_error_new(GW_ERROR, GW_ERROR_PROTOCOL, "data stream %u: a frame is refused: %s%s%s", self->index,
                     gw_wire_verdict_name(verdict), frame ? " " : "", frame ? frame : ""));
    return -EPROTO;
}

static int
lose(Receiver *self, int r)
{
    GError *why = NULL;
    if (r == -ECONNRESET || r == -EPIPE)
        g_set_error(&why, GW_ERROR, GW_ERROR_PEER_LOST, "data stream %u: the peer closed the connection",
                    self->index);
    else
        gw_set_errno(&why, r == -EPROTO ? GW_ERROR_PROTOCOL : GW_ERROR_PEER_LOST, -r, "data stream %u",
                     self->index);
    fail(self->intake, why);
    return r;
}

static int
fail_write(Receiver *self, int r)
{
    GError *why = NULL;
    gw_set_errno(&why, GW_ERROR_IO, -r, "writing guest memory");
    fail(self->intake, why);
    return r;
}

/* Sets the pages' bits; several threads may share a word. */
static void
note_content(GwIntake *self, uint64_t first, uint64_t n_pages)
{
    for (uint64_t page = first; page < first + n_pages;) {
        unsigned bit = page % 64, n = (unsigned)MIN(64 - bit, first + n_pages - page);
        uint64_t mask = (n == 64 ? UINT64_MAX : (1ull << n) - 1) << bit;
        if ((atomic_load_explicit(&self->has_content[page / 64], memory_order_relaxed) & mask) != mask)
            atomic_fetch_or_explicit(&self->has_content[page / 64], mask, memory_order_relaxed);
        page += n;
    }
}

/* Clears them; true if one was set. */
static bool
clear_content(GwIntake *self, uint64_t first, uint64_t n_pages)
{
    bool any = false;
    for (uint64_t page = first; page < first + n_pages;) {
        unsigned bit = page % 64, n = (unsigned)MIN(64 - bit, first + n_pages - page);
        uint64_t mask = (n == 64 ? UINT64_MAX : (1ull << n) - 1) << bit;
        if (atomic_load_explicit(&self->has_content[page / 64], memory_order_relaxed) & mask)
            any |= (atomic_fetch_and_explicit(&self->has_content[page / 64], ~mask, memory_order_relaxed) &
                    mask) != 0;
        page += n;
    }
    return any;
}

static int
take_pages(Receiver *self, const GwWireHeader *header)
{
    GwIntake *intake = self->intake;
    uint64_t mem_off = header->arg;
    size_t left = header->payload_bytes;
    while (left > 0) {
        const uint8_t *bytes;
        ssize_t n = gw_stream_take(self->stream, &bytes, left);
        if (n <= 0)
            return lose(self, n < 0 ? (int)n : -ECONNRESET);
        int r = gw_image_write(intake->image, mem_off, bytes, (size_t)n);
        if (r < 0)
            return fail_write(self, r);
        mem_off += (uint64_t)n;
        left -= (size_t)n;
    }
    note_content(intake, header->arg / GW_PAGE_SIZE, header->count);
    self->content_pages += header->count;
    return 0;
}

static int
take_zeros(Receiver *self, const GwWireHeader *header)
{
    self->zero_pages += header->count;
    if (!clear_content(self->intake, header->arg / GW_PAGE_SIZE, header->count))
        return 0;
    int r = gw_image_punch(self->intake->image, header->arg, (uint64_t)header->count * GW_PAGE_SIZE);
    return r < 0 ? fail_write(self, r) : 0;
}

/* The barrier. The last one to come turns the page for all. */
static int
end_round(Receiver *self, uint64_t round)
{
    GwIntake *intake = self->intake;
    if (round != self->round)
        return refuse(self, GW_WIRE_BAD_PLACE, "END");
    self->round++;
    g_mutex_lock(&intake->lock);
    bool last = ++intake->n_at_end == intake->n_receivers;
    if (last) {
        intake->n_at_end = 0;
        intake->n_rounds++;
        g_cond_broadcast(&intake->turned);
    }
    while (intake->n_rounds < self->round && !intake->ending)
        g_cond_wait(&intake->turned, &intake->lock);
    bool ending = intake->ending;
    g_mutex_unlock(&intake->lock);
    if (last) {
        gw_control_send(intake->control, GW_FRAME_ROUND, round, intake->n_receivers, NULL, 0);
        gw_bell_ring(intake->bell);
    }
    return ending ? -ECANCELED : 0;
}

static int
take_frame(Receiver *self)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    GwWireHeader header;
    int r = gw_stream_receive(self->stream, bytes, sizeof bytes);
    if (r < 0)
        return lose(self, r);
    GwWireVerdict verdict = gw_wire_decode_header(bytes, self->sequence++, &header);
    if (verdict != GW_WIRE_OK)
        return refuse(self, verdict, NULL);
    verdict = gw_wire_check_place(GW_STREAM_DATA, true, header.type);
    if (verdict != GW_WIRE_OK)
        return refuse(self, verdict, gw_frame_type_name(header.type));
    self->wire_bytes += sizeof bytes + header.payload_bytes;
    if (header.type == GW_FRAME_END)
        return end_round(self, header.arg);
    verdict = header.type == GW_FRAME_PAGES || header.type == GW_FRAME_ZERO
                  ? gw_wire_check_range(&header, self->intake->size_bytes)
                  : GW_WIRE_BAD_PLACE; /* a second hello */
    if (verdict != GW_WIRE_OK)
        return refuse(self, verdict, gw_frame_type_name(header.type));
    return header.type == GW_FRAME_PAGES ? take_pages(self, &header) : take_zeros(self, &header);
}

static void *
receive(void *data)
{
    const Receiver *self = data;
    while (!atomic_load(&self->intake->stopped) && take_frame(data) == 0)
        ;
    return NULL;
}

GwIntake *
gw_intake_new(GwImage *image, GwStream **streams, unsigned n_streams, GwControl *control, GwBell *bell)
{
    GwIntake *self = g_new0(GwIntake, 1);
    self->image = image;
    self->control = control;
    self->bell = bell;
    self->size_bytes = gw_image_size(image);
    self->n_receivers = n_streams;
    self->receivers = g_new0(Receiver, n_streams);
    self->has_content = g_new0(_Atomic uint64_t, (self->size_bytes / GW_PAGE_SIZE + 63) / 64);
    g_mutex_init(&self->lock);
    g_cond_init(&self->turned);
    for (unsigned i = 0; i < n_streams; i++) {
        self->receivers[i].intake = self;
        self->receivers[i].index = i;
        self->receivers[i].stream = streams[i];
        self->receivers[i].sequence = 1; /* the hello was 0 */
    }
    for (unsigned i = 0; i < n_streams; i++) { /* all are there before the first may fail */
        g_autofree char *name = g_strdup_printf("gw-intake%u", i);
        self->receivers[i].thread = g_thread_new(name, receive, &self->receivers[i]);
    }
    return self;
}

uint64_t
gw_intake_n_rounds(GwIntake *self)
{
    g_mutex_lock(&self->lock);
    uint64_t n_rounds = self->n_rounds;
    g_mutex_unlock(&self->lock);
    return n_rounds;
}

bool
gw_intake_failed(GwIntake *self, GError **error)
{
    g_mutex_lock(&self->lock);
    bool failed = self->why != NULL;
    if (failed && error)
        *error = g_error_copy(self->why);
    g_mutex_unlock(&self->lock);
    return failed;
}

void
gw_intake_progress(GwIntake *self, GwIntakeCounters *ret_counters)
{
    *ret_counters = (GwIntakeCounters){0};
    for (unsigned i = 0; i < self->n_receivers; i++) {
        ret_counters->wire_bytes += self->receivers[i].wire_bytes;
        ret_counters->content_pages += self->receivers[i].content_pages;
        ret_counters->zero_pages += self->receivers[i].zero_pages;
    }
}

/* All threads before the first stream is freed: one that fails shuts every stream down. */
static void
join(GwIntake *self)
{
    for (unsigned i = 0; i < self->n_receivers; i++)
        g_clear_pointer(&self->receivers[i].thread, g_thread_join);
}

void
gw_intake_stop(GwIntake *self)
{
    if (!self)
        return;
    atomic_store(&self->stopped, true);
    g_mutex_lock(&self->lock);
    self->ending = true;
    g_cond_broadcast(&self->turned);
    g_mutex_unlock(&self->lock);
    for (unsigned i = 0; i < self->n_receivers; i++)
        gw_stream_stop_receiving(self->receivers[i].stream);
    join(self);
}

void
gw_intake_free(GwIntake *self)
{
    if (!self)
        return;
    fail(self, NULL);
    join(self);
    for (unsigned i = 0; i < self->n_receivers; i++)
        gw_stream_free(self->receivers[i].stream);
    g_clear_error(&self->why);
    g_free(self->receivers);
    g_free(self->has_content);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->turned);
    g_free(self);
}
