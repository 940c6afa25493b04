/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tiny guest: writes verified pages at a rate, checks them, and checks what it knows of its own CPU. */

/* Theory
 * ------
 * A guest without a kernel, for KVMs that run no ordinary one, and for tests that want to know every page of
 * a guest. One loop, once a tick of the timer: write what the rate asks for, each page checked in full
 * before; check some pages in passing; listen to the serial port; halt until the next tick. So nearly
 * whenever it is stopped, it halts with known words in its registers, or is half way through a page.
 *
 * What it must be is kept apart from the pages: a table with the generation of each. A page found wrong is
 * told, counted once, and written anew.
 *
 * Memory: this image from 1 MiB on (tiny.ld), behind it the table of generations, behind that, from a whole
 * MiB on, the pages. All of it is below 1 GiB, the part that entry.S maps.
 */
#include "../workload/verified-page.h"
#include "machine.h"
#include "text.h"

#include <stddef.h>

#define MIB                 UINT64_C(0x100000)
#define MAPPED_BYTES        (1024 * MIB)
#define MEMORY_IS_RAM       1
#define PAGES_PER_CHECK     4 /* verified in passing, each tick */
#define MAX_PAGES_PER_TICK  2048
#define STATUS_EVERY_TICKS  (10 * GW_TINY_TICKS_PER_S)
#define MAX_FINDINGS_TOLD   16
#define DEFAULT_SET_BYTES   (32 * MIB)
#define DEFAULT_BYTES_PER_S (20 * MIB)

typedef struct Tiny {
    GwPageRegion region;
    uint8_t *pages;
    uint32_t *generations;
    uint64_t n_pages;
    uint64_t bytes_per_tick;
    bool is_quiet;

    uint64_t credit_bytes;
    uint64_t random_state;
    uint64_t cursor; /* of the check in passing */
    uint64_t last_tsc;

    uint64_t n_written;
    uint64_t n_verified;
    uint64_t n_wrong;
    uint64_t n_state_checks; /* of registers, the TSC and system registers */
    uint64_t n_wrong_state;
} Tiny;

extern char gw_tiny_end[]; /* tiny.ld */
_Noreturn void gw_tiny_main(const GwStartInfo *info);

static void *
page_at(const Tiny *self, uint64_t page_no)
{
    return self->pages + page_no * GW_VERIFIED_PAGE_SIZE_BYTES;
}

static bool
may_tell(const Tiny *self)
{
    return self->n_wrong + self->n_wrong_state <= MAX_FINDINGS_TOLD;
}

/* Writes a wrong page anew. */
static bool
verify(Tiny *self, uint64_t page_no)
{
    uint64_t expected = self->generations[page_no];
    GwPageFinding found = gw_verified_page_verify(page_at(self, page_no), &self->region, page_no, expected);
    self->n_verified++;
    if (found.verdict == GW_PAGE_OK) {
        return true;
    }
    self->n_wrong++;
    if (may_tell(self)) {
        gw_text_format("GODWIT-WRONG memory area=ws page=%u what=%s expected=%u found=%u word=%u\r\n",
                       page_no, gw_page_verdict_name(found.verdict), expected, found.generation,
                       (uint64_t)found.bad_word);
    }
    gw_verified_page_render(page_at(self, page_no), &self->region, page_no, expected);
    return false;
}

static void
write_page(Tiny *self, uint64_t page_no)
{
    verify(self, page_no);
    uint32_t generation = self->generations[page_no] + 1;
    gw_verified_page_advance(page_at(self, page_no), &self->region, page_no, generation);
    self->generations[page_no] = generation;
    self->n_written++;
}

/* xorshift64 (Marsaglia 2003). */
static uint64_t
random_page(Tiny *self)
{
    uint64_t x = self->random_state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    self->random_state = x;
    return x % self->n_pages;
}

static void
write_due_pages(Tiny *self)
{
    if (self->is_quiet) {
        return;
    }
    self->credit_bytes += self->bytes_per_tick;
    uint64_t n_due = self->credit_bytes / GW_VERIFIED_PAGE_SIZE_BYTES;
    self->credit_bytes %= GW_VERIFIED_PAGE_SIZE_BYTES;
    for (uint64_t i = 0; i < n_due && i < MAX_PAGES_PER_TICK; i++) {
        write_page(self, random_page(self));
    }
}

static void
check_in_passing(Tiny *self)
{
    for (unsigned i = 0; i < PAGES_PER_CHECK; i++) {
        verify(self, self->cursor++ % self->n_pages);
    }
}

static void
tell_wrong_state(Tiny *self, const char *what, uint64_t expected, uint64_t found)
{
    self->n_wrong_state++;
    if (may_tell(self)) {
        gw_text_format("GODWIT-WRONG state what=%s expected=%x found=%x\r\n", what, expected, found);
    }
}

static void
wait_for_tick(Tiny *self, uint64_t tick)
{
    uint64_t wrong_registers = gw_machine_wait(tick);
    if (wrong_registers) {
        tell_wrong_state(self, "registers", 0, wrong_registers);
    }
    uint64_t tsc = gw_machine_tsc();
    if (tsc < self->last_tsc) {
        tell_wrong_state(self, "tsc", self->last_tsc, tsc);
    }
    self->last_tsc = tsc;
    const char *wrong = gw_machine_check_system_registers();
    if (wrong) {
        tell_wrong_state(self, wrong, 0, 0);
    }
    self->n_state_checks++;
}

