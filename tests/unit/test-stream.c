/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams, plain and with TLS alike: all sizes, both directions at once, ends of every kind, time-outs,
 * addresses. Each data test runs twice. What only TLS has is in test-stream-tls.c. */
#include "stream.h"

#include "certificates.h"
#include "error.h"
#include "stream-pair.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB (1024 * 1024)

static GwTlsIdentity *identity; /* of both ends */

/* What a data test is given: NULL for plain streams. */
static const GwTlsIdentity *
identity_of(gconstpointer is_tls)
{
    return is_tls ? identity : NULL;
}

static int
send_bytes(GwStream *stream, const void *bytes, size_t size)
{
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = size};
    return gw_stream_send(stream, &part, 1);
}

/* --- data --------------------------------------------------------------------------------------------- */

/* Sends back what it takes, until the other end closes. */
static gpointer
echo_thread(gpointer user)
{
    GwStream *stream = user;
    const uint8_t *bytes = NULL;
    ssize_t n = 0;
    for (unsigned i = 1; (n = gw_stream_take(stream, &bytes, i * 7919)) > 0; i++) {
        g_assert_cmpuint((size_t)n, <=, i * 7919);
        g_assert_cmpint(send_bytes(stream, bytes, (size_t)n), ==, 0);
    }
    g_assert_cmpint((int)n, ==, -ECONNRESET);
    return NULL;
}

typedef struct {
    GwStream *stream;
    uint64_t from;
    size_t size, step;
    int result;
} Transfer;

static gpointer
send_thread(gpointer user)
{
    Transfer *self = user;
    g_autofree uint8_t *bytes = g_malloc(self->size);
    stream_pattern_fill(bytes, self->size, self->from);
    for (size_t done = 0; done < self->size && self->result == 0; done += self->step)
        self->result = send_bytes(self->stream, bytes + done, MIN(self->step, self->size - done));
    return NULL;
}

static gpointer
receive_thread(gpointer user)
{
    Transfer *self = user;
    g_autofree uint8_t *bytes = g_malloc(self->size);
    for (size_t done = 0; done < self->size && self->result == 0; done += self->step)
        self->result = gw_stream_receive(self->stream, bytes + done, MIN(self->step, self->size - done));
    if (self->result == 0)
        stream_pattern_check(bytes, self->size, self->from);
    return NULL;
}

static void
test_echo(gconstpointer is_tls)
{
    static const size_t sizes[] = {1,      31,         32,           4095,        4096,  16383,
                                   16384,  16385,      65535,        65536,       65537, 256 * 1024 - 1,
                                   262144, 262144 + 1, 1 * MIB + 32, 5 * MIB + 7, 2,     3 * 16384};
    g_auto(StreamPair) pair = {0};
    stream_pair_open(&pair, identity_of(is_tls));
    GThread *echo = g_thread_new("echo", echo_thread, pair.server);
    uint64_t from = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        Transfer sent = {.stream = pair.client, .from = from, .size = sizes[i], .step = sizes[i]};
        Transfer received = sent;
        GThread *thread = g_thread_new("send", send_thread, &sent);
        receive_thread(&received);
        g_thread_join(thread);
        g_assert_cmpint(sent.result, ==, 0);
        g_assert_cmpint(received.result, ==, 0);
        from += sizes[i];
    }
    g_clear_pointer(&pair.client, gw_stream_free);
    g_thread_join(echo);
}

/* More parts than one system call takes, many empty, of sizes on both sides of a record's. */
static void
test_many_parts(gconstpointer is_tls)
{
    static const size_t sizes[] = {1, 0, 32, 4096, 0, 7, 16384, 3, 20000, 4096};
    enum { N = 3 * IOV_MAX + 17 };
    g_autofree struct iovec *parts = g_new0(struct iovec, N);
    size_t size = 0;
    for (size_t i = 0; i < N; i++)
        size += parts[i].iov_len = sizes[i % G_N_ELEMENTS(sizes)];
    g_autofree uint8_t *bytes = g_malloc(size);
    stream_pattern_fill(bytes, size, 0);
    for (size_t i = 0, at = 0; i < N; at += parts[i++].iov_len)
        parts[i].iov_base = bytes + at;

    g_auto(StreamPair) pair = {0};
    stream_pair_open(&pair, identity_of(is_tls));
    Transfer received = {.stream = pair.server, .size = size, .step = 100003};
    GThread *thread = g_thread_new("receive", receive_thread, &received);
    g_assert_cmpint(gw_stream_send(pair.client, parts, N), ==, 0);
    g_assert_cmpint(gw_stream_send(pair.client, parts, 0), ==, 0);
    g_assert_cmpint(gw_stream_send(pair.client, &parts[1], 1), ==, 0); /* an empty one */
    g_thread_join(thread);
    g_assert_cmpint(received.result, ==, 0);
    g_assert_false(gw_stream_has_pending(pair.server));
}

