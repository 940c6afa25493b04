/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks of the way between the hosts, and of the networks that the guest is on. */
#include "check-internal.h"

#include <inttypes.h>
#include <string.h>

#define MBIT (1000 * 1000)

static bool
can_carry(const GwMotionInterface *interface)
{
    return interface->is_up && interface->address;
}

static bool
has_family(const GwHostFacts *host, bool ipv6)
{
    for (guint i = 0; i < host->interfaces->len; i++) {
        const GwMotionInterface *interface = &g_array_index(host->interfaces, GwMotionInterface, i);
        if (can_carry(interface) && (strchr(interface->address, ':') != NULL) == ipv6)
            return true;
    }
    return false;
}

static bool
has_interface(const GwHostFacts *host)
{
    return has_family(host, false) || has_family(host, true);
}

/* "motion0 10.71.0.1/24 (down), motion1 without an address"; owned. */
static char *
describe_interfaces(const GwHostFacts *host)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < host->interfaces->len; i++) {
        const GwMotionInterface *interface = &g_array_index(host->interfaces, GwMotionInterface, i);
        g_string_append_printf(text, "%s%s ", i ? ", " : "", interface->name);
        if (interface->address)
            g_string_append_printf(text, "%s/%u", interface->address, interface->prefix_length);
        else
            g_string_append(text, "without an address");
        g_string_append(text, interface->is_up ? "" : " (down)");
    }
    return g_strdup(text->len ? text->str : "none");
}

static char *
repair_interfaces(const GwHostFacts *host)
{
    for (guint i = 0; i < host->interfaces->len; i++) {
        const GwMotionInterface *interface = &g_array_index(host->interfaces, GwMotionInterface, i);
        if (!interface->is_up)
            return g_strdup_printf("on %s, 'ip link set %s up', and see to its cable", host->name,
                                   interface->name);
        if (!interface->address)
            return g_strdup_printf("on %s, 'ip address add ADDRESS/LENGTH dev %s'", host->name,
                                   interface->name);
    }
    return gw_check_host_repair(host, "[motion] interfaces=INTERFACE");
}

static void
report_interface_missing(GwCheckRun *run, const GwHostFacts *host, bool is_source)
{
    if (!host->is_reachable || has_interface(host))
        return;
    GwFinding *finding = gw_check_add(run, "%s, the %s, has no motion interface%s", host->name,
                                      is_source ? "source" : "destination",
                                      host->interfaces->len ? " that is up and has an address" : "");
    *(is_source ? &finding->source : &finding->destination) = describe_interfaces(host);
    finding->repair = repair_interfaces(host);
}

void
gw_check_interface_missing(GwCheckRun *run)
{
    report_interface_missing(run, run->source, true);
    if (strcmp(run->source->name, run->destination->name) != 0)
        report_interface_missing(run, run->destination, false);
}

void
gw_check_interface_family(GwCheckRun *run)
{
    const GwHostFacts *a = run->source, *b = run->destination;
    if (!has_interface(a) || !has_interface(b) || (has_family(a, false) && has_family(b, false)) ||
        (has_family(a, true) && has_family(b, true)))
        return;
    GwFinding *finding =
        gw_check_add(run, "the motion interfaces of %s have %s addresses only, those of %s %s ones", a->name,
                     has_family(a, true) ? "IPv6" : "IPv4", b->name, has_family(b, true) ? "IPv6" : "IPv4");
    finding->source = describe_interfaces(a);
    finding->destination = describe_interfaces(b);
    finding->repair = g_strdup_printf("give a motion interface of %s an address of %s too", b->name,
                                      has_family(a, true) ? "IPv6" : "IPv4");
}

/* --- probes -------------------------------------------------------------------------------------------- */

static char *
describe_end(const char *interface, const char *address)
{
    return interface ? g_strdup_printf("%s (%s)", interface, address) : g_strdup(address);
}

