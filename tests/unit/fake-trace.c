/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The trace that was told. One lock makes a write and its mark one step. */
#include "fake-trace.h"

#include "kernel-abi.h"

#include <errno.h>

typedef struct {
    bool is_protected, is_written;
    unsigned n_scans, n_protects;
} Page;

struct FakeTrace {
    GwTrace trace;
    uint64_t n_pages;
    /* guarded by lock */
    GMutex lock;
    Page *pages;
    uint64_t fail_scan_page, fail_protect_page;
    int scan_result, protect_result;
};

static int
fake_protect(GwTrace *trace, uint64_t mem_off, uint64_t end)
{
    FakeTrace *self = (FakeTrace *)trace;
    uint64_t first = mem_off / GW_PAGE_SIZE, last = end / GW_PAGE_SIZE;
    if (mem_off % GW_PAGE_SIZE || end % GW_PAGE_SIZE || first > last || last > self->n_pages)
        return -ERANGE;
    g_mutex_lock(&self->lock);
    bool fails = self->protect_result && self->fail_protect_page >= first && self->fail_protect_page < last;
    for (uint64_t i = first; i < last && !fails; i++) {
        self->pages[i].is_protected = true;
        self->pages[i].is_written = false;
        self->pages[i].n_protects++;
    }
    int result = fails ? self->protect_result : 0;
    g_mutex_unlock(&self->lock);
    return result;
}

/* With the lock. Runs of written pages from *page on, which are then protected again. */
static unsigned
scan_locked(FakeTrace *self, uint64_t *page, uint64_t last, GwTraceRun *runs, unsigned max_runs)
{
    unsigned n_runs = 0;
    bool in_run = false;
    for (; *page < last; ++*page) {
        Page *each = &self->pages[*page];
        if (!each->is_written) {
            in_run = false;
        } else if (in_run) {
            runs[n_runs - 1].size_bytes += GW_PAGE_SIZE;
        } else if (n_runs == max_runs) {
            break;
        } else {
            runs[n_runs++] = (GwTraceRun){*page * GW_PAGE_SIZE, GW_PAGE_SIZE};
            in_run = true;
        }
        each->is_written = false;
        each->n_scans++;
    }
    return n_runs;
}

static int
fake_scan(GwTrace *trace, uint64_t *mem_off, uint64_t end, GwTraceRun *runs, unsigned max_runs)
{
    FakeTrace *self = (FakeTrace *)trace;
    uint64_t page = *mem_off / GW_PAGE_SIZE, last = end / GW_PAGE_SIZE;
    if (*mem_off % GW_PAGE_SIZE || end % GW_PAGE_SIZE || page > last || last > self->n_pages)
        return -ERANGE;
    g_mutex_lock(&self->lock);
    bool fails = self->scan_result && self->fail_scan_page >= page && self->fail_scan_page < last;
    int result = fails ? self->scan_result : (int)scan_locked(self, &page, last, runs, max_runs);
    g_mutex_unlock(&self->lock);
    *mem_off = page * GW_PAGE_SIZE;
    return result;
}

static void
fake_free(GwTrace *trace)
{
    FakeTrace *self = (FakeTrace *)trace;
    g_mutex_clear(&self->lock);
    g_free(self->pages);
    g_free(self);
}

static const GwTraceOps fake_ops = {.protect = fake_protect, .scan = fake_scan, .free = fake_free};

FakeTrace *
fake_trace_new(uint64_t size_bytes)
{
    FakeTrace *self = g_new0(FakeTrace, 1);
    self->trace.ops = &fake_ops;
    self->n_pages = size_bytes / GW_PAGE_SIZE;
    self->pages = g_new0(Page, self->n_pages);
    g_mutex_init(&self->lock);
    return self;
}

GwTrace *
fake_trace(FakeTrace *self)
{
    return &self->trace;
}

static void
note_locked(FakeTrace *self, uint64_t mem_off, uint64_t size_bytes)
{
    uint64_t first = mem_off / GW_PAGE_SIZE, last = (mem_off + size_bytes + GW_PAGE_SIZE - 1) / GW_PAGE_SIZE;
    g_assert_cmpuint(last, <=, self->n_pages);
    for (uint64_t i = first; i < last; i++)
        self->pages[i].is_written = self->pages[i].is_protected;
}

void
fake_trace_note(FakeTrace *self, uint64_t mem_off, uint64_t size_bytes)
{
    g_mutex_lock(&self->lock);
    note_locked(self, mem_off, size_bytes);
    g_mutex_unlock(&self->lock);
}

void
fake_trace_write(FakeTrace *self, GwImage *image, uint64_t mem_off, const void *bytes, size_t size)
{
    g_mutex_lock(&self->lock);
    g_assert_cmpint(gw_image_write(image, mem_off, bytes, size), ==, 0);
    note_locked(self, mem_off, size);
    g_mutex_unlock(&self->lock);
}

void
fake_trace_fail_scan(FakeTrace *self, uint64_t mem_off, int result)
{
    g_mutex_lock(&self->lock);
    self->fail_scan_page = mem_off / GW_PAGE_SIZE;
    self->scan_result = result;
    g_mutex_unlock(&self->lock);
}

void
fake_trace_fail_protect(FakeTrace *self, uint64_t mem_off, int result)
{
    g_mutex_lock(&self->lock);
    self->fail_protect_page = mem_off / GW_PAGE_SIZE;
    self->protect_result = result;
    g_mutex_unlock(&self->lock);
}

uint64_t
fake_trace_n_written(FakeTrace *self)
{
    uint64_t n = 0;
    g_mutex_lock(&self->lock);
    for (uint64_t i = 0; i < self->n_pages; i++)
        n += self->pages[i].is_written;
    g_mutex_unlock(&self->lock);
    return n;
}

uint64_t
fake_trace_n_protected(FakeTrace *self)
{
    uint64_t n = 0;
    g_mutex_lock(&self->lock);
    for (uint64_t i = 0; i < self->n_pages; i++)
        n += self->pages[i].is_protected;
    g_mutex_unlock(&self->lock);
    return n;
}

unsigned
fake_trace_n_scans(FakeTrace *self, uint64_t mem_off)
{
    g_mutex_lock(&self->lock);
    unsigned n = self->pages[mem_off / GW_PAGE_SIZE].n_scans;
    g_mutex_unlock(&self->lock);
    return n;
}

unsigned
fake_trace_n_protects(FakeTrace *self, uint64_t mem_off)
{
    g_mutex_lock(&self->lock);
    unsigned n = self->pages[mem_off / GW_PAGE_SIZE].n_protects;
    g_mutex_unlock(&self->lock);
    return n;
}
