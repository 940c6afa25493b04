/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QEMU's command line from a VM's configuration and open descriptors. Pure.
 *
 * QEMU opens nothing of the VM by path: memory, disks, kernel, TAPs and sockets are descriptors that it
 * inherits, so its user needs no right to any of them. Every device has a fixed id and a fixed PCI address
 * that depends on its place in the configuration only: both ends of a motion then agree on them. */
#pragma once

#include "vm-config.h"

/* Descriptors of one disk: QEMU looks for one that was opened the way it needs. */
typedef struct {
    int rw_fd; /* -1 for a read-only disk */
    int ro_fd;
} GwDiskFds;

typedef struct {
    int memory_fd;
    int qmp_fd;                        /* a listening Unix socket */
    int serial_fds[GW_VM_MAX_SERIALS]; /* listening Unix sockets */
    int kernel_fd, initrd_fd;          /* -1: none */
    int uefi_vars_fd;                  /* -1: none */
    const char *uefi_code;             /* the host's OVMF code file; NULL if not UEFI */
    const GwDiskFds *disks;            /* as many as the configuration has */
    const int *cdrom_fds;              /* -1: empty drive */
    const int *tap_fds;
} GwQemuFds;

/* A NULL-terminated argv for g_strfreev(). `accel` is KVM or TCG. The guest does not run until it is told to;
 * `incoming`: it waits for a state to load. */
char **gw_qemu_args(const char *binary, const GwVmConfig *config, GwAccel accel, const GwQemuFds *fds,
                    bool incoming);
