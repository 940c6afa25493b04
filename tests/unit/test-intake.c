/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The destination's receiving threads: what they write is what the rounds say in their order, whatever the
 * order in which the streams deliver; and a frame that is wrong ends all of them, by name. */
#include "intake.h"

#include "census.h"
#include "certificates.h"
#include "error.h"
#include "frames.h"
#include "kernel-abi.h"
#include "stream-pair.h"

#include <fcntl.h>
#include <string.h>

#define PAGE        ((uint64_t)GW_PAGE_SIZE)
#define N_PAGES     ((uint64_t)256)
#define MAX_STREAMS 4
#define PATIENCE_US (20 * G_TIME_SPAN_SECOND)

static GwTlsIdentity *identity;

typedef struct {
    Census before;
    GwImage *image;
    GwBell bell;
    GwControl *control;
    FramePeer source_control;
    GwIntake *intake;
    unsigned n_streams;
    FramePeer peers[MAX_STREAMS];
} Fixture;

static void
set_up(Fixture *f, unsigned n_streams, gconstpointer is_tls)
{
    StreamPair pair;
    GwStream *streams[MAX_STREAMS];
    *f = (Fixture){.before = census_take(), .n_streams = n_streams};
    gw_bell_init(&f->bell);
    f->image = gw_image_new("intake-test", N_PAGES * PAGE, NULL);
    stream_pair_open(&pair, is_tls ? identity : NULL);
    f->control = gw_control_new(pair.server, true, &f->bell, 60000);
    frame_peer_init(&f->source_control, pair.client);
    for (unsigned i = 0; i < n_streams; i++) {
        stream_pair_open(&pair, is_tls ? identity : NULL);
        streams[i] = pair.server;
        frame_peer_init(&f->peers[i], pair.client);
    }
    f->intake = gw_intake_new(f->image, streams, n_streams, f->control, &f->bell);
}

static void
tear_down(Fixture *f)
{
    gint64 began_us = g_get_monotonic_time();
    gw_intake_free(f->intake);
    g_assert_cmpint(g_get_monotonic_time() - began_us, <, 4 * G_TIME_SPAN_SECOND);
    gw_control_free(f->control);
    for (unsigned i = 0; i < f->n_streams; i++)
        frame_peer_clear(&f->peers[i]);
    frame_peer_clear(&f->source_control);
    gw_image_free(f->image);
    gw_bell_clear(&f->bell);
    census_check(&f->before);
}

static void
send_pages(Fixture *f, unsigned stream, uint64_t pfn, uint32_t n_pages, uint8_t byte)
{
    g_autofree uint8_t *bytes = g_malloc(n_pages * PAGE);
    memset(bytes, byte, n_pages * PAGE);
    g_assert_cmpint(
        frame_peer_send(&f->peers[stream], GW_FRAME_PAGES, pfn * PAGE, n_pages, bytes, n_pages * PAGE), ==,
        0);
}

static void
send_zeros(Fixture *f, unsigned stream, uint64_t pfn, uint32_t n_pages)
{
    g_assert_cmpint(frame_peer_send(&f->peers[stream], GW_FRAME_ZERO, pfn * PAGE, n_pages, NULL, 0), ==, 0);
}

static void
send_end(Fixture *f, unsigned stream, uint64_t round)
{
    g_assert_cmpint(frame_peer_send(&f->peers[stream], GW_FRAME_END, round, 0, NULL, 0), ==, 0);
}

/* By the source's means: ROUND on the control stream. */
static void
await_round(Fixture *f, uint64_t round)
{
    GwWireHeader header = frame_peer_expect(&f->source_control, GW_FRAME_ROUND, NULL, 0);
    g_assert_cmpuint(header.arg, ==, round);
    g_assert_cmpuint(header.count, ==, f->n_streams);
    g_assert_cmpuint(gw_intake_n_rounds(f->intake), ==, round + 1);
    g_assert_false(gw_intake_failed(f->intake, NULL));
}