/* Four threads on two streams. */
static void
test_both_directions(gconstpointer is_tls)
{
    g_auto(StreamPair) pair = {0};
    stream_pair_open(&pair, identity_of(is_tls));
    Transfer up = {.stream = pair.client, .size = 24 * MIB, .step = MIB + 32};
    Transfer down = {.stream = pair.server, .from = 12345, .size = 24 * MIB, .step = 50001};
    Transfer up_there = up, down_here = down;
    up_there.stream = pair.server;
    down_here.stream = pair.client;
    GThread *threads[] = {
        g_thread_new("up", send_thread, &up),
        g_thread_new("down", send_thread, &down),
        g_thread_new("up-there", receive_thread, &up_there),
        g_thread_new("down-here", receive_thread, &down_here),
    };
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    g_assert_cmpint(up.result | down.result | up_there.result | down_here.result, ==, 0);
}

/* What is taken is never more than asked for, and what is left is told. */
static void
test_take(gconstpointer is_tls)
{
    g_auto(StreamPair) pair = {0};
    stream_pair_open(&pair, identity_of(is_tls));
    uint8_t sent[1000], received[1000];
    const uint8_t *bytes = NULL;
    stream_pattern_fill(sent, sizeof sent, 0);
    g_assert_false(gw_stream_has_pending(pair.server));
    g_assert_cmpint(send_bytes(pair.client, sent, sizeof sent), ==, 0);
    g_assert_cmpint((int)gw_stream_take(pair.server, &bytes, 10), ==, 10);
    g_assert_cmpmem(bytes, 10, sent, 10);
    g_assert_true(gw_stream_has_pending(pair.server));
    g_assert_cmpint(gw_stream_receive(pair.server, received, 100), ==, 0);
    g_assert_cmpmem(received, 100, sent + 10, 100);
    g_assert_cmpint((int)gw_stream_take(pair.server, &bytes, MIB), ==, 890);
    g_assert_cmpmem(bytes, 890, sent + 110, 890);
    g_assert_false(gw_stream_has_pending(pair.server));
    g_assert_cmpint(gw_stream_receive(pair.server, received, 0), ==, 0);
}

/* poll(2) and has_pending together never miss what is there. */
static void
test_pending_after_poll(gconstpointer is_tls)
{
    g_auto(StreamPair) pair = {0};
    stream_pair_open(&pair, identity_of(is_tls));
    uint8_t frame[64] = {0};
    for (int i = 0; i < 3; i++)
        g_assert_cmpint(send_bytes(pair.client, frame, sizeof frame), ==, 0);
    for (int i = 0; i < 3; i++) {
        struct pollfd waits = {.fd = gw_stream_fd(pair.server), .events = POLLIN};
        g_assert_true(gw_stream_has_pending(pair.server) || poll(&waits, 1, 5000) == 1);
        g_assert_cmpint(gw_stream_receive(pair.server, frame, sizeof frame), ==, 0);
    }
    g_clear_pointer(&pair.client, gw_stream_free);
    g_assert_cmpint(gw_stream_receive(pair.server, frame, 1), ==, -ECONNRESET);
    g_assert_cmpint(gw_stream_receive(pair.server, frame, 1), ==, -ECONNRESET);
}

/* --- ends --------------------------------------------------------------------------------------------- */

