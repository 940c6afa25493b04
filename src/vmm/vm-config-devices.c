/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks, NICs and CD drives, and what must be unique or must fit among them. */
#include "config-report.h"
#include "vm-config-internal.h"

#include <string.h>

/* QEMU's throttling takes up to 10^15; these are what a single disk can be asked to mean. */
#define MAX_IOPS        UINT64_C(1000000000)
#define MIN_BYTES_PER_S UINT64_C(1024)
#define MAX_BYTES_PER_S UINT64_C(1000000000000)

void
gw_file_ref_clear(GwFileRef *self)
{
    g_clear_pointer(&self->datastore, g_free);
    g_clear_pointer(&self->path, g_free);
}

static void
disk_clear(void *data)
{
    GwDiskConfig *disk = data;
    g_free(disk->id);
    g_free(disk->serial);
    gw_file_ref_clear(&disk->file);
}

static void
nic_clear(void *data)
{
    GwNicConfig *nic = data;
    g_free(nic->id);
    g_free(nic->port_group);
}

static void
cdrom_clear(void *data)
{
    GwCdromConfig *cdrom = data;
    g_free(cdrom->id);
    gw_file_ref_clear(&cdrom->file);
}

static GArray *
device_array_new(guint size, GDestroyNotify clear)
{
    GArray *array = g_array_new(FALSE, TRUE, size);
    g_array_set_clear_func(array, clear);
    return array;
}

GArray *
gw_disk_array_new(void)
{
    return device_array_new(sizeof(GwDiskConfig), disk_clear);
}

GArray *
gw_nic_array_new(void)
{
    return device_array_new(sizeof(GwNicConfig), nic_clear);
}

GArray *
gw_cdrom_array_new(void)
{
    return device_array_new(sizeof(GwCdromConfig), cdrom_clear);
}

/* Notes that the place where the reader stands uses `value`. The pointer of the first user if there was one,
 * borrowed from the table. */
static const char *
claim(GwVmConfigDraft *draft, GHashTable *users, const char *value)
{
    const char *other = g_hash_table_lookup(users, value);
    if (!other)
        g_hash_table_insert(users, g_strdup(value), gw_config_reader_pointer(draft->reader));
    return other;
}

static void
claim_file(GwVmConfigDraft *draft, const GwFileRef *file, bool is_written)
{
    /* A datastore's name holds no '/', so the two cannot be confused. */
    g_autofree char *key = g_strconcat(file->datastore, "/", file->path, NULL);
    const char *other = g_hash_table_lookup(is_written ? draft->read_files : draft->written_files, key);
    const char *same_kind = claim(draft, is_written ? draft->written_files : draft->read_files, key);
    if (!other && is_written)
        other = same_kind;
    if (other) {
        g_autofree char *quoted = gw_config_quote(key);
        gw_config_reader_problem(draft->reader, "path",
                                 "the file is in use at %s already (got %s, expected a file of its own)",
                                 other, quoted);
    }
}

void
gw_vm_config_read_file(GwVmConfigDraft *draft, GwMemberNeed need, bool is_written, GwFileRef *ret_file)
{
    ret_file->datastore = gw_config_reader_string(draft->reader, "datastore", need, &gw_rule_datastore);
    ret_file->path = gw_config_reader_string(draft->reader, "path", need, &gw_rule_path);
    if (ret_file->datastore && ret_file->path)
        claim_file(draft, ret_file, is_written);
}

static char *
read_id(GwVmConfigDraft *draft, const char *prefix, guint i)
{
    GwConfigReader *r = draft->reader;
    bool is_given = gw_config_reader_has(r, "id");
    char *id = is_given ? gw_config_reader_string(r, "id", GW_MEMBER_OPTIONAL, &gw_rule_id)
                        : g_strdup_printf("%s%u", prefix, i);
    const char *other = id ? claim(draft, draft->ids, id) : NULL;
    if (other && is_given)
        gw_config_reader_problem(
            r, "id", "the id is in use at %s already (got '%s', expected one of its own)", other, id);
    else if (other)
        gw_config_reader_problem(r, "id", "the default '%s' is in use at %s already (expected an id here)",
                                 id, other);
    return id;
}

/* CD drives and IDE or SATA disks share one controller: two channels of two drives on i440fx, six ports on
 * q35. `member` is where a drive too many is reported; NULL: the device itself. */
static void
take_drive_unit(GwVmConfigDraft *draft, const char *member)
{
    bool is_q35 = gw_vm_config_is_q35(draft->config);
    unsigned max = is_q35 ? GW_VM_MAX_SATA_DRIVES : GW_VM_MAX_IDE_DRIVES;
    if (++draft->n_drive_units > max && draft->machine_is_known)
        gw_config_reader_problem(
            draft->reader, member,
            "too many %s drives (got %u with this one, expected at most %u of disks and CD drives together)",
            is_q35 ? "SATA" : "IDE", draft->n_drive_units, max);
}

static void
check_disk_bus(GwVmConfigDraft *draft, const GwDiskConfig *disk)
{
    GwDiskBus bus = disk->bus;
    if (bus != GW_DISK_BUS_SATA && bus != GW_DISK_BUS_IDE)
        return;
    if (disk->read_only)
        gw_config_reader_problem(
            draft->reader, "read_only",
            "QEMU has no read-only IDE or SATA disks (got true with bus '%s', expected bus "
            "'virtio' or 'scsi', or false)",
            gw_disk_bus_names[bus]);
    if (!draft->machine_is_known)
        return;
    bool is_q35 = gw_vm_config_is_q35(draft->config);
    if (is_q35 == (bus == GW_DISK_BUS_SATA))
        take_drive_unit(draft, "bus");
    else
        gw_config_reader_problem(
            draft->reader, "bus",
            "the machine %s has no %s controller (got '%s', expected 'virtio', 'scsi' or '%s')",
            draft->config->machine, is_q35 ? "IDE" : "SATA", gw_disk_bus_names[bus], is_q35 ? "sata" : "ide");
}