static void
end_round(Fixture *f, uint64_t round)
{
    for (unsigned i = 0; i < f->n_streams; i++)
        send_end(f, i, round);
    await_round(f, round);
}

static uint8_t
byte_of(Fixture *f, uint64_t pfn)
{
    const uint8_t *page = gw_image_map(f->image, NULL) + pfn * PAGE;
    for (unsigned at = 1; at < PAGE; at++)
        g_assert_cmpuint(page[at], ==, page[0]);
    return page[0];
}

static void
await_counter(Fixture *f, uint64_t n_pages)
{
    gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
    for (;;) {
        GwIntakeCounters counters;
        gw_intake_progress(f->intake, &counters);
        if (counters.content_pages + counters.zero_pages >= n_pages)
            return;
        g_assert_cmpint(g_get_monotonic_time(), <, until_us);
        g_usleep(200);
    }
}

static void
assert_fails(Fixture *f, GwError code, const char *expected)
{
    g_autoptr(GError) why = NULL;
    gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
    for (;;) {
        uint64_t seen = gw_bell_count(&f->bell);
        if (gw_intake_failed(f->intake, &why))
            break;
        g_assert_no_error(why);
        g_assert_cmpint(g_get_monotonic_time(), <, until_us);
        gw_bell_wait(&f->bell, seen, until_us);
    }
    g_assert_error(why, GW_ERROR, (int)code);
    g_assert_cmpstr(why->message, ==, expected);
}

/* --- what arrives ------------------------------------------------------------------------------------- */

static void
test_rounds(gconstpointer is_tls)
{
    Fixture f;
    GwIntakeCounters counters;
    set_up(&f, 2, is_tls);
    send_pages(&f, 0, 0, 3, 1);
    send_pages(&f, 1, 100, N_PAGES - 100, 2);
    send_zeros(&f, 0, 50, 10); /* where nothing is */
    end_round(&f, 0);
    g_assert_cmpuint(gw_image_resident(f.image), ==, (3 + N_PAGES - 100) * PAGE);
    g_assert_cmpuint(byte_of(&f, 2), ==, 1);
    g_assert_cmpuint(byte_of(&f, 100), ==, 2);
    g_assert_cmpuint(byte_of(&f, N_PAGES - 1), ==, 2);

    send_pages(&f, 1, 1, 1, 7);
    send_zeros(&f, 0, 110, 20); /* where something is: it takes no memory any more */
    end_round(&f, 1);
    g_assert_cmpuint(gw_image_resident(f.image), ==, (3 + N_PAGES - 100 - 20) * PAGE);
    g_assert_cmpuint(byte_of(&f, 0), ==, 1);
    g_assert_cmpuint(byte_of(&f, 1), ==, 7);
    g_assert_cmpuint(byte_of(&f, 109), ==, 2);
    g_assert_cmpuint(byte_of(&f, 130), ==, 2);
    for (uint64_t off = 0, end = 0; gw_image_next_data(f.image, NULL, &off, &end, N_PAGES * PAGE); off = end)
        g_assert_true(end <= 110 * PAGE || off >= 130 * PAGE);

    gw_intake_progress(f.intake, &counters);
    g_assert_cmpuint(counters.content_pages, ==, 3 + N_PAGES - 100 + 1);
    g_assert_cmpuint(counters.zero_pages, ==, 30);
    g_assert_cmpuint(counters.wire_bytes, ==,
                     (3 + N_PAGES - 100 + 1) * PAGE + (5 + 4) * GW_WIRE_HEADER_BYTES);
    tear_down(&f);
}

/* A stream that is far ahead is not read on before all have come to the end of the round: its newer copy of a
 * page is not overtaken by the older one on another stream. */