static GwFinding *
report_path(GwCheckRun *run, const GwPath *path, const char *what)
{
    g_autofree char *from = describe_end(path->source_interface, path->source_address);
    g_autofree char *to = describe_end(path->destination_interface, path->destination_address);
    GwFinding *finding = gw_check_add(run, "from %s of %s to %s of %s %s", from, run->source->name, to,
                                      run->destination->name, what);
    finding->source = g_steal_pointer(&from);
    finding->destination = g_steal_pointer(&to);
    return finding;
}

static char *
repair_path(const GwCheckRun *run, const GwPath *path)
{
    return g_strdup_printf("see to routes, firewalls and VLANs of that way: 'ping -I %s %s' on %s, then "
                           "'godwit host probe %s --to %s'; or take the interface out of [motion] interfaces "
                           "in /etc/godwit/host.conf, then 'godwit-host reload'",
                           path->source_address, path->destination_address, run->source->name,
                           run->source->name, run->destination->name);
}

void
gw_check_path_none(GwCheckRun *run)
{
    if (!run->paths || run->paths->len == 0) /* not probed, or nothing to probe: others say that */
        return;
    for (guint i = 0; i < run->paths->len; i++)
        if (g_array_index(run->paths, GwPath, i).is_reachable)
            return;
    const GwPath *first = &g_array_index(run->paths, GwPath, 0);
    GwFinding *finding =
        gw_check_add(run, "no motion interface of %s reaches one of %s (%u way%s tried)", run->source->name,
                     run->destination->name, run->paths->len, run->paths->len == 1 ? "" : "s");
    finding->source = describe_interfaces(run->source);
    finding->destination = describe_interfaces(run->destination);
    finding->repair = repair_path(run, first);
}

void
gw_check_path_unreachable(GwCheckRun *run)
{
    for (guint i = 0; run->paths && i < run->paths->len; i++) {
        const GwPath *path = &g_array_index(run->paths, GwPath, i);
        if (path->is_reachable)
            continue;
        g_autofree char *what =
            g_strdup_printf("there is no way: %s", path->error ? path->error : "no connection");
        GwFinding *finding = report_path(run, path, what);
        finding->repair = repair_path(run, path);
    }
}

void
gw_check_path_slow(GwCheckRun *run)
{
    for (guint i = 0; run->paths && i < run->paths->len; i++) {
        const GwPath *path = &g_array_index(run->paths, GwPath, i);
        if (!path->is_reachable || path->bits_per_s == 0 || path->bits_per_s >= GW_CHECK_FLOOR_BITS_PER_S)
            continue;
        g_autofree char *what = g_strdup_printf(
            "%.1f Mbit/s were measured (round trip %.2f ms), and a motion should have %llu",
            (double)path->bits_per_s / MBIT, (double)path->rtt_us / 1000, GW_CHECK_FLOOR_BITS_PER_S / MBIT);
        GwFinding *finding = report_path(run, path, what);
        finding->repair = g_strdup("use a faster network for motions, or wait until this one is less busy");
    }
}

/* --- networks ------------------------------------------------------------------------------------------ */

static const GwPortGroup *
find_port_group(const GwHostFacts *host, const char *name)
{
    for (guint i = 0; i < host->port_groups->len; i++) {
        const GwPortGroup *group = &g_array_index(host->port_groups, GwPortGroup, i);
        if (strcmp(group->name, name) == 0)
            return group;
    }
    return NULL;
}

static const char *
find_near_port_group(const GwHostFacts *host, const char *name)
{
    for (guint i = 0; i < host->port_groups->len; i++) {
        const GwPortGroup *group = &g_array_index(host->port_groups, GwPortGroup, i);
        if (gw_check_names_are_near(group->name, name))
            return group->name;
    }
    return NULL;
}

static const GwSwitch *
find_switch(const GwHostFacts *host, const char *name)
{
    for (guint i = 0; name && i < host->switches->len; i++) {
        const GwSwitch *one = &g_array_index(host->switches, GwSwitch, i);
        if (strcmp(one->name, name) == 0)
            return one;
    }
    return NULL;
}

