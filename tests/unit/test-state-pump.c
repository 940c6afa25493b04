/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The device state's way to the control stream: every byte in order, the devices' known from the head, and a
 * VMM that is never kept waiting. */
#include "state-pump.h"

#include "census.h"
#include "certificates.h"
#include "frames.h"
#include "stream-pair.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_US (20 * G_TIME_SPAN_SECOND)

static GwTlsIdentity *identity;

typedef struct {
    Census before;
    GwBell bell;
    GwControl *control;
    FramePeer peer;
    GwStatePump *pump;
    int vmm_fd;
    bool has_ended;
    uint64_t announced;
    GByteArray *head, *devices; /* what the peer got */
    uint64_t round;             /* of the devices */
} Fixture;

static void
set_up(Fixture *f, gconstpointer is_tls, unsigned lost_ms)
{
    StreamPair pair;
    int fds[2];
    *f = (Fixture){.before = census_take(), .head = g_byte_array_new(), .devices = g_byte_array_new()};
    gw_bell_init(&f->bell);
    stream_pair_open(&pair, is_tls ? identity : NULL);
    f->control = gw_control_new(pair.client, false, &f->bell, lost_ms);
    frame_peer_init(&f->peer, pair.server);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    f->vmm_fd = fds[1];
    f->pump = gw_state_pump_new(fds[0], f->control, &f->bell);
    gw_state_pump_open(f->pump);
}

static void
tear_down(Fixture *f)
{
    gw_state_pump_free(f->pump);
    gw_control_free(f->control);
    frame_peer_clear(&f->peer);
    if (f->vmm_fd >= 0)
        close(f->vmm_fd);
    g_byte_array_unref(f->head);
    g_byte_array_unref(f->devices);
    gw_bell_clear(&f->bell);
    census_check(&f->before);
}

/* Reads what comes until so many bytes are here, or the end. */
static void
peer_read(Fixture *f, size_t until)
{
    g_autofree uint8_t *payload = g_malloc(GW_WIRE_MAX_PAYLOAD);
    while (!f->has_ended && f->head->len + f->devices->len < until) {
        GwWireHeader header;
        g_assert_cmpint(frame_peer_receive(&f->peer, &header, payload, GW_WIRE_MAX_PAYLOAD), ==, 0);
        if (header.type == GW_FRAME_STATE_END) {
            f->has_ended = true;
            f->announced = header.arg;
        } else if (header.type == GW_FRAME_STATE) {
            g_assert_true(header.count == 1 || f->devices->len == 0);
            g_byte_array_append(header.count ? f->devices : f->head, payload, header.payload_bytes);
            f->round = header.arg;
        } else
            g_assert_cmpuint(header.type, ==, GW_FRAME_PING);
    }
}

static void
vmm_write(Fixture *f, uint64_t from, size_t size)
{
    g_autofree uint8_t *bytes = g_malloc(size);
    stream_pattern_fill(bytes, size, from);
    for (size_t done = 0; done < size;) {
        ssize_t n = send(f->vmm_fd, bytes + done, size - done, MSG_NOSIGNAL);
        g_assert_cmpint((int)n, >, 0);
        done += (size_t)n;
    }
}

static void
vmm_close(Fixture *f)
{
    close(f->vmm_fd);
    f->vmm_fd = -1;
}

static uint64_t
await_done(Fixture *f)
{
    uint64_t n_bytes = 0;
    gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
    for (;;) {
        uint64_t seen = gw_bell_count(&f->bell);
        if (gw_state_pump_is_done(f->pump, &n_bytes))
            return n_bytes;
        g_assert_cmpint(g_get_monotonic_time(), <, until_us);
        gw_bell_wait(&f->bell, seen, until_us);
    }
}

static void
test_head_and_devices(gconstpointer is_tls)
{
    Fixture f;
    uint64_t n_bytes = 0;
    set_up(&f, is_tls, 0);
    vmm_write(&f, 0, 100);
    peer_read(&f, 100);
    g_assert_cmpuint(f.head->len, ==, 100);
    g_assert_cmpuint(f.round, ==, 0);
    gw_state_pump_set_round(f.pump, 7);
    vmm_write(&f, 100, 1000);
    peer_read(&f, 1100);
    g_assert_cmpuint(f.devices->len, ==, 1000);
    g_assert_cmpuint(f.round, ==, 7);
    g_assert_false(gw_state_pump_is_done(f.pump, &n_bytes));
    vmm_write(&f, 1100, 1);
    vmm_close(&f);
    peer_read(&f, SIZE_MAX);
    g_assert_true(f.has_ended);
    g_assert_cmpuint(f.announced, ==, 1101);
    g_assert_cmpuint(await_done(&f), ==, 1101);
    stream_pattern_check(f.head->data, f.head->len, 0);
    stream_pattern_check(f.devices->data, f.devices->len, 100);
    tear_down(&f);
}

/* Round 0 is a round as any other: the devices' state is not taken for the head. */
static void
test_round_zero(void)
{
    Fixture f;
    set_up(&f, NULL, 0);
    gw_state_pump_set_round(f.pump, 0);
    vmm_write(&f, 0, 10);
    vmm_close(&f);
    peer_read(&f, SIZE_MAX);
    g_assert_cmpuint(f.head->len, ==, 0);
    g_assert_cmpuint(f.devices->len, ==, 10);
    tear_down(&f);
}

