/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The source's copying threads: what they send is exactly what the trace says, whatever the number and the
 * speed of the streams; and what fails stops all of them, and is named. */
#include "crew.h"

#include "census.h"
#include "certificates.h"
#include "fake-trace.h"
#include "frames.h"
#include "kernel-abi.h"
#include "stream-pair.h"

#include <errno.h>
#include <string.h>

#define PAGE        ((uint64_t)GW_PAGE_SIZE)
#define CHUNK       (1ull << 20) /* crew.c's */
#define SPAN        (4 * CHUNK)
#define MAX_STREAMS 8
#define PATIENCE_US (20 * G_TIME_SPAN_SECOND)

static GwTlsIdentity *identity;

/* --- a destination that writes down what it gets ------------------------------------------------------ */

typedef struct {
    struct Fixture *fixture;
    FramePeer peer;
    GThread *thread;
    uint64_t n_bytes, n_pages;
    unsigned n_ends;
    int end;                   /* why it stopped; 0: END */
    uint64_t stop_after_bytes; /* closes the stream then; 0: never */
    gint64 slow_us;            /* waits so long before each frame */
    uint64_t after_pages;      /* with the first, until the others have read so many */
} Reader;

typedef struct Fixture {
    Census before;
    uint64_t size;
    GwImage *image;
    FakeTrace *trace;
    GwBell bell;
    GwCrew *crew;
    unsigned n_streams;
    Reader readers[MAX_STREAMS];
    /* guarded by lock */
    GMutex lock;
    uint8_t *copy;    /* of the image, as the frames say */
    uint8_t *n_seen;  /* how often each page came in this pass */
    uint64_t n_pages; /* that came in it, over all streams */
    GCond came;
} Fixture;

static void
set_up_for(Fixture *f, unsigned n_streams, uint64_t size, gconstpointer is_tls, bool may_punch)
{
    GwStream *streams[MAX_STREAMS];
    *f = (Fixture){.before = census_take(), .size = size, .n_streams = n_streams};
    g_mutex_init(&f->lock);
    g_cond_init(&f->came);
    gw_bell_init(&f->bell);
    f->image = gw_image_new("crew-test", size, NULL);
    f->trace = fake_trace_new(size);
    f->copy = g_malloc0(size);
    f->n_seen = g_malloc0(size / PAGE);
    g_assert_nonnull(gw_image_map(f->image, NULL));
    for (unsigned i = 0; i < n_streams; i++) {
        StreamPair pair;
        stream_pair_open(&pair, is_tls ? identity : NULL);
        gw_stream_set_timeout(pair.client, -1);
        gw_stream_set_timeout(pair.server, -1);
        streams[i] = pair.client;
        f->readers[i].fixture = f;
        frame_peer_init(&f->readers[i].peer, pair.server);
    }
    f->crew = gw_crew_new(f->image, fake_trace(f->trace), streams, n_streams, may_punch, &f->bell);
}

static void
set_up(Fixture *f, unsigned n_streams, uint64_t size, gconstpointer is_tls)
{
    set_up_for(f, n_streams, size, is_tls, false);
}

static void
tear_down(Fixture *f)
{
    gint64 began_us = g_get_monotonic_time();
    gw_crew_free(f->crew);
    g_assert_cmpint(g_get_monotonic_time() - began_us, <, 10 * G_TIME_SPAN_SECOND);
    for (unsigned i = 0; i < f->n_streams; i++)
        frame_peer_clear(&f->readers[i].peer);
    gw_trace_free(fake_trace(f->trace));
    gw_image_free(f->image);
    gw_bell_clear(&f->bell);
    g_mutex_clear(&f->lock);
    g_cond_clear(&f->came);
    g_free(f->copy);
    g_free(f->n_seen);
    census_check(&f->before);
}

