/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was written: a trace of guest memory by the host's page tables, from outside the VMM.
 *
 * A userfaultfd of the VMM's address space protects the pages in asynchronous mode: the first write to a page
 * takes a fault that the kernel resolves by itself, and the page is then "written". PAGEMAP_SCAN reports the
 * written pages of a range and protects them again, atomically for each page, while every vCPU runs. It sees
 * writes by vCPUs (TCG, and KVM by its MMU notifiers), by the VMM's threads and by the kernel on their
 * behalf; what it cannot see is listed in docs/architecture.md ("What the trace cannot see").
 *
 * Measured (TCG, Linux 6.18): arming 1 GiB 9–15 ms, a scan over 1 GiB 0.6–0.8 ms with few pages written. */
#pragma once

#include "image.h"

/* A run of pages that were written, as offsets in the memory file. */
typedef struct {
    uint64_t mem_off;
    uint64_t size_bytes;
} GwTraceRun;

typedef struct GwTrace GwTrace;

/* Behind a trace: the kernel, or in tests something that was told what was written. */
typedef struct {
    int (*protect)(GwTrace *self, uint64_t mem_off, uint64_t end);
    int (*scan)(GwTrace *self, uint64_t *mem_off, uint64_t end, GwTraceRun *runs, unsigned max_runs);
    void (*free)(GwTrace *self);
} GwTraceOps;

struct GwTrace {
    const GwTraceOps *ops;
};

/* Agrees with the kernel on the interface of a fresh userfaultfd. Once in its life; GW_ERROR_NOT_SUPPORTED
 * where the kernel lacks asynchronous write protection of shared memory (Linux 6.7 has it). */
bool gw_trace_negotiate(int uffd, GError **error);

/* Registers the regions with `uffd` (borrowed, negotiated). `pid` is the VMM. Nothing is traced before it has
 * been protected. */
GwTrace *gw_trace_new(int uffd, pid_t pid, const GwMemRegion *regions, unsigned n_regions, GError **error);

/* Protects every page of [mem_off, end), present or not: whatever is written there from now on is found by
 * gw_trace_scan(). No vCPU is stopped. 0 or -errno. Threads may protect different ranges at once. */
static inline int
gw_trace_protect(GwTrace *self, uint64_t mem_off, uint64_t end)
{
    return self->ops->protect(self, mem_off, end);
}

/* gw_trace_new(), and all of it protected, chunk by chunk. */
GwTrace *gw_trace_arm(int uffd, pid_t pid, const GwMemRegion *regions, unsigned n_regions, GError **error);

/* Finds and protects again what was written in [*mem_off, end) since the last scan. Fills at most `max_runs`
 * runs in ascending order and advances *mem_off to where to go on; the range is done when *mem_off == end.
 * Returns the number of runs or -errno. Threads may scan different ranges at once. */
static inline int
gw_trace_scan(GwTrace *self, uint64_t *mem_off, uint64_t end, GwTraceRun *runs, unsigned max_runs)
{
    return self->ops->scan(self, mem_off, end, runs, max_runs);
}

/* Ends the trace: protection is taken off and the ranges unregistered. NULL is allowed. */
static inline void
gw_trace_free(GwTrace *self)
{
    if (self)
        self->ops->free(self);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwTrace, gw_trace_free)
