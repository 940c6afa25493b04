/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts about a QEMU, asked over QMP. "qom-list-types" is not used: it makes QEMU load every module that it
 * finds, and one of another build then ends it (seen with 10.0). */
#include "qemu-facts.h"

#include "error.h"
#include "json.h"
#include "qemu-internal.h"

#include <string.h>

/* VFIO and vDPA let hardware write guest memory, vhost-user lets another process, vhost-scsi and SCSI
 * passthrough (SG_IO) let the kernel give its pages to a device. vhost-net and vhost-vsock copy through
 * QEMU's page tables: those are seen. */
static const char *const unseen_devices[] = {"vfio-",      "vhost-user-",  "vhost-vdpa-",
                                             "vhost-scsi", "scsi-generic", "scsi-block"};
/* QEMU's own NVMe driver is VFIO; the others are those of libblkio. */
static const char *const unseen_drivers[] = {"nvme", "io_uring", "virtio-blk-"};

static bool
has_prefix_of(const char *text, const char *const *prefixes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (g_str_has_prefix(text, prefixes[i]))
            return true;
    return false;
}

/* While it is asked. */
typedef struct {
    GwQemu *qemu;
    GPtrArray *direct_nodes, *unseen_nodes, *unseen_devices, *memory_devices, *balloons, *blockers;
    GwQemuFacts facts; /* all but the lists */
} Inquiry;

static JsonNode *
ask(const Inquiry *self, const char *command, JsonObject *arguments, GError **error)
{
    return gw_qmp_execute(self->qemu->qmp, command, arguments, GW_QEMU_COMMAND_TIMEOUT_MS, error);
}

static JsonNode *
ask_property(const Inquiry *self, const char *path, const char *property, GError **error)
{
    JsonObject *arguments = json_object_new();
    json_object_set_string_member(arguments, "path", path);
    json_object_set_string_member(arguments, "property", property);
    return ask(self, "qom-get", arguments, error);
}

static bool
ask_flag(const Inquiry *self, const char *path, const char *property, bool *ret_value, GError **error)
{
    g_autoptr(JsonNode) reply = ask_property(self, path, property, error);
    if (!reply)
        return false;
    if (json_node_get_value_type(reply) != G_TYPE_BOOLEAN) {
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s of %s is no boolean", property, path);
        return false;
    }
    *ret_value = json_node_get_boolean(reply);
    return true;
}

/* An array that `reply` holds (NULL: the error is set), in which each element is an object. */
static JsonArray *
objects_in(JsonNode *reply, const char *command, GError **error)
{
    if (!reply)
        return NULL;
    JsonArray *array = JSON_NODE_HOLDS_ARRAY(reply) ? json_node_get_array(reply) : NULL;
    guint n = array ? json_array_get_length(array) : 0;
    for (guint i = 0; i < n && array; i++)
        if (!gw_json_array_object(array, i))
            array = NULL;
    if (!array)
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s: the answer is no list of objects", command);
    return array;
}

static void
note(GPtrArray *list, const char *name, const char *kind)
{
    g_ptr_array_add(list, g_strdup_printf("%s (%s)", name, kind));
}

static bool
ask_nodes(Inquiry *self, GError **error)
{
    static const char command[] = "query-named-block-nodes";
    JsonObject *arguments = json_object_new();
    json_object_set_boolean_member(arguments, "flat", TRUE);
    g_autoptr(JsonNode) reply = ask(self, command, arguments, error);
    JsonArray *nodes = objects_in(reply, command, error);
    for (guint i = 0; nodes && i < json_array_get_length(nodes); i++) {
        JsonObject *node = gw_json_array_object(nodes, i);
        JsonObject *cache = gw_json_get_object(node, "cache");
        const char *name = gw_json_get_string(node, "node-name"), *driver = gw_json_get_string(node, "drv");
        bool direct = false;
        if (!name || !driver || !cache || !gw_json_get_bool(cache, "direct", &direct)) {
            g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s: node %u lacks a member", command, i);
            return false;
        }
        if (direct)
            note(self->direct_nodes, name, driver);
        if (has_prefix_of(driver, unseen_drivers, G_N_ELEMENTS(unseen_drivers)))
            note(self->unseen_nodes, name, driver);
    }
    return nodes != NULL;
}

/* Devices by their QOM types: those with an id, or those without. */
static bool
ask_devices(Inquiry *self, const char *container, GError **error)
{
    JsonObject *arguments = json_object_new();
    json_object_set_string_member(arguments, "path", container);
    g_autoptr(JsonNode) reply = ask(self, "qom-list", arguments, error);
    JsonArray *properties = objects_in(reply, "qom-list", error);
    for (guint i = 0; properties && i < json_array_get_length(properties); i++) {
        JsonObject *property = gw_json_array_object(properties, i);
        const char *name = gw_json_get_string(property, "name");
        const char *child = gw_json_get_string(property, "type");
        if (!name || !child || !g_str_has_prefix(child, "child<") || !g_str_has_suffix(child, ">"))
            continue;
        g_autofree char *type = g_strndup(child + strlen("child<"), strlen(child) - strlen("child<>"));
        if (has_prefix_of(type, unseen_devices, G_N_ELEMENTS(unseen_devices)))
            note(self->unseen_devices, name, type);
        if (!g_str_has_prefix(type, "virtio-balloon"))
            continue;
        note(self->balloons, name, type);
        g_autofree char *path = g_strdup_printf("%s/%s", container, name);
        bool reports = false;
        if (!ask_flag(self, path, "free-page-reporting", &reports, error))
            return false;
        self->facts.reports_free_pages |= reports;
    }
    return properties != NULL;
}

