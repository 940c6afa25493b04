/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What both ends of a probe share.
 *
 * On the connection: the token's 32 characters, then bytes that mean nothing until the sender closes its
 * direction, then the receiver's answer: two 64-bit numbers in network order, how many bytes it counted and
 * in how many microseconds. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define GW_PROBE_TOKEN_CHARS  32
#define GW_PROBE_ANSWER_BYTES 16

/* How much had come by when. */
typedef struct {
    gint64 us;
    uint64_t bytes;
} GwProbeSample;

/* Pure. Of the samples (GwProbeSample, in order of time) bytes and time of the last three quarters: a
 * connection begins slowly, and a shaper lets a burst pass first. Both 0 if there is no such time. */
void gw_probe_window(const GArray *samples, uint64_t *ret_bytes, uint64_t *ret_us);

/* Pure. The rate in bit/s that a receiver's answer comes to, 0 if it can be none. */
uint64_t gw_probe_rate(const unsigned char answer[GW_PROBE_ANSWER_BYTES]);

/* A numeric address, also "fe80::1%eth0"; false if it is none, or one of nobody in particular. */
bool gw_probe_address_parse(const char *text, unsigned port, struct sockaddr_storage *ret_address,
                            socklen_t *ret_length);