static void
read_disk_limits(GwVmConfigDraft *draft, GwDiskConfig *disk)
{
    GwConfigReader *r = draft->reader;
    if (!gw_config_reader_enter(r, "limits", GW_MEMBER_OPTIONAL))
        return;
    disk->iops_limit = gw_config_reader_uint(r, "iops", GW_MEMBER_OPTIONAL, 1, MAX_IOPS, 0);
    disk->bytes_per_s_limit =
        gw_config_reader_uint(r, "bytes_per_s", GW_MEMBER_OPTIONAL, MIN_BYTES_PER_S, MAX_BYTES_PER_S, 0);
    if (!gw_config_reader_has(r, "iops") && !gw_config_reader_has(r, "bytes_per_s"))
        gw_config_reader_problem(r, NULL, "limits nothing (expected 'iops', 'bytes_per_s' or both)");
    gw_config_reader_leave(r);
}

static void
read_disk(GwVmConfigDraft *draft, guint i)
{
    GwConfigReader *r = draft->reader;
    GwDiskConfig disk = {.id = read_id(draft, "disk", i)};
    gw_vm_config_read_file(draft, GW_MEMBER_REQUIRED, true, &disk.file);
    disk.format = (GwDiskFormat)gw_config_reader_enum(r, "format", GW_MEMBER_REQUIRED, gw_disk_format_names,
                                                      GW_DISK_FORMAT_RAW);
    disk.bus =
        (GwDiskBus)gw_config_reader_enum(r, "bus", GW_MEMBER_OPTIONAL, gw_disk_bus_names, GW_DISK_BUS_VIRTIO);
    disk.cache = (GwDiskCache)gw_config_reader_enum(r, "cache", GW_MEMBER_OPTIONAL, gw_disk_cache_names,
                                                    GW_DISK_CACHE_WRITEBACK);
    disk.serial = gw_config_reader_string(r, "serial", GW_MEMBER_OPTIONAL, &gw_rule_serial);
    disk.read_only = gw_config_reader_bool(r, "read_only", false);
    read_disk_limits(draft, &disk);
    check_disk_bus(draft, &disk);
    g_array_append_val(draft->config->disks, disk);
}

static void
read_mac(GwVmConfigDraft *draft, uint8_t ret_mac[6])
{
    static const uint8_t null_mac[6] = {0};
    GwConfigReader *r = draft->reader;
    g_autofree char *text = gw_config_reader_string(r, "mac", GW_MEMBER_REQUIRED, &gw_rule_mac);
    char canonical[18];
    if (!text || !gw_mac_parse(text, ret_mac))
        return;
    gw_mac_format(ret_mac, canonical);
    if (ret_mac[0] & 1 || memcmp(ret_mac, null_mac, 6) == 0) {
        gw_config_reader_problem(
            r, "mac",
            "not a unicast address (got '%s', expected an even first byte and not all zero, "
            "such as '52:54:00:12:34:56')",
            text);
        return;
    }
    const char *other = claim(draft, draft->macs, canonical);
    if (other)
        gw_config_reader_problem(r, "mac", "the address is in use at %s already (got '%s', expected its own)",
                                 other, text);
}

static void
read_nic(GwVmConfigDraft *draft, guint i)
{
    GwConfigReader *r = draft->reader;
    GwNicConfig nic = {.id = read_id(draft, "nic", i)};
    nic.port_group = gw_config_reader_string(r, "port_group", GW_MEMBER_REQUIRED, &gw_rule_port_group);
    read_mac(draft, nic.mac);
    nic.model =
        (GwNicModel)gw_config_reader_enum(r, "model", GW_MEMBER_OPTIONAL, gw_nic_model_names, GW_NIC_VIRTIO);
    g_array_append_val(draft->config->nics, nic);
}

static void
read_cdrom(GwVmConfigDraft *draft, guint i)
{
    GwConfigReader *r = draft->reader;
    GwCdromConfig cdrom = {.id = read_id(draft, "cd", i)};
    bool has_datastore = gw_config_reader_has(r, "datastore");
    cdrom.has_file = gw_config_reader_has(r, "path") || has_datastore;
    gw_vm_config_read_file(draft, cdrom.has_file ? GW_MEMBER_REQUIRED : GW_MEMBER_OPTIONAL, false,
                           &cdrom.file);
    take_drive_unit(draft, NULL);
    g_array_append_val(draft->config->cdroms, cdrom);
}

static void
read_each(GwVmConfigDraft *draft, const char *member, guint max,
          void (*read)(GwVmConfigDraft *draft, guint i))
{
    guint n;
    if (!gw_config_reader_enter_array(draft->reader, member, max, &n))
        return;
    for (guint i = 0; i < n; i++) {
        if (gw_config_reader_enter_item(draft->reader, i)) {
            read(draft, i);
            gw_config_reader_leave(draft->reader);
        }
    }
    gw_config_reader_leave(draft->reader);
}

void
gw_vm_config_read_devices(GwVmConfigDraft *draft)
{
    read_each(draft, "disks", GW_VM_MAX_DISKS, read_disk);
    read_each(draft, "nics", GW_VM_MAX_NICS, read_nic);
    read_each(draft, "cdroms", GW_VM_MAX_CDROMS, read_cdrom);
}