/* Until it cannot go on. */
static gpointer
send_for_ever(gpointer user)
{
    Transfer *self = user;
    g_autofree uint8_t *bytes = g_malloc0(MIB);
    while (self->result == 0)
        self->result = send_bytes(self->stream, bytes, MIB);
    return NULL;
}

/* Until the socket has taken nothing for a while: whoever sends waits in it. */
static void
await_full(GwStream *stream)
{
    struct pollfd waits = {.fd = gw_stream_fd(stream), .events = POLLOUT};
    for (int n_full = 0; n_full < 5; g_usleep(10000))
        n_full = poll(&waits, 1, 0) == 0 ? n_full + 1 : 0;
}

static void
test_shutdown_wakes_both(gconstpointer is_tls)
{
    g_auto(StreamPair) pair = {0};
    stream_pair_open(&pair, identity_of(is_tls));
    g_assert_cmpint(send_bytes(pair.server, "first", 5), ==, 0);
    uint8_t byte = 0;
    g_assert_cmpint(gw_stream_receive(pair.client, &byte, 1), ==, 0); /* so four bytes are in its buffer */
    Transfer sends = {.stream = pair.client}, receives = {.stream = pair.client, .size = 100, .step = 100};
    GThread *sender = g_thread_new("send", send_for_ever, &sends);
    GThread *receiver = g_thread_new("receive", receive_thread, &receives);
    await_full(pair.client);
    gw_stream_shutdown(pair.client);
    g_thread_join(sender);
    g_thread_join(receiver);
    g_assert_cmpint(sends.result, ==, -ESHUTDOWN);
    g_assert_cmpint(receives.result, ==, -ESHUTDOWN);
    g_assert_cmpint(send_bytes(pair.client, "x", 1), ==, -ESHUTDOWN);
    g_assert_cmpint(gw_stream_receive(pair.client, &byte, 1), ==, -ESHUTDOWN);
    g_assert_true(gw_stream_has_pending(pair.client));
    gw_stream_shutdown(pair.client);
    /* The other end: what was on its way, then the end. */
    const uint8_t *bytes = NULL;
    ssize_t n = 0;
    while ((n = gw_stream_take(pair.server, &bytes, MIB)) > 0)
        ;
    g_assert_cmpint((int)n, ==, -ECONNRESET);
}

/* Bytes that lie in the buffer are not handed out after a shutdown either. */
static void
test_shutdown_with_bytes_here(gconstpointer is_tls)
{
    g_auto(StreamPair) pair = {0};
    stream_pair_open(&pair, identity_of(is_tls));
    uint8_t byte = 0;
    g_assert_cmpint(send_bytes(pair.client, "two", 3), ==, 0);
    g_assert_cmpint(gw_stream_receive(pair.server, &byte, 1), ==, 0);
    gw_stream_shutdown(pair.server);
    g_assert_cmpint(gw_stream_receive(pair.server, &byte, 1), ==, -ESHUTDOWN);
}

static void
test_peer_closes_mid_frame(gconstpointer is_tls)
{
    g_auto(StreamPair) pair = {0};
    stream_pair_open(&pair, identity_of(is_tls));
    uint8_t frame[200] = {0};
    g_assert_cmpint(send_bytes(pair.client, frame, 100), ==, 0);
    g_clear_pointer(&pair.client, gw_stream_free);
    g_assert_cmpint(gw_stream_receive(pair.server, frame, sizeof frame), ==, -ECONNRESET);
    /* Sending learns it when the other end's reset is here. */
    int result = 0;
    for (int i = 0; i < 1000 && result == 0; i++) {
        result = send_bytes(pair.server, frame, sizeof frame);
        g_usleep(1000);
    }
    g_assert_cmpint(result, ==, -ECONNRESET);
}