static void
tell_status(const Tiny *self, const char *word)
{
    gw_text_format("TINY %s verified=%u wrong=%u written=%u state-checks=%u state-wrong=%u ticks=%u "
                   "tsc=%u\r\n",
                   word, self->n_verified, self->n_wrong, self->n_written, self->n_state_checks,
                   self->n_wrong_state, (uint64_t)gw_tiny_ticks, gw_machine_tsc());
}

/* One byte a command; lab/guest/README.md tells them. */
static void
obey(Tiny *self, unsigned command)
{
    switch (command) {
    case 's':
        tell_status(self, "now");
        break;
    case 'v':
        for (uint64_t page_no = 0; page_no < self->n_pages; page_no++) {
            verify(self, page_no);
        }
        tell_status(self, "sweep");
        break;
    case 'q':
        self->is_quiet = true;
        tell_status(self, "quiet");
        break;
    case 'g':
        self->is_quiet = false;
        tell_status(self, "goes-on");
        break;
    default:
        break;
    }
}

/* The end of the RAM in which this image lies. */
static uint64_t
end_of_memory(const GwStartInfo *info)
{
    const GwMemoryMapEntry *map = (const GwMemoryMapEntry *)(uintptr_t)info->memory_map;
    for (uint32_t i = 0; i < info->n_memory_map; i++) {
        uint64_t end = map[i].start + map[i].size_bytes;
        if (map[i].type == MEMORY_IS_RAM && map[i].start <= MIB && end > MIB) {
            return end < MAPPED_BYTES ? end : MAPPED_BYTES;
        }
    }
    return 0;
}

_Noreturn static void
fail(uint64_t memory, uint64_t set_bytes)
{
    gw_text_format("GODWIT-GUEST-FAILED what=memory end=%x asked=%x\r\n", memory, set_bytes);
    for (;;) {
        gw_machine_wait(gw_tiny_ticks + GW_TINY_TICKS_PER_S);
    }
}

/* Reads the command line and lays out memory. */
static Tiny
plan(const GwStartInfo *info)
{
    const char *options = gw_text_find((const char *)(uintptr_t)info->command_line, "gw.mem=", " ");
    uint64_t set_bytes = gw_text_size(gw_text_find(options, "ws=", ", "), DEFAULT_SET_BYTES);
    uint64_t rate = gw_text_size(gw_text_find(options, "rate=", ", "), DEFAULT_BYTES_PER_S);
    uint64_t seed = gw_text_size(gw_text_find(options, "seed=", ", "), 1);

    uint64_t table = ((uint64_t)(uintptr_t)gw_tiny_end + 4095) & ~UINT64_C(4095);
    uint64_t memory = end_of_memory(info);
    if (set_bytes < GW_VERIFIED_PAGE_SIZE_BYTES || set_bytes > memory) {
        fail(memory, set_bytes);
    }
    uint64_t n_pages = set_bytes / GW_VERIFIED_PAGE_SIZE_BYTES;
    uint64_t pages = (table + n_pages * sizeof(uint32_t) + MIB - 1) & ~(MIB - 1);
    if (pages + n_pages * GW_VERIFIED_PAGE_SIZE_BYTES > memory) {
        fail(memory, set_bytes);
    }
    return (Tiny){
        .region = {.region_id = gw_machine_tsc(), .seed = seed, .fill = GW_PAGE_FILL_RANDOM},
        .pages = (uint8_t *)(uintptr_t)pages,
        .generations = (uint32_t *)(uintptr_t)table,
        .n_pages = n_pages,
        .bytes_per_tick = rate / GW_TINY_TICKS_PER_S,
        .random_state = seed * 2 + 1,
    };
}

static void
fill(Tiny *self)
{
    for (uint64_t page_no = 0; page_no < self->n_pages; page_no++) {
        gw_verified_page_render(page_at(self, page_no), &self->region, page_no, 1);
        self->generations[page_no] = 1;
    }
    gw_text_format("GODWIT-GUEST-READY name=tiny pages=%u at=%x generations=%x region=%x seed=%u rate=%u\r\n",
                   self->n_pages, (uint64_t)(uintptr_t)self->pages, (uint64_t)(uintptr_t)self->generations,
                   self->region.region_id, self->region.seed, self->bytes_per_tick * GW_TINY_TICKS_PER_S);
}

_Noreturn void
gw_tiny_main(const GwStartInfo *info)
{
    static Tiny tiny;
    tiny = plan(info);
    fill(&tiny);
    /* Time that it could not run is not made up for, as the pacer of the larger guest does not. */
    for (uint64_t n_ticks = 0;; n_ticks++) {
        wait_for_tick(&tiny, gw_tiny_ticks + 1);
        write_due_pages(&tiny);
        check_in_passing(&tiny);
        obey(&tiny, gw_machine_receive());
        if (n_ticks % STATUS_EVERY_TICKS == STATUS_EVERY_TICKS - 1) {
            tell_status(&tiny, "status");
        }
    }
}
