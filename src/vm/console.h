/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One serial port of the guest: what it writes is kept (the end of it, in a file) and told to a follower;
 * what is typed goes in. Everything in the main context's thread.
 *
 * The supervisor always reads, so a guest never waits for a reader. While no supervisor lives, QEMU drops
 * output. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define GW_CONSOLE_KEPT                                                                                      \
    (512 * 1024) /* bytes kept at least once that many were written; at most twice as many */

typedef struct GwConsole GwConsole;
typedef void (*GwConsoleFollower)(const char *data, size_t length, void *user_data);

/* `path` is the file in which the output is kept; what is in it already is the beginning. */
GwConsole *gw_console_new(const char *path, GwConsoleFollower follower, void *user_data, GError **error);

/* Reads from and writes to `fd` (taken, a connected socket) from now on. */
void gw_console_attach(GwConsole *self, int fd);

/* Output from `*from` on, a count of bytes since the port's beginning; *from is moved up to the oldest byte
 * kept if that is later. Free with g_bytes_unref(). */
GBytes *gw_console_read(GwConsole *self, guint64 *from, GError **error);

/* Types `data` into the port. GW_ERROR_WRONG_STATE if the VM is off, or if the guest does not take its input.
 */
bool gw_console_write(GwConsole *self, const void *data, size_t length, GError **error);

void gw_console_free(GwConsole *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwConsole, gw_console_free)