static void
test_time_out(gconstpointer is_tls)
{
    g_auto(StreamPair) pair = {0};
    stream_pair_open(&pair, identity_of(is_tls));
    uint8_t byte = 0;
    gw_stream_set_timeout(pair.client, 100);
    gint64 start_us = g_get_monotonic_time();
    g_assert_cmpint(gw_stream_receive(pair.client, &byte, 1), ==, -ETIMEDOUT);
    const uint8_t *bytes = NULL;
    for (int i = 0; i < 2; i++) { /* taking may be repeated */
        g_assert_cmpint((int)gw_stream_take(pair.client, &bytes, 10), ==, -ETIMEDOUT);
        g_assert_cmpint(send_bytes(pair.server, "later", 5), ==, 0);
        g_assert_cmpint((int)gw_stream_take(pair.client, &bytes, 10), ==, 5);
    }
    Transfer sends = {.stream = pair.client};
    send_for_ever(&sends);
    g_assert_cmpint(sends.result, ==, -ETIMEDOUT);
    g_assert_cmpint(g_get_monotonic_time() - start_us, >=, 180000);
    g_assert_cmpint(g_get_monotonic_time() - start_us, <, 10000000);
}

/* A byte every 20 ms for a second, which no time-out minds. */
static gpointer
drip_thread(gpointer user)
{
    Transfer *self = user;
    for (int i = 0; i < 50 && self->result == 0; i++) {
        self->result = send_bytes(self->stream, "x", 1);
        g_usleep(20000);
    }
    return NULL;
}

static void
test_receive_within(gconstpointer is_tls)
{
    g_auto(StreamPair) pair = {0};
    stream_pair_open(&pair, identity_of(is_tls));
    uint8_t bytes[100];
    gw_stream_set_timeout(pair.server, 3000);
    g_assert_cmpint(send_bytes(pair.client, "0123456789", 10), ==, 0);
    g_assert_cmpint(gw_stream_receive_within(pair.server, bytes, 10, 5000), ==, 0);
    g_assert_cmpmem(bytes, 10, "0123456789", 10);
    Transfer drips = {.stream = pair.client};
    GThread *thread = g_thread_new("drip", drip_thread, &drips);
    gint64 start_us = g_get_monotonic_time();
    g_assert_cmpint(gw_stream_receive_within(pair.server, bytes, 100, 200), ==, -ETIMEDOUT);
    g_assert_cmpint(g_get_monotonic_time() - start_us, >=, 200000);
    g_assert_cmpint(g_get_monotonic_time() - start_us, <, 3000000);
    /* The time-out is as it was. */
    unsigned timeout_ms = 0;
    socklen_t size = sizeof timeout_ms;
    g_assert_cmpint(getsockopt(gw_stream_fd(pair.server), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, &size),
                    ==, 0);
    g_assert_cmpuint(timeout_ms, ==, 3000);
    g_thread_join(thread);
    g_assert_cmpint(drips.result, ==, 0);
}

static void
test_errors_for_people(void)
{
    static const struct {
        int result;
        GwError code;
    } cases[] = {
        {-ECONNRESET, GW_ERROR_PEER_LOST},   {-ESHUTDOWN, GW_ERROR_PEER_LOST},
        {-EHOSTUNREACH, GW_ERROR_PEER_LOST}, {-ENETUNREACH, GW_ERROR_PEER_LOST},
        {-ETIMEDOUT, GW_ERROR_TIMED_OUT},    {-EPROTO, GW_ERROR_PROTOCOL},
        {-EACCES, GW_ERROR_NOT_PERMITTED},   {-ENOBUFS, GW_ERROR_IO},
    };
    g_auto(StreamPair) pair = {0};
    stream_pair_open(&pair, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(gw_stream_set_error(pair.client, cases[i].result, "telling a story", &error));
        g_assert_error(error, GW_ERROR, (int)cases[i].code);
        g_assert_true(g_str_has_prefix(error->message, "telling a story: "));
        g_assert_nonnull(strstr(error->message, gw_stream_peer(pair.client)));
    }
}

/* --- sockets ------------------------------------------------------------------------------------------ */

