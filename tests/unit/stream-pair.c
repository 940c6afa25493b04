/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connected streams for tests. */
#include "stream-pair.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_MS 20000

struct StreamServer {
    int listening;
    const GwTlsIdentity *identity;
    int timeout_ms;
    GThread *thread;
    StreamPair pair;
};

int
stream_raw_accept(int listening)
{
    struct pollfd waits = {.fd = listening, .events = POLLIN};
    g_assert_cmpint(poll(&waits, 1, TIMEOUT_MS), ==, 1);
    int fd = accept(listening, NULL, NULL);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

int
stream_raw_connect(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    return fd;
}

static gpointer
serve(gpointer user)
{
    StreamServer *self = user;
    int fd = stream_raw_accept(self->listening);
    gint64 start_us = g_get_monotonic_time();
    self->pair.server = gw_stream_accept(fd, self->identity, self->timeout_ms, &self->pair.server_error);
    self->pair.server_us = g_get_monotonic_time() - start_us;
    return NULL;
}

StreamServer *
stream_server_start(const GwTlsIdentity *identity, int timeout_ms, unsigned *ret_port)
{
    g_autoptr(GError) error = NULL;
    StreamServer *self = g_new0(StreamServer, 1);
    self->identity = identity;
    self->timeout_ms = timeout_ms;
    self->listening = gw_stream_listen("127.0.0.1", 0, ret_port, &error);
    g_assert_no_error(error);
    self->thread = g_thread_new("server", serve, self);
    return self;
}

void
stream_server_join(StreamServer *self, StreamPair *pair)
{
    g_thread_join(self->thread);
    close(self->listening);
    pair->server = self->pair.server;
    pair->server_error = self->pair.server_error;
    pair->server_us = self->pair.server_us;
    g_free(self);
}

void
stream_pair_try(StreamPair *self, const GwTlsIdentity *client, const GwTlsIdentity *server,
                int server_timeout_ms)
{
    unsigned port = 0;
    StreamServer *thread = stream_server_start(server, server_timeout_ms, &port);
    *self = (StreamPair){0};
    self->client = gw_stream_connect(NULL, "127.0.0.1", port, client, TIMEOUT_MS, &self->client_error);
    stream_server_join(thread, self);
}

void
stream_pair_open(StreamPair *self, const GwTlsIdentity *identity)
{
    stream_pair_try(self, identity, identity, TIMEOUT_MS);
    g_assert_no_error(self->client_error);
    g_assert_no_error(self->server_error);
    g_assert_true(self->client && self->server);
}

void
stream_pair_clear(StreamPair *self)
{
    g_clear_pointer(&self->client, gw_stream_free);
    g_clear_pointer(&self->server, gw_stream_free);
    g_clear_error(&self->client_error);
    g_clear_error(&self->server_error);
}

uint8_t
stream_pattern(uint64_t i)
{
    return (uint8_t)((i * 2654435761u) >> 16 ^ i >> 20);
}

void
stream_pattern_fill(uint8_t *bytes, size_t size, uint64_t from)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = stream_pattern(from + i);
}

void
stream_pattern_check(const uint8_t *bytes, size_t size, uint64_t from)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != stream_pattern(from + i))
            g_error("byte %" G_GUINT64_FORMAT " is %u, not %u", from + i, bytes[i], stream_pattern(from + i));
}

unsigned
n_open_fds(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned n = 0;
    while (g_dir_read_name(dir))
        n++;
    return n;
}
