/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A configuration back to its canonical document: all defaults written out, members in a fixed order. A host
 * whose version of godwit has other defaults reads the same VM from it. */
#include "vm-config-internal.h"

#include <string.h>

static void
add_string(JsonBuilder *b, const char *member, const char *value)
{
    if (!value)
        return;
    json_builder_set_member_name(b, member);
    json_builder_add_string_value(b, value);
}

static void
add_uint(JsonBuilder *b, const char *member, uint64_t value)
{
    json_builder_set_member_name(b, member);
    json_builder_add_int_value(b, (gint64)value);
}

static void
add_limit(JsonBuilder *b, const char *member, uint64_t value)
{
    if (value)
        add_uint(b, member, value);
}

static void
begin_object(JsonBuilder *b, const char *member)
{
    json_builder_set_member_name(b, member);
    json_builder_begin_object(b);
}

static void
begin_array(JsonBuilder *b, const char *member)
{
    json_builder_set_member_name(b, member);
    json_builder_begin_array(b);
}

static void
add_file(JsonBuilder *b, const GwFileRef *file)
{
    add_string(b, "datastore", file->datastore);
    add_string(b, "path", file->path);
}

static void
add_boot_file(JsonBuilder *b, const char *member, const GwFileRef *file)
{
    if (!file->path)
        return;
    begin_object(b, member);
    add_file(b, file);
    json_builder_end_object(b);
}

static void
add_boot(JsonBuilder *b, const GwBootConfig *boot)
{
    begin_object(b, "boot");
    add_string(b, "kind", gw_boot_names[boot->kind]);
    add_boot_file(b, "vars", &boot->uefi_vars);
    add_boot_file(b, "kernel", &boot->kernel);
    add_boot_file(b, "initrd", &boot->initrd);
    add_string(b, "command_line", boot->command_line);
    json_builder_end_object(b);
}

static void
add_disk(JsonBuilder *b, const GwDiskConfig *disk)
{
    json_builder_begin_object(b);
    add_string(b, "id", disk->id);
    add_file(b, &disk->file);
    add_string(b, "format", gw_disk_format_names[disk->format]);
    add_string(b, "bus", gw_disk_bus_names[disk->bus]);
    add_string(b, "cache", gw_disk_cache_names[disk->cache]);
    add_string(b, "serial", disk->serial);
    json_builder_set_member_name(b, "read_only");
    json_builder_add_boolean_value(b, disk->read_only);
    if (disk->iops_limit || disk->bytes_per_s_limit) {
        begin_object(b, "limits");
        add_limit(b, "iops", disk->iops_limit);
        add_limit(b, "bytes_per_s", disk->bytes_per_s_limit);
        json_builder_end_object(b);
    }
    json_builder_end_object(b);
}

static void
add_nic(JsonBuilder *b, const GwNicConfig *nic)
{
    char mac[18];
    gw_mac_format(nic->mac, mac);
    json_builder_begin_object(b);
    add_string(b, "id", nic->id);
    add_string(b, "port_group", nic->port_group);
    add_string(b, "mac", mac);
    add_string(b, "model", gw_nic_model_names[nic->model]);
    json_builder_end_object(b);
}

static void
add_cdrom(JsonBuilder *b, const GwCdromConfig *cdrom)
{
    json_builder_begin_object(b);
    add_string(b, "id", cdrom->id);
    add_file(b, &cdrom->file);
    json_builder_end_object(b);
}

static void
add_devices(JsonBuilder *b, const GwVmConfig *self)
{
    begin_array(b, "disks");
    for (guint i = 0; i < self->disks->len; i++)
        add_disk(b, &g_array_index(self->disks, GwDiskConfig, i));
    json_builder_end_array(b);
    begin_array(b, "nics");
    for (guint i = 0; i < self->nics->len; i++)
        add_nic(b, &g_array_index(self->nics, GwNicConfig, i));
    json_builder_end_array(b);
    begin_array(b, "cdroms");
    for (guint i = 0; i < self->cdroms->len; i++)
        add_cdrom(b, &g_array_index(self->cdroms, GwCdromConfig, i));
    json_builder_end_array(b);
}

static void
add_pinning(JsonBuilder *b, const GArray *pins)
{
    if (pins->len == 0)
        return;
    begin_array(b, "pinning");
    for (guint i = 0; i < pins->len; i++) {
        const GArray *cpus = g_array_index(pins, GArray *, i);
        json_builder_begin_array(b);
        for (guint j = 0; j < cpus->len; j++)
            json_builder_add_int_value(b, g_array_index(cpus, unsigned, j));
        json_builder_end_array(b);
    }
    json_builder_end_array(b);
}

static void
add_processor(JsonBuilder *b, const GwVmConfig *self)
{
    add_uint(b, "vcpus", self->vcpus);
    begin_object(b, "topology");
    add_uint(b, "sockets", self->sockets);
    add_uint(b, "cores", self->cores);
    add_uint(b, "threads", self->threads);
    json_builder_end_object(b);
    add_string(b, "cpu_model", self->cpu_model);
    add_uint(b, "memory_mib", self->memory_bytes >> 20);
    add_string(b, "accel", gw_accel_names[self->accel]);
}

JsonNode *
gw_vm_config_to_json(const GwVmConfig *self)
{
    g_autoptr(JsonBuilder) b = json_builder_new();
    json_builder_begin_object(b);
    add_string(b, "name", self->name);
    add_string(b, "uuid", self->uuid);
    add_string(b, "description", self->description);
    add_string(b, "machine", self->machine);
    add_processor(b, self);
    add_boot(b, &self->boot);
    add_devices(b, self);
    add_uint(b, "serial_ports", self->n_serials);
    add_pinning(b, self->pins);
    add_uint(b, "cpu_shares", self->cpu_shares);
    add_limit(b, "cpu_limit_percent", self->cpu_limit_percent);
    json_builder_end_object(b);
    return json_builder_get_root(b);
}

char *
gw_vm_config_to_text(const GwVmConfig *self)
{
    g_autoptr(JsonNode) root = gw_vm_config_to_json(self);
    g_autofree char *text = json_to_string(root, TRUE);
    /* Indenting triples long lists of pins. */
    return strlen(text) <= GW_VM_CONFIG_LIMIT ? g_steal_pointer(&text) : json_to_string(root, FALSE);
}