static void
note_frame(Reader *self, const GwWireHeader *header, const uint8_t *payload)
{
    Fixture *f = self->fixture;
    uint64_t n_bytes = header->count * PAGE;
    g_assert_cmpint(gw_wire_check_place(GW_STREAM_DATA, true, header->type), ==, GW_WIRE_OK);
    g_assert_cmpint(gw_wire_check_range(header, f->size), ==, GW_WIRE_OK);
    g_mutex_lock(&f->lock);
    if (header->type == GW_FRAME_PAGES)
        memcpy(f->copy + header->arg, payload, n_bytes);
    else
        memset(f->copy + header->arg, 0, n_bytes);
    for (uint64_t i = 0; i < header->count; i++)
        f->n_seen[header->arg / PAGE + i]++;
    f->n_pages += header->count;
    g_cond_broadcast(&f->came);
    g_mutex_unlock(&f->lock);
    self->n_pages += header->count;
}

static void
await_pages(Fixture *f, uint64_t n_pages)
{
    g_mutex_lock(&f->lock);
    while (f->n_pages < n_pages)
        g_cond_wait(&f->came, &f->lock);
    g_mutex_unlock(&f->lock);
}

/* One round of one stream. */
static void *
read_round(void *data)
{
    Reader *self = data;
    g_autofree uint8_t *payload = g_malloc(GW_WIRE_MAX_RUN_PAGES * PAGE);
    await_pages(self->fixture, self->after_pages);
    for (;;) {
        GwWireHeader header;
        if (self->slow_us)
            g_usleep((gulong)self->slow_us);
        self->end = frame_peer_receive(&self->peer, &header, payload, GW_WIRE_MAX_RUN_PAGES * PAGE);
        if (self->end < 0)
            return NULL;
        self->n_bytes += GW_WIRE_HEADER_BYTES + header.payload_bytes;
        if (header.type == GW_FRAME_END) {
            self->n_ends++;
            g_assert_cmpuint(header.arg, ==, self->n_ends - 1);
            return NULL;
        }
        note_frame(self, &header, payload);
        if (self->stop_after_bytes && self->n_bytes > self->stop_after_bytes) {
            frame_peer_clear(&self->peer);
            return NULL;
        }
    }
}

static void
await_pass(Fixture *f, GwPassCounters *ret_counters, int *ret_failed, int *ret_stream)
{
    gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
    for (;;) {
        uint64_t seen = gw_bell_count(&f->bell);
        GwPassCounters before, after;
        gw_crew_progress(f->crew, &before);
        if (gw_crew_is_done(f->crew, ret_counters, ret_failed, ret_stream))
            return;
        gw_crew_progress(f->crew, &after);
        g_assert_cmpuint(after.found_pages, >=, before.found_pages);
        g_assert_cmpuint(after.wire_bytes, >=, before.wire_bytes);
        g_assert_cmpint(g_get_monotonic_time(), <, until_us);
        gw_bell_wait(&f->bell, seen, g_get_monotonic_time() + 20000);
    }
}

static void
start_readers(Fixture *f)
{
    memset(f->n_seen, 0, f->size / PAGE);
    f->n_pages = 0;
    for (unsigned i = 0; i < f->n_streams; i++) {
        f->readers[i].n_bytes = f->readers[i].n_pages = 0;
        f->readers[i].thread = g_thread_new("reader", read_round, &f->readers[i]);
    }
}

static void
join_readers(Fixture *f)
{
    for (unsigned i = 0; i < f->n_streams; i++)
        g_thread_join(f->readers[i].thread);
}

/* A pass that works: what came over the wire is what the counters say. */
static GwPassCounters
run_pass(Fixture *f, GwPassKind kind, uint64_t round)
{
    GwPassCounters counters;
    int failed = 0, stream = 0;
    uint64_t n_bytes = 0;
    start_readers(f);
    gw_crew_begin(f->crew, kind, round);
    await_pass(f, &counters, &failed, &stream);
    g_assert_cmpint(failed, ==, 0);
    join_readers(f);
    for (unsigned i = 0; i < f->n_streams; i++) {
        g_assert_cmpint(f->readers[i].end, ==, 0);
        g_assert_cmpuint(f->readers[i].n_ends, ==, round + 1);
        n_bytes += f->readers[i].n_bytes;
    }
    g_assert_cmpuint(counters.wire_bytes, ==, n_bytes);
    return counters;
}

static void
write_page(Fixture *f, uint64_t pfn, uint8_t byte)
{
    uint8_t page[GW_PAGE_SIZE];
    memset(page, byte, sizeof page);
    fake_trace_write(f->trace, f->image, pfn * PAGE, page, sizeof page);
}