static void
check_socket(GwStream *stream, bool is_tls)
{
    int fd = gw_stream_fd(stream), nodelay = 0;
    unsigned timeout_ms = 0;
    socklen_t size = sizeof nodelay;
    g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);
    g_assert_cmpint(fcntl(fd, F_GETFL) & O_NONBLOCK, ==, 0);
    g_assert_cmpint(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size), ==, 0);
    g_assert_cmpint(nodelay, !=, 0);
    gw_stream_set_timeout(stream, 4321);
    g_assert_cmpint(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, &size), ==, 0);
    g_assert_cmpuint(timeout_ms, ==, 4321);
    gw_stream_set_timeout(stream, -1);
    g_assert_cmpint(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, &size), ==, 0);
    g_assert_cmpuint(timeout_ms, ==, 0);
    g_assert_true(gw_stream_is_encrypted(stream) == is_tls);
    g_assert_cmpstr(gw_stream_cipher(stream), ==, is_tls ? "TLS1.3 AES-128-GCM" : "none");
    g_assert_cmpstr(gw_stream_peer_name(stream), ==, is_tls ? "host one" : "");
    g_assert_true(g_str_has_prefix(gw_stream_peer(stream), "127.0.0.1:"));
}

static void
test_socket_options(gconstpointer is_tls)
{
    unsigned before = n_open_fds();
    {
        g_auto(StreamPair) pair = {0};
        stream_pair_open(&pair, identity_of(is_tls));
        check_socket(pair.client, is_tls != NULL);
        check_socket(pair.server, is_tls != NULL);
        g_assert_cmpuint(n_open_fds(), ==, before + 2);
    }
    g_assert_cmpuint(n_open_fds(), ==, before);
}

static void
test_listen(void)
{
    static const struct {
        const char *address;
        unsigned port;
        GwError code;
    } refused[] = {
        {"localhost", 0, GW_ERROR_INVALID_ARGUMENT},     {"", 0, GW_ERROR_INVALID_ARGUMENT},
        {"127.0.0.1", 65536, GW_ERROR_INVALID_ARGUMENT}, {"192.0.2.77", 0, GW_ERROR_INVALID_ARGUMENT},
        {"127.0.0.256", 0, GW_ERROR_INVALID_ARGUMENT},
    };
    unsigned before = n_open_fds();
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_cmpint(gw_stream_listen(refused[i].address, refused[i].port, NULL, &error), ==, -1);
        g_assert_error(error, GW_ERROR, (int)refused[i].code);
    }
    g_autoptr(GError) error = NULL;
    unsigned port = 0;
    int fd = gw_stream_listen("127.0.0.1", 0, &port, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(port, >, 0);
    g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);
    g_assert_cmpint(fcntl(fd, F_GETFL) & O_NONBLOCK, !=, 0);
    g_assert_cmpint(gw_stream_listen("127.0.0.1", port, NULL, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_EXISTS);
    close(fd);
    g_assert_cmpuint(n_open_fds(), ==, before);
}

static void
check_connect_fails(const char *local, const char *address, unsigned port, GwError code)
{
    g_autoptr(GError) error = NULL;
    unsigned before = n_open_fds();
    g_assert_null(gw_stream_connect(local, address, port, NULL, 2000, &error));
    g_assert_error(error, GW_ERROR, (int)code);
    g_assert_cmpuint(n_open_fds(), ==, before);
}

static void
test_connect_fails(void)
{
    g_autoptr(GError) error = NULL;
    unsigned port = 0;
    int fd = gw_stream_listen("127.0.0.1", 0, &port, &error);
    g_assert_no_error(error);
    check_connect_fails("127.0.0", "127.0.0.1.", port, GW_ERROR_INVALID_ARGUMENT);
    check_connect_fails("nowhere", "127.0.0.1", port, GW_ERROR_INVALID_ARGUMENT);
    check_connect_fails("192.0.2.77", "127.0.0.1", port, GW_ERROR_INVALID_ARGUMENT);
    check_connect_fails("::1", "127.0.0.1", port, GW_ERROR_INVALID_ARGUMENT);
    close(fd);
    check_connect_fails(NULL, "127.0.0.1", port, GW_ERROR_PEER_LOST);
}

/* A listener whose queue is full leaves a connection unanswered. */
static void
test_connect_times_out(void)
{
    g_autoptr(GError) error = NULL;
    unsigned port = 0;
    GwStream *streams[8] = {NULL};
    int fd = gw_stream_listen("127.0.0.1", 0, &port, &error);
    g_assert_no_error(error);
    g_assert_cmpint(listen(fd, 0), ==, 0);
    gint64 start_us = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(streams) && !error; i++) {
        start_us = g_get_monotonic_time();
        streams[i] = gw_stream_connect(NULL, "127.0.0.1", port, NULL, 150, &error);
    }
    g_assert_error(error, GW_ERROR, GW_ERROR_TIMED_OUT);
    g_assert_cmpint(g_get_monotonic_time() - start_us, >=, 150000);
    g_assert_cmpint(g_get_monotonic_time() - start_us, <, 5000000);
    for (size_t i = 0; i < G_N_ELEMENTS(streams); i++)
        gw_stream_free(streams[i]);
    close(fd);
}

