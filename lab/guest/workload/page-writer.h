/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes verified pages to a store at a rate, and checks what it wrote: the common half of the two writers.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "page-area.h"

/* Theory
 * ------
 * One thread, the writer, owns the pages and all that is known about them. Clients' threads never touch a
 * page: they hand requests to the writer and wait. So no lock is held while pages are written, a full sweep
 * cannot race with a write, and the writer goes on writing between the chunks of a sweep. The writer sleeps
 * on a condition until the next tick of its rate, the next check, or a request.
 *
 * A wrong page is counted once, when it is found, and again only if it was rewritten whole since. The writer
 * rewrites a page that it knows to be wrong as a whole, so that one error does not echo for ever; a sweep on
 * demand repairs nothing.
 */

typedef enum { GW_ORDER_ROUND_ROBIN, GW_ORDER_RANDOM } GwWriteOrder;

/* Where the pages are. Called in the writer's thread only; 0 or -errno. */
typedef struct GwPageStore {
    /* `count` pages (at most GW_PAGE_STORE_CHUNK) from `page_no` of the area, valid until the next call. */
    int (*view)(void *context, const GwPageArea *area, uint64_t page_no, uint64_t count,
                const uint8_t **ret_pages);
    /* Takes a page to the generation; `whole` if what is there now must not be built upon. */
    int (*write)(void *context, const GwPageArea *area, uint64_t page_no, uint64_t generation, bool whole);
    /* Writes generation 1 of up to GW_PAGE_STORE_CHUNK pages at once; NULL: they are written one by one. */
    int (*fill)(void *context, const GwPageArea *area, uint64_t page_no, uint64_t count);
    /* May be NULL. */
    int (*sync)(void *context);
    void *context;
    unsigned check_one_in; /* of how many overwritten pages one is checked before; 1: each (header only) */
} GwPageStore;

#define GW_PAGE_STORE_CHUNK 64

typedef struct GwPageWriterConfig {
    GwWriteOrder order;
    uint64_t rate_bytes_per_s;  /* 0: none, UINT64_MAX: as fast as possible */
    uint64_t check_pages_per_s; /* verified in full all the time, walking through all areas */
    uint64_t sync_interval_ns;  /* 0: never */
    const char *name;           /* in what goes to the console: "memory" or "disk" */
} GwPageWriterConfig;

/* Sets what a list of options says of the writing: rate, check or order. 0, or a negative errno for a bad
 * value or another name. */
int gw_page_writer_config_set(GwPageWriterConfig *config, const char *name, const char *value);

typedef struct GwPageWriter GwPageWriter;

/* `areas` are borrowed; the first is the one that is written, others are only verified. Writes generation 1
 * of every page before it returns. NULL if there is no memory. */
GwPageWriter *gw_page_writer_new(const GwPageWriterConfig *config, const GwPageStore *store,
                                 GwPageArea *areas, unsigned n_areas);

/* Starts the thread. 0 or -errno. */
int gw_page_writer_start(GwPageWriter *self);

/* Executes a command of the line protocol (see ../README.md): status, verify, pause, resume, rate, write,
 * reset-gap. Any thread; blocks until done. `words` are the line's words. False if the command is unknown,
 * with nothing written. */
bool gw_page_writer_command(GwPageWriter *self, char *const *words, unsigned n_words, FILE *reply);
