/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Links and addresses by rtnetlink, and the speed by ethtool's ioctl: /sys/class/net would show the
 * interfaces of the network namespace that it was mounted in, which need not be ours. */
#include "motion-interface.h"

#include "error.h"

#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void
interface_clear(void *data)
{
    GwHostInterface *interface = data;
    g_free(interface->name);
    g_free(interface->address);
}

/* The first call tells, as a negative number, how many words of link modes the kernel has; the second has to
 * bring room for three such masks. */
static uint64_t
read_speed(const char *name)
{
    struct {
        struct ethtool_link_settings settings;
        uint32_t masks[3 * INT8_MAX];
    } query = {.settings = {.cmd = ETHTOOL_GLINKSETTINGS}};
    struct ifreq request = {.ifr_data = (void *)&query};
    g_strlcpy(request.ifr_name, name, IFNAMSIZ);
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool known = sock >= 0 && ioctl(sock, SIOCETHTOOL, &request) == 0;
    if (known) {
        query.settings.cmd = ETHTOOL_GLINKSETTINGS;
        query.settings.link_mode_masks_nwords = (int8_t)-query.settings.link_mode_masks_nwords;
        known = ioctl(sock, SIOCETHTOOL, &request) == 0 && query.settings.speed != 0 &&
                query.settings.speed != (uint32_t)SPEED_UNKNOWN;
    }
    if (sock >= 0)
        close(sock);
    return known ? (uint64_t)query.settings.speed * 1000000 : 0;
}

/* IPv6 link-local addresses mean nothing without an interface's number, which differs from host to host. */
static bool
is_useful(struct rtnl_addr *address)
{
    struct nl_addr *local = rtnl_addr_get_local(address);
    if (!local ||
        (rtnl_addr_get_family(address) == AF_INET6 && rtnl_addr_get_scope(address) != RT_SCOPE_UNIVERSE))
        return false;
    return rtnl_addr_get_family(address) == AF_INET || rtnl_addr_get_family(address) == AF_INET6;
}

/* An entry for each address of the link; one without if it has none. */
static void
add_entries(GArray *interfaces, const GwHostInterface *link, int ifindex, struct nl_cache *addresses)
{
    bool found = false;
    for (struct nl_object *o = nl_cache_get_first(addresses); o; o = nl_cache_get_next(o)) {
        struct rtnl_addr *address = (struct rtnl_addr *)o;
        char text[INET6_ADDRSTRLEN];
        if (ifindex == 0 || rtnl_addr_get_ifindex(address) != ifindex || !is_useful(address))
            continue;
        struct nl_addr *local = rtnl_addr_get_local(address);
        if (!inet_ntop(rtnl_addr_get_family(address), nl_addr_get_binary_addr(local), text, sizeof text))
            continue;
        GwHostInterface entry = *link;
        entry.name = g_strdup(link->name);
        entry.address = g_strdup(text);
        entry.prefix_length = (unsigned)rtnl_addr_get_prefixlen(address);
        g_array_append_val(interfaces, entry);
        found = true;
    }
    if (found)
        return;
    GwHostInterface entry = *link;
    entry.name = g_strdup(link->name);
    g_array_append_val(interfaces, entry);
}

static void
read_interface(struct nl_sock *sock, char *name, struct nl_cache *addresses, GArray *interfaces)
{
    struct rtnl_link *link = NULL;
    GwHostInterface entry = {.name = name};
    int ifindex = 0;
    if (rtnl_link_get_kernel(sock, 0, name, &link) == 0) {
        ifindex = rtnl_link_get_ifindex(link);
        entry.mtu = rtnl_link_get_mtu(link);
        entry.is_up = (rtnl_link_get_flags(link) & IFF_UP) && (rtnl_link_get_flags(link) & IFF_RUNNING);
        entry.speed_bits_per_s = read_speed(name);
        rtnl_link_put(link);
    }
    add_entries(interfaces, &entry, ifindex, addresses);
}

GArray *
gw_motion_interfaces_read(char *const *names, GError **error)
{
    struct nl_sock *sock = nl_socket_alloc();
    struct nl_cache *addresses = NULL;
    GArray *interfaces = NULL;
    int failed = nl_connect(sock, NETLINK_ROUTE);
    if (failed >= 0)
        failed = rtnl_addr_alloc_cache(sock, &addresses);
    if (failed < 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_IO, "reading the interfaces' addresses: %s",
                    nl_geterror(failed));
    } else {
        interfaces = g_array_new(FALSE, FALSE, sizeof(GwHostInterface));
        g_array_set_clear_func(interfaces, interface_clear);
        for (; *names; names++)
            read_interface(sock, *names, addresses, interfaces);
        nl_cache_free(addresses);
    }
    nl_socket_free(sock);
    return interfaces;
}

JsonArray *
gw_motion_interfaces_to_json(const GArray *interfaces)
{
    JsonArray *array = json_array_new();
    for (guint i = 0; i < interfaces->len; i++) {
        const GwHostInterface *entry = &g_array_index(interfaces, GwHostInterface, i);
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "name", entry->name);
        if (entry->address)
            json_object_set_string_member(object, "address", entry->address);
        else
            json_object_set_null_member(object, "address");
        json_object_set_int_member(object, "prefix_length", entry->prefix_length);
        json_object_set_int_member(object, "speed_bits_per_s", (gint64)entry->speed_bits_per_s);
        json_object_set_int_member(object, "mtu", entry->mtu);
        json_object_set_boolean_member(object, "up", entry->is_up);
        json_array_add_object_element(array, object);
    }
    return array;
}
