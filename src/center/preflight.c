/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gathering for the checks: both hosts and the VM are asked now, not taken from what was heard last. */
#include "preflight.h"

#include "error.h"
#include "json.h"

#include <string.h>

#define ASK_S    60 /* an agent that probes many ways takes a while */
#define PROBE_MS 150

/* What a probe between all ways may take together, so that a matrix of interfaces does not take minutes. */
#define PROBE_ALL_MS 3000

typedef struct {
    GwInventory *inventory;
    GwHostClient *source, *destination; /* borrowed */
    const char *vm;
} Preflight;

static bool
is_out_of_reach(const GError *error)
{
    return g_error_matches(error, GW_ERROR, GW_ERROR_PEER_LOST) ||
           g_error_matches(error, GW_ERROR, GW_ERROR_TIMED_OUT);
}

/* NULL without an error: it cannot be reached. */
static GwHostFacts *
ask_host(GwInventory *inventory, GwHostClient *client, GError **error)
{
    GError *cause = NULL;
    const char *host = gw_host_client_host(client);
    g_autoptr(JsonObject) object = gw_host_client_call(client, "GET", "/v1/host", NULL, &cause);
    if (!object) {
        if (is_out_of_reach(cause))
            g_error_free(cause);
        else
            g_propagate_error(error, cause);
        return NULL;
    }
    json_object_set_string_member(object, "name", host); /* as the center calls it */
    GwHostFacts *facts = gw_host_facts_from_json(object, error);
    g_autoptr(JsonObject) kept = facts ? gw_inventory_host_json(inventory, host, NULL) : NULL;
    if (kept)
        gw_json_get_bool(kept, "in_maintenance", &facts->in_maintenance);
    return facts;
}

/* As it was last, to be told as out of reach. */
static GwHostFacts *
last_known(GwInventory *inventory, const char *host, GError **error)
{
    GwHostFacts *facts = gw_inventory_host_facts(inventory, host, error);
    if (facts)
        facts->is_reachable = false;
    return facts;
}

/* An older supervisor has no such route. One of a VM that is off has nobody to ask, and in a motion it does
 * not answer such questions: both are findings of ours. */
static bool
add_findings(const Preflight *self, GwVmFacts *facts, GError **error)
{
    if (strcmp(facts->state, "running") != 0 && strcmp(facts->state, "paused") != 0)
        return true;
    GError *cause = NULL;
    g_autoptr(JsonObject) answer =
        gw_host_client_vm(self->source, "GET", self->vm, "/motion/check", NULL, &cause);
    if (!answer) {
        bool has_none = g_error_matches(cause, GW_ERROR, GW_ERROR_NOT_FOUND) ||
                        (facts->activity && g_error_matches(cause, GW_ERROR, GW_ERROR_WRONG_STATE));
        if (has_none)
            g_error_free(cause);
        else
            g_propagate_error(error, cause);
        return has_none;
    }
    JsonArray *findings = gw_json_get_array(answer, "findings");
    if (!findings)
        return true;
    g_array_unref(facts->findings);
    facts->findings = gw_findings_from_json(findings);
    return true;
}

/* Of a VM whose host does not answer. */
static GwVmFacts *
kept_vm(const Preflight *self, GError **error)
{
    g_autofree char *text = gw_inventory_vm_config(self->inventory, self->vm, error);
    g_autoptr(JsonObject) config = text ? gw_json_parse_object(text, -1, error) : NULL;
    return config ? gw_vm_facts_from_json(config, NULL, error) : NULL;
}

static GwVmFacts *
ask_vm(const Preflight *self, GError **error)
{
    GError *cause = NULL;
    g_autoptr(JsonObject) status = gw_host_client_vm(self->source, "GET", self->vm, "", NULL, &cause);
    g_autoptr(JsonObject) config = NULL;
    bool is_supervised = status != NULL;
    if (status)
        gw_json_get_bool(status, "supervised", &is_supervised);
    if (is_supervised)
        config = gw_host_client_vm(self->source, "GET", self->vm, "/config", NULL, error);
    else if (status || g_error_matches(cause, GW_ERROR, GW_ERROR_NOT_FOUND)) {
        g_autofree char *text = gw_inventory_vm_config(self->inventory, self->vm, error);
        config = text ? gw_json_parse_object(text, -1, error) : NULL;
    } else {
        g_propagate_error(error, g_steal_pointer(&cause));
    }
    g_clear_error(&cause);
    g_autoptr(GwVmFacts) facts = config ? gw_vm_facts_from_json(config, status, error) : NULL;
    if (!facts || (is_supervised && !add_findings(self, facts, error)))
        return NULL;
    return g_steal_pointer(&facts);
}

