/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The five things that a motion asks of a VMM, and nothing else.
 *
 * Memory is not among them: it is the supervisor's (motion/image.h). All functions block, may be called from
 * any thread but the VMM's own callbacks, one at a time, and leave the guest as it was when they fail. */
#pragma once

#include "image.h"

#include <glib.h>
#include <stdbool.h>

typedef struct GwVmm GwVmm;

typedef struct {
    bool (*regions)(GwVmm *vmm, GArray *ret_regions, GError **error);
    bool (*pause)(GwVmm *vmm, GError **error);
    bool (*save_state)(GwVmm *vmm, int fd, GError **error);
    bool (*load_state)(GwVmm *vmm, int fd, GError **error);
    bool (*resume)(GwVmm *vmm, GError **error);
} GwVmmOps;

struct GwVmm {
    const GwVmmOps *ops;
};

/* Appends where the image is mapped in the VMM (of GwMemRegion). */
static inline bool
gw_vmm_regions(GwVmm *vmm, GArray *ret_regions, GError **error)
{
    return vmm->ops->regions(vmm, ret_regions, error);
}

/* Stops every vCPU and drains the devices: when it has returned, no device writes guest memory any more. */
static inline bool
gw_vmm_pause(GwVmm *vmm, GError **error)
{
    return vmm->ops->pause(vmm, error);
}

/* Writes the state of CPUs and devices, without guest memory, to `fd` (borrowed: file, pipe or socket) and
 * returns when it is complete. The guest is paused and stays so; gw_vmm_resume() may follow. */
static inline bool
gw_vmm_save_state(GwVmm *vmm, int fd, GError **error)
{
    return vmm->ops->save_state(vmm, fd, error);
}

/* Reads a state from `fd` (borrowed) into a VMM that was started to wait for one, with the memory that
 * belongs to it in the image. The guest is paused afterwards. */
static inline bool
gw_vmm_load_state(GwVmm *vmm, int fd, GError **error)
{
    return vmm->ops->load_state(vmm, fd, error);
}

static inline bool
gw_vmm_resume(GwVmm *vmm, GError **error)
{
    return vmm->ops->resume(vmm, error);
}