static void
test_local_address(void)
{
    g_autoptr(GError) error = NULL;
    unsigned port = 0;
    StreamServer *server = stream_server_start(NULL, 5000, &port);
    g_auto(StreamPair) pair = {0};
    pair.client = gw_stream_connect("127.0.0.2", "127.0.0.1", port, NULL, 5000, &error);
    g_assert_no_error(error);
    stream_server_join(server, &pair);
    g_assert_true(g_str_has_prefix(gw_stream_peer(pair.server), "127.0.0.2:"));
}

static void
test_ipv6(void)
{
    g_autoptr(GError) error = NULL;
    unsigned port = 0;
    int fd = gw_stream_listen("::1", 0, &port, &error);
    if (fd < 0) {
        g_test_skip("no IPv6 here");
        return;
    }
    g_autoptr(GwStream) client = gw_stream_connect("::1", "::1", port, NULL, 5000, &error);
    g_assert_no_error(error);
    g_autoptr(GwStream) server = gw_stream_accept(stream_raw_accept(fd), NULL, 5000, &error);
    g_assert_no_error(error);
    g_autofree char *peer = g_strdup_printf("[::1]:%u", port);
    g_assert_cmpstr(gw_stream_peer(client), ==, peer);
    close(fd);
}

/* Streams do not insist on TCP. */
static void
test_unix_sockets(void)
{
    int pair[2];
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), ==, 0);
    g_autoptr(GwStream) stream = gw_stream_accept(pair[0], NULL, 5000, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(gw_stream_peer(stream), ==, "the other end");
    g_assert_cmpint(send_bytes(stream, "hi", 2), ==, 0);
    char text[2];
    g_assert_cmpint((int)read(pair[1], text, 2), ==, 2);
    close(pair[1]);
}

static void
add_twice(const char *name, GTestDataFunc function)
{
    g_autofree char *plain = g_strdup_printf("/stream/plain/%s", name);
    g_autofree char *tls = g_strdup_printf("/stream/tls/%s", name);
    g_test_add_data_func(plain, NULL, function);
    g_test_add_data_func(tls, "TLS", function);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(TestAuthority) authority = test_authority_new("authority");
    g_autofree char *directory = g_dir_make_tmp("test-stream-XXXXXX", &error);
    g_assert_no_error(error);
    test_identity_make(directory, "host one", authority, authority, -60, 3600);
    identity = gw_tls_identity_load(directory, &error);
    g_assert_no_error(error);
    test_identity_remove(directory);

    add_twice("echo", test_echo);
    add_twice("many-parts", test_many_parts);
    add_twice("both-directions", test_both_directions);
    add_twice("take", test_take);
    add_twice("pending-after-poll", test_pending_after_poll);
    add_twice("shutdown-wakes-both", test_shutdown_wakes_both);
    add_twice("shutdown-with-bytes-here", test_shutdown_with_bytes_here);
    add_twice("peer-closes-mid-frame", test_peer_closes_mid_frame);
    add_twice("time-out", test_time_out);
    add_twice("receive-within", test_receive_within);
    add_twice("socket-options", test_socket_options);
    g_test_add_func("/stream/errors-for-people", test_errors_for_people);
    g_test_add_func("/stream/listen", test_listen);
    g_test_add_func("/stream/connect-fails", test_connect_fails);
    g_test_add_func("/stream/connect-times-out", test_connect_times_out);
    g_test_add_func("/stream/local-address", test_local_address);
    g_test_add_func("/stream/ipv6", test_ipv6);
    g_test_add_func("/stream/unix-sockets", test_unix_sockets);
    int result = g_test_run();
    gw_tls_identity_free(identity);
    return result;
}
