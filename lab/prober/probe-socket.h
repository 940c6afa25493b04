/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sends numbered echo requests by ICMP or UDP and receives the answers with the kernel's time stamps. */
#pragma once

#include <netinet/in.h>
#include <stdint.h>
#include <time.h>

typedef enum { GW_PROBE_ICMP, GW_PROBE_UDP } GwProbeMode;

typedef struct GwProbeSocket {
    int fd;
    GwProbeMode mode;
    uint64_t nonce; /* tells our probes from those of another prober */
    uint16_t icmp_id;
} GwProbeSocket;

/* ICMP needs CAP_NET_RAW. 0 or -errno. */
int gw_probe_socket_open(GwProbeSocket *self, GwProbeMode mode, struct in_addr target);
void gw_probe_socket_close(GwProbeSocket *self);

/* 0 or -errno. */
int gw_probe_socket_send(GwProbeSocket *self, uint64_t seq);

/* One answer: 1; 0 if there is none left; or -errno for an error that the network reported (ICMP unreachable
 * …), after which more answers may follow. Never blocks. */
int gw_probe_socket_receive(GwProbeSocket *self, uint64_t *ret_seq, uint64_t *ret_arrival_ns);

/* Asks for a receive time stamp on each packet of this socket. */
void gw_socket_want_timestamps(int fd);

/* The time stamp that came with a message as CLOCK_MONOTONIC, or the current time if none did. */
struct msghdr;
uint64_t gw_message_arrival_ns(struct msghdr *message);
