/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a QEMU reports of itself that decides whether its guest's memory can be traced, and it be moved. Facts
 * only: what follows from them is decided by who checks a motion.
 *
 * Not among them, since QMP does not tell: which kind of asynchronous I/O a block node uses (godwit's command
 * line does; native AIO shows as "[aio]" among the mappings), and a network card's back end ("vhost-user"
 * shows as a foreign mapping of the memory). */
#pragma once

#include "qemu.h"

/* Lists are NULL-terminated and owned, and never NULL once asked. A device reads as "hostdev0 (vfio-pci)",
 * with its id or QEMU's "device[N]"; a block node as "disk0 (file)". */
typedef struct {
    char **direct_nodes;   /* block nodes that go past the page cache: O_DIRECT */
    char **unseen_nodes;   /* block nodes whose driver gives guest memory to hardware or another process */
    char **unseen_devices; /* likewise: VFIO, vDPA, vhost-user, vhost-scsi, SCSI passthrough */
    char **memory_devices; /* memory beside the image: DIMMs, NVDIMMs, virtio-mem, virtio-pmem */
    char **balloons;
    bool reports_free_pages;        /* one of the balloons does: holes appear by themselves */
    bool cpu_nests;                 /* the guest's CPUs have vmx or svm */
    bool is_confidential;           /* SEV, TDX: a confidential-guest-support object */
    char **blockers;                /* why QEMU itself would refuse to save its state now */
    const char *missing_capability; /* that motions need and this QEMU lacks; NULL: none; constant */
} GwQemuFacts;

/* Asks QEMU, some ten questions in as many milliseconds; the guest runs on. On failure the facts are empty.
 */
bool gw_qemu_facts(GwQemu *self, GwQemuFacts *ret_facts, GError **error);

void gw_qemu_facts_clear(GwQemuFacts *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwQemuFacts, gw_qemu_facts_clear)
