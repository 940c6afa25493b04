/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sockets of streams. They block, with SO_RCVTIMEO and SO_SNDTIMEO for time-outs: one system call where
 * poll(2) would make it two. Only connecting is done without blocking, since SO_SNDTIMEO would have to be set
 * on it before and does not tell a time-out from a peer that is not there. */
#include "stream-socket.h"

#include "error.h"
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNSENT_BYTES (128 * 1024)

/* Streams of a few motions, and strangers, that wait for accept(2). */
#define BACKLOG 64

/* Numeric addresses only: a name would be looked up for seconds, and could lead elsewhere the next time. */
static struct addrinfo *
parse_address(const char *text, unsigned port, GError **error)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char service[16];
    snprintf(service, sizeof service, "%u", port);
    if (port > 65535) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "%u is no port", port);
        return NULL;
    }
    int failed = getaddrinfo(text, service, &hints, &found);
    if (failed != 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'%s' is no IP address: %s", text,
                    gai_strerror(failed));
        return NULL;
    }
    return found;
}

static void
format_peer(int fd, char *ret_text, size_t size)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    char host[NI_MAXHOST], service[NI_MAXSERV];
    if (getpeername(fd, (struct sockaddr *)&address, &length) < 0 ||
        getnameinfo((struct sockaddr *)&address, length, host, sizeof host, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0 ||
        address.ss_family == AF_UNIX)
        g_strlcpy(ret_text, "the other end", size);
    else
        snprintf(ret_text, size, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, service);
}

int
gw_stream_listen(const char *address, unsigned port, unsigned *ret_port, GError **error)
{
    struct addrinfo *info = parse_address(address, port, error);
    if (!info)
        return -1;
    int one = 1;
    union {
        struct sockaddr any;
        struct sockaddr_in v4; /* the port has the same place in both families */
        struct sockaddr_in6 v6;
    } bound = {.v6 = {0}};
    socklen_t length = sizeof bound;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, &bound.any, &length) < 0) {
        int errnum = errno;
        GwError code = errnum == EADDRNOTAVAIL ? GW_ERROR_INVALID_ARGUMENT
                       : errnum == EADDRINUSE  ? GW_ERROR_EXISTS
                       : errnum == EACCES      ? GW_ERROR_NOT_PERMITTED
                                               : GW_ERROR_IO;
        gw_set_errno(error, code, errnum, "listening on %s, port %u", address, port);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(info);
    if (fd >= 0 && ret_port)
        *ret_port = ntohs(bound.v4.sin_port);
    return fd;
}

gint64
gw_stream_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? G_MAXINT64 : g_get_monotonic_time() + timeout_ms * (gint64)1000;
}

/* Rounded up, so that nobody spins in the last millisecond; -1: no deadline. */
static int
ms_until(gint64 deadline_us)
{
    if (deadline_us == G_MAXINT64)
        return -1;
    gint64 left = deadline_us - g_get_monotonic_time();
    return left <= 0 ? 0 : (int)MIN((left + 999) / 1000, INT_MAX);
}

/* Waits for a connect(2) under way. 0 or its errno. */
static int
await_connected(int fd, gint64 deadline_us)
{
    struct pollfd waits = {.fd = fd, .events = POLLOUT};
    int n = 0, errnum = 0;
    socklen_t size = sizeof errnum;
    do
        n = poll(&waits, 1, ms_until(deadline_us));
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n == 0 ? ETIMEDOUT : errno;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &size) < 0 ? errno : errnum;
}

static bool
bind_local(int fd, const char *local, GError **error)
{
    struct addrinfo *info = parse_address(local, 0, error);
    if (!info)
        return false;
    int failed = bind(fd, info->ai_addr, info->ai_addrlen) < 0 ? errno : 0;
    freeaddrinfo(info);
    if (failed)
        gw_set_errno(error, GW_ERROR_INVALID_ARGUMENT, failed, "connecting from %s", local);
    return !failed;
}

static GwError
connect_error_code(int errnum)
{
    switch (errnum) {
    case ETIMEDOUT:
        return GW_ERROR_TIMED_OUT;
    case EACCES:
    case EPERM:
        return GW_ERROR_NOT_PERMITTED; /* a packet filter of this host */
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
        return GW_ERROR_PEER_LOST;
    default:
        return GW_ERROR_IO;
    }
}