static void *
write_much(void *data)
{
    Fixture *f = data;
    vmm_write(f, 0, 3000000);
    vmm_close(f);
    return NULL;
}

static void
test_large(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, is_tls, 0);
    gw_state_pump_set_round(f.pump, 3);
    GThread *vmm = g_thread_new("vmm", write_much, &f);
    peer_read(&f, SIZE_MAX);
    g_thread_join(vmm);
    g_assert_cmpuint(f.devices->len, ==, 3000000);
    g_assert_cmpuint(f.announced, ==, 3000000);
    stream_pattern_check(f.devices->data, f.devices->len, 0);
    tear_down(&f);
}

static void
test_empty(void)
{
    Fixture f;
    set_up(&f, NULL, 0);
    vmm_close(&f);
    peer_read(&f, SIZE_MAX);
    g_assert_cmpuint(f.announced, ==, 0);
    g_assert_cmpuint(await_done(&f), ==, 0);
    tear_down(&f);
}

/* The peer is gone: the VMM gets rid of its state all the same, and does not hang in a write. */
static void
test_peer_gone(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, is_tls, 0);
    frame_peer_clear(&f.peer);
    GThread *vmm = g_thread_new("vmm", write_much, &f);
    g_thread_join(vmm);
    g_assert_cmpuint(await_done(&f), ==, 3000000);
    while (!gw_control_failed(f.control, NULL))
        g_usleep(1000);
    tear_down(&f);
}

static void *
write_until_error(void *data)
{
    Fixture *f = data;
    static const uint8_t bytes[10000];
    ssize_t n = 0;
    do
        n = send(f->vmm_fd, bytes, sizeof bytes, MSG_NOSIGNAL);
    while (n > 0);
    g_assert_true(errno == EPIPE || errno == ECONNRESET);
    return NULL;
}

/* Ends under a VMM that writes on and on: it gets an error. */
static void
test_free_under_writes(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, is_tls, 0);
    gw_control_shutdown(f.control); /* as gw_source_free() finds it after a loss */
    GThread *vmm = g_thread_new("vmm", write_until_error, &f);
    g_usleep(20000);
    g_clear_pointer(&f.pump, gw_state_pump_free);
    g_thread_join(vmm);
    tear_down(&f);
}

/* The peer has stopped reading: the pump waits in a send, the VMM in a write. Once the connection is given
 * up, both go on. */
static void
test_free_under_send(gconstpointer is_tls)
{
    Fixture f;
    set_up(&f, is_tls, 60000);
    GThread *vmm = g_thread_new("vmm", write_until_error, &f);
    uint64_t before = 0, now = 0;
    do {
        before = now;
        g_usleep(50000);
        gw_state_pump_is_done(f.pump, &now);
    } while (now != before || now == 0);
    gint64 began_us = g_get_monotonic_time();
    gw_control_shutdown(f.control);
    g_clear_pointer(&f.pump, gw_state_pump_free);
    g_thread_join(vmm);
    g_assert_cmpint(g_get_monotonic_time() - began_us, <, 10 * G_TIME_SPAN_SECOND);
    tear_down(&f);
}

static void
test_free(void)
{
    Fixture f;
    set_up(&f, NULL, 0);
    tear_down(&f);
    gw_state_pump_free(NULL);
}

/* What the VMM writes stays in its socket until the pump is opened; then all of it comes. */
static void
test_waits_to_be_opened(void)
{
    GwBell bell;
    StreamPair pair;
    FramePeer peer;
    int fds[2];
    uint64_t n_bytes = 0;
    gw_bell_init(&bell);
    stream_pair_open(&pair, NULL);
    g_autoptr(GwControl) control = gw_control_new(pair.client, false, &bell, 0);
    frame_peer_init(&peer, pair.server);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
    GwStatePump *pump = gw_state_pump_new(fds[0], control, &bell);
    g_assert_cmpint(write(fds[1], "head", 4), ==, 4);
    close(fds[1]);
    g_usleep(50 * 1000);
    g_assert_false(gw_state_pump_is_done(pump, &n_bytes));
    g_assert_cmpuint(n_bytes, ==, 0);
    gw_state_pump_open(pump);
    GwWireHeader header;
    uint8_t payload[GW_WIRE_MAX_PAYLOAD];
    do
        g_assert_cmpint(frame_peer_receive(&peer, &header, payload, sizeof payload), ==, 0);
    while (header.type == GW_FRAME_PING);
    g_assert_cmpuint(header.type, ==, GW_FRAME_STATE);
    g_assert_cmpmem(payload, header.payload_bytes, "head", 4);
    gw_state_pump_free(pump);
    g_clear_pointer(&control, gw_control_free);
    frame_peer_clear(&peer);
    gw_bell_clear(&bell);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GwTlsIdentity) mine = test_identity_new("host1");
    identity = mine;

    test_add_both("/state-pump/head-and-devices", test_head_and_devices);
    g_test_add_func("/state-pump/waits-to-be-opened", test_waits_to_be_opened);
    g_test_add_func("/state-pump/round-zero", test_round_zero);
    test_add_both("/state-pump/large", test_large);
    g_test_add_func("/state-pump/empty", test_empty);
    test_add_both("/state-pump/peer-gone", test_peer_gone);
    test_add_both("/state-pump/free-under-writes", test_free_under_writes);
    test_add_both("/state-pump/free-under-send", test_free_under_send);
    g_test_add_func("/state-pump/free", test_free);
    return g_test_run();
}
