/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control stream against peers that are honest, silent, slow, gone, or liars, plain and with TLS. */
#include "control.h"

#include "census.h"
#include "certificates.h"
#include "error.h"
#include "stream-pair.h"

#include <errno.h>
#include <string.h>

#define LOST_MS     400u
#define PING_MS     (LOST_MS / GW_CONTROL_PINGS_IN_TIME)
#define PATIENCE_US (20 * G_TIME_SPAN_SECOND)
#define MANY        256u /* frames that are kept */

static GwTlsIdentity *identity;

/* A control stream of ours, and the peer's end of it as bytes. */
typedef struct {
    Census before;
    GwBell bell;
    GwControl *control;
    GwStream *peer;
    uint64_t peer_sequence;
} Fixture;

static void
set_up(Fixture *f, gconstpointer is_tls, unsigned lost_ms)
{
    StreamPair pair;
    *f = (Fixture){.before = census_take(), .peer_sequence = 1};
    gw_bell_init(&f->bell);
    stream_pair_open(&pair, is_tls ? identity : NULL);
    f->peer = pair.client;
    f->control = gw_control_new(pair.server, true, &f->bell, lost_ms);
}

static void
tear_down(Fixture *f)
{
    gint64 began_us = g_get_monotonic_time();
    gw_control_free(f->control);
    g_assert_cmpint(g_get_monotonic_time() - began_us, <, 4 * G_TIME_SPAN_SECOND);
    gw_stream_free(f->peer);
    gw_bell_clear(&f->bell);
    census_check(&f->before);
}

/* --- the peer, by hand -------------------------------------------------------------------------------- */

static int
peer_send(Fixture *f, GwFrameType type, uint64_t arg, const char *text)
{
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    GwWireHeader header = {.type = (uint8_t)type,
                           .arg = arg,
                           .payload_bytes = (uint32_t)strlen(text),
                           .sequence = f->peer_sequence++};
    gw_wire_encode_header(&header, bytes);
    struct iovec parts[] = {{bytes, sizeof bytes}, {(void *)text, strlen(text)}};
    return gw_stream_send(f->peer, parts, *text ? 2 : 1);
}

/* The next frame but PINGs and PONGs. */
static GwWireHeader
peer_receive(Fixture *f, uint64_t *sequence, char *ret_payload)
{
    for (;;) {
        uint8_t bytes[GW_WIRE_HEADER_BYTES];
        GwWireHeader header;
        g_assert_cmpint(gw_stream_receive(f->peer, bytes, sizeof bytes), ==, 0);
        g_assert_cmpint(gw_wire_decode_header(bytes, (*sequence)++, &header), ==, GW_WIRE_OK);
        g_assert_cmpint(gw_stream_receive(f->peer, ret_payload, header.payload_bytes), ==, 0);
        if (header.type != GW_FRAME_PING && header.type != GW_FRAME_PONG)
            return header;
    }
}

static GwWireHeader
peer_receive_type(Fixture *f, uint64_t *sequence, GwFrameType type)
{
    for (;;) {
        uint8_t bytes[GW_WIRE_HEADER_BYTES];
        GwWireHeader header;
        g_assert_cmpint(gw_stream_receive(f->peer, bytes, sizeof bytes), ==, 0);
        g_assert_cmpint(gw_wire_decode_header(bytes, (*sequence)++, &header), ==, GW_WIRE_OK);
        g_assert_cmpuint(header.payload_bytes, ==, 0);
        if (header.type == type)
            return header;
    }
}

static void
take(Fixture *f, GwControlFrame *ret_frame)
{
    gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
    for (;;) {
        uint64_t seen = gw_bell_count(&f->bell);
        if (gw_control_next(f->control, ret_frame))
            return;
        g_assert_cmpint(g_get_monotonic_time(), <, until_us);
        gw_bell_wait(&f->bell, seen, until_us);
    }
}