int
gw_stream_socket_connect(const char *local, const char *address, unsigned port, gint64 deadline_us,
                         GError **error)
{
    struct addrinfo *info = parse_address(address, port, error);
    if (!info)
        return -1;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failed = fd < 0 ? errno : 0;
    bool is_bound = fd >= 0 && (!local || bind_local(fd, local, error));
    if (is_bound && connect(fd, info->ai_addr, info->ai_addrlen) < 0)
        failed = errno == EINPROGRESS ? await_connected(fd, deadline_us) : errno;
    freeaddrinfo(info);
    if (failed)
        gw_set_errno(error, connect_error_code(failed), failed, "connecting to %s, port %u", address, port);
    if (!failed && is_bound)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

bool
gw_stream_socket_init(GwStreamSocket *self, int fd, GError **error)
{
    *self = (GwStreamSocket){.fd = fd, .timeout_ms = -1};
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "a stream's socket");
        return false;
    }
    int one = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
        g_debug("TCP_NODELAY: %s, ignoring", g_strerror(errno)); /* no TCP: nothing is delayed there */
    /* What a slow link has not sent yet is kept from the faster ones, and the end of a round waits for it. */
    int unsent = UNSENT_BYTES;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent) < 0)
        g_debug("TCP_NOTSENT_LOWAT: %s, ignoring", g_strerror(errno));
    format_peer(fd, self->peer, sizeof self->peer);
    return true;
}

void
gw_stream_socket_clear(GwStreamSocket *self)
{
    if (self->fd >= 0)
        close(self->fd);
    self->fd = -1;
}

/* To the kernel, zero is for ever. */
static void
apply_timeout(GwStreamSocket *self, int timeout_ms)
{
    unsigned ms = timeout_ms < 0 ? 0 : MAX((unsigned)timeout_ms, 1);
    struct timeval time = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    if (setsockopt(self->fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) < 0 ||
        setsockopt(self->fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time) < 0 ||
        setsockopt(self->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms) < 0)
        g_debug("time-out of %s: %s, ignoring", self->peer, g_strerror(errno));
}

void
gw_stream_socket_set_timeout(GwStreamSocket *self, int timeout_ms)
{
    self->timeout_ms = timeout_ms;
    apply_timeout(self, timeout_ms);
}

void
gw_stream_socket_set_deadline(GwStreamSocket *self, gint64 deadline_us)
{
    self->deadline_us = deadline_us;
    if (deadline_us == 0)
        apply_timeout(self, self->timeout_ms);
}

int
gw_stream_socket_check(GwStreamSocket *self)
{
    return g_atomic_int_get(&self->is_shut) ? -ESHUTDOWN : 0;
}

/* Before each system call. */
static int
prepare_call(GwStreamSocket *self)
{
    if (gw_stream_socket_check(self) < 0)
        return -ESHUTDOWN;
    if (self->deadline_us == 0)
        return 0;
    int ms = ms_until(self->deadline_us);
    if (ms == 0)
        return -ETIMEDOUT;
    apply_timeout(self, ms);
    return 0;
}

/* Our own shutdown looks to a waiting call like the peer's end. */
static int
error_of_call(GwStreamSocket *self, int errnum)
{
    if (gw_stream_socket_check(self) < 0)
        return -ESHUTDOWN;
    switch (errnum) {
    case EAGAIN:
        return -ETIMEDOUT;
    case EPIPE:
        return -ECONNRESET;
    default:
        return -errnum;
    }
}

static ssize_t
send_some(GwStreamSocket *self, struct iovec *parts, unsigned n_parts, int flags)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = n_parts};
    for (;;) {
        int failed = prepare_call(self);
        if (failed < 0)
            return failed;
        ssize_t n = sendmsg(self->fd, &message, MSG_NOSIGNAL | flags);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return error_of_call(self, errno);
    }
}

int
gw_stream_socket_send(GwStreamSocket *self, const struct iovec *parts, unsigned n_parts)
{
    struct iovec window[IOV_MAX]; /* of the parts, less what has been sent of the first */
    size_t n_sent = 0;
    while (n_parts > 0) {
        unsigned n = MIN(n_parts, IOV_MAX);
        memcpy(window, parts, n * sizeof *parts);
        window[0].iov_base = (char *)window[0].iov_base + n_sent;
        window[0].iov_len -= n_sent;
        ssize_t result = send_some(self, window, n, n < n_parts ? MSG_MORE : 0);
        if (result < 0)
            return (int)result;
        for (n_sent += (size_t)result; n_parts > 0 && n_sent >= parts->iov_len; parts++, n_parts--)
            n_sent -= parts->iov_len;
    }
    return 0;
}

ssize_t
gw_stream_socket_receive(GwStreamSocket *self, void *buffer, size_t size)
{
    for (;;) {
        int failed = prepare_call(self);
        if (failed < 0)
            return failed;
        ssize_t n = recv(self->fd, buffer, size, 0);
        if (n > 0)
            return n;
        if (n == 0)
            return error_of_call(self, ECONNRESET);
        if (errno != EINTR)
            return error_of_call(self, errno);
    }
}

void
gw_stream_socket_stop_receiving(GwStreamSocket *self)
{
    shutdown(self->fd, SHUT_RD);
}

void
gw_stream_socket_shutdown(GwStreamSocket *self)
{
    g_atomic_int_set(&self->is_shut, 1);
    shutdown(self->fd, SHUT_RDWR);
}
