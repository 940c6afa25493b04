/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A guest of twelve bytes that counts in its memory, on the real QEMU; and what tests ask of it. */
#pragma once

#include "qemu.h"

#define COUNTING_UUID         "9f1d6f0a-3c0b-4b43-8f29-0e6a4f5d2b11"
#define COUNTING_MEMORY_BYTES (64ull << 20)
#define COUNTING_GPA          0x8000

typedef struct {
    char *directory, *disk, *log;
    char *qmp[2]; /* of two QEMUs that live at once */
    GwVmConfig *config;
    GwImage *image;
    volatile guint32 *counter; /* in the mapped image */
    void *map;
    GMutex lock;
    GString *events; /* guarded by lock; names, a space behind each */
} CountingGuest;

/* For g_test_add(). */
void counting_guest_set_up(CountingGuest *self, const void *data);
void counting_guest_tear_down(CountingGuest *self, const void *data);

/* True after g_test_skip() where this machine cannot run it. */
bool counting_guest_cannot_run(void);

/* $GODWIT_QEMU, or Debian's. */
const char *counting_guest_binary(void);

/* `place`: 0 or 1, which of the QMP sockets. All share the one image. */
GwQemu *
counting_guest_start(CountingGuest *self, unsigned place, bool incoming, const char *binary, GError **error);
GwQemuHooks counting_guest_hooks(CountingGuest *self, unsigned place);

/* Kills and frees. */
void counting_guest_end(GwQemu *qemu);

/* Waits until the guest has counted on; fails after ten seconds of its standing still. */
void counting_guest_await_counting(const CountingGuest *self);

/* Fails if it counts within 50 ms. */
void counting_guest_assert_still(const CountingGuest *self);
void counting_guest_assert_run_state(GwQemu *qemu, const char *expected);

/* Whether some QEMU holds the disk, by the locks that it takes on it. */
bool counting_guest_disk_is_held(const CountingGuest *self);
