/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bridges by rtnetlink. STP stays off: it would hold a guest's port for thirty seconds before the first frame
 * passes, and a host's switch has no second way to anywhere. */
#include "network.h"

#include "error.h"

#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <string.h>

#define ALIAS "godwit"

/* While the switches are gone through. */
typedef struct {
    struct nl_sock *sock;
    GString *problems; /* a line for each switch that is not as it should be */
} Session;

static void
link_put(struct rtnl_link *link)
{
    if (link)
        rtnl_link_put(link);
}
typedef struct rtnl_link NlLink;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NlLink, link_put)

static bool
session_open(Session *self, GError **error)
{
    *self = (Session){nl_socket_alloc(), g_string_new(NULL)};
    int failed = nl_connect(self->sock, NETLINK_ROUTE);
    if (failed >= 0)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_IO, "rtnetlink: %s", nl_geterror(failed));
    nl_socket_free(self->sock);
    g_string_free(self->problems, TRUE);
    return false;
}

static bool
session_close(Session *self, GwError code, GError **error)
{
    bool ok = self->problems->len == 0;
    if (!ok)
        g_set_error_literal(error, GW_ERROR, code, self->problems->str);
    nl_socket_free(self->sock);
    g_string_free(self->problems, TRUE);
    return ok;
}

static void G_GNUC_PRINTF(3, 4) problem(Session *self, const GwHostSwitch *net, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_string_append_printf(self->problems, "%sswitch '%s': ", self->problems->len ? "\n" : "", net->name);
    g_string_append_vprintf(self->problems, format, args);
    va_end(args);
}

static NlLink *
find_link(Session *self, const char *name)
{
    struct rtnl_link *link = NULL;
    return rtnl_link_get_kernel(self->sock, 0, name, &link) == 0 ? link : NULL;
}

static bool
is_bridge(NlLink *link)
{
    return g_strcmp0(rtnl_link_get_type(link), "bridge") == 0;
}

static bool
is_ours(NlLink *link)
{
    return g_strcmp0(rtnl_link_get_ifalias(link), ALIAS) == 0;
}

/* Alias and flags go in a request of their own: the kernel takes no alias with a new link. */
static bool
make_bridge(Session *self, const GwHostSwitch *net)
{
    g_autoptr(NlLink) link = rtnl_link_bridge_alloc();
    g_autoptr(NlLink) change = rtnl_link_alloc();
    rtnl_link_set_name(link, net->bridge);
    int failed = rtnl_link_add(self->sock, link, NLM_F_CREATE | NLM_F_EXCL);
    if (failed < 0) {
        problem(self, net, "making bridge '%s': %s", net->bridge, nl_geterror(failed));
        return false;
    }
    g_autoptr(NlLink) made = find_link(self, net->bridge);
    rtnl_link_set_ifalias(change, ALIAS);
    failed = made ? rtnl_link_change(self->sock, made, change, 0) : -NLE_NODEV;
    if (failed < 0)
        problem(self, net, "marking bridge '%s': %s", net->bridge, nl_geterror(failed));
    g_message("switch '%s': bridge %s made", net->name, net->bridge);
    return failed >= 0;
}

static void
set_up(Session *self, const GwHostSwitch *net, NlLink *link)
{
    g_autoptr(NlLink) change = rtnl_link_alloc();
    if (rtnl_link_get_flags(link) & IFF_UP)
        return;
    rtnl_link_set_flags(change, IFF_UP);
    int failed = rtnl_link_change(self->sock, link, change, 0);
    if (failed < 0)
        problem(self, net, "setting '%s' up: %s", rtnl_link_get_name(link), nl_geterror(failed));
}

static void
join_uplink(Session *self, const GwHostSwitch *net, NlLink *bridge, const char *name)
{
    g_autoptr(NlLink) uplink = find_link(self, name);
    g_autoptr(NlLink) change = rtnl_link_alloc();
    if (!uplink) {
        problem(self, net, "there is no interface '%s' for its uplink", name);
        return;
    }
    int master = rtnl_link_get_master(uplink), ifindex = rtnl_link_get_ifindex(bridge);
    if (master && master != ifindex) {
        struct rtnl_link *other = NULL;
        if (rtnl_link_get_kernel(self->sock, master, NULL, &other) < 0)
            other = NULL;
        problem(self, net,
                "uplink '%s' is in '%s' already; take it out of there, or out of the configuration", name,
                other ? rtnl_link_get_name(other) : "another bridge");
        link_put(other);
        return;
    }
    if (!master) {
        rtnl_link_set_master(change, ifindex);
        int failed = rtnl_link_change(self->sock, uplink, change, 0);
        if (failed < 0) {
            problem(self, net, "putting uplink '%s' into bridge '%s': %s", name, net->bridge,
                    nl_geterror(failed));
            return;
        }
        g_message("switch '%s': uplink %s is in bridge %s", net->name, name, net->bridge);
    }
    set_up(self, net, uplink);
}

