/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The agent without its front: configuration, VMs, facts, and what is told of them.
 *
 * A thread of its own, the pulse, tells host.load each second, and host.facts when they have changed; it may
 * be held up by storage that does not answer for as long as datastore.h says, the main thread never is. */
#pragma once

#include "event-relay.h"
#include "host-config.h"
#include "probe.h"
#include "registry.h"

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

typedef struct GwAgent GwAgent;

/* Takes `config`. Main thread. GW_ERROR_EXISTS: another agent has this runtime directory. */
GwAgent *gw_agent_new(GwHostConfig *config, GError **error);
void gw_agent_free(GwAgent *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwAgent, gw_agent_free)

/* Takes another configuration, also when it fails. GW_ERROR_NOT_SUPPORTED if it changes what needs a restart;
 * then nothing is changed. What cannot be had of the switches is a warning. Any thread, as all below. */
bool gw_agent_reconfigure(GwAgent *self, GwHostConfig *config, GError **error);

/* The configuration of now, which stays as it is for as long as the reference is held. */
typedef struct {
    gatomicrefcount refs;
    GwHostConfig *host;
} GwAgentConfig;

GwAgentConfig *gw_agent_config(GwAgent *self);
void gw_agent_config_unref(GwAgentConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwAgentConfig, gw_agent_config_unref)

GwRegistry *gw_agent_registry(GwAgent *self);
GwEventRelay *gw_agent_relay(GwAgent *self);
GwProbeDoor *gw_agent_probe_door(GwAgent *self);

/* GET /v1/host, gathered now. Blocks. */
JsonObject *gw_agent_facts(GwAgent *self);

/* The data of host.hello, without blocking: the facts as they were told last, and the VMs. */
JsonObject *gw_agent_hello(GwAgent *self);