static void
fill_all(Fixture *f)
{
    for (uint64_t pfn = 0; pfn < f->size / PAGE; pfn++)
        write_page(f, pfn, 1);
}

static void
assert_equal(Fixture *f)
{
    const uint8_t *map = gw_image_map(f->image, NULL);
    for (uint64_t at = 0; at < f->size; at += PAGE)
        if (memcmp(map + at, f->copy + at, PAGE) != 0)
            g_error("page %" G_GUINT64_FORMAT " differs", at / PAGE);
}

/* --- what is sent ------------------------------------------------------------------------------------- */

/* Content, zeros and holes, in runs of all lengths, over chunk boundaries. */
static void
fill(Fixture *f, uint64_t *ret_content, uint64_t *ret_zeros)
{
    g_autoptr(GRand) random = g_rand_new_with_seed((guint32)g_test_rand_int());
    *ret_content = *ret_zeros = 0;
    for (uint64_t pfn = 0; pfn < f->size / PAGE;) {
        uint64_t length = (uint64_t)g_rand_int_range(random, 1, 700);
        uint64_t end = MIN(pfn + length, f->size / PAGE);
        gint32 what = g_rand_int_range(random, 0, 3);
        for (; pfn < end; pfn++) {
            if (what > 0)
                write_page(f, pfn, what == 1 ? (uint8_t)(pfn % 255 + 1) : 0);
            *ret_content += what == 1;
            *ret_zeros += what == 2;
        }
    }
}

static void
test_all(gconstpointer is_tls)
{
    static const unsigned counts[] = {1, 2, 3, 8};
    for (unsigned i = 0; i < G_N_ELEMENTS(counts); i++) {
        Fixture f;
        uint64_t n_content = 0, n_zeros = 0;
        set_up(&f, counts[i], 3 * SPAN + 5 * PAGE, is_tls);
        fill(&f, &n_content, &n_zeros);
        uint64_t resident = gw_image_resident(f.image);
        GwPassCounters counters = run_pass(&f, GW_PASS_ALL, 0);
        g_assert_cmpuint(counters.sent_pages, ==, n_content);
        g_assert_cmpuint(counters.zero_pages, ==, n_zeros);
        g_assert_cmpuint(counters.found_pages, ==, n_content + n_zeros);
        g_assert_cmpuint(counters.found_pages * PAGE, ==, resident);
        g_assert_cmpuint(gw_image_resident(f.image), ==, resident); /* holes were not even read */
        for (uint64_t off = 0, data = 0, end = 0; off < f.size; off += PAGE) {
            if (off >= end && !gw_image_next_data(f.image, NULL, &data, &end, f.size))
                data = end = f.size;
            g_assert_cmpuint(f.n_seen[off / PAGE], ==, off >= data && off < end ? 1 : 0);
            g_assert_cmpuint(fake_trace_n_protects(f.trace, off), ==, 1);
            g_assert_cmpuint(fake_trace_n_scans(f.trace, off), ==, 0);
            if (off + PAGE >= end)
                data = off + PAGE;
        }
        assert_equal(&f);
        tear_down(&f);
    }
}

static void
test_written(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, 2, 2 * SPAN + 3 * PAGE, is_tls);
    uint64_t n_pages = f.size / PAGE;
    run_pass(&f, GW_PASS_ALL, 0);
    for (uint64_t round = 1; round < 6; round++) {
        g_autofree uint8_t *written = g_malloc0(n_pages);
        uint64_t n_written = 0, n_zeros = 0;
        /* every second page, so that a chunk has more runs than a scan returns; random ones; all; none */
        for (uint64_t pfn = 0; pfn < n_pages; pfn++)
            written[pfn] = round == 1   ? pfn % 2
                           : round == 2 ? (uint8_t)(g_test_rand_int() & 1)
                           : round == 3 ? 1
                           : round == 4 ? 0
                                        : pfn == 0 || pfn == n_pages - 1;
        for (uint64_t pfn = 0; pfn < n_pages; pfn++) {
            if (!written[pfn])
                continue;
            uint8_t byte = (uint8_t)((pfn + round) % 5);
            write_page(&f, pfn, byte);
            n_written++;
            n_zeros += byte == 0;
        }
        GwPassCounters counters = run_pass(&f, GW_PASS_WRITTEN, round);
        g_assert_cmpuint(counters.found_pages, ==, n_written);
        g_assert_cmpuint(counters.zero_pages, ==, n_zeros);
        g_assert_cmpuint(counters.sent_pages, ==, n_written - n_zeros);
        for (uint64_t pfn = 0; pfn < n_pages; pfn++)
            g_assert_cmpuint(f.n_seen[pfn], ==, written[pfn]);
        assert_equal(&f);
        g_assert_cmpuint(fake_trace_n_written(f.trace), ==, 0);
    }
    tear_down(&f);
}