/* Waits for the end of the connection; what is said of it. */
static GError *
await_failure(Fixture *f)
{
    GError *why = NULL;
    gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
    for (;;) {
        uint64_t seen = gw_bell_count(&f->bell);
        if (gw_control_failed(f->control, &why))
            return why;
        g_assert_no_error(why);
        g_assert_cmpint(g_get_monotonic_time(), <, until_us);
        gw_bell_wait(&f->bell, seen, until_us);
    }
}

static void
assert_fails_for(Fixture *f, GwError code, const char *expected, bool can_say_why)
{
    g_autoptr(GError) why = await_failure(f);
    g_assert_error(why, GW_ERROR, (int)code);
    g_assert_cmpstr(why->message, ==, expected);
    g_assert_true(gw_control_failed(f->control, NULL)); /* and remains so */
    if (can_say_why)
        g_assert_cmpint(gw_control_send(f->control, GW_FRAME_ABORT, 0, 0, "bye", 3), ==, 0);
    else
        g_assert_cmpint(gw_control_send(f->control, GW_FRAME_DONE, 0, 0, NULL, 0), <, 0);
    g_autoptr(GError) again = await_failure(f);
    g_assert_cmpstr(again->message, ==, expected);
}

static void
assert_fails(Fixture *f, GwError code, const char *expected)
{
    assert_fails_for(f, code, expected, false);
}

/* --- frames ------------------------------------------------------------------------------------------- */

static void
test_frames(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, is_tls, 0);
    for (unsigned i = 0; i < 1000; i++) {
        g_autofree char *text = g_strdup_printf("%*u", (int)(i % 300), i);
        g_assert_cmpint(peer_send(&f, GW_FRAME_STATE, i, text), ==, 0);
        if (i % 50 == 49) {
            for (unsigned back = i - 49; back <= i; back++) {
                g_auto(GwControlFrame) frame = {0};
                g_autofree char *expected = g_strdup_printf("%*u", (int)(back % 300), back);
                take(&f, &frame);
                g_assert_cmpuint(frame.header.type, ==, GW_FRAME_STATE);
                g_assert_cmpuint(frame.header.arg, ==, back);
                g_assert_cmpmem(frame.payload, frame.header.payload_bytes, expected, strlen(expected));
                g_assert_cmpint(g_get_monotonic_time() - frame.received_us, <, PATIENCE_US);
            }
        }
    }
    GwControlFrame none;
    g_assert_false(gw_control_next(f.control, &none));
    g_assert_false(gw_control_failed(f.control, NULL));
    g_assert_true(gw_control_stream(f.control) != NULL);
    tear_down(&f);
}

typedef struct {
    GwControl *control;
    unsigned index;
} Sender;

static void *
send_frames(void *data)
{
    Sender *self = data;
    for (unsigned i = 0; i < 300; i++) {
        g_autofree char *text = g_strdup_printf("thread %u, frame %u%*s", self->index, i, (int)i, "");
        g_assert_cmpint(
            gw_control_send(self->control, GW_FRAME_STATE, self->index, i % 2, text, strlen(text)), ==, 0);
    }
    return NULL;
}

/* Threads send at once, the heartbeat among them: frames stay whole, numbered, and in each thread's order. */
static void
test_many_senders(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, is_tls, 500); /* heartbeats that get in between */
    gw_stream_set_timeout(f.peer, 20000);
    Sender senders[4];
    GThread *threads[4];
    unsigned n_seen[4] = {0};
    uint64_t sequence = 1;
    for (unsigned i = 0; i < 4; i++) {
        senders[i] = (Sender){f.control, i};
        threads[i] = g_thread_new("sender", send_frames, &senders[i]);
    }
    for (unsigned n = 0; n < 4 * 300; n++) {
        char payload[400] = "";
        if (n % 40 == 0)
            g_assert_cmpint(peer_send(&f, GW_FRAME_PING, 1, ""), ==, 0);
        GwWireHeader header = peer_receive(&f, &sequence, payload);
        g_assert_cmpuint(header.arg, <, 4);
        g_autofree char *expected = g_strdup_printf("thread %u, frame %u%*s", (unsigned)header.arg,
                                                    n_seen[header.arg], (int)n_seen[header.arg], "");
        g_assert_cmpmem(payload, header.payload_bytes, expected, strlen(expected));
        g_assert_cmpuint(header.count, ==, n_seen[header.arg]++ % 2);
    }
    for (unsigned i = 0; i < 4; i++)
        g_thread_join(threads[i]);
    tear_down(&f);
}

