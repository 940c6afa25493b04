/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The center's REST API, /v1: docs/openapi.yaml says what it is. */
#pragma once

#include "auth.h"
#include "authority.h"
#include "event-hub.h"
#include "http-server.h"
#include "inventory.h"
#include "store.h"
#include "task.h"

#include <stdio.h>

typedef struct GwApi GwApi;

/* All borrowed. */
typedef struct {
    GwStore *store;
    GwAuth *auth;
    GwAuthority *authority;
    GwEventHub *hub;
    GwInventory *inventory;
    GwTasks *tasks;
    const char *name;             /* the center's, for GET /v1/about */
    const char *cluster;          /* that hosts join */
    const char *initial_password; /* file with the administrator's first password; may not exist */
} GwApiParts;

/* Adds all routes to the server, which is borrowed too. In the thread of the server and of the hub, whose one
 * listener it becomes. */
GwApi *gw_api_new(GwHttpServer *server, const GwApiParts *parts);

/* Ends the calls to hosts in which requests are waiting, which are answered with an error then. Any thread.
 */
void gw_api_end_calls(GwApi *self);

/* Ends every stream. The server has to be freed before: no request may come any more. */
void gw_api_free(GwApi *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwApi, gw_api_free)

/* A line a route: method, pattern, least role, action; for the test that holds the documentation to it. */
void gw_api_print_routes(FILE *out);