static void
test_barrier(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, 3, is_tls);
    send_pages(&f, 0, 5, 1, 1);
    send_end(&f, 0, 0);
    send_pages(&f, 0, 9, 1, 200); /* round 1 */
    send_pages(&f, 0, 5, 1, 201);
    send_end(&f, 0, 1);
    send_end(&f, 1, 0);
    send_pages(&f, 1, 10, 1, 210); /* round 1 */
    send_pages(&f, 2, 20, 1, 3);
    await_counter(&f, 2);
    g_usleep(30000);
    GwIntakeCounters counters;
    gw_intake_progress(f.intake, &counters);
    g_assert_cmpuint(counters.content_pages, ==, 2); /* of round 0; nothing of round 1 */
    g_assert_cmpuint(gw_intake_n_rounds(f.intake), ==, 0);
    g_assert_cmpuint(byte_of(&f, 5), ==, 1);

    send_pages(&f, 2, 9, 1, 100); /* the older copies */
    send_pages(&f, 2, 10, 1, 110);
    send_end(&f, 2, 0);
    await_round(&f, 0);
    send_end(&f, 1, 1);
    await_counter(&f, 7);
    g_assert_cmpuint(gw_intake_n_rounds(f.intake), ==, 1);
    send_end(&f, 2, 1);
    await_round(&f, 1);
    g_assert_cmpuint(byte_of(&f, 5), ==, 201);
    g_assert_cmpuint(byte_of(&f, 9), ==, 200);
    g_assert_cmpuint(byte_of(&f, 10), ==, 210);
    tear_down(&f);
}

typedef struct {
    Fixture *fixture;
    unsigned stream, n_rounds;
    guint32 seed; /* common to all */
} Sender;

/* Pages of this stream in this round: those whose hash says so. Some are nobody's. */
static bool
is_mine(const Sender *self, uint64_t pfn, unsigned round)
{
    uint64_t hash = (pfn * 2654435761u + round * 40503u + self->seed) >> 7;
    return hash % (self->fixture->n_streams + 1) == self->stream;
}

static uint8_t
content_of(uint64_t pfn, unsigned round)
{
    return (uint8_t)((pfn ^ round * 37) % 4 ? pfn + round * 7 + 1 : 0);
}

static void *
send_rounds(void *data)
{
    Sender *self = data;
    for (unsigned round = 0; round < self->n_rounds; round++) {
        for (uint64_t pfn = 0; pfn < N_PAGES; pfn++) {
            if (!is_mine(self, pfn, round))
                continue;
            uint8_t byte = content_of(pfn, round);
            if (byte)
                send_pages(self->fixture, self->stream, pfn, 1, byte);
            else
                send_zeros(self->fixture, self->stream, pfn, 1);
        }
        send_end(self->fixture, self->stream, round);
        /* not waiting for ROUND, unlike a real source: the barrier alone keeps the order */
        if (g_test_rand_int_range(0, 3) == 0)
            g_usleep((gulong)g_test_rand_int_range(0, 500));
    }
    return NULL;
}

/* What the last round that had the page said of it. */
static uint8_t
last_content(const Sender *senders, uint64_t pfn)
{
    for (unsigned round = senders[0].n_rounds; round-- > 0;)
        for (unsigned i = 0; i < senders[0].fixture->n_streams; i++)
            if (is_mine(&senders[i], pfn, round))
                return content_of(pfn, round);
    return 0;
}