/* What came before the end is taken before the end is told. */
static void
test_frames_before_the_end(void)
{
    Fixture f;
    set_up(&f, NULL, 0);
    for (unsigned i = 0; i < 10; i++)
        g_assert_cmpint(peer_send(&f, GW_FRAME_STATE_END, i, ""), ==, 0);
    gw_stream_shutdown(f.peer);
    while (gw_control_send(f.control, GW_FRAME_DONE, 0, 0, NULL, 0) == 0)
        g_usleep(1000); /* until it is known here */
    for (unsigned i = 0; i < 10; i++) {
        g_auto(GwControlFrame) frame = {0};
        g_assert_false(gw_control_failed(f.control, NULL));
        take(&f, &frame);
        g_assert_cmpuint(frame.header.arg, ==, i);
    }
    g_autoptr(GError) why = await_failure(&f);
    g_assert_error(why, GW_ERROR, GW_ERROR_PEER_LOST);
    tear_down(&f);
}

/* --- heartbeat ---------------------------------------------------------------------------------------- */

static void
test_pings_are_answered(gconstpointer is_tls)
{
    Fixture f;
    uint64_t sequence = 1;
    set_up(&f, is_tls, LOST_MS);
    static const uint64_t args[] = {0, 1, 0x123456789abcdef0u, UINT64_MAX};
    for (unsigned i = 0; i < G_N_ELEMENTS(args); i++) {
        g_assert_cmpint(peer_send(&f, GW_FRAME_PING, args[i], ""), ==, 0);
        g_assert_cmpuint(peer_receive_type(&f, &sequence, GW_FRAME_PONG).arg, ==, args[i]);
    }
    tear_down(&f);
}

static void
test_heartbeat(gconstpointer is_tls)
{
    Fixture f;
    uint64_t sequence = 1, before = 0;
    set_up(&f, is_tls, LOST_MS);
    gint64 began_us = g_get_monotonic_time();
    for (unsigned i = 0; i < 2 * GW_CONTROL_PINGS_IN_TIME; i++) { /* for longer than a silence may last */
        GwWireHeader ping = peer_receive_type(&f, &sequence, GW_FRAME_PING);
        g_assert_cmpuint(ping.arg, >, before);
        before = ping.arg;
        g_usleep(2000); /* the way there and back */
        g_assert_cmpint(peer_send(&f, GW_FRAME_PONG, ping.arg, ""), ==, 0);
    }
    gint64 took_us = g_get_monotonic_time() - began_us;
    g_assert_cmpint(took_us, >=, (2 * GW_CONTROL_PINGS_IN_TIME - 1) * PING_MS * 1000 - 10000);
    g_assert_false(gw_control_failed(f.control, NULL));
    uint64_t rtt_us = gw_control_rtt_us(f.control);
    g_assert_cmpuint(rtt_us, >=, 2000);
    g_assert_cmpuint(rtt_us, <, PATIENCE_US);

    /* then it falls silent */
    began_us = g_get_monotonic_time();
    assert_fails(&f, GW_ERROR_PEER_LOST, "nothing heard from the peer for 0.4 s");
    took_us = g_get_monotonic_time() - began_us;
    g_assert_cmpint(took_us, >=, (LOST_MS - PING_MS) * 1000 - 20000);
    g_assert_cmpint(took_us, <, (LOST_MS + PING_MS) * 1000 + G_TIME_SPAN_SECOND);
    tear_down(&f);
}

