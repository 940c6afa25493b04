/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TAP devices: TUNSETIFF, then rtnetlink for bridge, MTU and state. */
#include "tap.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void
gw_tap_name(const char *uuid, unsigned index, char ret_name[IFNAMSIZ])
{
    snprintf(ret_name, IFNAMSIZ, "gw%.8s.%u", uuid, index);
}

static bool
set_nl_error(int failed, const char *name, const char *what, GError **error)
{
    if (failed >= 0)
        return true;
    g_set_error(error, GW_ERROR, failed == -NLE_PERM ? GW_ERROR_NOT_PERMITTED : GW_ERROR_IO, "%s: %s: %s",
                name, what, nl_geterror(failed));
    return false;
}

static bool
join_bridge(struct nl_sock *sock, const char *name, const char *bridge_name, GError **error)
{
    struct rtnl_link *tap = NULL, *bridge = NULL, *change = rtnl_link_alloc();
    int failed = nl_connect(sock, NETLINK_ROUTE);
    bool ok = set_nl_error(failed, name, "rtnetlink", error);

    if (ok && rtnl_link_get_kernel(sock, 0, bridge_name, &bridge) < 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "there is no bridge '%s' on this host", bridge_name);
        ok = false;
    }
    if (ok && g_strcmp0(rtnl_link_get_type(bridge), "bridge") != 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'%s' is no bridge", bridge_name);
        ok = false;
    }
    ok = ok && set_nl_error(rtnl_link_get_kernel(sock, 0, name, &tap), name, "finding the TAP", error);
    if (ok) {
        rtnl_link_set_master(change, rtnl_link_get_ifindex(bridge));
        rtnl_link_set_mtu(change, rtnl_link_get_mtu(bridge));
        rtnl_link_set_flags(change, IFF_UP);
        failed = rtnl_link_change(sock, tap, change, 0);
        ok = set_nl_error(failed, name, bridge_name, error);
    }
    rtnl_link_put(change);
    if (tap)
        rtnl_link_put(tap);
    if (bridge)
        rtnl_link_put(bridge);
    return ok;
}

/* IPv6 autoconfiguration of a bridge port serves nobody and gives the host an address on the guests' network.
 * A kernel without IPv6 has no such file. */
static void
disable_ipv6(const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "1", 1) != 1)
        g_debug("%s: %s, ignoring", path, g_strerror(errno));
    close(fd);
}

int
gw_tap_open(const char *name, const char *bridge, GError **error)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        gw_set_errno(error, errno == ENOENT ? GW_ERROR_NOT_SUPPORTED : GW_ERROR_NOT_PERMITTED, errno,
                     "/dev/net/tun");
        return -1;
    }
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL};
    g_strlcpy(request.ifr_name, name, IFNAMSIZ);
    if (ioctl(fd, TUNSETIFF, &request) < 0) {
        int errnum = errno;
        if (errnum == EBUSY || errnum == EEXIST)
            g_set_error(error, GW_ERROR, GW_ERROR_EXISTS,
                        "TAP %s exists: a VM whose UUID begins with the same eight digits runs on this host",
                        name);
        else
            gw_set_errno(error, GW_ERROR_IO, errnum, "making TAP %s", name);
        close(fd);
        return -1;
    }
    disable_ipv6(name);
    struct nl_sock *sock = nl_socket_alloc();
    bool ok = join_bridge(sock, name, bridge, error);
    nl_socket_free(sock);
    if (ok)
        return fd;
    close(fd);
    return -1;
}
