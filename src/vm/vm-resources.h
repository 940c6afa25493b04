/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a start of QEMU needs open: disks, kernel, TAPs, serial sockets. Opened in the order of the
 * configuration, closed when QEMU has inherited them. */
#pragma once

#include "qemu-args.h"
#include "vm-dir.h"
#include "vm-setup.h"

typedef struct {
    GwQemuFds fds;
    GwDiskFds disks[GW_VM_MAX_DISKS];
    int cdroms[GW_VM_MAX_DISKS];
    int taps[GW_VM_MAX_NICS];
    int serials[GW_VM_MAX_SERIALS]; /* our connected ends */
} GwVmResources;

/* Opens everything, or nothing with an error that says what is missing and where. */
bool gw_vm_resources_open(GwVmResources *ret_resources, const GwVmConfig *config, const GwVmSetup *setup,
                          const GwVmDir *dir, GError **error);

/* Our connected end of a serial port, which is then the caller's. */
int gw_vm_resources_steal_serial(GwVmResources *self, unsigned port);

/* Connects to a serial port of a QEMU that runs already; -1 on error. */
int gw_vm_serial_connect(const GwVmDir *dir, unsigned port, GError **error);

void gw_vm_resources_clear(GwVmResources *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwVmResources, gw_vm_resources_clear)

/* Values that gw_vm_resources_clear() may see before anything was opened. */
void gw_vm_resources_init(GwVmResources *self);