/* A hole that was punched is no write; it is told all the same. */
static void
test_written_and_holes(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, 3, 3 * SPAN, is_tls);
    uint64_t n_pages = f.size / PAGE;
    for (uint64_t pfn = 0; pfn < n_pages; pfn++)
        write_page(&f, pfn, 7);
    run_pass(&f, GW_PASS_ALL, 0);
    g_assert_cmpint(gw_image_punch(f.image, 10 * PAGE, 20 * PAGE), ==, 0);
    g_assert_cmpint(gw_image_punch(f.image, SPAN - PAGE, 2 * PAGE), ==, 0); /* over a boundary */
    g_assert_cmpint(gw_image_punch(f.image, 2 * SPAN, SPAN), ==, 0);
    write_page(&f, 15, 9); /* and into one */
    write_page(&f, n_pages - 1, 3);
    GwPassCounters counters = run_pass(&f, GW_PASS_WRITTEN, 1);
    g_assert_cmpuint(counters.found_pages, ==, 2);
    g_assert_cmpuint(f.copy[10 * PAGE], ==, 7); /* this kind does not see them */
    write_page(&f, 16, 4);
    counters = run_pass(&f, GW_PASS_WRITTEN_AND_HOLES, 2);
    g_assert_cmpuint(counters.found_pages, ==, 1);
    assert_equal(&f);
    tear_down(&f);
}

/* What was written and then punched reads as zeros, and is a hole still when it has been sent. */
static void
test_holes_stay_holes(gconstpointer is_tls)
{
    Fixture f;
    set_up_for(&f, 2, SPAN, is_tls, true);
    fill_all(&f);
    run_pass(&f, GW_PASS_ALL, 0);
    assert_equal(&f);
    fill_all(&f);
    g_assert_cmpint(gw_image_punch(f.image, 3 * PAGE, 40 * PAGE), ==, 0);
    g_assert_cmpint(gw_image_punch(f.image, CHUNK - PAGE, 600 * PAGE), ==, 0);
    GwPassCounters counters = run_pass(&f, GW_PASS_WRITTEN, 1);
    g_assert_cmpuint(counters.found_pages, ==, f.size / PAGE);
    g_assert_cmpuint(counters.zero_pages, ==, 640);
    g_assert_cmpuint(gw_image_resident(f.image), ==, f.size - 640 * PAGE);
    assert_equal(&f);
    tear_down(&f);
}

/* All of it is punched when some page has gone out by half: the other half is not there any more. */
static void
test_punched_on_its_way(gconstpointer is_tls)
{
    for (unsigned i = 1; i <= 4; i++) {
        Fixture f;
        GwWireHeader header;
        GwPassCounters counters;
        int failed = 0, stream = 0;
        g_autofree uint8_t *payload = g_malloc(GW_WIRE_MAX_RUN_PAGES * PAGE);
        set_up_for(&f, 1, 8 * SPAN, is_tls, true); /* more than sockets hold */
        fill_all(&f);
        gw_crew_begin(f.crew, GW_PASS_ALL, 0);
        for (unsigned n = 0; n < i; n++) {
            int r = frame_peer_receive(&f.readers[0].peer, &header, payload, GW_WIRE_MAX_RUN_PAGES * PAGE);
            g_assert_cmpint(r, ==, 0);
            note_frame(&f.readers[0], &header, payload);
        }
        g_assert_cmpint(gw_image_punch(f.image, 0, f.size), ==, 0);
        start_readers(&f);
        await_pass(&f, &counters, &failed, &stream);
        join_readers(&f);
        g_assert_cmpint(failed, ==, 0);
        g_assert_cmpuint(gw_image_resident(f.image), ==, 0);
        run_pass(&f, GW_PASS_WRITTEN_AND_HOLES, 1);
        assert_equal(&f);
        tear_down(&f);
    }
}

