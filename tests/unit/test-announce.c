/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The announcement, byte for byte, and what a host receives of it through TAPs that another process holds. */
#include "announce.h"

#include "error.h"
#include "tap.h"
#include "vm-config-util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define UUID "0badcafe-52c1-4b7e-9a60-1f2e3d4c5b6a"

static const uint8_t macs[][6] = {{0x52, 0x54, 0, 0x72, 1, 2}, {0x02, 0xff, 0x80, 0x7f, 0, 1}};

/* Written down from RFC 903 and RFC 826 by hand, for 52:54:00:72:01:02. */
static const uint8_t expected_frame[GW_RARP_FRAME_BYTES] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* to everybody */
    0x52, 0x54, 0x00, 0x72, 0x01, 0x02, /* from the NIC */
    0x80, 0x35,                         /* RARP */
    0x00, 0x01,                         /* hardware: Ethernet */
    0x08, 0x00,                         /* protocol: IPv4 */
    0x06, 0x04,                         /* lengths of their addresses */
    0x00, 0x03,                         /* request reverse */
    0x52, 0x54, 0x00, 0x72, 0x01, 0x02, /* sender, hardware */
    0x00, 0x00, 0x00, 0x00,             /* sender, protocol: not known */
    0x52, 0x54, 0x00, 0x72, 0x01, 0x02, /* target, hardware: itself */
    0x00, 0x00, 0x00, 0x00,             /* target, protocol: that is the question */
    /* and padding */
};

static void
test_frame(void)
{
    uint8_t frame[GW_RARP_FRAME_BYTES];
    memset(frame, 0xaa, sizeof frame);
    gw_rarp_frame(macs[0], frame);
    g_assert_cmpmem(frame, sizeof frame, expected_frame, sizeof expected_frame);

    static const size_t places[] = {6, 22, 32};
    uint8_t other[GW_RARP_FRAME_BYTES];
    memcpy(other, expected_frame, sizeof other);
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++)
        memcpy(other + places[i], macs[1], 6);
    gw_rarp_frame(macs[1], frame);
    g_assert_cmpmem(frame, sizeof frame, other, sizeof other);
}

static GwVmConfig *
config_with_nics(unsigned n_nics)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) nics = g_string_new(NULL);
    for (unsigned i = 0; i < n_nics; i++) {
        char mac[18];
        gw_mac_format(macs[i], mac);
        g_string_append_printf(nics, "%s{\"port_group\":\"lan\",\"mac\":\"%s\"}", i ? "," : "", mac);
    }
    g_autofree char *text =
        g_strdup_printf("{\"name\":\"a\",\"uuid\":\"" UUID "\",\"machine\":\"pc-q35-7.2\",\"vcpus\":1,"
                        "\"cpu_model\":\"qemu64\",\"memory_mib\":256,\"nics\":[%s]}",
                        nics->str);
    GwVmConfig *config = gw_vm_config_parse(text, -1, &error);
    g_assert_no_error(error);
    return config;
}

/* A process that holds descriptors of ours, as QEMU does, until it is ended. */
typedef struct {
    GwProcess process;
    int hold;
} Holder;

static void
holder_start(Holder *self)
{
    g_autoptr(GError) error = NULL;
    int ends[2];
    char byte;
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(ends[0]);
    self->hold = ends[1];
    gw_process_open(pid, &self->process, &error);
    g_assert_no_error(error);
}

static void
holder_end(Holder *self)
{
    close(self->hold);
    waitpid(self->process.pid, NULL, 0);
    gw_process_clear(&self->process);
}

/* A network of our own, whose TAPs are nobody else's. False, with the reason, where we may not. */
static bool
enter_network(void)
{
    if (unshare(CLONE_NEWNET) == 0 && access("/dev/net/tun", R_OK | W_OK) == 0)
        return true;
    g_autofree char *why = g_strdup_printf("a network namespace and /dev/net/tun: %s", g_strerror(errno));
    g_test_skip(why);
    return false;
}

