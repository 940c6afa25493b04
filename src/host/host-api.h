/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The agent's API: HTTP + JSON, described in docs/godwit-host-api.md. Main thread; what blocks runs in the
 * server's threads. */
#pragma once

#include "agent.h"
#include "http-server.h"

typedef struct GwHostApi GwHostApi;

/* Reads the configuration again. Main thread. */
typedef bool (*GwHostReload)(void *user_data, GError **error);

/* Adds the routes. `server` and `agent` are borrowed. */
GwHostApi *gw_host_api_new(GwHttpServer *server, GwAgent *agent, GwHostReload reload, void *user_data);

/* Refuses everything from now on and ends every stream: before the server is freed, which waits for the works
 * that are under way. */
void gw_host_api_close(GwHostApi *self);

/* After the server. */
void gw_host_api_free(GwHostApi *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwHostApi, gw_host_api_free)
