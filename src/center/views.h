/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The cluster's networks and datastores: what its hosts have, put together by name. Pure.
 *
 * `hosts` are as gw_inventory_hosts_json() gives them, of which "name" and "facts" are read; a host that was
 * never reached has none and adds nothing. `configs` are of GwVmConfig. What a VM names and no host has is in
 * the list too, without hosts: that is worth seeing. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>

/* [{"name", "hosts": [{"host", "switch", "uplinks": […]}], "vms": […]}], by name. */
JsonArray *gw_view_networks(JsonArray *hosts, const GPtrArray *configs);

/* [{"name", "hosts": [{"host", "path", "identity", "error", "read_only", "capacity_bytes", "free_bytes"}],
 * "shared", "vms": […]}], by name. Shared: at least two hosts have it, and each says of it that it is the
 * same storage. */
JsonArray *gw_view_datastores(JsonArray *hosts, const GPtrArray *configs);