static void
apply_switch(Session *self, const GwHostSwitch *net)
{
    g_autoptr(NlLink) bridge = find_link(self, net->bridge);
    if (!bridge && !net->create) {
        problem(self, net, "there is no bridge '%s', and 'create=no' leaves it to others to make it",
                net->bridge);
        return;
    }
    if (!bridge && make_bridge(self, net))
        bridge = find_link(self, net->bridge);
    if (!bridge)
        return;
    if (!is_bridge(bridge)) {
        problem(self, net, "'%s' is no bridge", net->bridge);
        return;
    }
    set_up(self, net, bridge);
    for (char **name = net->uplinks; *name; name++)
        join_uplink(self, net, bridge, *name);
}

bool
gw_network_apply(const GwHostConfig *config, GError **error)
{
    Session self;
    if (!session_open(&self, error))
        return false;
    for (guint i = 0; i < config->switches->len; i++)
        apply_switch(&self, &g_array_index(config->switches, GwHostSwitch, i));
    return session_close(&self, GW_ERROR_NOT_SUPPORTED, error);
}

/* A port of the bridge that is none of the switch's uplinks; the caller's. */
static char *
find_guest_port(struct nl_cache *links, const GwHostSwitch *net, int ifindex)
{
    for (struct nl_object *o = nl_cache_get_first(links); o; o = nl_cache_get_next(o)) {
        struct rtnl_link *link = (struct rtnl_link *)o;
        const char *name = rtnl_link_get_name(link);
        if (rtnl_link_get_master(link) == ifindex &&
            !g_strv_contains((const char *const *)net->uplinks, name))
            return g_strdup(name);
    }
    return NULL;
}

static void
clean_switch(Session *self, struct nl_cache *links, const GwHostSwitch *net)
{
    g_autoptr(NlLink) bridge = find_link(self, net->bridge);
    if (!bridge || !is_bridge(bridge) || !is_ours(bridge))
        return;
    g_autofree char *port = find_guest_port(links, net, rtnl_link_get_ifindex(bridge));
    if (port) {
        problem(self, net, "bridge '%s' stays: '%s' is in it", net->bridge, port);
        return;
    }
    int failed = rtnl_link_delete(self->sock, bridge);
    if (failed < 0)
        problem(self, net, "removing bridge '%s': %s", net->bridge, nl_geterror(failed));
    else
        g_message("switch '%s': bridge %s removed", net->name, net->bridge);
}

bool
gw_network_clean(const GwHostConfig *config, GError **error)
{
    Session self;
    struct nl_cache *links = NULL;
    if (!session_open(&self, error))
        return false;
    int failed = rtnl_link_alloc_cache(self.sock, AF_UNSPEC, &links);
    if (failed < 0)
        g_string_append_printf(self.problems, "listing the interfaces: %s", nl_geterror(failed));
    for (guint i = 0; i < config->switches->len && links; i++)
        clean_switch(&self, links, &g_array_index(config->switches, GwHostSwitch, i));
    if (links)
        nl_cache_free(links);
    return session_close(&self, GW_ERROR_WRONG_STATE, error);
}

/* Up is a switch that carries frames: the bridge is, and each uplink is there, in it and has a carrier. */
static bool
switch_is_up(Session *self, const GwHostSwitch *net)
{
    g_autoptr(NlLink) bridge = find_link(self, net->bridge);
    bool up = bridge && is_bridge(bridge) && (rtnl_link_get_flags(bridge) & IFF_UP);
    for (char **name = net->uplinks; up && *name; name++) {
        g_autoptr(NlLink) uplink = find_link(self, *name);
        up = uplink && rtnl_link_get_master(uplink) == rtnl_link_get_ifindex(bridge) &&
             (rtnl_link_get_flags(uplink) & IFF_UP) && (rtnl_link_get_flags(uplink) & IFF_RUNNING);
    }
    return up;
}

JsonArray *
gw_network_facts(const GwHostConfig *config)
{
    Session self;
    JsonArray *array = json_array_new();
    bool asks = session_open(&self, NULL);
    for (guint i = 0; i < config->switches->len; i++) {
        const GwHostSwitch *net = &g_array_index(config->switches, GwHostSwitch, i);
        JsonObject *object = json_object_new();
        JsonArray *uplinks = json_array_new();
        for (char **name = net->uplinks; *name; name++)
            json_array_add_string_element(uplinks, *name);
        json_object_set_string_member(object, "name", net->name);
        json_object_set_string_member(object, "bridge", net->bridge);
        json_object_set_array_member(object, "uplinks", uplinks);
        json_object_set_boolean_member(object, "up", asks && switch_is_up(&self, net));
        json_array_add_object_element(array, object);
    }
    if (asks)
        session_close(&self, GW_ERROR_IO, NULL);
    return array;
}
