/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls to a host's agent (docs/godwit-host-api.md). Blocking; an object is for one thread at a time, and is
 * cheap to make. Errors name the host: "host2: …"; GW_ERROR_PEER_LOST or GW_ERROR_TIMED_OUT when it cannot be
 * reached. */
#pragma once

#include "facts.h"
#include "http-client.h"

typedef struct GwHostClient GwHostClient;

GwHostClient *gw_host_client_new(const char *host, const char *address, unsigned port,
                                 const GwTlsFiles *files, unsigned timeout_s, GError **error);
void gw_host_client_free(GwHostClient *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwHostClient, gw_host_client_free)

/* The VM that is meant where a path has its name: an agent that has another one of that name has none of it
 * (GW_ERROR_NOT_FOUND). NULL, which it is at first: whatever has the name. */
void gw_host_client_set_uuid(GwHostClient *self, const char *uuid);

const char *gw_host_client_host(const GwHostClient *self);

/* Any call: `body` is taken, may be NULL. */
JsonObject *gw_host_client_call(GwHostClient *self, const char *method, const char *path, JsonObject *body,
                                GError **error);
/* The same for a path below a VM: suffix such as "", "/motion", "/power". */
JsonObject *gw_host_client_vm(GwHostClient *self, const char *method, const char *vm, const char *suffix,
                              JsonObject *body, GError **error);
bool gw_host_client_follow(GwHostClient *self, const char *path, GwHttpOnOpen on_open, GwHttpOnEvent on_event,
                           void *user_data, GError **error);
void gw_host_client_cancel(GwHostClient *self); /* from any thread */
GInputStream *gw_host_client_open(GwHostClient *self, const char *vm, const char *suffix, GError **error);
bool gw_host_client_post_bytes(GwHostClient *self, const char *vm, const char *suffix, const void *data,
                               size_t length, GError **error);

/* Probes every given way (GwPath of gw_check_pair_interfaces()) from the source's agent to the destination's,
 * all of them one after another for `duration_ms` each; fills in what was measured. False only if an agent
 * cannot be asked. */
bool gw_probe_paths(GwHostClient *source, GwHostClient *destination, GArray *paths, unsigned duration_ms,
                    GError **error);