/* Half a frame is no sign of life for ever. */
static void
test_lost_in_a_frame(gconstpointer is_tls)
{
    for (unsigned size = 1; size < GW_WIRE_HEADER_BYTES + 4; size += 32) {
        Fixture f;
        uint8_t bytes[GW_WIRE_HEADER_BYTES + 4] = {0};
        set_up(&f, is_tls, 100);
        gw_wire_encode_header(&(GwWireHeader){.type = GW_FRAME_STATE, .payload_bytes = 8, .sequence = 1},
                              bytes);
        g_assert_cmpint(gw_stream_send(f.peer, &(struct iovec){bytes, size}, 1), ==, 0);
        assert_fails(&f, GW_ERROR_PEER_LOST, "nothing heard from the peer for 0.1 s");
        tear_down(&f);
    }
}

/* Two of ours keep each other alive, and measure the way. */
static void
test_two(gconstpointer is_tls)
{
    Census before = census_take();
    StreamPair pair;
    GwBell bell;
    gw_bell_init(&bell);
    stream_pair_open(&pair, is_tls ? identity : NULL);
    g_autoptr(GwControl) one = gw_control_new(pair.client, false, &bell, 200);
    g_autoptr(GwControl) two = gw_control_new(pair.server, true, &bell, 200);
    g_usleep(500000);
    g_assert_false(gw_control_failed(one, NULL) || gw_control_failed(two, NULL));
    g_assert_cmpuint(gw_control_rtt_us(one), >, 0);
    g_assert_cmpuint(gw_control_rtt_us(two), >, 0);
    g_assert_cmpuint(gw_control_rtt_us(one), <, 200000);
    g_clear_pointer(&one, gw_control_free);
    while (!gw_control_failed(two, NULL))
        g_usleep(1000);
    g_clear_pointer(&two, gw_control_free);
    gw_bell_clear(&bell);
    census_check(&before);
}

/* PONGs for PINGs that never were measure nothing. */
static void
test_pong_lies(void)
{
    Fixture f;
    uint64_t sequence = 1;
    set_up(&f, NULL, LOST_MS);
    uint64_t now = (uint64_t)g_get_monotonic_time();
    uint64_t lies[] = {0, UINT64_MAX, now + PATIENCE_US, now + 3600 * (uint64_t)G_TIME_SPAN_SECOND,
                       now - MIN(now, 61 * (uint64_t)G_TIME_SPAN_SECOND)};
    for (unsigned i = 0; i < G_N_ELEMENTS(lies); i++) {
        g_assert_cmpint(peer_send(&f, GW_FRAME_PONG, lies[i], ""), ==, 0);
        g_assert_cmpint(peer_send(&f, GW_FRAME_PING, i, ""), ==, 0); /* answered once the lie has been read */
        g_assert_cmpuint(peer_receive_type(&f, &sequence, GW_FRAME_PONG).arg, ==, i);
        g_assert_cmpuint(gw_control_rtt_us(f.control), ==, 0);
    }
    GwWireHeader ping = peer_receive_type(&f, &sequence, GW_FRAME_PING);
    g_assert_cmpint(peer_send(&f, GW_FRAME_PONG, ping.arg, ""), ==, 0);
    g_assert_cmpint(peer_send(&f, GW_FRAME_PING, 99, ""), ==, 0);
    peer_receive_type(&f, &sequence, GW_FRAME_PONG);
    g_assert_cmpuint(gw_control_rtt_us(f.control), >, 0);
    g_assert_false(gw_control_failed(f.control, NULL));
    tear_down(&f);
}

/* --- nobody takes frames ------------------------------------------------------------------------------ */

typedef struct {
    Fixture *fixture;
    unsigned n_sent; /* guarded by the atomics */
    unsigned n_wanted;
} Flood;