/* Every stream at its own pace, rounds ahead of each other. */
static void
test_many_rounds(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, 3, is_tls);
    enum { ROUNDS = 60 };
    Sender senders[3];
    GThread *threads[3];
    guint32 seed = (guint32)g_test_rand_int();
    for (unsigned i = 0; i < 3; i++) {
        senders[i] = (Sender){&f, i, ROUNDS, seed};
        threads[i] = g_thread_new("sender", send_rounds, &senders[i]);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        GwWireHeader header = frame_peer_expect(&f.source_control, GW_FRAME_ROUND, NULL, 0);
        g_assert_cmpuint(header.count, ==, 3);
    }
    for (unsigned i = 0; i < 3; i++)
        g_thread_join(threads[i]);
    g_assert_false(gw_intake_failed(f.intake, NULL));
    g_assert_cmpuint(gw_intake_n_rounds(f.intake), ==, ROUNDS);
    uint64_t n_content = 0;
    for (uint64_t pfn = 0; pfn < N_PAGES; pfn++) {
        uint8_t expected = last_content(senders, pfn);
        uint64_t off = pfn * PAGE, end = 0;
        bool is_data = gw_image_next_data(f.image, NULL, &off, &end, (pfn + 1) * PAGE);
        g_assert_cmpint(is_data, ==, expected != 0);
        n_content += is_data;
        if (is_data)
            g_assert_cmpuint(byte_of(&f, pfn), ==, expected);
    }
    g_assert_cmpuint(gw_image_resident(f.image), ==, n_content * PAGE);
    tear_down(&f);
}

/* --- what is refused ---------------------------------------------------------------------------------- */

static void
assert_refused(gconstpointer is_tls, GwFrameType type, uint64_t arg, uint32_t count, size_t payload_bytes,
               uint64_t skip, const char *why)
{
    Fixture f;
    set_up(&f, 2, is_tls);
    g_autofree uint8_t *payload = g_malloc0(MAX(payload_bytes, 1));
    g_autofree char *expected = g_strdup_printf("data stream 1: a frame is refused: %s", why);
    send_end(&f, 0, 0); /* waits at the barrier, and is freed of it */
    f.peers[1].send_sequence += skip;
    g_assert_cmpint(frame_peer_send(&f.peers[1], type, arg, count, payload, payload_bytes), ==, 0);
    assert_fails(&f, GW_ERROR_PROTOCOL, expected);
    g_assert_cmpuint(gw_image_resident(f.image), ==, 0);
    g_assert_cmpuint(gw_intake_n_rounds(f.intake), ==, 0);
    /* The other stream has ended, too. */
    char byte;
    g_assert_cmpint(gw_stream_receive(f.peers[0].stream, &byte, 1), <, 0);
    tear_down(&f);
}

static void
test_refused(gconstpointer is_tls)
{
    assert_refused(is_tls, GW_FRAME_PAGES, N_PAGES * PAGE, 1, PAGE, 0, "bad-range PAGES");
    assert_refused(is_tls, GW_FRAME_PAGES, (N_PAGES - 1) * PAGE, 2, 2 * PAGE, 0, "bad-range PAGES");
    assert_refused(is_tls, GW_FRAME_PAGES, PAGE / 2, 1, PAGE, 0, "bad-range PAGES");
    assert_refused(is_tls, GW_FRAME_PAGES, UINT64_MAX - PAGE + 1, 1, PAGE, 0, "bad-range PAGES");
    assert_refused(is_tls, GW_FRAME_ZERO, 0, N_PAGES + 1, 0, 0, "bad-range ZERO");
    assert_refused(is_tls, GW_FRAME_ZERO, 0, 0, 0, 0, "bad-range ZERO");
    assert_refused(is_tls, GW_FRAME_ZERO, 1, 1, 0, 0, "bad-range ZERO");
    assert_refused(is_tls, GW_FRAME_ZERO, (N_PAGES - 1) * PAGE, UINT32_MAX, 0, 0, "bad-range ZERO");
    assert_refused(is_tls, GW_FRAME_PAGES, 0, 2, PAGE, 0, "bad-length");
    assert_refused(is_tls, GW_FRAME_PAGES, 0, 1, PAGE - 1, 0, "bad-length");
    assert_refused(is_tls, GW_FRAME_ZERO, 0, 1, 8, 0, "bad-length");
    assert_refused(is_tls, GW_FRAME_END, 1, 0, 0, 0, "bad-place END");
    assert_refused(is_tls, GW_FRAME_END, UINT64_MAX, 0, 0, 0, "bad-place END");
    assert_refused(is_tls, GW_FRAME_END, 0, 1, 0, 0, "bad-reserved");
    assert_refused(is_tls, GW_FRAME_ZERO, 0, 1, 0, 1, "bad-sequence");
    assert_refused(is_tls, GW_FRAME_ZERO, 0, 1, 0, UINT64_MAX, "bad-sequence");
    assert_refused(is_tls, GW_FRAME_PING, 0, 0, 0, 0, "bad-place PING");
    assert_refused(is_tls, GW_FRAME_STATE, 0, 0, 8, 0, "bad-place STATE");
    assert_refused(is_tls, GW_FRAME_GO, 0, 1, 0, 0, "bad-place GO");
}

