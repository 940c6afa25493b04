/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A way between the motion interfaces of two hosts, tried with a real connection and measured. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>

#define GW_PROBE_MAX_LISTENERS 64 /* at once, on this host */
#define GW_PROBE_MAX_PATHS     64 /* of one request */

typedef struct GwProbeDoor GwProbeDoor;

/* For any number of threads. */
GwProbeDoor *gw_probe_door_new(void);
/* Closes all listeners and waits for their threads; they end at once. NULL is allowed. */
void gw_probe_door_free(GwProbeDoor *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwProbeDoor, gw_probe_door_free)

/* POST /v1/probe/listen: opens a port at each address of the request, for thirty seconds; less, once it has
 * been used. Does not block. The answer is the caller's. GW_ERROR_NOT_FOUND: an address is not this host's;
 * GW_ERROR_BUSY: too many ports are open. */
JsonObject *gw_probe_door_open(GwProbeDoor *self, JsonObject *request, GError **error);

/* POST /v1/probe: measures each path of the request in turn. Blocks for some hundred milliseconds a path,
 * three seconds if nobody answers there. What cannot be reached is part of the answer; an error is only a
 * request that is none. */
JsonObject *gw_probe_run(JsonObject *request, GError **error);
