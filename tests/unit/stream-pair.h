/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two streams that are connected over loopback, for tests. */
#pragma once

#include "stream.h"

/* What came of a connection, at both ends: a stream or an error. */
typedef struct {
    GwStream *client, *server;
    GError *client_error, *server_error;
    gint64 server_us; /* how long gw_stream_accept() took */
} StreamPair;

/* An identity NULL: that end is plain. The server's time-out is its own. Nothing is asserted. */
void stream_pair_try(StreamPair *self, const GwTlsIdentity *client, const GwTlsIdentity *server,
                     int server_timeout_ms);
/* Both with `identity`, NULL: plain; asserts that it worked. Time-outs are 20 s. */
void stream_pair_open(StreamPair *self, const GwTlsIdentity *identity);
void stream_pair_clear(StreamPair *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StreamPair, stream_pair_clear)

/* A server for one connection, in a thread of its own, for a client that is none of ours. */
typedef struct StreamServer StreamServer;
StreamServer *stream_server_start(const GwTlsIdentity *identity, int timeout_ms, unsigned *ret_port);
/* Waits for it, and takes its part of the pair. */
void stream_server_join(StreamServer *self, StreamPair *pair);

/* Blocking socket, connected to 127.0.0.1. */
int stream_raw_connect(unsigned port);
/* Waits for a connection on `listening`. */
int stream_raw_accept(int listening);

/* Byte `i` of the test's data; no two records of it are alike. */
uint8_t stream_pattern(uint64_t i);
void stream_pattern_fill(uint8_t *bytes, size_t size, uint64_t from);
void stream_pattern_check(const uint8_t *bytes, size_t size, uint64_t from);

unsigned n_open_fds(void);
