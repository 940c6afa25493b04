/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QMP client: QEMU's machine protocol (docs/interop/qmp-spec of QEMU) over a stream socket.
 *
 * One reader thread a connection parses what QEMU says. Replies are matched to requests by id, so any number
 * of threads may execute commands at once and a slow one delays nobody; events go to one function. What QEMU
 * sends is not trusted: lines are bounded, every field is checked, and whatever does not fit ends the
 * connection with GW_ERROR_PROTOCOL for everyone who waits. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

/* query-qmp-schema, the longest known answer, has some 300 KB. */
#define GW_QMP_LINE_LIMIT (8 * 1024 * 1024)

typedef struct GwQmp GwQmp;

/* Called in the reader thread: keep it short, execute no command from it. `data` is borrowed, immutable, and
 * NULL if the event has none. `when_us` is CLOCK_MONOTONIC when QEMU sent it, by QEMU's own time stamp. The
 * first event may come before gw_qmp_new() has returned. */
typedef void (*GwQmpEventFunc)(const char *event, JsonObject *data, gint64 when_us, void *user_data);

/* Called once in the reader thread when the connection ends for another reason than gw_qmp_free(). Not if
 * gw_qmp_new() or gw_qmp_connect() fails: they say it themselves. */
typedef void (*GwQmpLostFunc)(const GError *why, void *user_data);

typedef struct {
    GwQmpEventFunc event; /* may be NULL */
    GwQmpLostFunc lost;   /* may be NULL */
    void *user_data;
    int timeout_ms; /* at least 0; for greeting and capability negotiation together */
} GwQmpCallbacks;

/* Takes `fd`, a stream socket (also on failure), waits for the greeting and negotiates capabilities. */
GwQmp *gw_qmp_new(int fd, const GwQmpCallbacks *callbacks, GError **error);

/* Sends `command` and waits for its reply, no longer than `timeout_ms` (0 or more) in all. `arguments`:
 * taken, may be NULL. Returns the "return" member, to be unreffed by the caller, who alone holds it; the node
 * is its own, what is in it is immutable. Any thread but the reader's. Errors: GW_ERROR_VMM_FAILED with
 * QEMU's class and text; GW_ERROR_TIMED_OUT: the connection stays usable and a late reply is dropped, but
 * unless the text says "not sent" QEMU may still execute the command; and GW_ERROR_PEER_LOST,
 * GW_ERROR_PROTOCOL, GW_ERROR_IO: the connection is gone, or (IO, on sending) the command or its `fd` could
 * not be sent. */
JsonNode *
gw_qmp_execute(GwQmp *self, const char *command, JsonObject *arguments, int timeout_ms, GError **error);

/* The same where the reply's content does not matter. */
bool gw_qmp_command(GwQmp *self, const char *command, JsonObject *arguments, int timeout_ms, GError **error);

/* As gw_qmp_execute(), passing `fd` (borrowed) beside the command for getfd and add-fd. */
JsonNode *gw_qmp_execute_with_fd(GwQmp *self, const char *command, JsonObject *arguments, int fd,
                                 int timeout_ms, GError **error);

/* QEMU's version from the greeting, as major * 10000 + minor * 100 + micro: 70222 is 7.2.22. */
unsigned gw_qmp_version(const GwQmp *self);

/* False once the connection has ended. */
bool gw_qmp_is_connected(GwQmp *self);

/* Ends the connection. Threads that are inside gw_qmp_execute() and its kin by now get GW_ERROR_PEER_LOST and
 * are waited for, as is a callback that runs; that no thread enters once this has begun is up to the caller.
 * No callback runs after it has returned. Not from the reader thread. NULL is allowed. */
void gw_qmp_free(GwQmp *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwQmp, gw_qmp_free)
