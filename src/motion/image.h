/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest memory: a memfd of fixed size that belongs to the supervisor and is lent to the VMM. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Where a part of the image is mapped in the VMM's address space. */
typedef struct {
    uint64_t mem_off;    /* offset in the memory file */
    uint64_t size_bytes; /* whole pages */
    uint64_t vmm_addr;   /* address in the VMM's process, which is not ours */
} GwMemRegion;

typedef struct GwImage GwImage;

/* Makes an image named "godwit-NAME" (that is what /proc shows), all holes: no memory is taken until it is
 * written. Its size is sealed, so that no process that has it can make our accesses end in SIGBUS. */
GwImage *gw_image_new(const char *name, uint64_t size_bytes, GError **error);

/* Takes the descriptor of an image that another supervisor made; checks that it is one: named so, and sealed.
 * `fd` is closed on failure too. */
GwImage *gw_image_adopt(int fd, const char *name, GError **error);

/* What /proc/PID/fd/N links to for the image `name`. */
char *gw_image_proc_link(const char *name);

int gw_image_fd(const GwImage *self);
uint64_t gw_image_size(const GwImage *self);
ino_t gw_image_inode(const GwImage *self);

/* Bytes of memory that the image holds now: what the first round of a motion would send at most. */
uint64_t gw_image_resident(const GwImage *self);

/* The image's content, mapped for reading; NULL with an error. Stays mapped until the image is freed. Not to
 * be touched where the image has a hole: a read there takes memory. One thread, once, before others use it.
 */
const uint8_t *gw_image_map(GwImage *self, GError **error);

/* The run of data that was found last, for walks by chunks, in which each chunk of a long run would otherwise
 * look for its end again, at some 10 ns a page. What was data stays data, or reads as zeros when it was
 * punched; a hole is never believed to be one still. */
typedef struct {
    GMutex lock;
    uint64_t start, stop;
} GwDataHint;

/* The next run of data at or behind *mem_off and before `end`: sets both of its ends, in whole pages, cut at
 * `end`. False if there is none; then *mem_off is left alone. `hint` may be NULL. Any thread. */
bool gw_image_next_data(const GwImage *self, GwDataHint *hint, uint64_t *mem_off, uint64_t *ret_run_end,
                        uint64_t end);

/* Reads `size` bytes at mem_off; holes read as zeros, and stay holes. 0 or -errno. Any thread. */
int gw_image_read(const GwImage *self, uint64_t mem_off, void *ret_bytes, size_t size);

/* Writes `size` bytes at mem_off, whatever is there. 0 or -errno. Any thread, also several at once at
 * different places. Faster than through a mapping, which faults on each page that is new. */
int gw_image_write(const GwImage *self, uint64_t mem_off, const void *bytes, size_t size);

/* Makes a hole: the range reads as zeros and takes no memory. 0 or -errno. Any thread. */
int gw_image_punch(const GwImage *self, uint64_t mem_off, uint64_t size_bytes);

void gw_image_free(GwImage *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwImage, gw_image_free)
