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

void gw_image_free(GwImage *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwImage, gw_image_free)
