/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unix stream sockets at paths of any length, and file descriptors sent over them. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/* Most descriptors that one message may carry here (the kernel's SCM_MAX_FD is 253). */
#define GW_FDPASS_MAX 8

/* A listening, non-blocking, close-on-exec socket whose file has `mode`. A file that nobody listens on is
 * replaced; one that answers is GW_ERROR_EXISTS. Returns -1 on error. */
int gw_unix_socket_listen(const char *path, mode_t mode, GError **error);

/* A connected, blocking, close-on-exec socket; -1 on error (GW_ERROR_NOT_FOUND, GW_ERROR_PEER_LOST when
 * nobody listens). */
int gw_unix_socket_connect(const char *path, GError **error);

/* Receives one message of at most `size` bytes with its descriptors (close-on-exec from birth). Waits at most
 * `timeout_ms`. Returns the bytes received, 0 when the peer closed, -1 on error; `ret_n_fds` tells how many
 * of `ret_fds` (room for GW_FDPASS_MAX) are set and now the caller's. */
ssize_t gw_fdpass_receive(int socket, void *buffer, size_t size, int ret_fds[GW_FDPASS_MAX],
                          unsigned *ret_n_fds, int timeout_ms, GError **error);
