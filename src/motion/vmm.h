/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a motion asks of a VMM, and nothing else: the engine's side of the seam; vmm/ stands behind it.
 *
 * Memory is not among it: that is the supervisor's (image.h). All functions block, may be called from any
 * thread but the VMM's own callbacks, and one at a time. `…_us` are CLOCK_MONOTONIC.
 *
 *   source        prepare_save ─ flush ─ begin_save ─ stop ─ save ─ await_saved ─ (the VMM is then killed)
 *                      └───────────┴────────┴──────────┴──────┴──────────┴────── take_back: as it was
 *   destination   prepare_load ─ await_loaded ─ resume
 *
 * What can take time without the guest standing still is in the two prepare functions. */
#pragma once

#include "image.h"

#include <glib.h>
#include <stdbool.h>

typedef struct GwVmm GwVmm;

typedef struct {
    bool (*regions)(GwVmm *vmm, GArray *ret_regions, GError **error);
    bool (*pause)(GwVmm *vmm, GError **error);
    bool (*resume)(GwVmm *vmm, gint64 *ret_resumed_us, GError **error);
    bool (*prepare_save)(GwVmm *vmm, int fd, GError **error);
    void (*flush)(GwVmm *vmm);                      /* may be NULL */
    bool (*begin_save)(GwVmm *vmm, GError **error); /* may be NULL */
    bool (*stop)(GwVmm *vmm, gint64 *ret_stopped_us, GError **error);
    bool (*save)(GwVmm *vmm, GError **error);
    bool (*await_saved)(GwVmm *vmm, GError **error);
    bool (*take_back)(GwVmm *vmm, GError **error);
    bool (*prepare_load)(GwVmm *vmm, int fd, GError **error);
    bool (*await_loaded)(GwVmm *vmm, GError **error);
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

/* Stops every vCPU and drains the devices: when it has returned, no device writes guest memory any more. On
 * somebody's order; a motion uses gw_vmm_stop(). */
static inline bool
gw_vmm_pause(GwVmm *vmm, GError **error)
{
    return vmm->ops->pause(vmm, error);
}

/* Lets the guest run. `ret_resumed_us` (may be NULL): when its vCPUs were let go; 0 if it ran already.
 * GW_ERROR_VMM_FAILED is a promise that it was not let go; after any other error it may have run for a
 * moment. */
static inline bool
gw_vmm_resume(GwVmm *vmm, gint64 *ret_resumed_us, GError **error)
{
    return vmm->ops->resume(vmm, ret_resumed_us, error);
}

/* Names `fd` (borrowed, a stream socket; the VMM gets a copy, so close it) as where the state of CPUs and
 * devices will go. The guest runs on. */
static inline bool
gw_vmm_prepare_save(GwVmm *vmm, int fd, GError **error)
{
    return vmm->ops->prepare_save(vmm, fd, error);
}

/* Has the host write out what it holds back of the guest's disks: a stop waits for that, and there the guest
 * stands still. As well as it goes, and as long as the disks take. */
static inline void
gw_vmm_flush(GwVmm *vmm)
{
    if (vmm->ops->flush)
        vmm->ops->flush(vmm);
}

/* Sets up what a save needs and returns when that is done; the guest runs on, perhaps a little slower. For a
 * moment soon before gw_vmm_stop(): the VMM goes on towards the stop by itself as soon as `fd` is read, so
 * nobody may read it until the guest is to stop; a VMM whose state has a head that fits into the descriptor's
 * buffer may stop at once. Is part of gw_vmm_stop() where it is left out. */
static inline bool
gw_vmm_begin_save(GwVmm *vmm, GError **error)
{
    return !vmm->ops->begin_save || vmm->ops->begin_save(vmm, error);
}

/* Stops the guest for good unless it is taken back; on return no device writes guest memory any more. The
 * state's head, which holds nothing of devices, may be in `fd` already: somebody has to read it meanwhile.
 * `ret_stopped_us` (may be NULL): when the vCPUs stopped; 0 if the guest was paused before. */
static inline bool
gw_vmm_stop(GwVmm *vmm, gint64 *ret_stopped_us, GError **error)
{
    return vmm->ops->stop(vmm, ret_stopped_us, error);
}

/* Lets the devices' state flow into `fd`; returns at once. Somebody has to read it. */
static inline bool
gw_vmm_save(GwVmm *vmm, GError **error)
{
    return vmm->ops->save(vmm, error);
}

/* Returns when the state is complete: all of it has been written to `fd`, whose end follows. From then on the
 * VMM has let go of its disks and does not run the guest by itself whatever happens. */
static inline bool
gw_vmm_await_saved(GwVmm *vmm, GError **error)
{
    return vmm->ops->await_saved(vmm, error);
}

/* Undoes prepare_save, begin_save, stop, save and await_saved, whichever of them were done or failed
 * half-way: the guest runs again if it ran before, and is paused if it was. Nobody has to read the state for
 * that: who reads it meets its end. After an error (the VMM does not answer, or has ended) it may be tried
 * again. */
static inline bool
gw_vmm_take_back(GwVmm *vmm, GError **error)
{
    return vmm->ops->take_back(vmm, error);
}

/* A VMM that was started to wait for a state begins to read it from `fd` (borrowed, a stream). Returns when
 * it listens. The memory that belongs to the state must be in the image before the devices' part of it is
 * written to the other end. */
static inline bool
gw_vmm_prepare_load(GwVmm *vmm, int fd, GError **error)
{
    return vmm->ops->prepare_load(vmm, fd, error);
}

/* Returns when the state is loaded. The guest is paused, its disks not yet taken: gw_vmm_resume() does that.
 */
static inline bool
gw_vmm_await_loaded(GwVmm *vmm, GError **error)
{
    return vmm->ops->await_loaded(vmm, error);
}
