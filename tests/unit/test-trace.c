/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The write trace against the running kernel, with this process in the place of the VMM: exactly what was
 * written is found, by whomever, and no write gets lost between scans. */
#include "trace.h"

#include "error.h"
#include "kernel-abi.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE            ((uint64_t)GW_PAGE_SIZE)
#define N_WRITERS       3
#define WRITES_EACH     400000
#define CONCURRENT_SIZE (512 * PAGE)

/* An image mapped in pieces as QEMU maps guest memory around the holes of a PC's address space. */
typedef struct {
    GwImage *image;
    char *reserved; /* address space in which the pieces lie, with gaps */
    size_t reserved_size;
    GwMemRegion regions[4];
    unsigned n_regions;
    int uffd;
    GwTrace *trace;
} Fixture;

/* False, with the reason as the test's result, where this kernel or user cannot trace. */
static bool
open_uffd(int *ret_uffd)
{
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device < 0) {
        g_autofree char *why = g_strdup_printf("/dev/userfaultfd: %s", g_strerror(errno));
        g_test_skip(why);
        return false;
    }
    *ret_uffd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    close(device);
    g_assert_cmpint(*ret_uffd, >=, 0);
    g_autoptr(GError) error = NULL;
    if (gw_trace_negotiate(*ret_uffd, &error))
        return true;
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED);
    g_test_skip(error->message);
    close(*ret_uffd);
    return false;
}

/* Maps `n` pieces of the given numbers of pages. The later piece lies at the lower address, so that order in
 * the file and in memory differ. */
