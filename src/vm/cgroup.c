/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Control groups: see the kernel's admin-guide/cgroup-v2.rst and cgroup-v1/cpu documents
 * (scheduler/sched-bwc.rst). */
#include "cgroup.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define PERIOD_US 100000u /* the kernel's default */

static bool
option_is_set(const char *options, const char *option)
{
    g_auto(GStrv) all = g_strsplit(options, ",", -1);
    return g_strv_contains((const char *const *)all, option);
}

/* "cpuset cpu io": "cpuset" alone does not count. */
static bool
lists_cpu(const char *controllers)
{
    g_auto(GStrv) words = g_strsplit_set(controllers ? controllers : "", " \n", -1);
    return g_strv_contains((const char *const *)words, "cpu");
}

GwCgroupHost
gw_cgroup_find(const char *mounts, const char *v2_controllers)
{
    GwCgroupHost host = {0};
    g_auto(GStrv) lines = g_strsplit(mounts, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, " ", 5);
        if (g_strv_length(fields) < 4)
            continue;
        bool v1 = strcmp(fields[2], "cgroup") == 0 && option_is_set(fields[3], "cpu");
        bool v2 = strcmp(fields[2], "cgroup2") == 0 && lists_cpu(v2_controllers) && !host.version;
        if (!v1 && !v2)
            continue;
        g_free(host.root);
        host = (GwCgroupHost){v1 ? GW_CGROUP_V1 : GW_CGROUP_V2,
                              g_strcompress(fields[1])}; /* "\\040" is a blank */
        if (v1)
            break;
    }
    return host;
}

GwCgroupHost
gw_cgroup_probe(void)
{
    g_autofree char *mounts = NULL, *controllers = NULL;
    if (!g_file_get_contents("/proc/self/mounts", &mounts, NULL, NULL))
        return (GwCgroupHost){0};
    g_file_get_contents("/sys/fs/cgroup/cgroup.controllers", &controllers, NULL, NULL);
    return gw_cgroup_find(mounts, controllers);
}

void
gw_cgroup_host_clear(GwCgroupHost *self)
{
    g_clear_pointer(&self->root, g_free);
}

unsigned
gw_cgroup_cpu_value(GwCgroupVersion version, unsigned shares)
{
    if (version == GW_CGROUP_V1)
        return MAX(2, (unsigned)((guint64)shares * 1024 / 1000));
    return CLAMP(shares / 10, 1, 10000);
}

static bool
write_value(const char *group, const char *file, const char *value, GError **error)
{
    g_autofree char *path = g_build_filename(group, file, NULL);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
    if (!ok)
        gw_set_errno(error, GW_ERROR_NOT_SUPPORTED, errno, "CPU shares and limits: writing '%s' to %s", value,
                     path);
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool
set_cpu(const GwCgroupHost *host, const char *group, unsigned shares, unsigned limit_percent, GError **error)
{
    unsigned quota_us = (unsigned)((guint64)limit_percent * PERIOD_US / 100);
    g_autofree char *weight = g_strdup_printf("%u", gw_cgroup_cpu_value(host->version, shares));
    /* "No limit" is written too: a group that a crash left behind may still have one. */
    g_autofree char *quota = limit_percent ? g_strdup_printf("%u", quota_us) : g_strdup("-1");
    g_autofree char *max = limit_percent ? g_strdup_printf("%u %u", quota_us, PERIOD_US) : g_strdup("max");
    if (host->version == GW_CGROUP_V1)
        return write_value(group, "cpu.shares", weight, error) &&
               write_value(group, "cpu.cfs_quota_us", quota, error);
    return write_value(group, "cpu.weight", weight, error) && write_value(group, "cpu.max", max, error);
}

static bool
make_directory(const char *path, GError **error)
{
    if (g_mkdir(path, 0755) == 0 || errno == EEXIST)
        return true;
    return gw_set_errno(error, GW_ERROR_NOT_SUPPORTED, errno, "CPU shares and limits: making %s", path);
}

int
gw_cgroup_make(const GwCgroupHost *host, const char *uuid, unsigned shares, unsigned limit_percent,
               GError **error)
{
    if (host->version == GW_CGROUP_NONE) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED,
                            "CPU shares and limits: this host has no cgroup cpu controller mounted");
        return -1;
    }
    g_autofree char *parent = g_build_filename(host->root, "godwit", NULL);
    g_autofree char *group = g_build_filename(parent, uuid, NULL);
    if (!make_directory(parent, error))
        return -1;
    /* A v2 group's children have a controller only if it is enabled from the top down. */
    if (host->version == GW_CGROUP_V2 && (!write_value(host->root, "cgroup.subtree_control", "+cpu", error) ||
                                          !write_value(parent, "cgroup.subtree_control", "+cpu", error)))
        return -1;
    if (!make_directory(group, error))
        return -1;
    int fd = -1;
    if (set_cpu(host, group, shares, limit_percent, error)) {
        g_autofree char *procs = g_build_filename(group, "cgroup.procs", NULL);
        fd = open(procs, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
            gw_set_errno(error, GW_ERROR_NOT_SUPPORTED, errno, "CPU shares and limits: %s", procs);
    }
    if (fd < 0)
        gw_cgroup_remove(host, uuid);
    return fd;
}

void
gw_cgroup_remove(const GwCgroupHost *host, const char *uuid)
{
    if (host->version == GW_CGROUP_NONE)
        return;
    g_autofree char *parent = g_build_filename(host->root, "godwit", NULL);
    g_autofree char *group = g_build_filename(parent, uuid, NULL);
    if (g_rmdir(group) == 0)
        g_rmdir(parent); /* goes only if no other VM has a group in it */
}
