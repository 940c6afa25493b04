/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sends numbered echo requests by ICMP or UDP and receives the answers with the kernel's time stamps.
 *
 * The time stamp is taken when the packet enters the network stack of this host, so it does not matter when
 * the prober gets to run. The kernel gives it in CLOCK_REALTIME, which may be set while we measure; it is
 * turned into CLOCK_MONOTONIC at once, by the difference of the two clocks now. Only a clock set between
 * arrival and reading would show. */
#include "probe-socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/icmp.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

#define ECHO_PORT          7
#define RECEIVE_QUEUE_SIZE (4 << 20) /* answers of some ten seconds: the prober may be kept from running */

#define MAX_CLOCK_PAIR_NS    20000
#define N_CLOCK_PAIR_RETRIES 3

typedef struct Payload {
    uint64_t nonce;
    uint64_t seq;
    uint8_t padding[40]; /* 56 bytes in all, as ping sends */
} Payload;

typedef struct IcmpProbe {
    struct icmphdr header;
    Payload payload;
} IcmpProbe;

void
gw_socket_want_timestamps(int fd)
{
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
}

/* CLOCK_REALTIME - CLOCK_MONOTONIC. A sample that was interrupted between its readings is taken again. */
static int64_t
clock_difference_ns(void)
{
    uint64_t before_ns, after_ns, wall_ns;
    unsigned n_tries = 0;
    do {
        before_ns = gw_now_ns();
        wall_ns = gw_clock_now_ns(CLOCK_REALTIME);
        after_ns = gw_now_ns();
    } while (after_ns - before_ns > MAX_CLOCK_PAIR_NS && ++n_tries <= N_CLOCK_PAIR_RETRIES);
    return (int64_t)(wall_ns - (before_ns + (after_ns - before_ns) / 2));
}

uint64_t
gw_message_arrival_ns(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec stamp;
            memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
            return gw_timespec_to_ns(stamp) - (uint64_t)clock_difference_ns();
        }
    }
    return gw_now_ns();
}

int
gw_probe_socket_open(GwProbeSocket *self, GwProbeMode mode, struct in_addr target)
{
    int type = mode == GW_PROBE_ICMP ? SOCK_RAW : SOCK_DGRAM;
    *self = (GwProbeSocket){.mode = mode, .fd = -1};
    if (getrandom(&self->nonce, sizeof self->nonce, 0) != sizeof self->nonce) {
        return -errno;
    }
    self->icmp_id = (uint16_t)self->nonce;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, mode == GW_PROBE_ICMP ? IPPROTO_ICMP : 0);
    if (fd < 0) {
        return -errno;
    }
    if (mode == GW_PROBE_ICMP) {
        struct icmp_filter filter = {.data = ~(1u << ICMP_ECHOREPLY)};
        setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof filter);
    }
    int queue_size = RECEIVE_QUEUE_SIZE;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue_size, sizeof queue_size) < 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &queue_size, sizeof queue_size);
    }
    gw_socket_want_timestamps(fd);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = target, .sin_port = htons(ECHO_PORT)};
    if (mode == GW_PROBE_ICMP) {
        address.sin_port = 0;
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int saved = errno;
        close(fd);
        return -saved;
    }
    self->fd = fd;
    return 0;
}

void
gw_probe_socket_close(GwProbeSocket *self)
{
    if (self->fd >= 0) {
        close(self->fd);
        self->fd = -1;
    }
}

static uint16_t
internet_checksum(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    uint32_t sum = 0;
    for (; size > 1; size -= 2, at += 2) {
        uint16_t word;
        memcpy(&word, at, sizeof word);
        sum += word;
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

int
gw_probe_socket_send(GwProbeSocket *self, uint64_t seq)
{
    IcmpProbe probe = {
        .header = {.type = ICMP_ECHO,
                   .un.echo = {.id = htons(self->icmp_id), .sequence = htons((uint16_t)seq)}},
        .payload = {.nonce = self->nonce, .seq = seq},
    };
    const void *bytes = &probe.payload;
    size_t size = sizeof probe.payload;
    if (self->mode == GW_PROBE_ICMP) {
        probe.header.checksum = internet_checksum(&probe, sizeof probe);
        bytes = &probe;
        size = sizeof probe;
    }
    ssize_t n = send(self->fd, bytes, size, MSG_DONTWAIT);
    return n < 0 ? -errno : 0;
}

/* Is this an answer to one of ours? */
static int
parse_answer(const GwProbeSocket *self, const uint8_t *bytes, size_t size, uint64_t *ret_seq)
{
    if (self->mode == GW_PROBE_ICMP) {
        size_t ip_size = size > 0 ? (size_t)(bytes[0] & 0x0f) * 4 : 0;
        if (size < ip_size + sizeof(IcmpProbe)) {
            return 0;
        }
        bytes += ip_size + sizeof(struct icmphdr);
        size -= ip_size + sizeof(struct icmphdr);
    }
    Payload payload;
    if (size < sizeof payload) {
        return 0;
    }
    memcpy(&payload, bytes, sizeof payload);
    if (payload.nonce != self->nonce) {
        return 0;
    }
    *ret_seq = payload.seq;
    return 1;
}

int
gw_probe_socket_receive(GwProbeSocket *self, uint64_t *ret_seq, uint64_t *ret_arrival_ns)
{
    for (;;) {
        uint8_t bytes[256];
        uint64_t control[16];
        struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t n = recvmsg(self->fd, &message, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN ? 0 : -errno;
        }
        if (parse_answer(self, bytes, (size_t)n, ret_seq)) {
            *ret_arrival_ns = gw_message_arrival_ns(&message);
            return 1;
        }
    }
}