static bool
ask_memory_devices(Inquiry *self, GError **error)
{
    static const char command[] = "query-memory-devices";
    g_autoptr(JsonNode) reply = ask(self, command, NULL, error);
    JsonArray *devices = objects_in(reply, command, error);
    for (guint i = 0; devices && i < json_array_get_length(devices); i++) {
        JsonObject *device = gw_json_array_object(devices, i);
        JsonObject *data = gw_json_get_object(device, "data");
        const char *type = gw_json_get_string(device, "type");
        const char *id = data ? gw_json_get_string(data, "id") : NULL;
        note(self->memory_devices, id ? id : "without an id", type ? type : "of an unknown kind");
    }
    return devices != NULL;
}

/* All CPUs of a guest are alike. */
static bool
ask_cpu(Inquiry *self, GError **error)
{
    static const char command[] = "query-cpus-fast";
    g_autoptr(JsonNode) reply = ask(self, command, NULL, error);
    JsonArray *cpus = objects_in(reply, command, error);
    if (!cpus)
        return false;
    const char *path = json_array_get_length(cpus) > 0
                           ? gw_json_get_string(gw_json_array_object(cpus, 0), "qom-path")
                           : NULL;
    if (!path) {
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s: no path of a CPU", command);
        return false;
    }
    bool vmx = false, svm = false;
    if (!ask_flag(self, path, "vmx", &vmx, error) || !ask_flag(self, path, "svm", &svm, error))
        return false;
    self->facts.cpu_nests = vmx || svm;
    return true;
}

/* A link to an object, whose path is empty if there is none. */
static bool
ask_confidential(Inquiry *self, GError **error)
{
    g_autoptr(JsonNode) reply = ask_property(self, "/machine", "confidential-guest-support", error);
    if (!reply)
        return false;
    const char *path =
        json_node_get_value_type(reply) == G_TYPE_STRING ? json_node_get_string(reply) : "unknown";
    self->facts.is_confidential = *path != '\0';
    return true;
}

static bool
ask_blockers(Inquiry *self, GError **error)
{
    g_autoptr(JsonNode) reply = NULL;
    JsonObject *migration = gw_qemu_query(self->qemu, "query-migrate", &reply, error);
    if (!migration)
        return false;
    JsonArray *reasons = gw_json_get_array(migration, "blocked-reasons");
    for (guint i = 0; reasons && i < json_array_get_length(reasons); i++) {
        JsonNode *text = json_array_get_element(reasons, i);
        bool is_text = json_node_get_value_type(text) == G_TYPE_STRING;
        g_ptr_array_add(self->blockers,
                        g_strdup(is_text ? json_node_get_string(text) : "QEMU gives no reason"));
    }
    return true;
}

static char **
into_list(GPtrArray *texts)
{
    g_ptr_array_add(texts, NULL);
    return (char **)g_ptr_array_free(texts, FALSE);
}

bool
gw_qemu_facts(GwQemu *self, GwQemuFacts *ret_facts, GError **error)
{
    Inquiry i = {
        .qemu = self,
        .direct_nodes = g_ptr_array_new(),
        .unseen_nodes = g_ptr_array_new(),
        .unseen_devices = g_ptr_array_new(),
        .memory_devices = g_ptr_array_new(),
        .balloons = g_ptr_array_new(),
        .blockers = g_ptr_array_new(),
    };
    bool ok = ask_nodes(&i, error) && ask_devices(&i, "/machine/peripheral", error) &&
              ask_devices(&i, "/machine/peripheral-anon", error) && ask_memory_devices(&i, error) &&
              ask_cpu(&i, error) && ask_confidential(&i, error) && ask_blockers(&i, error);
    *ret_facts = i.facts;
    ret_facts->direct_nodes = into_list(i.direct_nodes);
    ret_facts->unseen_nodes = into_list(i.unseen_nodes);
    ret_facts->unseen_devices = into_list(i.unseen_devices);
    ret_facts->memory_devices = into_list(i.memory_devices);
    ret_facts->balloons = into_list(i.balloons);
    ret_facts->blockers = into_list(i.blockers);
    ret_facts->missing_capability = self->cannot_migrate;
    if (!ok) {
        g_prefix_error(error, "asking QEMU about its devices: ");
        gw_qemu_facts_clear(ret_facts);
    }
    return ok;
}

void
gw_qemu_facts_clear(GwQemuFacts *self)
{
    char **lists[] = {self->direct_nodes,   self->unseen_nodes, self->unseen_devices,
                      self->memory_devices, self->balloons,     self->blockers};
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
        g_strfreev(lists[i]);
    *self = (GwQemuFacts){0};
}
