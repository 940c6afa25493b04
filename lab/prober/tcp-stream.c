/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One TCP connection to the guest's echo port that is kept busy, and whose every byte is checked. */
#include "tcp-stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "probe-socket.h"

uint8_t
gw_tcp_stream_byte_at(uint64_t offset)
{
    uint64_t number = offset / GW_TCP_STREAM_RECORD_BYTES;
    unsigned place = (unsigned)(offset % GW_TCP_STREAM_RECORD_BYTES);
    /* Behind the number the same bits once more, scrambled differently at each place. */
    uint64_t word = place < 8 ? number : (number + place) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint8_t)(word >> (8 * (place % 8)));
}

int
gw_tcp_stream_open(GwTcpStream *self, struct in_addr target, unsigned port)
{
    *self = (GwTcpStream){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    if (self->fd < 0) {
        return -errno;
    }
    int on = 1;
    setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    gw_socket_want_timestamps(self->fd);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = target, .sin_port = htons((uint16_t)port)};
    if (connect(self->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) {
        return -errno;
    }
    return 0;
}

void
gw_tcp_stream_close(GwTcpStream *self)
{
    if (self->fd >= 0) {
        close(self->fd);
        self->fd = -1;
    }
}

short
gw_tcp_stream_events(const GwTcpStream *self)
{
    if (self->fd < 0) {
        return 0;
    }
    return self->is_connected ? POLLIN : POLLOUT;
}

static void
lose(GwTcpStream *self, int errnum)
{
    self->was_lost = true;
    self->errnum = errnum;
    self->lost_at_ns = gw_now_ns();
    gw_tcp_stream_close(self);
}

static void
finish_connect(GwTcpStream *self)
{
    int errnum = 0;
    socklen_t size = sizeof errnum;
    getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &errnum, &size);
    if (errnum != 0) {
        lose(self, errnum);
    } else {
        self->is_connected = true;
    }
}

static void
note_arrival(GwTcpStream *self, uint64_t arrival_ns)
{
    uint64_t before_ns = self->last_arrival_ns;
    if (arrival_ns <= before_ns) {
        return;
    }
    self->last_arrival_ns = arrival_ns;
    if (before_ns == 0) {
        return;
    }
    if (arrival_ns - before_ns > self->stall_end_ns - self->stall_start_ns) {
        self->stall_start_ns = before_ns;
        self->stall_end_ns = arrival_ns;
    }
    if (arrival_ns - before_ns > self->window_stall_end_ns - self->window_stall_start_ns) {
        self->window_stall_start_ns = before_ns;
        self->window_stall_end_ns = arrival_ns;
    }
}

static void
check_bytes(GwTcpStream *self, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint64_t offset = self->n_echoed + i;
        if (bytes[i] != gw_tcp_stream_byte_at(offset) || offset >= self->n_sent) {
            if (self->n_wrong_bytes++ == 0) {
                self->first_wrong_offset = offset;
            }
        }
    }
    self->n_echoed += size;
}

static void
receive(GwTcpStream *self)
{
    for (;;) {
        uint8_t bytes[4096];
        uint64_t control[16];
        struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t n = recvmsg(self->fd, &message, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n <= 0) {
            lose(self, n < 0 ? errno : 0);
            return;
        }
        note_arrival(self, gw_message_arrival_ns(&message));
        check_bytes(self, bytes, (size_t)n);
    }
}

void
gw_tcp_stream_process(GwTcpStream *self, short events)
{
    if (self->fd < 0 || events == 0) {
        return;
    }
    if (!self->is_connected) {
        finish_connect(self);
    } else {
        receive(self);
    }
}

void
gw_tcp_stream_send(GwTcpStream *self)
{
    if (self->fd < 0 || !self->is_connected || self->n_sent - self->n_echoed > GW_TCP_STREAM_MAX_UNANSWERED) {
        return;
    }
    uint8_t record[GW_TCP_STREAM_RECORD_BYTES];
    for (size_t i = 0; i < sizeof record; i++) {
        record[i] = gw_tcp_stream_byte_at(self->n_sent + i);
    }
    ssize_t n = send(self->fd, record, sizeof record, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
        self->n_sent += (uint64_t)n;
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        lose(self, errno);
    }
}

void
gw_tcp_stream_longest_stall(const GwTcpStream *self, bool window, uint64_t now_ns, uint64_t *ret_start_ns,
                            uint64_t *ret_end_ns)
{
    *ret_start_ns = window ? self->window_stall_start_ns : self->stall_start_ns;
    *ret_end_ns = window ? self->window_stall_end_ns : self->stall_end_ns;
    bool is_waiting = self->last_arrival_ns != 0 && self->n_sent > self->n_echoed;
    if (is_waiting && now_ns > self->last_arrival_ns &&
        now_ns - self->last_arrival_ns > *ret_end_ns - *ret_start_ns) {
        *ret_start_ns = self->last_arrival_ns;
        *ret_end_ns = now_ns;
    }
}

void
gw_tcp_stream_reset_window(GwTcpStream *self)
{
    self->window_stall_start_ns = 0;
    self->window_stall_end_ns = 0;
}
