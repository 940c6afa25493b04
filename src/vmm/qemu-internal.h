/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What qemu.c and qemu-start.c share. */
#pragma once

#include "qemu.h"
#include "qmp.h"

#define GW_QEMU_COMMAND_TIMEOUT_MS 10000

struct GwQemu {
    GwVmm vmm;
    /* set before the first event, then constant */
    GwProcess process; /* owned */
    GwQmp *qmp;        /* owned */
    int uffd;          /* owned */
    char *image_link;
    ino_t image_inode;
    GwQemuHooks hooks; /* its strings are not kept */
    bool can_migrate;  /* has x-ignore-shared */
    /* guarded by lock */
    GMutex lock;
    GCond changed;
    char *migration_status; /* of the last MIGRATION event; NULL: none yet */
    bool qmp_lost;          /* the connection has ended, all events before that are told */
};

extern const GwVmmOps gw_qemu_ops;
