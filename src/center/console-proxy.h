/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's serial console, followed through the center: bytes from the agent to whoever reads.
 *
 * A thread for each reader waits for the agent and hands over, at most 64 KiB of it not taken yet; a reader
 * that lags further is cut off by the server (GW_HTTP_STREAM_BACKLOG). */
#pragma once

#include "host-client.h"
#include "http-server.h"
#include "session-watch.h"

#define GW_CONSOLE_READERS 64 /* at once: each costs a thread and a connection to an agent */

typedef struct GwConsoleProxies GwConsoleProxies;

/* In the server's thread, like all here. */
GwConsoleProxies *gw_console_proxies_new(GwSessionWatch *sessions /* borrowed */);
void gw_console_proxies_free(GwConsoleProxies *self); /* ends all, and waits for their threads */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwConsoleProxies, gw_console_proxies_free)

/* Begins the stream of a request with what `input` gives; both are taken, as is the client behind it. Ends
 * with the agent's stream, the reader, or the session of `token` (NULL: never). Refuses with GW_ERROR_BUSY in
 * the answer if there are too many. */
void gw_console_proxies_begin(GwConsoleProxies *self, GwHttpRequest *request, const char *token,
                              GwHostClient *client, GInputStream *input);