static bool
set_up(Fixture *f, const uint64_t *pages, unsigned n)
{
    g_autoptr(GError) error = NULL;
    uint64_t total = 0;
    *f = (Fixture){.n_regions = n};
    if (!open_uffd(&f->uffd))
        return false;
    for (unsigned i = 0; i < n; i++)
        total += pages[i] * PAGE;
    f->image = gw_image_new("trace-test", total, &error);
    g_assert_no_error(error);
    f->reserved_size = total + (n + 1) * PAGE;
    f->reserved = mmap(NULL, f->reserved_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    g_assert_true(f->reserved != MAP_FAILED);
    char *end = f->reserved + f->reserved_size;
    uint64_t mem_off = 0;
    for (unsigned i = 0; i < n; i++) {
        end -= PAGE + pages[i] * PAGE;
        void *map = mmap(end, pages[i] * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                         gw_image_fd(f->image), (off_t)mem_off);
        g_assert_true(map == end);
        f->regions[i] = (GwMemRegion){mem_off, pages[i] * PAGE, (uintptr_t)map};
        mem_off += pages[i] * PAGE;
    }
    return true;
}

static void
arm(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    f->trace = gw_trace_arm(f->uffd, getpid(), f->regions, f->n_regions, &error);
    g_assert_no_error(error);
}

static void
tear_down(Fixture *f)
{
    gw_trace_free(f->trace);
    close(f->uffd);
    munmap(f->reserved, f->reserved_size);
    gw_image_free(f->image);
}

/* The address of a page of the image. */
static volatile char *
page_at(const Fixture *f, uint64_t pfn)
{
    for (unsigned i = 0; i < f->n_regions; i++) {
        const GwMemRegion *r = &f->regions[i];
        if (pfn * PAGE >= r->mem_off && pfn * PAGE - r->mem_off < r->size_bytes)
            return (volatile char *)(uintptr_t)(r->vmm_addr + pfn * PAGE - r->mem_off);
    }
    g_assert_not_reached();
}

static void
write_page(const Fixture *f, uint64_t pfn)
{
    volatile char *page = page_at(f, pfn);
    *page = (char)(*page + 1);
}

/* Marks in `seen` (a byte a page) what a scan of [from, end) in steps of `max_runs` reports; nothing twice.
 */
static void
scan_into(Fixture *f, uint64_t from, uint64_t end, unsigned max_runs, GByteArray *seen)
{
    g_autofree GwTraceRun *runs = g_new(GwTraceRun, max_runs);
    uint64_t at = from, reported_to = from;
    while (at < end) {
        uint64_t before = at;
        int n = gw_trace_scan(f->trace, &at, end, runs, max_runs);
        g_assert_cmpint(n, >=, 0);
        g_assert_cmpuint((unsigned)n, <=, max_runs);
        g_assert_cmpuint(at, >, before);
        g_assert_cmpuint(at, <=, end);
        g_assert_true(at == end || (unsigned)n == max_runs);
        for (int i = 0; i < n; i++) {
            g_assert_cmpuint(runs[i].mem_off, >=, reported_to);
            g_assert_cmpuint(runs[i].size_bytes, >, 0);
            g_assert_cmpuint(runs[i].mem_off % PAGE + runs[i].size_bytes % PAGE, ==, 0);
            reported_to = runs[i].mem_off + runs[i].size_bytes;
            g_assert_cmpuint(reported_to, <=, at);
            memset(seen->data + runs[i].mem_off / PAGE, 1, runs[i].size_bytes / PAGE);
        }
    }
    g_assert_cmpuint(at, ==, end);
}

static GByteArray *
page_set(const Fixture *f)
{
    GByteArray *set = g_byte_array_new();
    g_byte_array_set_size(set, (guint)(gw_image_size(f->image) / PAGE));
    memset(set->data, 0, set->len);
    return set;
}

/* A scan of everything finds exactly the pages of `expected`. */
static void
assert_scan(Fixture *f, const GByteArray *expected, unsigned max_runs)
{
    g_autoptr(GByteArray) seen = page_set(f);
    scan_into(f, 0, gw_image_size(f->image), max_runs, seen);
    for (guint i = 0; i < seen->len; i++)
        if (seen->data[i] != expected->data[i])
            g_error("page %u was %s, the scan in steps of %u runs says otherwise", i,
                    expected->data[i] ? "written" : "not written", max_runs);
}

static void
assert_nothing_written(Fixture *f)
{
    g_autoptr(GByteArray) none = page_set(f);
    assert_scan(f, none, 64);
}

static void
test_written_pages(void)
{
    static const uint64_t pages[] = {16};
    Fixture f;
    if (!set_up(&f, pages, 1))
        return;
    write_page(&f, 3); /* before the trace: none of its business */
    arm(&f);
    assert_nothing_written(&f);
    write_page(&f, 0);
    write_page(&f, 3);
    write_page(&f, 4);
    write_page(&f, 15);

    GwTraceRun runs[8];
    uint64_t at = 0;
    g_assert_cmpint(gw_trace_scan(f.trace, &at, 16 * PAGE, runs, G_N_ELEMENTS(runs)), ==, 3);
    g_assert_cmpuint(at, ==, 16 * PAGE);
    g_assert_cmpuint(runs[0].mem_off, ==, 0);
    g_assert_cmpuint(runs[0].size_bytes, ==, PAGE);
    g_assert_cmpuint(runs[1].mem_off, ==, 3 * PAGE);
    g_assert_cmpuint(runs[1].size_bytes, ==, 2 * PAGE);
    g_assert_cmpuint(runs[2].mem_off, ==, 15 * PAGE);
    g_assert_cmpuint(runs[2].size_bytes, ==, PAGE);
    assert_nothing_written(&f);

    write_page(&f, 4); /* protected again by the scan that reported it */
    g_autoptr(GByteArray) again = page_set(&f);
    again->data[4] = 1;
    assert_scan(&f, again, 8);
    tear_down(&f);
}

static void
test_reading_is_not_writing(void)
{
    static const uint64_t pages[] = {32};
    Fixture f;
    unsigned sum = 0;
    if (!set_up(&f, pages, 1))
        return;
    /* 0–7 are in the file and not mapped, 8–15 mapped for reading, 16–23 for writing, the rest are holes */
    for (unsigned i = 0; i < 24; i++)
        g_assert_cmpint((int)pwrite(gw_image_fd(f.image), "x", 1, (off_t)(i * PAGE)), ==, 1);
    for (unsigned i = 8; i < 24; i++)
        sum += (unsigned)*page_at(&f, i);
    for (unsigned i = 16; i < 24; i++)
        write_page(&f, i);
    arm(&f);
    for (unsigned i = 0; i < 32; i++)
        sum += (unsigned)*page_at(&f, i);
    g_assert_cmpuint(sum, ==, 16 * 'x' + 16 * 'x' + 8 * ('x' + 1));
    assert_nothing_written(&f);

    /* and a page that was read is still watched */
    g_autoptr(GByteArray) written = page_set(&f);
    for (unsigned i = 0; i < 32; i += 3) {
        write_page(&f, i);
        written->data[i] = 1;
    }
    assert_scan(&f, written, 64);
    assert_nothing_written(&f);
    tear_down(&f);
}

/* The kernel writes on the VMM's behalf when a device of it reads a file. */
static void
test_written_by_system_calls(void)
{
    static const uint64_t pages[] = {16};
    Fixture f;
    if (!set_up(&f, pages, 1))
        return;
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    write_page(&f, 7);
    arm(&f);
    g_assert_cmpint((int)read(zero, (char *)page_at(&f, 7) + PAGE - 8, 16), ==, 16);
    g_autoptr(GByteArray) written = page_set(&f);
    written->data[7] = written->data[8] = 1;
    assert_scan(&f, written, 64);
    close(zero);
    tear_down(&f);
}

static void
test_random_sets(void)
{
    static const uint64_t pages[] = {100, 1, 333, 590};
    static const unsigned limits[] = {1, 2, 3, 7, 255, 256, 257, 5000};
    Fixture f;
    if (!set_up(&f, pages, G_N_ELEMENTS(pages)))
        return;
    guint n_pages = 100 + 1 + 333 + 590;
    for (unsigned i = 0; i < 200; i++)
        write_page(&f, (uint64_t)g_test_rand_int_range(0, (gint32)n_pages));
    arm(&f);
    assert_nothing_written(&f);
    for (unsigned round = 0; round < 32; round++) {
        g_autoptr(GByteArray) written = page_set(&f);
        /* from a few pages to most of them, the edges of all regions among them */
        static const uint64_t edges[] = {0, 99, 100, 101, 433, 434, 1023};
        for (unsigned i = 0; i < 3u << (round % 10); i++) {
            uint64_t pfn =
                i < G_N_ELEMENTS(edges) ? edges[i] : (uint64_t)g_test_rand_int_range(0, (gint32)n_pages);
            write_page(&f, pfn);
            written->data[pfn] = 1;
        }
        assert_scan(&f, written, limits[round % G_N_ELEMENTS(limits)]);
        assert_nothing_written(&f);
    }
    tear_down(&f);
}

/* More runs than the scan asks the kernel for at once. */
static void
test_many_runs(void)
{
    static const uint64_t pages[] = {1200};
    static const unsigned limits[] = {600, 601, 599, 100, 1};
    Fixture f;
    if (!set_up(&f, pages, 1))
        return;
    arm(&f);
    for (size_t i = 0; i < G_N_ELEMENTS(limits); i++) {
        g_autoptr(GByteArray) written = page_set(&f);
        for (unsigned pfn = 0; pfn < 1200; pfn += 2) {
            write_page(&f, pfn);
            written->data[pfn] = 1;
        }
        assert_scan(&f, written, limits[i]);
        assert_nothing_written(&f);
    }
    tear_down(&f);
}

/* What lies outside the range of a scan is left for the next one. */
static void
test_ranges(void)
{
    static const uint64_t pages[] = {8, 8};
    Fixture f;
    if (!set_up(&f, pages, 2))
        return;
    arm(&f);
    for (unsigned pfn = 0; pfn < 16; pfn++)
        write_page(&f, pfn);
    g_autoptr(GByteArray) seen = page_set(&f);
    scan_into(&f, 6 * PAGE, 11 * PAGE, 1, seen);
    for (unsigned pfn = 0; pfn < 16; pfn++)
        g_assert_cmpint(seen->data[pfn], ==, pfn >= 6 && pfn < 11);
    g_autoptr(GByteArray) rest = page_set(&f);
    for (unsigned pfn = 0; pfn < 16; pfn++)
        rest->data[pfn] = pfn < 6 || pfn >= 11;
    assert_scan(&f, rest, 64);

    GwTraceRun run;
    uint64_t at = 16 * PAGE;
    g_assert_cmpint(gw_trace_scan(f.trace, &at, 16 * PAGE, &run, 1), ==, 0);
    g_assert_cmpint(gw_trace_scan(f.trace, &at, 17 * PAGE, &run, 1), ==, -ERANGE);
    at = 3 * PAGE;
    g_assert_cmpint(gw_trace_scan(f.trace, &at, 16 * PAGE, &run, 0), ==, 0);
    g_assert_cmpuint(at, ==, 3 * PAGE);
    tear_down(&f);
}

/* --- writers that do not wait ------------------------------------------------------------------------- */

typedef struct {
    const Fixture *fixture;
    guint32 seed;
    int *n_running;
} Writer;

static void *
writer_main(void *data)
{
    Writer *self = data;
    g_autoptr(GRand) random = g_rand_new_with_seed(self->seed);
    gint32 n_pages = (gint32)(gw_image_size(self->fixture->image) / PAGE);
    for (unsigned i = 0; i < WRITES_EACH; i++) {
        volatile char *page = page_at(self->fixture, (uint64_t)g_rand_int_range(random, 0, n_pages));
        __atomic_fetch_add((uint64_t *)(uintptr_t)page, 1, __ATOMIC_RELAXED);
    }
    __atomic_fetch_sub(self->n_running, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* One pass over [from, end); copies the counter of each page that it reports. */
static void
copy_written(Fixture *f, uint64_t from, uint64_t end, uint64_t *copies)
{
    GwTraceRun runs[16];
    for (uint64_t at = from; at < end;) {
        int n = gw_trace_scan(f->trace, &at, end, runs, G_N_ELEMENTS(runs));
        g_assert_cmpint(n, >=, 0);
        for (int i = 0; i < n; i++)
            for (uint64_t off = runs[i].mem_off; off < runs[i].mem_off + runs[i].size_bytes; off += PAGE)
                copies[off / PAGE] =
                    __atomic_load_n((uint64_t *)(uintptr_t)page_at(f, off / PAGE), __ATOMIC_RELAXED);
    }
}

typedef struct {
    Fixture *fixture;
    uint64_t from, end;
    uint64_t *copies;
    int *n_running;
    unsigned n_passes;
} Scanner;

static void *
scanner_main(void *data)
{
    Scanner *self = data;
    while (__atomic_load_n(self->n_running, __ATOMIC_ACQUIRE) > 0) {
        copy_written(self->fixture, self->from, self->end, self->copies);
        self->n_passes++;
    }
    return NULL;
}

/* If a write could slip between a scan's report and its protection, a copy would stay behind the page. */
static void
test_concurrent_writers(void)
{
    static const uint64_t pages[] = {CONCURRENT_SIZE / PAGE / 4, 3 * CONCURRENT_SIZE / PAGE / 4};
    g_autofree uint64_t *copies = g_new0(uint64_t, CONCURRENT_SIZE / PAGE);
    int n_running = N_WRITERS;
    Fixture f;
    Writer writers[N_WRITERS];
    GThread *writer_threads[N_WRITERS], *scanner_threads[2];
    if (!set_up(&f, pages, 2))
        return;
    arm(&f);

    uint64_t half = CONCURRENT_SIZE / 2;
    Scanner scanners[] = {{&f, 0, half, copies, &n_running, 0},
                          {&f, half, CONCURRENT_SIZE, copies, &n_running, 0}};
    for (unsigned i = 0; i < N_WRITERS; i++) {
        writers[i] = (Writer){&f, (guint32)g_test_rand_int(), &n_running};
        writer_threads[i] = g_thread_new("writer", writer_main, &writers[i]);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(scanners); i++)
        scanner_threads[i] = g_thread_new("scanner", scanner_main, &scanners[i]);
    for (unsigned i = 0; i < N_WRITERS; i++)
        g_thread_join(writer_threads[i]);
    for (unsigned i = 0; i < G_N_ELEMENTS(scanners); i++)
        g_thread_join(scanner_threads[i]);

    copy_written(&f, 0, CONCURRENT_SIZE, copies);
    uint64_t sum = 0;
    for (uint64_t pfn = 0; pfn < CONCURRENT_SIZE / PAGE; pfn++) {
        g_assert_cmpuint(copies[pfn], ==, *(uint64_t *)(uintptr_t)page_at(&f, pfn));
        sum += copies[pfn];
    }
    g_assert_cmpuint(sum, ==, (guint64)N_WRITERS * WRITES_EACH);
    g_test_message("%u and %u passes beside the writers", scanners[0].n_passes, scanners[1].n_passes);
    assert_nothing_written(&f);
    tear_down(&f);
}

/* --- protected later than registered ------------------------------------------------------------------ */

static void
register_only(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    f->trace = gw_trace_new(f->uffd, getpid(), f->regions, f->n_regions, &error);
    g_assert_no_error(error);
}

/* As a motion does it: registered first, protected chunk by chunk while the guest writes. What was written
 * before its page was protected is not reported, what is written behind it is. */
static void
test_protect_in_parts(void)
{
    static const uint64_t pages[] = {40, 24};
    Fixture f;
    if (!set_up(&f, pages, 2))
        return;
    register_only(&f);
    g_autoptr(GByteArray) written = page_set(&f);
    for (uint64_t first = 0; first < 64; first += 7) { /* across the regions' boundary, too */
        uint64_t end = MIN(first + 7, 64);
        for (uint64_t pfn = first; pfn < end; pfn += 2)
            write_page(&f, pfn); /* for the first time, before it is protected */
        g_assert_cmpint(gw_trace_protect(f.trace, first * PAGE, end * PAGE), ==, 0);
        g_autoptr(GByteArray) seen = page_set(&f);
        scan_into(&f, first * PAGE, end * PAGE, 64, seen);
        for (uint64_t pfn = 0; pfn < 64; pfn++)
            g_assert_cmpint(seen->data[pfn], ==, 0);
        for (uint64_t pfn = first; pfn < end; pfn += 3) { /* present and not present alike */
            write_page(&f, pfn);
            written->data[pfn] = 1;
        }
    }
    assert_scan(&f, written, 64);
    assert_nothing_written(&f);
    tear_down(&f);
}

/* Protecting again forgets what was written: a pass over all of memory needs no scan before. */
static void
test_protect_again(void)
{
    static const uint64_t pages[] = {16};
    Fixture f;
    if (!set_up(&f, pages, 1))
        return;
    arm(&f);
    for (uint64_t pfn = 0; pfn < 16; pfn++)
        write_page(&f, pfn);
    g_assert_cmpint(gw_trace_protect(f.trace, 4 * PAGE, 12 * PAGE), ==, 0);
    g_autoptr(GByteArray) rest = page_set(&f);
    for (uint64_t pfn = 0; pfn < 16; pfn++)
        rest->data[pfn] = pfn < 4 || pfn >= 12;
    assert_scan(&f, rest, 64);
    tear_down(&f);
}

static void
test_protect_ranges(void)
{
    static const uint64_t pages[] = {8, 8};
    Fixture f;
    if (!set_up(&f, pages, 2))
        return;
    register_only(&f);
    g_assert_cmpint(gw_trace_protect(f.trace, 3 * PAGE, 3 * PAGE), ==, 0); /* nothing is nothing */
    g_assert_cmpint(gw_trace_protect(f.trace, 0, 17 * PAGE), ==, -ERANGE);
    g_assert_cmpint(gw_trace_protect(f.trace, 16 * PAGE, 17 * PAGE), ==, -ERANGE);
    g_assert_cmpint(gw_trace_protect(f.trace, 0, 16 * PAGE), ==, 0);
    assert_nothing_written(&f);
    tear_down(&f);
}

/* The VMM's mapping is gone: said, not passed over. */
static void
test_protect_unmapped(void)
{
    static const uint64_t pages[] = {8, 8};
    Fixture f;
    if (!set_up(&f, pages, 2))
        return;
    register_only(&f);
    munmap((void *)(uintptr_t)f.regions[1].vmm_addr, 8 * PAGE);
    g_assert_cmpint(gw_trace_protect(f.trace, 0, 8 * PAGE), ==, 0);
    g_assert_cmpint(gw_trace_protect(f.trace, 0, 16 * PAGE), ==, -ENOENT);
    tear_down(&f);
}

typedef struct {
    Fixture *fixture;
    int stop;
    uint64_t n_writes;
} Toucher;

static void *
touch_all(void *data)
{
    Toucher *self = data;
    uint64_t n_pages = gw_image_size(self->fixture->image) / PAGE;
    for (uint64_t i = 0; !__atomic_load_n(&self->stop, __ATOMIC_ACQUIRE); i++) {
        volatile char *page = page_at(self->fixture, i * 769 % n_pages);
        __atomic_fetch_add((uint64_t *)(uintptr_t)page, 1, __ATOMIC_RELAXED);
        self->n_writes++;
    }
    return NULL;
}

/* The first pass of a motion: protect a chunk, copy it, go on, while somebody writes everywhere. Whatever is
 * written behind the copy is found by the passes that follow. */
static void
test_protect_under_writes(void)
{
    static const uint64_t pages[] = {128, 384};
    g_autofree uint64_t *copies = g_new0(uint64_t, 512);
    Fixture f;
    if (!set_up(&f, pages, 2))
        return;
    register_only(&f);
    Toucher toucher = {.fixture = &f};
    GThread *thread = g_thread_new("toucher", touch_all, &toucher);
    for (uint64_t first = 0; first < 512; first += 32) {
        g_assert_cmpint(gw_trace_protect(f.trace, first * PAGE, (first + 32) * PAGE), ==, 0);
        for (uint64_t pfn = first; pfn < first + 32; pfn++)
            copies[pfn] = __atomic_load_n((uint64_t *)(uintptr_t)page_at(&f, pfn), __ATOMIC_RELAXED);
    }
    for (unsigned i = 0; i < 50; i++)
        copy_written(&f, 0, 512 * PAGE, copies);
    __atomic_store_n(&toucher.stop, 1, __ATOMIC_RELEASE);
    g_thread_join(thread);
    copy_written(&f, 0, 512 * PAGE, copies);
    uint64_t sum = 0;
    for (uint64_t pfn = 0; pfn < 512; pfn++) {
        g_assert_cmpuint(copies[pfn], ==, *(uint64_t *)(uintptr_t)page_at(&f, pfn));
        sum += copies[pfn];
    }
    g_assert_cmpuint(sum, ==, toucher.n_writes);
    tear_down(&f);
}

/* --- the ends of a trace ------------------------------------------------------------------------------ */

static void
test_disarm_and_arm_again(void)
{
    static const uint64_t pages[] = {4, 4};
    Fixture f;
    if (!set_up(&f, pages, 2))
        return;
    for (unsigned round = 0; round < 3; round++) {
        arm(&f);
        assert_nothing_written(&f);
        write_page(&f, round);
        write_page(&f, 7);
        g_autoptr(GByteArray) written = page_set(&f);
        written->data[round] = written->data[7] = 1;
        assert_scan(&f, written, 64);
        write_page(&f, 5); /* left behind by this trace: not found by the next */

        g_clear_pointer(&f.trace, gw_trace_free);
        /* The ranges are unregistered: protecting them fails, writing does not. */
        struct uffdio_writeprotect protect = {.range = {f.regions[0].vmm_addr, PAGE},
                                              .mode = UFFDIO_WRITEPROTECT_MODE_WP};
        g_assert_cmpint(ioctl(f.uffd, UFFDIO_WRITEPROTECT, &protect), ==, -1);
        g_assert_cmpint(errno, ==, ENOENT);
        write_page(&f, 6);
    }
    gw_trace_free(NULL);
    tear_down(&f);
}

static void
test_arm_fails(void)
{
    static const uint64_t pages[] = {4, 4};
    g_autoptr(GError) error = NULL;
    Fixture f;
    if (!set_up(&f, pages, 2))
        return;
    munmap(f.reserved, PAGE);
    GwMemRegion elsewhere[] = {f.regions[0], {4 * PAGE, PAGE, (uintptr_t)f.reserved}};
    g_assert_null(gw_trace_arm(f.uffd, getpid(), elsewhere, 2, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_assert_true(g_str_has_prefix(error->message, "registering guest memory for the trace: "));
    g_clear_error(&error);

    pid_t gone = fork();
    if (gone == 0)
        _exit(0);
    g_assert_cmpint(waitpid(gone, NULL, 0), ==, gone);
    g_autofree char *text = g_strdup_printf("/proc/%d/pagemap: No such file or directory", gone);
    g_assert_null(gw_trace_arm(f.uffd, gone, f.regions, 2, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_assert_cmpstr(error->message, ==, text);

    arm(&f); /* nothing of the failed one is in the way */
    assert_nothing_written(&f);
    tear_down(&f);
}

/* A supervisor that takes over gets a descriptor on which all is agreed already. */
static void
test_negotiate_again(void)
{
    g_autoptr(GError) error = NULL;
    int uffd;
    if (!open_uffd(&uffd))
        return;
    g_assert_true(gw_trace_negotiate(uffd, &error));
    g_assert_no_error(error);
    close(uffd);
}

static void
test_negotiate_fails(void)
{
    g_autoptr(GError) error = NULL;
    int uffd;
    if (!open_uffd(&uffd))
        return;
    close(uffd);
    /* agreed on something else before */
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    int other = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    struct uffdio_api api = {.api = UFFD_API};
    g_assert_cmpint(ioctl(other, UFFDIO_API, &api), ==, 0);
    g_assert_false(gw_trace_negotiate(other, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED);
    g_clear_error(&error);
    close(other);

    g_assert_false(gw_trace_negotiate(device, &error)); /* no userfaultfd at all */
    g_assert_nonnull(error);
    g_clear_error(&error);
    close(device);
    g_assert_false(gw_trace_negotiate(-1, &error));
    g_assert_nonnull(error);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/trace/written-pages", test_written_pages);
    g_test_add_func("/trace/reading-is-not-writing", test_reading_is_not_writing);
    g_test_add_func("/trace/written-by-system-calls", test_written_by_system_calls);
    g_test_add_func("/trace/random-sets", test_random_sets);
    g_test_add_func("/trace/many-runs", test_many_runs);
    g_test_add_func("/trace/ranges", test_ranges);
    g_test_add_func("/trace/concurrent-writers", test_concurrent_writers);
    g_test_add_func("/trace/protect/in-parts", test_protect_in_parts);
    g_test_add_func("/trace/protect/again", test_protect_again);
    g_test_add_func("/trace/protect/ranges", test_protect_ranges);
    g_test_add_func("/trace/protect/unmapped", test_protect_unmapped);
    g_test_add_func("/trace/protect/under-writes", test_protect_under_writes);
    g_test_add_func("/trace/disarm-and-arm-again", test_disarm_and_arm_again);
    g_test_add_func("/trace/arm-fails", test_arm_fails);
    g_test_add_func("/trace/negotiate-again", test_negotiate_again);
    g_test_add_func("/trace/negotiate-fails", test_negotiate_fails);
    return g_test_run();
}
