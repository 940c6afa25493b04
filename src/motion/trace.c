/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The write trace: userfaultfd write-protect, asynchronous, and PAGEMAP_SCAN.
 *
 * Arming protects with UFFDIO_WRITEPROTECT and not with a first scan: with UFFD_FEATURE_WP_UNPOPULATED it
 * leaves markers where no page is mapped yet, so that a page which the guest merely reads for the first time
 * is not reported as written (a scan marks only what is present). It goes in chunks, for the ioctl holds the
 * VMM's mmap lock for reading and would keep a thread of QEMU that maps something waiting. */
#include "trace.h"

#include "error.h"
#include "kernel-abi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TRACE_FEATURES  (UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC)
#define ARM_CHUNK_BYTES (64ull << 20)
#define SCAN_VECTOR     256 /* runs asked for in one ioctl, on the stack */

typedef struct {
    GwTrace trace;
    /* set once */
    int uffd; /* borrowed */
    int pagemap_fd;
    unsigned n_regions;
    GwMemRegion regions[];
} KernelTrace;

/* The kernel shows what was agreed on as "API: VERSION:FEATURES:POSSIBLE", in hexadecimal. */
static bool
is_negotiated(int uffd)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", uffd);
    g_autofree char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return false;
    const char *line = strstr(text, "API:");
    unsigned version = 0, features = 0;
    return line && sscanf(line, "API: %x:%x", &version, &features) == 2 &&
           (features & TRACE_FEATURES) == TRACE_FEATURES;
}

bool
gw_trace_negotiate(int uffd, GError **error)
{
    struct uffdio_api api = {.api = UFFD_API, .features = TRACE_FEATURES};
    if (ioctl(uffd, UFFDIO_API, &api) == 0)
        return true;
    int errnum = errno;
    if (errnum != EINVAL)
        return gw_set_errno(error, GW_ERROR_IO, errnum, "userfaultfd");
    if (!is_negotiated(uffd))
        return gw_set_errno(
            error, GW_ERROR_NOT_SUPPORTED, errnum,
            "no asynchronous write protection of shared memory in this kernel (Linux 6.7 has it)");
    return true;
}

/* The region that holds mem_off, or NULL. */
static const GwMemRegion *
region_at(const KernelTrace *self, uint64_t mem_off)
{
    for (unsigned i = 0; i < self->n_regions; i++) {
        const GwMemRegion *region = &self->regions[i];
        if (mem_off >= region->mem_off && mem_off - region->mem_off < region->size_bytes)
            return region;
    }
    return NULL;
}

static int
kernel_protect(GwTrace *trace, uint64_t mem_off, uint64_t end)
{
    KernelTrace *self = (KernelTrace *)trace;
    while (mem_off < end) {
        const GwMemRegion *region = region_at(self, mem_off);
        if (!region)
            return -ERANGE;
        uint64_t stop = MIN(MIN(end, region->mem_off + region->size_bytes), mem_off + ARM_CHUNK_BYTES);
        struct uffdio_writeprotect protect = {
            .range = {region->vmm_addr + (mem_off - region->mem_off), stop - mem_off},
            .mode = UFFDIO_WRITEPROTECT_MODE_WP,
        };
        int failed;
        do /* EAGAIN: the address space is changing (mremap, fork); the kernel asks to try again */
            failed = ioctl(self->uffd, UFFDIO_WRITEPROTECT, &protect);
        while (failed && errno == EAGAIN);
        if (failed)
            return -errno;
        mem_off = stop;
    }
    return 0;
}

static int
kernel_scan(GwTrace *trace, uint64_t *mem_off, uint64_t end, GwTraceRun *runs, unsigned max_runs)
{
    KernelTrace *self = (KernelTrace *)trace;
    struct page_region found[SCAN_VECTOR];
    unsigned n_runs = 0;

    while (*mem_off < end && n_runs < max_runs) {
        const GwMemRegion *region = region_at(self, *mem_off);
        if (!region)
            return -ERANGE;
        uint64_t to_addr = region->vmm_addr - region->mem_off; /* modulo 2^64 */
        uint64_t stop = MIN(end, region->mem_off + region->size_bytes);
        struct pm_scan_arg scan = {
            .size = sizeof scan,
            .flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
            .start = *mem_off + to_addr,
            .end = stop + to_addr,
            .vec = (uintptr_t)found,
            .vec_len = MIN(max_runs - n_runs, SCAN_VECTOR),
            .category_mask = PAGE_IS_WRITTEN,
            .return_mask = PAGE_IS_WRITTEN,
        };
        int n = ioctl(self->pagemap_fd, PAGEMAP_SCAN, &scan);
        if (n < 0)
            return -errno;
        for (int i = 0; i < n; i++)
            runs[n_runs++] = (GwTraceRun){found[i].start - to_addr, found[i].end - found[i].start};
        *mem_off = scan.walk_end - to_addr;
    }
    return (int)n_runs;
}

static void
kernel_free(GwTrace *trace)
{
    KernelTrace *self = (KernelTrace *)trace;
    /* Fails when the VMM is gone: then there is nothing to take off. */
    for (unsigned i = 0; i < self->n_regions; i++) {
        struct uffdio_range range = {self->regions[i].vmm_addr, self->regions[i].size_bytes};
        ioctl(self->uffd, UFFDIO_UNREGISTER, &range);
    }
    close(self->pagemap_fd);
    g_free(self);
}

static const GwTraceOps kernel_ops = {.protect = kernel_protect, .scan = kernel_scan, .free = kernel_free};

GwTrace *
gw_trace_new(int uffd, pid_t pid, const GwMemRegion *regions, unsigned n_regions, GError **error)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    int pagemap_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (pagemap_fd < 0) {
        gw_set_errno(error, errno == EACCES || errno == EPERM ? GW_ERROR_NOT_PERMITTED : GW_ERROR_IO, errno,
                     "%s", path);
        return NULL;
    }

    KernelTrace *self = g_malloc0(sizeof *self + n_regions * sizeof *regions);
    g_autoptr(GwTrace) trace = &self->trace;
    trace->ops = &kernel_ops;
    self->uffd = uffd;
    self->pagemap_fd = pagemap_fd;
    for (unsigned i = 0; i < n_regions; i++) {
        struct uffdio_register reg = {.range = {regions[i].vmm_addr, regions[i].size_bytes},
                                      .mode = UFFDIO_REGISTER_MODE_WP};
        if (ioctl(uffd, UFFDIO_REGISTER, &reg) < 0) {
            gw_set_errno(error, GW_ERROR_IO, errno, "registering guest memory for the trace");
            return NULL;
        }
        self->regions[self->n_regions++] = regions[i];
    }
    return g_steal_pointer(&trace);
}

GwTrace *
gw_trace_arm(int uffd, pid_t pid, const GwMemRegion *regions, unsigned n_regions, GError **error)
{
    g_autoptr(GwTrace) self = gw_trace_new(uffd, pid, regions, n_regions, error);
    for (unsigned i = 0; self && i < n_regions; i++) {
        int r = gw_trace_protect(self, regions[i].mem_off, regions[i].mem_off + regions[i].size_bytes);
        if (r < 0) {
            gw_set_errno(error, GW_ERROR_IO, -r, "protecting guest memory for the trace");
            return NULL;
        }
    }
    return g_steal_pointer(&self);
}