static int
make_tap(unsigned index, short flags)
{
    struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags)};
    gw_tap_name(UUID, index, request.ifr_name);
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    g_assert_cmpint(ioctl(fd, TUNSETIFF, &request), ==, 0);
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    request.ifr_flags = IFF_UP;
    g_assert_cmpint(ioctl(sock, SIOCSIFFLAGS, &request), ==, 0);
    close(sock);
    return fd;
}

/* Hears what a host receives from its TAP: that is what a bridge would. */
static int
listen_on(unsigned index)
{
    char name[IFNAMSIZ];
    gw_tap_name(UUID, index, name);
    int sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = htons(ETHERTYPE_REVARP),
                                  .sll_ifindex = (int)if_nametoindex(name)};
    struct timeval timeout = {.tv_sec = 2};
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    g_assert_cmpint(bind(sock, (struct sockaddr *)&address, sizeof address), ==, 0);
    return sock;
}

static void
assert_heard(int sock, unsigned nic)
{
    uint8_t frame[2048], expected[GW_RARP_FRAME_BYTES];
    struct sockaddr_ll from;
    socklen_t from_length = sizeof from;
    gw_rarp_frame(macs[nic], expected);
    ssize_t n = recvfrom(sock, frame, sizeof frame, 0, (struct sockaddr *)&from, &from_length);
    g_assert_cmpint(n, ==, GW_RARP_FRAME_BYTES);
    g_assert_cmpmem(frame, (size_t)n, expected, sizeof expected);
    g_assert_cmpint(from.sll_pkttype, ==, PACKET_BROADCAST); /* received, not sent by the host */
    g_assert_cmpint(recv(sock, frame, sizeof frame, MSG_DONTWAIT), ==, -1);
}

/* False, with the reason as the test's result, if descriptors of our own children cannot be taken. */
static bool
prepare(const Holder *holder, const GwVmConfig *config, GwAnnouncer **ret_announcer)
{
    g_autoptr(GError) error = NULL;
    *ret_announcer = gw_announcer_prepare(&holder->process, config, &error);
    if (g_error_matches(error, GW_ERROR, GW_ERROR_NOT_PERMITTED)) {
        g_test_skip(error->message);
        return false;
    }
    g_assert_no_error(error);
    g_assert_nonnull(*ret_announcer);
    return true;
}

/* Each size of the header that QEMU may have set by the time of the announcement, and a TAP without one. */
static void
test_send(void)
{
    static const struct {
        short flags;
        int header_bytes;
    } cases[] = {{0, 0}, {IFF_VNET_HDR, 10}, {IFF_VNET_HDR, 12}, {IFF_VNET_HDR, 20}};
    if (!enter_network())
        return;
    g_autoptr(GwVmConfig) config = config_with_nics(1);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        int tap = make_tap(0, cases[i].flags), sock = listen_on(0);
        Holder holder;
        holder_start(&holder);
        g_autoptr(GwAnnouncer) announcer = NULL;
        if (prepare(&holder, config, &announcer)) {
            /* only now, as QEMU sets it when it loads the NIC's state */
            if (cases[i].header_bytes)
                g_assert_cmpint(ioctl(tap, TUNSETVNETHDRSZ, &cases[i].header_bytes), ==, 0);
            for (unsigned repeat = 0; repeat < 2; repeat++) {
                g_assert_cmpint(gw_announcer_send(announcer), ==, 0);
                assert_heard(sock, 0);
            }
        }
        holder_end(&holder);
        close(sock);
        close(tap);
    }
}

