/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM and two hosts between which it may move. */
#include "check-rig.h"

#include "vm-config-util.h"

#define HOST(n)                                                                                              \
    "{\"name\": \"host" n "\", \"version\": \"0.1.0\", \"kernel\": \"6.18.44\","                             \
    " \"qemu\": {\"version\": \"7.2.22\", \"machines\": [\"pc-q35-7.2\", \"pc-i440fx-7.2\"],"                \
    "  \"accel\": \"tcg\", \"cpu_models\": [{\"name\": \"qemu64\", \"missing\": []},"                        \
    "   {\"name\": \"Skylake-Server-v4\", \"missing\": [\"hle\", \"rtm\"]}]},"                               \
    " \"cpu\": {\"model\": \"Intel Xeon 8176\", \"vendor\": \"GenuineIntel\", \"count\": 8,"                 \
    "  \"features\": [\"sse2\", \"sse4.1\", \"avx2\"]},"                                                     \
    " \"memory\": {\"total_bytes\": 25769803776, \"available_bytes\": 17179869184},"                         \
    " \"switches\": [{\"name\": \"guests\", \"bridge\": \"br0\", \"uplinks\": [\"eth1\"], \"up\": true},"    \
    "  {\"name\": \"inner\", \"bridge\": \"br1\", \"uplinks\": [], \"up\": true}],"                          \
    " \"port_groups\": [{\"name\": \"lan\", \"switch\": \"guests\"}, {\"name\": \"lab\", \"switch\": "       \
    "\"inner\"}],"                                                                                           \
    " \"motion_interfaces\": [{\"name\": \"motion0\", \"address\": \"10.71.0." n "\","                       \
    "  \"prefix_length\": 24, \"speed_bits_per_s\": 10000000000, \"up\": true}],"                            \
    " \"datastores\": [{\"name\": \"ds\", \"path\": \"/srv/ds\", \"identity\": \"nfs:a\","                   \
    "   \"error\": null, \"read_only\": false},"                                                             \
    "  {\"name\": \"iso\", \"path\": \"/srv/iso\", \"identity\": \"local:" n "\","                           \
    "   \"error\": null, \"read_only\": true}],"                                                             \
    " \"problems\": []}"

static const char *const originals[RIG_N_DOCUMENTS] = {
    [RIG_VM] = "{\"name\": \"web1\", \"uuid\": \"3f0c9a52-7b1e-4d58-8f43-0a6c2b9d1e70\","
               " \"machine\": \"pc-q35-7.2\", \"vcpus\": 2, \"cpu_model\": \"qemu64\", \"memory_mib\": 1024,"
               " \"disks\": [{\"id\": \"root\", \"datastore\": \"ds\", \"path\": \"web1/root.qcow2\","
               "  \"format\": \"qcow2\"}],"
               " \"nics\": [{\"port_group\": \"lan\", \"mac\": \"52:54:00:12:34:56\"}]}",
    [RIG_STATUS] = "{\"name\": \"web1\", \"state\": \"running\", \"supervised\": true,"
                   " \"memory\": {\"size_bytes\": 1073741824, \"resident_bytes\": 536870912,"
                   "  \"trace_armed\": false},"
                   " \"qemu\": {\"version\": \"7.2.22\", \"accel\": \"tcg\"}, \"motion\": null}",
    [RIG_SOURCE] = HOST("1"),
    [RIG_THERE] = HOST("2"),
    [RIG_PATHS] = "{\"paths\": [{\"source_interface\": \"motion0\", \"source_address\": \"10.71.0.1\","
                  " \"destination_interface\": \"motion0\", \"destination_address\": \"10.71.0.2\","
                  " \"reachable\": true, \"error\": null, \"rtt_us\": 130, \"bits_per_s\": 9000000000}]}",
    [RIG_FINDINGS] = "{\"findings\": []}",
    [RIG_CENTER] = "{\"source_reachable\": true, \"destination_reachable\": true, \"in_maintenance\": false}",
};

