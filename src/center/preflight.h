/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gathers what the checks (check.h) look at, from both hosts and as it is now, and makes them. What `godwit
 * vm check` asks for is what a motion begins with. Blocking; any thread. */
#pragma once

#include "check.h"
#include "inventory.h"

/* False if there is no such VM or host, or an agent that has to be asked does not answer: what was found says
 * nothing then. Otherwise findings (owned) and, if `probe` is set, the ways between the motion interfaces as
 * measured (owned, NULL without); gw_check_verdict() judges. A destination that cannot be reached is a
 * finding. The ret_ may be NULL. */
bool
gw_preflight(GwInventory *inventory, const char *vm, const char *destination, const char *const *overrides,
             bool probe, GArray **ret_findings, GArray **ret_paths, GError **error);

/* The same with clients that are there already, as a motion has them, to be ended from outside. */
bool gw_preflight_with(GwInventory *inventory, GwHostClient *source, GwHostClient *destination,
                       const char *vm, const char *const *overrides, bool probe, GArray **ret_findings,
                       GArray **ret_paths, GError **error);

/* What a probe between two hosts shows, VM or not (owned). */
GArray *gw_preflight_probe_hosts(GwInventory *inventory, const char *source, const char *destination,
                                 unsigned duration_ms, GError **error);