static char *
describe_port_group(const GwHostFacts *host, const char *name)
{
    const GwPortGroup *group = host->is_reachable ? find_port_group(host, name) : NULL;
    if (!group)
        return NULL;
    const GwSwitch *one = find_switch(host, group->switch_name);
    g_autofree char *uplinks = one && *one->uplinks ? g_strjoinv(", ", one->uplinks) : NULL;
    return g_strdup_printf("'%s' on switch %s, %s%s", name, group->switch_name ? group->switch_name : "?",
                           uplinks ? "uplinks " : "no uplink", uplinks ? uplinks : "");
}

/* The switch that a new port group at the destination would best be on. */
static const char *
suggest_switch(const GwCheckRun *run, const char *port_group)
{
    const GwPortGroup *group = find_port_group(run->source, port_group);
    const GArray *switches = run->destination->switches;
    if (group && find_switch(run->destination, group->switch_name))
        return group->switch_name;
    for (guint i = 0; i < switches->len; i++)
        if (*g_array_index(switches, GwSwitch, i).uplinks)
            return g_array_index(switches, GwSwitch, i).name;
    return "SWITCH";
}

static char *
describe_port_groups(const GwHostFacts *host)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < host->port_groups->len; i++)
        g_string_append_printf(text, "%s'%s'", i ? ", " : "port groups ",
                               g_array_index(host->port_groups, GwPortGroup, i).name);
    return g_strdup(text->len ? text->str : "no port group");
}

void
gw_check_network_missing(GwCheckRun *run)
{
    const GArray *nics = run->vm->config->nics;
    for (guint i = 0; i < nics->len; i++) {
        const GwNicConfig *nic = &g_array_index(nics, GwNicConfig, i);
        if (find_port_group(run->destination, nic->port_group))
            continue;
        const char *near = find_near_port_group(run->destination, nic->port_group);
        g_autofree char *but = near ? g_strdup_printf("; '%s' there differs in case or blanks", near) : NULL;
        GwFinding *finding =
            gw_check_add(run, "%s has no port group '%s', which %s (/nics/%u) is on%s",
                         run->destination->name, nic->port_group, nic->id, i, but ? but : "");
        finding->source = describe_port_group(run->source, nic->port_group);
        finding->destination = describe_port_groups(run->destination);
        finding->repair =
            near ? gw_check_host_repair(run->destination, "rename [port-group %s] to [port-group %s]", near,
                                        nic->port_group)
                 : gw_check_host_repair(run->destination, "[port-group %s] with switch=%s", nic->port_group,
                                        suggest_switch(run, nic->port_group));
    }
}

static void
report_internal(GwCheckRun *run, const GwHostFacts *host, const GwNicConfig *nic, guint index)
{
    const GwPortGroup *group = host->is_reachable ? find_port_group(host, nic->port_group) : NULL;
    const GwSwitch *one = group ? find_switch(host, group->switch_name) : NULL;
    if (!one || *one->uplinks)
        return;
    GwFinding *finding = gw_check_add(
        run,
        "%s (/nics/%u) is on port group '%s', whose switch %s on %s has no uplink: whom the guest talks "
        "to there, it loses",
        nic->id, index, nic->port_group, one->name, host->name);
    finding->source = describe_port_group(run->source, nic->port_group);
    finding->destination = describe_port_group(run->destination, nic->port_group);
    finding->repair = gw_check_host_repair(host, "[switch %s] uplinks=INTERFACE", one->name);
}

void
gw_check_network_internal(GwCheckRun *run)
{
    const GArray *nics = run->vm->config->nics;
    bool elsewhere = strcmp(run->source->name, run->destination->name) != 0;
    for (guint i = 0; i < nics->len; i++) {
        const GwNicConfig *nic = &g_array_index(nics, GwNicConfig, i);
        report_internal(run, run->source, nic, i);
        if (elsewhere)
            report_internal(run, run->destination, nic, i);
    }
}
