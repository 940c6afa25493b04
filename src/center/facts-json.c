/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts out of agents' JSON. An agent may be of another version, or no agent at all: every member is looked
 * up by its type, and lists are cut where no host's would end. */
#include "error.h"
#include "facts-internal.h"
#include "json.h"

#include <string.h>

#define MAX_LIST 4096

static uint64_t
number(JsonObject *object, const char *member)
{
    int64_t value = 0;
    return gw_json_get_int(object, member, &value) && value > 0 ? (uint64_t)value : 0;
}

static unsigned
small_number(JsonObject *object, const char *member)
{
    return (unsigned)MIN(number(object, member), (uint64_t)G_MAXINT);
}

static bool
is_true(JsonObject *object, const char *member, bool if_absent)
{
    bool value = if_absent;
    return gw_json_get_bool(object, member, &value) ? value : if_absent;
}

static char *
text(JsonObject *object, const char *member)
{
    return g_strdup(gw_json_get_string(object, member));
}

/* Strings of a list, what is none left out; never NULL. */
static char **
texts(JsonObject *object, const char *member)
{
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    JsonArray *array = object ? gw_json_get_array(object, member) : NULL;
    guint n = array ? MIN(json_array_get_length(array), MAX_LIST) : 0;
    for (guint i = 0; i < n; i++) {
        JsonNode *node = json_array_get_element(array, i);
        if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING)
            g_strv_builder_add(builder, json_node_get_string(node));
    }
    return g_strv_builder_end(builder);
}

/* Calls `read` with each element that is an object and has a name. */
static void
read_each(JsonObject *object, const char *member, guint limit, GArray *list,
          void (*read)(JsonObject *element, GArray *list))
{
    JsonArray *array = object ? gw_json_get_array(object, member) : NULL;
    guint n = array ? MIN(json_array_get_length(array), limit) : 0;
    for (guint i = 0; i < n; i++) {
        JsonObject *element = gw_json_array_object(array, i);
        if (element && gw_json_get_string(element, "name"))
            read(element, list);
    }
}

static void
read_interface(JsonObject *element, GArray *list)
{
    GwMotionInterface interface = {
        .name = text(element, "name"),
        .address = text(element, "address"),
        .prefix_length = small_number(element, "prefix_length"),
        .speed_bits_per_s = number(element, "speed_bits_per_s"),
        .is_up = is_true(element, "up", false),
    };
    g_array_append_val(list, interface);
}

static void
read_switch(JsonObject *element, GArray *list)
{
    GwSwitch one = {.name = text(element, "name"), .uplinks = texts(element, "uplinks")};
    g_array_append_val(list, one);
}

static void
read_port_group(JsonObject *element, GArray *list)
{
    GwPortGroup group = {.name = text(element, "name"), .switch_name = text(element, "switch")};
    g_array_append_val(list, group);
}

static void
read_datastore(JsonObject *element, GArray *list)
{
    GwDatastore datastore = {
        .name = text(element, "name"),
        .path = text(element, "path"),
        .identity = text(element, "identity"),
        .error = text(element, "error"),
        .is_read_only = is_true(element, "read_only", false),
        .capacity_bytes = number(element, "capacity_bytes"),
        .free_bytes = number(element, "free_bytes"),
    };
    g_array_append_val(list, datastore);
}

static void
read_cpu_model(JsonObject *element, GArray *list)
{
    GwCpuModelFact model = {.name = text(element, "name"), .missing = texts(element, "missing")};
    g_array_append_val(list, model);
}

static GwAccel
accel_from_name(const char *name)
{
    return g_strcmp0(name, "kvm") == 0   ? GW_ACCEL_KVM
           : g_strcmp0(name, "tcg") == 0 ? GW_ACCEL_TCG
                                         : GW_ACCEL_AUTO;
}

static void
read_machine_parts(GwHostFacts *self, JsonObject *host)
{
    JsonObject *qemu = gw_json_get_object(host, "qemu");
    JsonObject *cpu = gw_json_get_object(host, "cpu");
    JsonObject *memory = gw_json_get_object(host, "memory");
    if (qemu) {
        self->qemu_version = text(qemu, "version");
        self->accel = accel_from_name(gw_json_get_string(qemu, "accel"));
    }
    if (cpu) {
        self->cpu_model = text(cpu, "model");
        self->n_cpus = small_number(cpu, "count");
    }
    if (memory) {
        self->memory_bytes = number(memory, "total_bytes");
        self->memory_available_bytes = number(memory, "available_bytes");
    }
    self->machines = texts(qemu, "machines");
    self->cpu_features = texts(cpu, "features");
    read_each(qemu, "cpu_models", MAX_LIST, self->cpu_models, read_cpu_model);
}

