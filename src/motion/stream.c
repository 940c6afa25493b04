/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams. Plain ones send the caller's memory and receive into one buffer; large receives go past it. Behind
 * TLS, all that is tls.c's. */
#include "stream.h"

#include "error.h"
#include "stream-socket.h"
#include "tls.h"

#include <errno.h>
#include <string.h>

/* From this size on a receive goes straight to its place, once the buffer is empty: a copy of it costs more
 * than the system call that the buffer would save. */
#define BYPASS_BYTES (64 * 1024)

struct GwStream {
    /* set once */
    GwStreamSocket socket; /* its own rules */
    GwTls *tls;            /* owned; NULL: plain. Its own rules */
    /* the receiver's, of a plain stream */
    uint8_t *buffer; /* owned */
    size_t start, end;
};

static GwStream *
stream_new(int fd, const GwTlsIdentity *identity, bool is_server, int timeout_ms, gint64 deadline_us,
           GError **error)
{
    g_autoptr(GwStream) self = g_new0(GwStream, 1);
    if (!gw_stream_socket_init(&self->socket, fd, error))
        return NULL;
    if (identity) {
        /* One deadline over all: a peer that sends a byte now and then gains nothing by it. */
        gw_stream_socket_set_deadline(&self->socket, deadline_us);
        self->tls = gw_tls_new(&self->socket, identity, is_server, error);
        if (!self->tls)
            return NULL;
    } else
        self->buffer = g_malloc(GW_STREAM_BUFFER_BYTES);
    self->socket.timeout_ms = timeout_ms;
    gw_stream_socket_set_deadline(&self->socket, 0);
    return g_steal_pointer(&self);
}

GwStream *
gw_stream_connect(const char *local, const char *address, unsigned port, const GwTlsIdentity *identity,
                  int timeout_ms, GError **error)
{
    gint64 deadline_us = gw_stream_deadline(timeout_ms);
    int fd = gw_stream_socket_connect(local, address, port, deadline_us, error);
    return fd < 0 ? NULL : stream_new(fd, identity, false, timeout_ms, deadline_us, error);
}

GwStream *
gw_stream_accept(int fd, const GwTlsIdentity *identity, int timeout_ms, GError **error)
{
    return stream_new(fd, identity, true, timeout_ms, gw_stream_deadline(timeout_ms), error);
}

void
gw_stream_set_timeout(GwStream *self, int timeout_ms)
{
    gw_stream_socket_set_timeout(&self->socket, timeout_ms);
}

int
gw_stream_send(GwStream *self, const struct iovec *parts, unsigned n_parts)
{
    int failed = gw_stream_socket_check(&self->socket);
    if (failed < 0)
        return failed;
    return self->tls ? gw_tls_send(self->tls, parts, n_parts)
                     : gw_stream_socket_send(&self->socket, parts, n_parts);
}

ssize_t
gw_stream_take(GwStream *self, const uint8_t **ret_bytes, size_t max)
{
    int failed = gw_stream_socket_check(&self->socket);
    if (failed < 0)
        return failed;
    if (self->tls)
        return gw_tls_take(self->tls, ret_bytes, max);
    if (self->start == self->end) {
        ssize_t n = gw_stream_socket_receive(&self->socket, self->buffer, GW_STREAM_BUFFER_BYTES);
        self->start = 0;
        self->end = n > 0 ? (size_t)n : 0;
        if (n < 0)
            return n;
    }
    size_t n = MIN(max, self->end - self->start);
    *ret_bytes = self->buffer + self->start;
    self->start += n;
    return (ssize_t)n;
}

int
gw_stream_receive(GwStream *self, void *buffer, size_t size)
{
    uint8_t *at = buffer;
    while (size > 0) {
        const uint8_t *bytes = NULL;
        bool bypass = !self->tls && self->start == self->end && size >= BYPASS_BYTES;
        ssize_t n =
            bypass ? gw_stream_socket_receive(&self->socket, at, size) : gw_stream_take(self, &bytes, size);
        if (n < 0)
            return (int)n;
        if (bytes)
            memcpy(at, bytes, (size_t)n);
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

int
gw_stream_receive_within(GwStream *self, void *buffer, size_t size, int timeout_ms)
{
    gw_stream_socket_set_deadline(&self->socket, gw_stream_deadline(timeout_ms));
    int failed = gw_stream_receive(self, buffer, size);
    gw_stream_socket_set_deadline(&self->socket, 0);
    return failed;
}

void
gw_stream_stop_receiving(GwStream *self)
{
    gw_stream_socket_stop_receiving(&self->socket);
}

void
gw_stream_shutdown(GwStream *self)
{
    gw_stream_socket_shutdown(&self->socket);
}

bool
gw_stream_is_encrypted(const GwStream *self)
{
    return self->tls != NULL;
}

const char *
gw_stream_cipher(const GwStream *self)
{
    return self->tls ? gw_tls_cipher(self->tls) : "none";
}

const char *
gw_stream_peer(const GwStream *self)
{
    return self->socket.peer;
}

const char *
gw_stream_peer_name(const GwStream *self)
{
    return self->tls ? gw_tls_peer_name(self->tls) : "";
}

int
gw_stream_fd(const GwStream *self)
{
    return self->socket.fd;
}

bool
gw_stream_has_pending(GwStream *self)
{
    if (gw_stream_socket_check(&self->socket) < 0)
        return true;
    return self->tls ? gw_tls_has_pending(self->tls) : self->start < self->end;
}

gboolean
gw_stream_set_error(const GwStream *self, int result, const char *what, GError **error)
{
    const char *peer = self->socket.peer;
    switch (result) {
    case -EACCES:
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED, "%s: %s refuses this host's certificate", what,
                    peer);
        return FALSE;
    case -EPROTO:
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s: the TLS session with %s is broken", what, peer);
        return FALSE;
    case -ECONNRESET:
        g_set_error(error, GW_ERROR, GW_ERROR_PEER_LOST, "%s: %s closed the connection", what, peer);
        return FALSE;
    case -ESHUTDOWN:
        return gw_set_errno(error, GW_ERROR_PEER_LOST, ESHUTDOWN, "%s: the connection with %s", what, peer);
    case -ETIMEDOUT:
        return gw_set_errno(error, GW_ERROR_TIMED_OUT, ETIMEDOUT, "%s: %s", what, peer);
    case -EHOSTUNREACH:
    case -ENETUNREACH:
        return gw_set_errno(error, GW_ERROR_PEER_LOST, -result, "%s: %s", what, peer);
    default:
        return gw_set_errno(error, GW_ERROR_IO, -result, "%s: %s", what, peer);
    }
}

void
gw_stream_free(GwStream *self)
{
    if (!self)
        return;
    gw_tls_free(self->tls);
    gw_stream_socket_clear(&self->socket);
    g_free(self->buffer);
    g_free(self);
}
