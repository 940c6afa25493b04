/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A trace behind GwTraceOps that was told what was written, instead of asking the kernel: what it finds is
 * exact, and it fails when the test says so. As the kernel's, it finds only what was written after the page
 * was protected, and each write once. */
#pragma once

#include "image.h"
#include "trace.h"

typedef struct FakeTrace FakeTrace;

/* For an image of `size_bytes`. Nothing is protected. Freed with gw_trace_free(). */
FakeTrace *fake_trace_new(uint64_t size_bytes);
GwTrace *fake_trace(FakeTrace *self);

/* Says that pages were written, as a guest's store would: before they are protected it means nothing. Call it
 * once the content is there. Any thread. */
void fake_trace_note(FakeTrace *self, uint64_t mem_off, uint64_t size_bytes);

/* Writes into the image and tells the trace, in one step as far as a scan can see. Any thread. */
void fake_trace_write(FakeTrace *self, GwImage *image, uint64_t mem_off, const void *bytes, size_t size);

/* The next scans (protects) that touch this page fail with this -errno; 0: no more. */
void fake_trace_fail_scan(FakeTrace *self, uint64_t mem_off, int result);
void fake_trace_fail_protect(FakeTrace *self, uint64_t mem_off, int result);

/* Pages that are marked as written and not found yet. */
uint64_t fake_trace_n_written(FakeTrace *self);
uint64_t fake_trace_n_protected(FakeTrace *self);
/* How often the range that holds this page was scanned (protected). */
unsigned fake_trace_n_scans(FakeTrace *self, uint64_t mem_off);
unsigned fake_trace_n_protects(FakeTrace *self, uint64_t mem_off);
