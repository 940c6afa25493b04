/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands of a QMP connection from being asked for to being answered. Internal to qmp.c.
 *
 * Locks. A GwQmpCalls has a lock of its own, taken inside these functions and a leaf: no I/O and no other
 * lock under it. The caller of any of them holds no lock. Beside it there is the write token, held by the one
 * thread that writes to the socket and by nobody who waits for a reply.
 *
 * Threads. The reader accepts replies and ends; any other executes; who frees drains first. */
#pragma once

#include "qmp-message.h"

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

typedef struct GwQmpCalls GwQmpCalls;

/* `fd`: the connection's socket, borrowed for as long as this lives. */
GwQmpCalls *gw_qmp_calls_new(int fd);

/* gw_qmp_execute(), or with `fd` (-1: none) gw_qmp_execute_with_fd(): see qmp.h. Blocks. */
JsonNode *gw_qmp_calls_execute(GwQmpCalls *self, const char *command, JsonObject *arguments, int fd,
                               int timeout_ms, GError **error);

/* Gives a reply, whose value it may take, to who waits for it. False, with GW_ERROR_PROTOCOL, if it belongs
 * to no command. The reader's thread; does not block. */
bool gw_qmp_calls_accept_reply(GwQmpCalls *self, GwQmpMessage *message, GError **error);

/* Once, by the reader: whoever waits, and whoever comes from now on, gets `why`. The socket is then to be
 * shut down, which wakes a writer. */
void gw_qmp_calls_end(GwQmpCalls *self, const GError *why);

/* Waits, after the end, until no thread is inside gw_qmp_calls_execute(). */
void gw_qmp_calls_drain(GwQmpCalls *self);

/* After gw_qmp_calls_drain(), or if nobody ever executed. NULL is allowed. */
void gw_qmp_calls_free(GwQmpCalls *self);