static void
test_verify(void)
{
    Fixture f;
    GwPassCounters counters;
    int failed = 0, stream = 0;
    set_up(&f, 2, 2 * SPAN, NULL);
    run_pass(&f, GW_PASS_ALL, 0);
    for (uint64_t n = 0; n < 3; n++) {
        for (uint64_t i = 0; i < n * 300; i++)
            write_page(&f, 3 * i, 1);
        gw_crew_begin(f.crew, GW_PASS_VERIFY, 0);
        await_pass(&f, &counters, &failed, &stream);
        g_assert_cmpint(failed, ==, 0);
        g_assert_cmpuint(counters.found_pages, ==, n * 300);
        g_assert_cmpuint(counters.sent_pages + counters.zero_pages + counters.wire_bytes, ==, 0);
    }
    counters = run_pass(&f, GW_PASS_WRITTEN, 1); /* nothing of it is between the ENDs */
    g_assert_cmpuint(counters.wire_bytes, ==, 2 * GW_WIRE_HEADER_BYTES);
    tear_down(&f);
}

typedef struct {
    Fixture *fixture;
    int stop;
    uint64_t n_writes;
} Writer;

static void *
write_on(void *data)
{
    Writer *self = data;
    uint64_t n_pages = self->fixture->size / PAGE;
    for (uint64_t i = 0; !g_atomic_int_get(&self->stop); i++) {
        uint64_t number = i + 1;
        uint64_t pfn = i % 7 == 0 ? i * 31 % n_pages : i % 64;
        fake_trace_write(self->fixture->trace, self->fixture->image, pfn * PAGE + i * 8 % PAGE, &number, 8);
        self->n_writes++;
    }
    return NULL;
}

/* The guest writes all the time, in the midst of every pass. Once it stands still, one more pass is enough.
 */
static void
test_under_writes(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, 2, 2 * SPAN, is_tls);
    Writer writer = {.fixture = &f};
    GThread *thread = g_thread_new("writer", write_on, &writer);
    run_pass(&f, GW_PASS_ALL, 0);
    for (uint64_t round = 1; round < 8; round++)
        run_pass(&f, GW_PASS_WRITTEN, round);
    g_atomic_int_set(&writer.stop, 1);
    g_thread_join(thread);
    run_pass(&f, GW_PASS_WRITTEN, 8);
    g_assert_cmpuint(writer.n_writes, >, 0);
    assert_equal(&f);
    GwPassCounters nothing = run_pass(&f, GW_PASS_WRITTEN, 9);
    g_assert_cmpuint(nothing.found_pages, ==, 0);
    tear_down(&f);
}

/* --- streams that differ ------------------------------------------------------------------------------ */

/* Who is slow takes fewer chunks, and nobody waits for more than the chunk that it has. */
static void
test_unequal_streams(void)
{
    Fixture f;
    set_up(&f, 2, 16 * SPAN, NULL);
    for (uint64_t pfn = 0; pfn < f.size / PAGE; pfn++)
        write_page(&f, pfn, (uint8_t)(pfn % 255 + 1));
    f.readers[1].after_pages = 10 * SPAN / PAGE; /* sockets hold less than the rest */
    run_pass(&f, GW_PASS_ALL, 0);
    g_test_message("%u and %u pages", (unsigned)f.readers[0].n_pages, (unsigned)f.readers[1].n_pages);
    g_assert_cmpuint(f.readers[1].n_pages, <, f.readers[0].n_pages);
    g_assert_cmpuint(f.readers[1].n_pages % (CHUNK / PAGE), ==, 0);
    assert_equal(&f);
    tear_down(&f);
}

/* --- what fails --------------------------------------------------------------------------------------- */

