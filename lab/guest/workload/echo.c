/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gw-echo: sends back what comes to TCP and UDP port 7 (RFC 862). */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "service.h"

/* One thread and one epoll set. A TCP client that does not take its echo must not hold up the others: what
 * could not be sent is kept, and nothing more is read from that client until it is gone. */

#define DEFAULT_PORT 7
#define BUFFER_BYTES 16384
#define MAX_EVENTS   32
#define UDP_BURST    64

/* After a pause of the guest, all that was sent meanwhile arrives at once. The default queue holds some 90
 * datagrams, as each is accounted for with the whole buffer that the network card filled; the rest would look
 * lost by the migration. */
#define UDP_QUEUE_BYTES (8 << 20)

typedef struct Client {
    int fd;
    size_t begin, end; /* what is still to be sent of `bytes` */
    char bytes[BUFFER_BYTES];
} Client;

static int
listen_on(int type, unsigned port)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1, queue_bytes = UDP_QUEUE_BYTES;
    if (type == SOCK_DGRAM) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue_bytes, sizeof queue_bytes);
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        (type == SOCK_STREAM && listen(fd, 64) < 0)) {
        fprintf(stderr, "gw-echo: port %u: %s\n", port, strerror(errno));
        exit(1);
    }
    return fd;
}

static void
watch(int epoll_fd, int operation, int fd, uint32_t events, void *data)
{
    struct epoll_event event = {.events = events, .data.ptr = data};
    epoll_ctl(epoll_fd, operation, fd, &event);
}

static void
accept_clients(int epoll_fd, int listen_fd)
{
    int fd;
    while ((fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        Client *client = calloc(1, sizeof *client);
        if (client == NULL) {
            close(fd);
            continue;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        client->fd = fd;
        watch(epoll_fd, EPOLL_CTL_ADD, fd, EPOLLIN, client);
    }
}

/* False if the client is gone. */
static bool
echo_stream(Client *client)
{
    for (;;) {
        while (client->begin < client->end) {
            ssize_t n =
                send(client->fd, client->bytes + client->begin, client->end - client->begin, MSG_NOSIGNAL);
            if (n < 0) {
                return errno == EAGAIN || errno == EINTR;
            }
            client->begin += (size_t)n;
        }
        ssize_t n = recv(client->fd, client->bytes, sizeof client->bytes, 0);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        if (n == 0) {
            return false;
        }
        client->begin = 0;
        client->end = (size_t)n;
    }
}

static void
serve_client(int epoll_fd, Client *client)
{
    bool was_full = client->begin < client->end;
    if (!echo_stream(client)) {
        close(client->fd);
        free(client);
        return;
    }
    bool is_full = client->begin < client->end;
    if (is_full != was_full) {
        watch(epoll_fd, EPOLL_CTL_MOD, client->fd, is_full ? EPOLLOUT : EPOLLIN, client);
    }
}

static void
echo_datagrams(int fd)
{
    static char bytes[65536];
    for (int i = 0; i < UDP_BURST; i++) {
        struct sockaddr_in from;
        socklen_t from_size = sizeof from;
        ssize_t n = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &from_size);
        if (n < 0) {
            return;
        }
        sendto(fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, from_size);
    }
}

int
main(int argc, char **argv)
{
    unsigned port = argc > 1 ? (unsigned)atoi(argv[1]) : DEFAULT_PORT;
    int stream_fd = listen_on(SOCK_STREAM, port);
    int datagram_fd = listen_on(SOCK_DGRAM, port);
    int ready_fd = gw_service_detach();
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (ready_fd < 0 || epoll_fd < 0) {
        return 1;
    }
    setpriority(PRIO_PROCESS, 0,
                -20); /* before the writers: the client measures the network, not their turn */
    watch(epoll_fd, EPOLL_CTL_ADD, stream_fd, EPOLLIN, &stream_fd);
    watch(epoll_fd, EPOLL_CTL_ADD, datagram_fd, EPOLLIN, &datagram_fd);
    gw_service_ready(ready_fd);
    for (;;) {
        struct epoll_event events[MAX_EVENTS];
        int n = epoll_wait(epoll_fd, events, MAX_EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &stream_fd) {
                accept_clients(epoll_fd, stream_fd);
            } else if (events[i].data.ptr == &datagram_fd) {
                echo_datagrams(datagram_fd);
            } else {
                serve_client(epoll_fd, events[i].data.ptr);
            }
        }
    }
}