/* END said twice for the same round. */
static void
test_end_repeated(void)
{
    Fixture f;
    set_up(&f, 1, NULL);
    end_round(&f, 0);
    send_end(&f, 0, 0);
    assert_fails(&f, GW_ERROR_PROTOCOL, "data stream 0: a frame is refused: bad-place END");
    tear_down(&f);
}

static void
test_garbage(void)
{
    Fixture f;
    uint8_t bytes[64];
    memset(bytes, 0xa5, sizeof bytes);
    set_up(&f, 2, NULL);
    g_assert_cmpint(gw_stream_send(f.peers[1].stream, &(struct iovec){bytes, sizeof bytes}, 1), ==, 0);
    assert_fails(&f, GW_ERROR_PROTOCOL, "data stream 1: a frame is refused: bad-magic");
    tear_down(&f);
}

/* --- what is lost ------------------------------------------------------------------------------------- */

static void
test_closed(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, 3, is_tls);
    send_end(&f, 0, 0);
    send_pages(&f, 1, 0, 1, 1);
    frame_peer_clear(&f.peers[1]);
    assert_fails(&f, GW_ERROR_PEER_LOST, "data stream 1: the peer closed the connection");
    tear_down(&f);
}

/* In the midst of a page: what has come of it may be there, but no round is complete. */
static void
test_cut_short(gconstpointer is_tls)
{
    for (unsigned cut = 0; cut < 3; cut++) {
        Fixture f;
        uint8_t bytes[GW_WIRE_HEADER_BYTES + 100] = {0};
        set_up(&f, 1, is_tls);
        gw_wire_encode_header(
            &(GwWireHeader){.type = GW_FRAME_PAGES, .count = 1, .payload_bytes = GW_PAGE_SIZE, .sequence = 1},
            bytes);
        static const size_t sizes[] = {10, GW_WIRE_HEADER_BYTES, sizeof bytes};
        g_assert_cmpint(gw_stream_send(f.peers[0].stream, &(struct iovec){bytes, sizes[cut]}, 1), ==, 0);
        frame_peer_clear(&f.peers[0]);
        assert_fails(&f, GW_ERROR_PEER_LOST, "data stream 0: the peer closed the connection");
        GwIntakeCounters counters;
        gw_intake_progress(f.intake, &counters);
        g_assert_cmpuint(counters.content_pages, ==, 0);
        g_assert_cmpuint(gw_intake_n_rounds(f.intake), ==, 0);
        tear_down(&f);
    }
}

static void
test_write_fails(void)
{
    Fixture f;
    set_up(&f, 2, NULL);
    g_assert_cmpint(fcntl(gw_image_fd(f.image), F_ADD_SEALS, F_SEAL_WRITE), ==, 0);
    send_pages(&f, 0, 0, 1, 1);
    assert_fails(&f, GW_ERROR_IO, "writing guest memory: Operation not permitted");
    tear_down(&f);
}

/* Without content that was sent, zeros are not even looked at; with it, a hole that cannot be made is told.
 */