static void
test_stream_fails(gconstpointer is_tls)
{
    for (unsigned which = 0; which < 3; which++) {
        Fixture f;
        GwPassCounters counters;
        int failed = 0, stream = -7;
        set_up(&f, 3, 24 * SPAN, is_tls);
        fill_all(&f);
        f.readers[which].stop_after_bytes = 100000;
        for (unsigned i = 0; i < 3; i++)
            f.readers[i].slow_us = i == which ? 0 : 2000;
        start_readers(&f);
        gw_crew_begin(f.crew, GW_PASS_ALL, 0);
        await_pass(&f, &counters, &failed, &stream);
        g_assert_cmpint(failed, ==, -ECONNRESET);
        g_assert_cmpint(stream, ==, (int)which);
        g_assert_cmpuint(counters.found_pages, <, f.size / PAGE); /* the others have stopped, too */
        gw_crew_shutdown(f.crew);
        join_readers(&f);
        for (unsigned i = 0; i < 3; i++)
            g_assert_cmpuint(f.readers[i].n_ends, ==, 0); /* nobody takes it for a whole round */
        tear_down(&f);
    }
}

static void
test_trace_fails(void)
{
    for (unsigned in_scan = 0; in_scan < 2; in_scan++) {
        Fixture f;
        GwPassCounters counters;
        int failed = 0, stream = -7;
        set_up(&f, 2, 8 * SPAN, NULL);
        fill_all(&f);
        if (in_scan) {
            run_pass(&f, GW_PASS_ALL, 0);
            fill_all(&f);
            fake_trace_fail_scan(f.trace, 3 * SPAN + 9 * PAGE, -EFAULT);
        } else
            fake_trace_fail_protect(f.trace, 3 * SPAN + 9 * PAGE, -ENOENT);
        start_readers(&f);
        gw_crew_begin(f.crew, in_scan ? GW_PASS_WRITTEN : GW_PASS_ALL, in_scan);
        await_pass(&f, &counters, &failed, &stream);
        g_assert_cmpint(failed, ==, in_scan ? -EFAULT : -ENOENT);
        g_assert_cmpint(stream, ==, -1);
        gw_crew_shutdown(f.crew);
        join_readers(&f);
        g_assert_cmpuint(f.readers[0].n_ends + f.readers[1].n_ends, <=, in_scan ? 3 : 1);
        tear_down(&f);
    }
}

/* Nobody reads: the threads wait in their streams, until they are told to end. */
static void
test_shutdown(gconstpointer is_tls)
{
    Fixture f;
    GwPassCounters counters;
    int failed = 0, stream = -7;
    set_up(&f, 2, 16 * SPAN, is_tls);
    fill_all(&f);
    gw_crew_begin(f.crew, GW_PASS_ALL, 0);
    g_usleep(50000);
    g_assert_false(gw_crew_is_done(f.crew, &counters, &failed, &stream));
    gint64 began_us = g_get_monotonic_time();
    gw_crew_shutdown(f.crew);
    await_pass(&f, &counters, &failed, &stream);
    g_assert_cmpint(g_get_monotonic_time() - began_us, <, 10 * G_TIME_SPAN_SECOND);
    g_assert_cmpint(failed, ==, -ESHUTDOWN);
    g_assert_cmpint(stream, >=, 0);
    tear_down(&f);
}

static void
test_free(gconstpointer is_tls)
{
    for (unsigned i = 0; i < 6; i++) {
        Fixture f;
        set_up(&f, 1 + i % 3, 8 * SPAN, is_tls);
        if (i >= 1) {
            fill_all(&f);
            gw_crew_begin(f.crew, GW_PASS_ALL, 0);
            g_usleep(i * 1500);
        }
        tear_down(&f);
    }
    gw_crew_free(NULL);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GwTlsIdentity) mine = test_identity_new("host1");
    identity = mine;

    test_add_both("/crew/all", test_all);
    test_add_both("/crew/written", test_written);
    test_add_both("/crew/written-and-holes", test_written_and_holes);
    test_add_both("/crew/holes-stay-holes", test_holes_stay_holes);
    test_add_both("/crew/punched-on-its-way", test_punched_on_its_way);
    g_test_add_func("/crew/verify", test_verify);
    test_add_both("/crew/under-writes", test_under_writes);
    g_test_add_func("/crew/unequal-streams", test_unequal_streams);
    test_add_both("/crew/stream-fails", test_stream_fails);
    g_test_add_func("/crew/trace-fails", test_trace_fails);
    test_add_both("/crew/shutdown", test_shutdown);
    test_add_both("/crew/free", test_free);
    return g_test_run();
}