GwHostFacts *
gw_host_facts_from_json(JsonObject *host, GError **error)
{
    const char *name = gw_json_get_string(host, "name");
    if (!name || !*name) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_PROTOCOL, "what describes no host: it has no name");
        return NULL;
    }
    GwHostFacts *self = gw_host_facts_new();
    self->name = g_strdup(name);
    self->is_reachable = true;
    self->version = text(host, "version");
    self->kernel = text(host, "kernel");
    read_machine_parts(self, host);
    read_each(host, "motion_interfaces", GW_FACTS_MAX_INTERFACES, self->interfaces, read_interface);
    read_each(host, "switches", MAX_LIST, self->switches, read_switch);
    read_each(host, "port_groups", MAX_LIST, self->port_groups, read_port_group);
    read_each(host, "datastores", MAX_LIST, self->datastores, read_datastore);
    self->problems = gw_findings_from_json(gw_json_get_array(host, "problems"));
    return self;
}

static bool
motion_is_over(const char *state)
{
    static const char *const over[] = {"completed", "failed", "cancelled", NULL};
    return g_strv_contains(over, state);
}

/* What the supervisor is busy with that forbids a motion. A motion has the trace armed too. */
static void
read_activity(GwVmFacts *self, JsonObject *status)
{
    JsonObject *motion = gw_json_get_object(status, "motion");
    const char *state = motion ? gw_json_get_string(motion, "state") : NULL;
    JsonObject *memory = gw_json_get_object(status, "memory");
    bool moves = state && !motion_is_over(state);
    self->is_traced = !moves && memory && is_true(memory, "trace_armed", false);
    if (moves)
        self->activity = g_strdup_printf("a motion (%s)", state);
    else if (self->is_traced)
        self->activity = g_strdup("a trace of its memory, which somebody began by hand");
}

static void
read_status(GwVmFacts *self, JsonObject *status)
{
    JsonObject *qemu = gw_json_get_object(status, "qemu");
    JsonObject *memory = gw_json_get_object(status, "memory");
    const char *state = gw_json_get_string(status, "state");
    self->state = g_strdup(!is_true(status, "supervised", true) ? "unsupervised" : state ? state : "unknown");
    if (qemu) {
        GwAccel accel = accel_from_name(gw_json_get_string(qemu, "accel"));
        self->accel = accel != GW_ACCEL_AUTO ? accel : self->accel;
        self->qemu_version = text(qemu, "version");
    }
    if (memory)
        self->memory_resident_bytes = number(memory, "resident_bytes");
    read_activity(self, status);
}

GwVmFacts *
gw_vm_facts_from_json(JsonObject *config, JsonObject *status, GError **error)
{
    g_autofree char *document = gw_json_object_to_line(config);
    g_autoptr(GwVmConfig) parsed = gw_vm_config_parse(document, -1, error);
    if (!parsed)
        return NULL;
    GwVmFacts *self = g_new0(GwVmFacts, 1);
    self->name = g_strdup(parsed->name);
    self->uuid = g_strdup(parsed->uuid);
    self->accel = parsed->accel;
    self->config = g_steal_pointer(&parsed);
    self->findings = gw_findings_new();
    if (status)
        read_status(self, status);
    else
        self->state = g_strdup("off");
    return self;
}

GArray *
gw_paths_from_json(JsonArray *array)
{
    GArray *paths = gw_paths_new();
    guint n =
        array ? MIN(json_array_get_length(array), GW_FACTS_MAX_INTERFACES * GW_FACTS_MAX_INTERFACES) : 0;
    for (guint i = 0; i < n; i++) {
        JsonObject *element = gw_json_array_object(array, i);
        if (!element || !gw_json_get_string(element, "source_address") ||
            !gw_json_get_string(element, "destination_address"))
            continue;
        GwPath path = {
            .source_interface = text(element, "source_interface"),
            .source_address = text(element, "source_address"),
            .destination_interface = text(element, "destination_interface"),
            .destination_address = text(element, "destination_address"),
            .is_reachable = is_true(element, "reachable", false),
            .error = text(element, "error"),
            .rtt_us = number(element, "rtt_us"),
            .bits_per_s = number(element, "bits_per_s"),
        };
        g_array_append_val(paths, path);
    }
    return paths;
}

JsonArray *
gw_paths_to_json(const GArray *paths)
{
    JsonArray *list = json_array_new();
    for (guint i = 0; paths && i < paths->len; i++) {
        const GwPath *path = &g_array_index(paths, GwPath, i);
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "source_interface", path->source_interface);
        json_object_set_string_member(object, "source_address", path->source_address);
        json_object_set_string_member(object, "destination_interface", path->destination_interface);
        json_object_set_string_member(object, "destination_address", path->destination_address);
        json_object_set_boolean_member(object, "reachable", path->is_reachable);
        json_object_set_string_member(object, "error", path->error);
        json_object_set_int_member(object, "rtt_us", (gint64)path->rtt_us);
        json_object_set_int_member(object, "bits_per_s", (gint64)path->bits_per_s);
        json_array_add_object_element(list, object);
    }
    return list;
}
