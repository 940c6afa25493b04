/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A TLS stream whose other end is none: silent, slow, without TLS, or anything at all. */
#include "stream.h"

#include "certificates.h"
#include "error.h"
#include "stream-pair.h"
#include "wire.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static GwTlsIdentity *identity;

/* The server's end of a connection whose client is a bare socket that sends `bytes`, or one at a time every
 * 20 ms until it is refused. */
static void
serve_stranger(StreamPair *pair, const void *bytes, size_t size, bool slowly, int timeout_ms)
{
    unsigned port = 0, before = n_open_fds();
    StreamServer *server = stream_server_start(identity, timeout_ms, &port);
    int fd = stream_raw_connect(port);
    for (size_t i = 0; slowly && i < size; i++) {
        if (send(fd, (const uint8_t *)bytes + i, 1, MSG_NOSIGNAL) != 1)
            break;
        g_usleep(20000);
    }
    if (!slowly)
        g_assert_cmpint((int)send(fd, bytes, size, MSG_NOSIGNAL), ==, (int)size);
    *pair = (StreamPair){0};
    stream_server_join(server, pair);
    close(fd);
    g_assert_null(pair->server);
    g_assert_cmpuint(n_open_fds(), ==, before);
}

static void
test_silent_client(void)
{
    g_auto(StreamPair) pair = {0};
    serve_stranger(&pair, "", 0, false, 200);
    g_assert_error(pair.server_error, GW_ERROR, GW_ERROR_TIMED_OUT);
    g_assert_cmpint(pair.server_us, >=, 200000);
    g_assert_cmpint(pair.server_us, <, 5000000);
}

/* A handshake record of 512 bytes that comes a byte at a time, for 10 s. */
static void
test_slow_client(void)
{
    uint8_t hello[5 + 512] = {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03};
    g_auto(StreamPair) pair = {0};
    serve_stranger(&pair, hello, sizeof hello, true, 300);
    g_assert_error(pair.server_error, GW_ERROR, GW_ERROR_TIMED_OUT);
    g_assert_cmpint(pair.server_us, >=, 300000);
    g_assert_cmpint(pair.server_us, <, 5000000);
}

static void
test_silent_server(void)
{
    g_autoptr(GError) error = NULL;
    unsigned port = 0;
    int fd = gw_stream_listen("127.0.0.1", 0, &port, &error);
    g_assert_no_error(error);
    g_assert_null(gw_stream_connect(NULL, "127.0.0.1", port, identity, 200, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_TIMED_OUT);
    close(fd);
}

/* A client whose TLS was switched off, at a server that insists. */
static void
test_plain_client(void)
{
    uint8_t frame[GW_WIRE_HEADER_BYTES + GW_WIRE_HELLO_BYTES] = {0};
    GwWireHeader header = {.type = GW_FRAME_HELLO, .payload_bytes = GW_WIRE_HELLO_BYTES};
    gw_wire_encode_header(&header, frame);
    g_auto(StreamPair) pair = {0};
    serve_stranger(&pair, frame, sizeof frame, false, 5000);
    g_assert_error(pair.server_error, GW_ERROR, GW_ERROR_PROTOCOL);
    g_assert_cmpint(pair.server_us, <, 4000000);
}

/* The other way round: what comes is no frame, and the client hears of the end. */
static gpointer
serve_plain(gpointer user)
{
    uint8_t header[GW_WIRE_HEADER_BYTES];
    GwWireHeader decoded;
    g_autoptr(GError) error = NULL;
    g_autoptr(GwStream) server =
        gw_stream_accept(stream_raw_accept(GPOINTER_TO_INT(user)), NULL, 5000, &error);
    g_assert_no_error(error);
    g_assert_cmpint(gw_stream_receive(server, header, sizeof header), ==, 0);
    g_assert_cmpint((int)gw_wire_decode_header(header, 0, &decoded), ==, GW_WIRE_BAD_MAGIC);
    return NULL;
}

static void
test_plain_server(void)
{
    g_autoptr(GError) error = NULL;
    unsigned port = 0;
    int fd = gw_stream_listen("127.0.0.1", 0, &port, &error);
    g_assert_no_error(error);
    GThread *thread = g_thread_new("plain", serve_plain, GINT_TO_POINTER(fd));
    g_assert_null(gw_stream_connect(NULL, "127.0.0.1", port, identity, 5000, &error));
    g_thread_join(thread);
    g_assert_error(error, GW_ERROR, GW_ERROR_PEER_LOST);
    close(fd);
}

static void
test_garbage(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    uint8_t bytes[20000];
    for (int i = 0; i < 30; i++) {
        g_auto(StreamPair) pair = {0};
        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = (uint8_t)g_rand_int(rand);
        if (i % 3 == 1) /* a record's header before it */
            memcpy(bytes, "\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03", 11);
        if (i % 3 == 2)
            memcpy(bytes, "\x17\x03\x03\x40\x00", 5);
        serve_stranger(&pair, bytes, sizeof bytes, false, 5000);
        g_assert_error(pair.server_error, GW_ERROR, GW_ERROR_PROTOCOL);
    }
}

/* A server that answers a TLS client with anything else. */
static gpointer
answer_garbage(gpointer user)
{
    char bytes[600];
    memset(bytes, 'x', sizeof bytes);
    int fd = stream_raw_accept(GPOINTER_TO_INT(user));
    g_assert_cmpint((int)recv(fd, bytes, 1, MSG_PEEK), ==, 1);
    g_assert_cmpint((int)send(fd, bytes, sizeof bytes, MSG_NOSIGNAL), ==, (int)sizeof bytes);
    close(fd);
    return NULL;
}

static void
test_garbage_server(void)
{
    g_autoptr(GError) error = NULL;
    unsigned port = 0;
    int fd = gw_stream_listen("127.0.0.1", 0, &port, &error);
    g_assert_no_error(error);
    GThread *thread = g_thread_new("garbage", answer_garbage, GINT_TO_POINTER(fd));
    g_assert_null(gw_stream_connect(NULL, "127.0.0.1", port, identity, 5000, &error));
    g_thread_join(thread);
    g_assert_error(error, GW_ERROR, GW_ERROR_PROTOCOL);
    close(fd);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GwTlsIdentity) mine = test_identity_new("host1");
    identity = mine;

    g_test_add_func("/stream-strangers/silent-client", test_silent_client);
    g_test_add_func("/stream-strangers/slow-client", test_slow_client);
    g_test_add_func("/stream-strangers/silent-server", test_silent_server);
    g_test_add_func("/stream-strangers/plain-client", test_plain_client);
    g_test_add_func("/stream-strangers/plain-server", test_plain_server);
    g_test_add_func("/stream-strangers/garbage", test_garbage);
    g_test_add_func("/stream-strangers/garbage-server", test_garbage_server);
    return g_test_run();
}