static void *
flood(void *data)
{
    Flood *self = data;
    static char text[4000];
    memset(text, 'x', sizeof text - 1);
    for (unsigned i = 0; i < self->n_wanted; i++) {
        if (peer_send(self->fixture, GW_FRAME_STATE, i, text) < 0)
            break;
        g_atomic_int_inc(&self->n_sent);
    }
    return NULL;
}

/* Behind the frames that are kept: before, a thread that stands still only waits for a CPU. */
static unsigned
await_stand_still(Flood *self)
{
    unsigned n_still = 0;
    for (unsigned before = 0, now; n_still < 4; before = now) {
        g_usleep(50000);
        now = (unsigned)g_atomic_int_get(&self->n_sent);
        n_still = now == before && now >= MANY ? n_still + 1 : 0;
    }
    return (unsigned)g_atomic_int_get(&self->n_sent);
}

/* The peer is made to wait instead of our memory being filled, for longer than a silence may last; all that
 * time it is told that we live, and in the end nothing is missing. */
static void
test_backpressure(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, is_tls, 200);
    Flood self = {.fixture = &f, .n_wanted = 8000};
    gw_stream_set_timeout(f.peer, 20000);
    GThread *thread = g_thread_new("flood", flood, &self);
    unsigned n = await_stand_still(&self);
    g_assert_cmpuint(n, >=, MANY);
    g_assert_cmpuint(n, <, self.n_wanted); /* the rest fits no socket buffer */
    gint64 until_us = g_get_monotonic_time() + 350000;
    uint64_t sequence = 1;
    unsigned n_pings = 0;
    for (; g_get_monotonic_time() < until_us; n_pings++)
        peer_receive_type(&f, &sequence, GW_FRAME_PING);
    g_assert_cmpuint(n_pings, >=, 4);
    g_assert_cmpuint((unsigned)g_atomic_int_get(&self.n_sent), ==, n);
    g_assert_false(gw_control_failed(f.control, NULL));
    for (unsigned i = 0; i < self.n_wanted; i++) {
        g_auto(GwControlFrame) frame = {0};
        take(&f, &frame);
        g_assert_cmpuint(frame.header.arg, ==, i);
        g_assert_cmpuint(frame.header.payload_bytes, ==, 3999);
    }
    g_thread_join(thread);
    tear_down(&f);
}

/* However long nobody takes them, the connection that is then read on is not taken for a dead one. */
static void
test_backpressure_and_silence(void)
{
    Fixture f;
    set_up(&f, NULL, 200);
    for (unsigned i = 0; i < MANY + 1; i++)
        g_assert_cmpint(peer_send(&f, GW_FRAME_STATE_END, i, ""), ==, 0);
    g_usleep(400000);
    for (unsigned i = 0; i < MANY + 1; i++) {
        g_auto(GwControlFrame) frame = {0};
        take(&f, &frame);
        g_assert_cmpuint(frame.header.arg, ==, i);
    }
    g_assert_cmpint(peer_send(&f, GW_FRAME_STATE_END, 7, ""), ==, 0);
    g_auto(GwControlFrame) frame = {0};
    take(&f, &frame);
    g_assert_cmpuint(frame.header.arg, ==, 7);
    tear_down(&f);
}

/* Nobody reads at the other end: who sends gets an error in time, the others likewise. */
static void
test_peer_does_not_read(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, is_tls, 200);
    static uint8_t bytes[GW_WIRE_MAX_PAYLOAD];
    int r = 0;
    gint64 began_us = g_get_monotonic_time();
    while (r == 0 && g_get_monotonic_time() - began_us < PATIENCE_US)
        r = gw_control_send(f.control, GW_FRAME_STATE, 0, 0, bytes, sizeof bytes);
    g_assert_cmpint(r, <, 0);
    assert_fails(&f, GW_ERROR_PEER_LOST, "nothing heard from the peer for 0.2 s");
    tear_down(&f);
}

