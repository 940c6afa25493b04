/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The socket of a stream: made, connected, and its errors told as stream.h promises. For stream.c and tls.c.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

typedef struct {
    int fd;        /* owned; -1: none */
    char peer[80]; /* "10.71.0.2:41234", "[fd00::2]:41234" */
    gint is_shut;  /* atomic: gw_stream_socket_shutdown() was called */
    int timeout_ms;
    gint64 deadline_us; /* 0: none */
} GwStreamSocket;

/* CLOCK_MONOTONIC in microseconds; negative time-outs never come. */
gint64 gw_stream_deadline(int timeout_ms);

/* A connected socket, still non-blocking; -1 on error. */
int gw_stream_socket_connect(const char *local, const char *address, unsigned port, gint64 deadline_us,
                             GError **error);

/* Takes `fd`, also on failure: blocking from here on, close-on-exec, without Nagle's delay. */
bool gw_stream_socket_init(GwStreamSocket *self, int fd, GError **error);
void gw_stream_socket_clear(GwStreamSocket *self);

/* Of each system call below, and of what was sent and is not acknowledged. -1: none. */
void gw_stream_socket_set_timeout(GwStreamSocket *self, int timeout_ms);
/* From here on all system calls together end at `deadline_us` (-ETIMEDOUT), whatever their time-outs; 0: no
 * longer. Only while one thread uses the socket. */
void gw_stream_socket_set_deadline(GwStreamSocket *self, gint64 deadline_us);

/* All of it, as many system calls as that takes. 0 or -errno. */
int gw_stream_socket_send(GwStreamSocket *self, const struct iovec *parts, unsigned n_parts);
/* What has arrived, at least one byte. Their number or -errno; never 0. */
ssize_t gw_stream_socket_receive(GwStreamSocket *self, void *buffer, size_t size);

/* 0, or -ESHUTDOWN after gw_stream_socket_shutdown(). */
int gw_stream_socket_check(GwStreamSocket *self);
void gw_stream_socket_shutdown(GwStreamSocket *self);
/* Receiving: -ECONNRESET behind what has arrived already. The other end does not notice. */
void gw_stream_socket_stop_receiving(GwStreamSocket *self);
