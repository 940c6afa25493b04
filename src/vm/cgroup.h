/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPU shares and limits of a VM by control groups, version 1 or 2, whichever the host has.
 *
 * A VM that asks for neither gets no group. Otherwise its QEMU lives in "godwit/UUID" below the cpu
 * controller. */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef enum { GW_CGROUP_NONE, GW_CGROUP_V1, GW_CGROUP_V2 } GwCgroupVersion;

typedef struct {
    GwCgroupVersion version;
    char *root; /* where the cpu controller is mounted; owned */
} GwCgroupHost;

/* Pure: finds the cpu controller in the text of /proc/self/mounts. With v2 it counts only if `v2_controllers`
 * (the text of the mount's cgroup.controllers, NULL if unreadable) has "cpu"; a hybrid host has it in v1. */
GwCgroupHost gw_cgroup_find(const char *mounts, const char *v2_controllers);
GwCgroupHost gw_cgroup_probe(void);
void gw_cgroup_host_clear(GwCgroupHost *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwCgroupHost, gw_cgroup_host_clear)

/* Pure: godwit's shares (1000 is normal) in the kernel's units. v1: cpu.shares, 1024 normal; v2: cpu.weight,
 * 100 normal, 1 … 10000. */
unsigned gw_cgroup_cpu_value(GwCgroupVersion version, unsigned shares);

/* Makes the group, sets shares and limit, and returns an open cgroup.procs for a child to enter by (-1 with
 * an error). */
int gw_cgroup_make(const GwCgroupHost *host, const char *uuid, unsigned shares, unsigned limit_percent,
                   GError **error);

/* Removes the group; it has to be empty. That there is none is no error. */
void gw_cgroup_remove(const GwCgroupHost *host, const char *uuid);