/* --- wrong frames ------------------------------------------------------------------------------------- */

static void
assert_refused(gconstpointer is_tls, const GwWireHeader *header, unsigned at, uint8_t flip, const char *why)
{
    Fixture f;
    uint8_t bytes[GW_WIRE_HEADER_BYTES];
    set_up(&f, is_tls, 0);
    g_autofree char *expected = g_strconcat("the peer sent a frame that is refused: ", why, NULL);
    gw_wire_encode_header(header, bytes);
    bytes[at] ^= flip;
    g_assert_cmpint(peer_send(&f, GW_FRAME_STATE_END, 5, ""), ==, 0);
    g_assert_cmpint(gw_stream_send(f.peer, &(struct iovec){bytes, sizeof bytes}, 1), ==, 0);
    g_assert_cmpint(peer_send(&f, GW_FRAME_STATE_END, 6, ""), ==, 0);
    g_auto(GwControlFrame) frame = {0}, none = {0};
    take(&f, &frame); /* what came before stands */
    g_assert_cmpuint(frame.header.arg, ==, 5);
    assert_fails_for(&f, GW_ERROR_PROTOCOL, expected, true);
    g_assert_false(gw_control_next(f.control, &none)); /* what comes behind is not heard */
    uint64_t sequence = 1;
    char text[16];
    g_assert_cmpuint(peer_receive(&f, &sequence, text).type, ==, GW_FRAME_ABORT);
    tear_down(&f);
}

static void
test_wrong_frames(gconstpointer is_tls)
{
    GwWireHeader right = {.type = GW_FRAME_STATE_END, .sequence = 2};
    assert_refused(is_tls, &right, 0, 1, "bad-magic");
    assert_refused(is_tls, &right, 4, 0xff, "bad-type");
    assert_refused(is_tls, &right, 5, 1, "bad-reserved");
    assert_refused(is_tls, &right, 8, 1, "bad-length");
    assert_refused(is_tls, &right, 16, 1, "bad-sequence"); /* 3 */
    assert_refused(is_tls, &right, 16, 3, "bad-sequence"); /* 1: repeated */
    GwWireHeader long_one = {.type = GW_FRAME_STATE, .sequence = 2, .payload_bytes = GW_WIRE_MAX_PAYLOAD + 1};
    assert_refused(is_tls, &long_one, 0, 0, "bad-length");
    GwWireHeader empty = {.type = GW_FRAME_STATE, .sequence = 2};
    assert_refused(is_tls, &empty, 0, 0, "bad-length");
    static const GwFrameType misplaced[] = {GW_FRAME_END,   GW_FRAME_LOADED, GW_FRAME_RUNS,
                                            GW_FRAME_NEVER, GW_FRAME_READY,  GW_FRAME_ASK};
    for (unsigned i = 0; i < G_N_ELEMENTS(misplaced); i++) {
        GwWireHeader header = {.type = (uint8_t)misplaced[i], .sequence = 2};
        g_autofree char *why = g_strdup_printf("bad-place %s", gw_frame_type_name(misplaced[i]));
        assert_refused(is_tls, &header, 0, 0, why);
    }
}

/* --- ends --------------------------------------------------------------------------------------------- */

static void
test_closed_by_peer(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, is_tls, 0);
    g_clear_pointer(&f.peer, gw_stream_free);
    assert_fails(&f, GW_ERROR_PEER_LOST, "the peer closed the connection");
    tear_down(&f);
}

static void *
shut_down_later(void *data)
{
    g_usleep(50000);
    gw_control_shutdown(data);
    return NULL;
}

