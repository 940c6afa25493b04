/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RARP frames, written into the descriptors of a guest's TAPs.
 *
 * What is written into a TAP's descriptor the host receives from the TAP, as it does what the guest sends:
 * the bridge learns the address on that very port, and passes the broadcast on to its uplink. A packet socket
 * on the bridge or the TAP would send the other way, towards the guest. */
#include "announce.h"

#include "error.h"
#include "tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define TUN_DEVICE      "/dev/net/tun"
/* virtio's longest header is 24 bytes yet (virtio_net_hdr_v1_hash_tunnel). */
#define MAX_VNET_HEADER 64

typedef struct {
    int fd; /* owned; of QEMU's open TAP; -1: not found yet */
    bool has_vnet_header;
    uint8_t frame[GW_RARP_FRAME_BYTES];
} Port;

struct GwAnnouncer {
    unsigned n_ports;
    Port ports[];
};

void
gw_rarp_frame(const uint8_t mac[6], uint8_t ret_frame[GW_RARP_FRAME_BYTES])
{
    struct {
        struct ether_header ethernet;
        struct ether_arp rarp;
    } __attribute__((packed)) head = {
        .ethernet = {.ether_dhost = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                     .ether_type = htons(ETHERTYPE_REVARP)},
        .rarp = {.ea_hdr = {.ar_hrd = htons(ARPHRD_ETHER),
                            .ar_pro = htons(ETHERTYPE_IP),
                            .ar_hln = ETH_ALEN,
                            .ar_pln = sizeof(struct in_addr),
                            .ar_op = htons(ARPOP_RREQUEST)}},
    };
    G_STATIC_ASSERT(sizeof head <= GW_RARP_FRAME_BYTES);
    memcpy(head.ethernet.ether_shost, mac, ETH_ALEN);
    memcpy(head.rarp.arp_sha, mac, ETH_ALEN);
    memcpy(head.rarp.arp_tha, mac, ETH_ALEN);
    memset(ret_frame, 0, GW_RARP_FRAME_BYTES);
    memcpy(ret_frame, &head, sizeof head);
}

static GwAnnouncer *
announcer_new(const GArray *nics)
{
    GwAnnouncer *self = g_malloc0(sizeof *self + nics->len * sizeof *self->ports);
    self->n_ports = nics->len;
    for (guint i = 0; i < nics->len; i++) {
        self->ports[i].fd = -1;
        gw_rarp_frame(g_array_index(nics, GwNicConfig, i).mac, self->ports[i].frame);
    }
    return self;
}

/* Keeps `fd` (taken) if it is of the TAP of one of the VM's NICs. */
static void
sort_in(GwAnnouncer *self, const char *uuid, int fd)
{
    struct ifreq tap = {0};
    if (ioctl(fd, TUNGETIFF, &tap) == 0)
        for (unsigned i = 0; i < self->n_ports; i++) {
            char name[IFNAMSIZ];
            gw_tap_name(uuid, i, name);
            if (self->ports[i].fd < 0 && strncmp(tap.ifr_name, name, IFNAMSIZ) == 0) {
                self->ports[i].has_vnet_header = tap.ifr_flags & IFF_VNET_HDR;
                self->ports[i].fd = fd;
                return;
            }
        }
    close(fd);
}

GwAnnouncer *
gw_announcer_prepare(const GwProcess *qemu, const GwVmConfig *config, GError **error)
{
    g_autoptr(GwAnnouncer) self = announcer_new(config->nics);
    if (self->n_ports == 0)
        return g_steal_pointer(&self);
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
    if (!gw_process_find_fds(qemu, TUN_DEVICE, fds, error))
        return NULL;
    for (guint i = 0; i < fds->len; i++) {
        int fd = gw_process_take_fd(qemu, g_array_index(fds, int, i), error);
        if (fd < 0)
            return NULL;
        sort_in(self, config->uuid, fd);
    }
    for (unsigned i = 0; i < self->n_ports; i++)
        if (self->ports[i].fd < 0) {
            char name[IFNAMSIZ];
            gw_tap_name(config->uuid, i, name);
            g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "%s: QEMU (process %d) has no TAP %s open",
                        g_array_index(config->nics, GwNicConfig, i).id, qemu->pid, name);
            return NULL;
        }
    return g_steal_pointer(&self);
}

/* The header's size is asked for here, not before: it is 10 bytes at first, and QEMU makes it 12 while it
 * loads the state of a NIC whose driver merges receive buffers. */
static int
send_frame(const Port *port)
{
    static const uint8_t no_offload[MAX_VNET_HEADER];
    int header_bytes = 0;
    if (port->has_vnet_header && ioctl(port->fd, TUNGETVNETHDRSZ, &header_bytes) < 0)
        return -errno;
    if (header_bytes < 0 || header_bytes > MAX_VNET_HEADER)
        return -EMSGSIZE;
    struct iovec parts[] = {{(void *)no_offload, (size_t)header_bytes},
                            {(void *)port->frame, sizeof port->frame}};
    return writev(port->fd, parts, G_N_ELEMENTS(parts)) < 0 ? -errno : 0;
}

int
gw_announcer_send(const GwAnnouncer *self)
{
    int failed = 0;
    for (unsigned i = 0; i < self->n_ports; i++) {
        int r = send_frame(&self->ports[i]);
        if (failed == 0)
            failed = r;
    }
    return failed;
}

void
gw_announcer_free(GwAnnouncer *self)
{
    if (!self)
        return;
    for (unsigned i = 0; i < self->n_ports; i++)
        if (self->ports[i].fd >= 0)
            close(self->ports[i].fd);
    g_free(self);
}