static void
test_punch_fails(void)
{
    Fixture f;
    set_up(&f, 1, NULL);
    send_pages(&f, 0, 3, 1, 1);
    end_round(&f, 0);
    g_assert_cmpint(fcntl(gw_image_fd(f.image), F_ADD_SEALS, F_SEAL_WRITE), ==, 0);
    send_zeros(&f, 0, 4, 100);
    end_round(&f, 1);
    send_zeros(&f, 0, 0, 100);
    assert_fails(&f, GW_ERROR_IO, "writing guest memory: Operation not permitted");
    tear_down(&f);
}

/* One waits at the barrier, one in the midst of a page, one for its next frame: nothing that comes now is
 * written, and the source, which is told why elsewhere, notices nothing. */
static void
test_stop(gconstpointer is_tls)
{
    Fixture f;
    uint8_t header[GW_WIRE_HEADER_BYTES];
    set_up(&f, 3, is_tls);
    send_pages(&f, 0, 0, 1, 1);
    send_end(&f, 0, 0);
    gw_wire_encode_header(
        &(GwWireHeader){.type = GW_FRAME_PAGES, .count = 1, .payload_bytes = GW_PAGE_SIZE, .sequence = 1},
        header);
    g_assert_cmpint(gw_stream_send(f.peers[1].stream, &(struct iovec){header, sizeof header}, 1), ==, 0);
    send_pages(&f, 2, 20, 1, 3);
    await_counter(&f, 2);
    gint64 began_us = g_get_monotonic_time();
    gw_intake_stop(f.intake);
    gw_intake_stop(f.intake);
    g_assert_cmpint(g_get_monotonic_time() - began_us, <, 4 * G_TIME_SPAN_SECOND);
    g_assert_false(gw_intake_failed(f.intake, NULL));

    static const uint8_t rest[GW_PAGE_SIZE] = {9};
    for (unsigned i = 0; i < 5; i++) { /* into a connection that had ended, the second would fail */
        g_assert_cmpint(gw_stream_send(f.peers[1].stream, &(struct iovec){(void *)rest, sizeof rest}, 1), ==,
                        0);
        send_pages(&f, 0, 0, 1, 9);
        send_pages(&f, 2, 20, 1, 9);
        g_usleep(5000);
    }
    g_assert_cmpuint(byte_of(&f, 0), ==, 1);
    g_assert_cmpuint(byte_of(&f, 20), ==, 3);
    g_assert_cmpuint(gw_image_resident(f.image), ==, 2 * PAGE);
    tear_down(&f);
    gw_intake_stop(NULL);
}

static void
test_free(gconstpointer is_tls)
{
    for (unsigned i = 0; i < 6; i++) {
        Fixture f;
        set_up(&f, 1 + i % 3, is_tls);
        if (i > 2)
            send_end(&f, 0, 0); /* waits at the barrier, if there is another stream */
        if (i > 3)
            send_pages(&f, 0, 0, 20, 1);
        g_usleep(i * 1000);
        g_assert_false(gw_intake_failed(f.intake, NULL));
        tear_down(&f);
    }
    gw_intake_free(NULL);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GwTlsIdentity) mine = test_identity_new("host1");
    identity = mine;

    test_add_both("/intake/rounds", test_rounds);
    test_add_both("/intake/barrier", test_barrier);
    test_add_both("/intake/many-rounds", test_many_rounds);
    test_add_both("/intake/refused", test_refused);
    g_test_add_func("/intake/end-repeated", test_end_repeated);
    g_test_add_func("/intake/garbage", test_garbage);
    test_add_both("/intake/closed", test_closed);
    test_add_both("/intake/cut-short", test_cut_short);
    g_test_add_func("/intake/write-fails", test_write_fails);
    g_test_add_func("/intake/punch-fails", test_punch_fails);
    test_add_both("/intake/stop", test_stop);
    test_add_both("/intake/free", test_free);
    return g_test_run();
}