static void
drop_facts(Rig *self)
{
    g_clear_pointer(&self->vm, gw_vm_facts_free);
    g_clear_pointer(&self->source, gw_host_facts_free);
    g_clear_pointer(&self->destination, gw_host_facts_free);
    g_clear_pointer(&self->paths, g_array_unref);
}

void
rig_init(Rig *self)
{
    *self = (Rig){0};
    for (size_t i = 0; i < RIG_N_DOCUMENTS; i++)
        self->documents[i] = g_strdup(originals[i]);
}

void
rig_clear(Rig *self)
{
    drop_facts(self);
    for (size_t i = 0; i < RIG_N_DOCUMENTS; i++)
        g_free(self->documents[i]);
}

void
rig_change(Rig *self, const RigChange *changes)
{
    for (guint i = 0; i < RIG_MAX_CHANGES && changes[i].pointer; i++) {
        char **document = &self->documents[changes[i].document];
        char *changed = document_with(*document, changes[i].pointer, changes[i].value);
        g_free(*document);
        *document = changed;
    }
}

static JsonObject *
parse(const Rig *self, RigDocument which)
{
    g_autoptr(GError) error = NULL;
    JsonObject *object = gw_json_parse_object(self->documents[which], -1, &error);
    g_assert_no_error(error);
    return object;
}

static void
read_facts(Rig *self)
{
    g_autoptr(GError) error = NULL;
    JsonObject *read[RIG_N_DOCUMENTS];
    for (size_t i = 0; i < RIG_N_DOCUMENTS; i++)
        read[i] = parse(self, i);
    self->vm = gw_vm_facts_from_json(read[RIG_VM], read[RIG_STATUS], &error);
    g_assert_no_error(error);
    self->source = gw_host_facts_from_json(read[RIG_SOURCE], &error);
    g_assert_no_error(error);
    self->destination = gw_host_facts_from_json(read[RIG_THERE], &error);
    g_assert_no_error(error);
    if (gw_json_get_array(read[RIG_PATHS], "paths"))
        self->paths = gw_paths_from_json(gw_json_get_array(read[RIG_PATHS], "paths"));
    g_array_unref(self->vm->findings);
    self->vm->findings = gw_findings_from_json(gw_json_get_array(read[RIG_FINDINGS], "findings"));
    gw_json_get_bool(read[RIG_CENTER], "source_reachable", &self->source->is_reachable);
    gw_json_get_bool(read[RIG_CENTER], "destination_reachable", &self->destination->is_reachable);
    gw_json_get_bool(read[RIG_CENTER], "in_maintenance", &self->destination->in_maintenance);
    self->vm->duplicate_at = g_strdup(gw_json_get_string(read[RIG_CENTER], "duplicate_at"));
    self->vm->namesake = g_strdup(gw_json_get_string(read[RIG_CENTER], "namesake"));
    for (size_t i = 0; i < RIG_N_DOCUMENTS; i++)
        json_object_unref(read[i]);
}

GArray *
rig_check(Rig *self, const char *const *overrides)
{
    drop_facts(self);
    read_facts(self);
    self->input = (GwCheckInput){.vm = self->vm,
                                 .source = self->source,
                                 .destination = self->destination,
                                 .paths = self->paths,
                                 .overrides = overrides};
    return gw_check_motion(&self->input);
}

const GwFinding *
rig_finding(const GArray *findings, guint index)
{
    g_assert_cmpuint(index, <, findings->len);
    return &g_array_index(findings, GwFinding, index);
}

const GwFinding *
rig_find(const GArray *findings, const char *id)
{
    for (guint i = 0; i < findings->len; i++)
        if (strcmp(rig_finding(findings, i)->id, id) == 0)
            return rig_finding(findings, i);
    return NULL;
}

char *
rig_ids(const GArray *findings)
{
    GString *ids = g_string_new(NULL);
    for (guint i = 0; i < findings->len; i++)
        g_string_append_printf(ids, "%s%s", i ? " " : "", rig_finding(findings, i)->id);
    return g_string_free(ids, FALSE);
}