/* Ends a send that waits; what had come stays. */
static void
test_shutdown(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, is_tls, 0);
    g_assert_cmpint(peer_send(&f, GW_FRAME_STATE_END, 3, ""), ==, 0);
    g_auto(GwControlFrame) frame = {0};
    uint64_t seen = 0;
    gw_bell_wait(&f.bell, seen, g_get_monotonic_time() + PATIENCE_US);
    GThread *thread = g_thread_new("shutdown", shut_down_later, f.control);
    static uint8_t bytes[GW_WIRE_MAX_PAYLOAD];
    gint64 began_us = g_get_monotonic_time();
    while (gw_control_send(f.control, GW_FRAME_STATE, 0, 0, bytes, sizeof bytes) == 0)
        ;
    g_assert_cmpint(g_get_monotonic_time() - began_us, <, 4 * G_TIME_SPAN_SECOND);
    g_thread_join(thread);
    g_assert_true(gw_control_next(f.control, &frame));
    g_assert_cmpuint(frame.header.arg, ==, 3);
    g_autoptr(GError) why = await_failure(&f);
    g_assert_error(why, GW_ERROR, GW_ERROR_PEER_LOST);
    tear_down(&f);
}

/* At any moment, with frames that nobody has taken, and with a reader that waits for room. */
static void
test_free(gconstpointer is_tls)
{
    for (unsigned i = 0; i < 8; i++) {
        Fixture f;
        set_up(&f, is_tls, i % 2 ? 20 : 0);
        Flood self = {.fixture = &f, .n_wanted = i * 100};
        GThread *thread = g_thread_new("flood", flood, &self);
        g_usleep(i * 2000);
        g_clear_pointer(&f.control, gw_control_free);
        g_thread_join(thread);
        tear_down(&f);
    }
    gw_control_free(NULL);
}

/* --- the bell ----------------------------------------------------------------------------------------- */

static void *
ring_later(void *data)
{
    g_usleep(20000);
    gw_bell_ring(data);
    return NULL;
}

static void
test_bell(void)
{
    GwBell bell;
    gw_bell_init(&bell);
    uint64_t seen = gw_bell_count(&bell);
    gint64 began_us = g_get_monotonic_time();
    gw_bell_wait(&bell, seen, began_us + 30000); /* nobody rings */
    g_assert_cmpint(g_get_monotonic_time() - began_us, >=, 30000);
    gw_bell_wait(&bell, seen, 0); /* a deadline that has passed */
    gw_bell_ring(&bell);
    gw_bell_wait(&bell, seen, G_MAXINT64); /* has rung since: no waiting */
    g_assert_cmpuint(gw_bell_count(&bell), ==, seen + 1);
    GThread *thread = g_thread_new("ring", ring_later, &bell);
    gw_bell_wait(&bell, seen + 1, G_MAXINT64);
    g_assert_cmpuint(gw_bell_count(&bell), ==, seen + 2);
    g_thread_join(thread);
    gw_bell_clear(&bell);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GwTlsIdentity) mine = test_identity_new("host1");
    identity = mine;

    g_test_add_func("/control/bell", test_bell);
    test_add_both("/control/frames", test_frames);
    test_add_both("/control/many-senders", test_many_senders);
    g_test_add_func("/control/frames-before-the-end", test_frames_before_the_end);
    test_add_both("/control/pings-are-answered", test_pings_are_answered);
    g_test_add_data_func("/control/heartbeat", NULL, test_heartbeat);
    test_add_both("/control/lost-in-a-frame", test_lost_in_a_frame);
    g_test_add_data_func("/control/two", "", test_two);
    g_test_add_func("/control/pong-lies", test_pong_lies);
    test_add_both("/control/backpressure", test_backpressure);
    g_test_add_func("/control/backpressure-and-silence", test_backpressure_and_silence);
    test_add_both("/control/peer-does-not-read", test_peer_does_not_read);
    test_add_both("/control/wrong-frames", test_wrong_frames);
    test_add_both("/control/closed-by-peer", test_closed_by_peer);
    test_add_both("/control/shutdown", test_shutdown);
    test_add_both("/control/free", test_free);
    return g_test_run();
}
