/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What QEMU's migration is told once, when QEMU starts.
 *
 * Each setting suits both ends of a motion: pause-before-switchover concerns the leaving side alone,
 * late-block-activate and announce-rounds the arriving one. So a VM that has arrived can leave again, and no
 * motion spends a round trip on them. */
#include "json.h"
#include "qemu-internal.h"

/* What a QEMU must have, up to the version from which it does the same without being told. */
static const struct {
    const char *name;
    unsigned until; /* 0: always; else as gw_qmp_version() */
} capabilities[] = {
    {"events", 0},
    {"x-ignore-shared", 0},               /* keeps our memory out of QEMU's stream */
    {"pause-before-switchover", 0},       /* set-up and firmware outside the pause */
    {"late-block-activate", 10 * 10000u}, /* disks are taken by "cont", not by the load */
};

typedef enum { CAPABILITY_UNKNOWN, CAPABILITY_OFF, CAPABILITY_ON } CapabilityState;

static CapabilityState
capability_state(JsonArray *known, const char *name)
{
    for (guint i = 0; i < json_array_get_length(known); i++) {
        JsonObject *entry = gw_json_array_object(known, i);
        bool on = false;
        if (!entry || g_strcmp0(gw_json_get_string(entry, "capability"), name) != 0)
            continue;
        return gw_json_get_bool(entry, "state", &on) && on ? CAPABILITY_ON : CAPABILITY_OFF;
    }
    return CAPABILITY_UNKNOWN;
}

/* The capabilities that are still to be switched on. A lacking one is no fault of the user's: the guest runs,
 * only motions of it are refused. */
static JsonArray *
missing_capabilities(GwQemu *self, JsonArray *known)
{
    JsonArray *missing = json_array_new();
    for (size_t i = 0; i < G_N_ELEMENTS(capabilities); i++) {
        CapabilityState state = capability_state(known, capabilities[i].name);
        unsigned until = capabilities[i].until;
        if (state == CAPABILITY_UNKNOWN && (!until || gw_qmp_version(self->qmp) < until))
            self->cannot_migrate = capabilities[i].name;
        if (state != CAPABILITY_OFF)
            continue;
        JsonObject *entry = json_object_new();
        json_object_set_string_member(entry, "capability", capabilities[i].name);
        json_object_set_boolean_member(entry, "state", TRUE);
        json_array_add_object_element(missing, entry);
    }
    return missing;
}

static bool
set_capabilities(GwQemu *self, GError **error)
{
    g_autoptr(JsonNode) known =
        gw_qmp_execute(self->qmp, "query-migrate-capabilities", NULL, GW_QEMU_COMMAND_TIMEOUT_MS, error);
    if (!known)
        return false;
    if (!JSON_NODE_HOLDS_ARRAY(known)) {
        self->cannot_migrate = "of any name";
        return true;
    }
    g_autoptr(JsonArray) missing = missing_capabilities(self, json_node_get_array(known));
    /* With a migration under way QEMU refuses to be told even what is so already. */
    if (self->cannot_migrate || json_array_get_length(missing) == 0)
        return true;
    JsonObject *arguments = json_object_new();
    json_object_set_array_member(arguments, "capabilities", g_steal_pointer(&missing));
    return gw_qemu_command(self, "migrate-set-capabilities", arguments, error);
}

bool
gw_qemu_set_capabilities(GwQemu *self, GError **error)
{
    if (!set_capabilities(self, error))
        return false;
    if (self->cannot_migrate)
        return true;
    JsonObject *arguments = json_object_new();
    /* The default of 128 MiB/s would make 200 KB of device state cost 1.5 ms. */
    json_object_set_int_member(arguments, "max-bandwidth", G_GINT64_CONSTANT(100) << 30);
    /* None: QEMU would announce the guest at the end of the load, before it has the right to run here. */
    json_object_set_int_member(arguments, "announce-rounds", 0);
    return gw_qemu_command(self, "migrate-set-parameters", arguments, error);
}