/* TAPs in another order than the NICs, one of another VM among them; each address leaves by its own. */
static void
test_each_nic_by_its_own_tap(void)
{
    if (!enter_network())
        return;
    g_autoptr(GwVmConfig) config = config_with_nics(2);
    int foreign = open("/dev/net/tun", O_RDWR | O_CLOEXEC),
        unattached = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    gw_tap_name("ffffffff", 0, request.ifr_name);
    g_assert_cmpint(ioctl(foreign, TUNSETIFF, &request), ==, 0);
    int second = make_tap(1, IFF_VNET_HDR), first = make_tap(0, IFF_VNET_HDR);
    int socks[] = {listen_on(0), listen_on(1)};
    Holder holder;
    holder_start(&holder);
    close(first); /* the holder has them still */
    close(second);
    close(foreign);
    close(unattached);
    g_autoptr(GwAnnouncer) announcer = NULL;
    if (prepare(&holder, config, &announcer)) {
        g_assert_cmpint(gw_announcer_send(announcer), ==, 0);
        for (unsigned i = 0; i < G_N_ELEMENTS(socks); i++)
            assert_heard(socks[i], i);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(socks); i++)
        close(socks[i]);
    holder_end(&holder);
    /* The announcer's copies keep the TAPs; with it they go. */
    char name[IFNAMSIZ];
    gw_tap_name(UUID, 0, name);
    if (announcer)
        g_assert_cmpuint(if_nametoindex(name), !=, 0);
    g_clear_pointer(&announcer, gw_announcer_free);
    g_assert_cmpuint(if_nametoindex(name), ==, 0);
}

/* One NIC that fails keeps no other from being announced. */
static void
test_one_fails(void)
{
    if (!enter_network())
        return;
    g_autoptr(GwVmConfig) config = config_with_nics(2);
    int first = make_tap(0, 0), second = make_tap(1, 0), sock = listen_on(1);
    struct ifreq down = {0};
    gw_tap_name(UUID, 0, down.ifr_name);
    Holder holder;
    holder_start(&holder);
    g_autoptr(GwAnnouncer) announcer = NULL;
    if (prepare(&holder, config, &announcer)) {
        g_assert_cmpint(ioctl(sock, SIOCSIFFLAGS, &down), ==, 0);
        g_assert_cmpint(gw_announcer_send(announcer), ==, -EIO);
        assert_heard(sock, 1);
    }
    holder_end(&holder);
    close(sock);
    close(first);
    close(second);
}

static void
test_no_tap(void)
{
    if (!enter_network())
        return;
    g_autoptr(GError) error = NULL;
    g_autoptr(GwVmConfig) config = config_with_nics(2);
    int first = make_tap(0, 0);
    Holder holder;
    holder_start(&holder);
    g_autoptr(GwAnnouncer) announcer = gw_announcer_prepare(&holder.process, config, &error);
    g_autofree char *expected =
        g_strdup_printf("nic1: QEMU (process %d) has no TAP gw0badcafe.1 open", holder.process.pid);
    g_assert_null(announcer);
    if (g_error_matches(error, GW_ERROR, GW_ERROR_NOT_PERMITTED)) {
        g_test_skip(error->message);
    } else {
        g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
        g_assert_cmpstr(error->message, ==, expected);
    }
    holder_end(&holder);
    close(first);
}

static void
test_no_nic(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwVmConfig) config = config_with_nics(0);
    GwProcess nobody = GW_PROCESS_NONE;
    g_autoptr(GwAnnouncer) announcer = gw_announcer_prepare(&nobody, config, &error);
    g_assert_no_error(error);
    g_assert_cmpint(gw_announcer_send(announcer), ==, 0);
    gw_announcer_free(NULL);
}

static void
test_qemu_is_gone(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwVmConfig) config = config_with_nics(1);
    Holder holder;
    holder_start(&holder);
    gw_process_signal(&holder.process, SIGKILL);
    waitpid(holder.process.pid, NULL, 0);
    g_autoptr(GwAnnouncer) announcer = gw_announcer_prepare(&holder.process, config, &error);
    g_assert_null(announcer);
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    close(holder.hold);
    gw_process_clear(&holder.process);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/announce/frame", test_frame);
    g_test_add_func("/announce/send", test_send);
    g_test_add_func("/announce/each-nic-by-its-own-tap", test_each_nic_by_its_own_tap);
    g_test_add_func("/announce/one-fails", test_one_fails);
    g_test_add_func("/announce/no-tap", test_no_tap);
    g_test_add_func("/announce/no-nic", test_no_nic);
    g_test_add_func("/announce/qemu-is-gone", test_qemu_is_gone);
    return g_test_run();
}
