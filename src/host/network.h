/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A host's switches: Linux bridges with their uplinks.
 *
 * A bridge that the agent makes carries the alias "godwit" (`ip -d link` shows it): that is how a later agent
 * knows that it may remove it. Nothing else is ever removed, and no address is touched. */
#pragma once

#include "host-config.h"

#include <glib.h>
#include <json-glib/json-glib.h>

/* Makes what is missing: bridges, their being up, uplinks in them. Goes on behind a switch that cannot be
 * had; the error names every one. What is right already is left alone, so it may be repeated at will. */
bool gw_network_apply(const GwHostConfig *config, GError **error);

/* Removes the bridges that the agent made and that have no port but their uplinks; the others stay, and the
 * error says why. */
bool gw_network_clean(const GwHostConfig *config, GError **error);

/* "switches" of GET /v1/host. The caller's. */
JsonArray *gw_network_facts(const GwHostConfig *config);
