/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One TCP connection to the guest's echo port that is kept busy, and whose every byte is checked. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* The stream consists of records of 32 bytes: a number (little-endian, 64 bits) and a pattern that follows
 * from it. A record is sent every few milliseconds; while more than GW_TCP_STREAM_MAX_UNANSWERED bytes are
 * out, none is. */
#define GW_TCP_STREAM_RECORD_BYTES   32
#define GW_TCP_STREAM_MAX_UNANSWERED (64 * 1024)

typedef struct GwTcpStream {
    int fd; /* -1: not in use or lost */
    bool is_connected;
    bool was_lost;
    int errnum; /* why it was lost; 0: the peer closed it */
    uint64_t lost_at_ns;
    uint64_t n_sent;
    uint64_t n_echoed;
    uint64_t n_wrong_bytes;
    uint64_t first_wrong_offset;
    uint64_t last_arrival_ns; /* 0: none yet */
    /* the longest time between two arrivals, since the last reset and in all */
    uint64_t stall_start_ns, stall_end_ns;
    uint64_t window_stall_start_ns, window_stall_end_ns;
} GwTcpStream;

/* The byte at this place of the stream. */
uint8_t gw_tcp_stream_byte_at(uint64_t offset);

/* Begins to connect; does not wait. 0 or -errno. */
int gw_tcp_stream_open(GwTcpStream *self, struct in_addr target, unsigned port);
void gw_tcp_stream_close(GwTcpStream *self);

/* What poll(2) should wait for; 0 if the stream is lost. */
short gw_tcp_stream_events(const GwTcpStream *self);

/* After poll(2) said that something is there. */
void gw_tcp_stream_process(GwTcpStream *self, short events);

/* Sends the next record, or what the socket takes of it. */
void gw_tcp_stream_send(GwTcpStream *self);

/* The stall that is going on is taken into account if it is the longest. */
void gw_tcp_stream_longest_stall(const GwTcpStream *self, bool window, uint64_t now_ns,
                                 uint64_t *ret_start_ns, uint64_t *ret_end_ns);
void gw_tcp_stream_reset_window(GwTcpStream *self);