static void
look_for_duplicate(const Preflight *self, GwVmFacts *vm)
{
    g_autofree char *path = g_strconcat("/v1/vms/", self->vm, NULL); /* whichever VM has the name */
    g_autoptr(JsonObject) status = gw_host_client_call(self->destination, "GET", path, NULL, NULL);
    const char *state = status ? gw_json_get_string(status, "state") : NULL;
    const char *uuid = status ? gw_json_get_string(status, "uuid") : NULL;
    if (state && uuid && strcmp(uuid, vm->uuid) != 0) {
        g_free(vm->namesake);
        vm->namesake = g_strdup_printf("%s, UUID %s", state, uuid);
        return;
    }
    if (g_strcmp0(state, "running") == 0 || g_strcmp0(state, "paused") == 0 ||
        g_strcmp0(state, "starting") == 0) {
        g_free(vm->duplicate_at);
        vm->duplicate_at = g_strdup(gw_host_client_host(self->destination));
    }
}

static GArray *
probe_between(GwHostClient *from, GwHostClient *to, const GwHostFacts *source, const GwHostFacts *destination,
              unsigned duration_ms, GError **error)
{
    g_autoptr(GArray) paths = gw_check_pair_interfaces(source, destination);
    unsigned each_ms = duration_ms ? duration_ms : CLAMP(PROBE_ALL_MS / MAX(paths->len, 1), 20, PROBE_MS);
    return gw_probe_paths(from, to, paths, each_ms, error) ? g_steal_pointer(&paths) : NULL;
}

static void
give(GArray **ret, GArray *array)
{
    if (ret)
        *ret = array;
    else
        g_clear_pointer(&array, g_array_unref);
}

/* As it is, or, if it cannot be reached, as it was. */
static GwHostFacts *
look_at_host(GwInventory *inventory, GwHostClient *client, GError **error)
{
    GError *cause = NULL;
    GwHostFacts *facts = ask_host(inventory, client, &cause);
    if (cause)
        g_propagate_error(error, cause);
    else if (!facts)
        facts = last_known(inventory, gw_host_client_host(client), error);
    return facts;
}

bool
gw_preflight_with(GwInventory *inventory, GwHostClient *source, GwHostClient *destination, const char *vm,
                  const char *const *overrides, bool probe, GArray **ret_findings, GArray **ret_paths,
                  GError **error)
{
    Preflight self = {inventory, source, destination, vm};
    g_autoptr(GwHostFacts) from = look_at_host(inventory, source, error);
    if (!from)
        return false;
    g_autoptr(GwVmFacts) facts = from->is_reachable ? ask_vm(&self, error) : kept_vm(&self, error);
    g_autoptr(GwHostFacts) to = facts ? look_at_host(inventory, destination, error) : NULL;
    if (!to)
        return false;
    bool both = from->is_reachable && to->is_reachable;
    GArray *paths = NULL;
    if (both)
        look_for_duplicate(&self, facts);
    if (probe && both) {
        paths = probe_between(source, destination, from, to, 0, error);
        if (!paths)
            return false;
    }
    GwCheckInput input = {
        .vm = facts, .source = from, .destination = to, .paths = paths, .overrides = overrides};
    give(ret_findings, gw_check_motion(&input));
    give(ret_paths, paths);
    return true;
}

bool
gw_preflight(GwInventory *inventory, const char *vm, const char *destination, const char *const *overrides,
             bool probe, GArray **ret_findings, GArray **ret_paths, GError **error)
{
    g_autofree char *home = gw_inventory_vm_home(inventory, vm, error);
    g_autoptr(GwHostClient) source = home ? gw_inventory_vm_client(inventory, home, vm, ASK_S, error) : NULL;
    g_autoptr(GwHostClient) there =
        source ? gw_inventory_vm_client(inventory, destination, vm, ASK_S, error) : NULL;
    if (!there)
        return false;
    return gw_preflight_with(inventory, source, there, vm, overrides, probe, ret_findings, ret_paths, error);
}

static GwHostFacts *
ask_reachable_host(GwInventory *inventory, GwHostClient *client, GError **error)
{
    GError *cause = NULL;
    GwHostFacts *facts = ask_host(inventory, client, &cause);
    if (cause)
        g_propagate_error(error, cause);
    else if (!facts)
        g_set_error(error, GW_ERROR, GW_ERROR_PEER_LOST, "%s: its agent does not answer",
                    gw_host_client_host(client));
    return facts;
}

GArray *
gw_preflight_probe_hosts(GwInventory *inventory, const char *source, const char *destination,
                         unsigned duration_ms, GError **error)
{
    g_autoptr(GwHostClient) from = gw_inventory_client(inventory, source, ASK_S, error);
    g_autoptr(GwHostClient) to = from ? gw_inventory_client(inventory, destination, ASK_S, error) : NULL;
    g_autoptr(GwHostFacts) here = to ? ask_reachable_host(inventory, from, error) : NULL;
    g_autoptr(GwHostFacts) there = here ? ask_reachable_host(inventory, to, error) : NULL;
    return there ? probe_between(from, to, here, there, duration_ms, error) : NULL;
}
