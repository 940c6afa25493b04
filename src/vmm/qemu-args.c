/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QEMU's command line. Options that take JSON get JSON: nothing in a value can then become another option. */
#include "qemu-args.h"

#include "accel.h"
#include "json.h"

#include <stdarg.h>
#include <string.h>

#define MIB (1024 * 1024)

/* PCI slots: NICs from 2, virtio disks from 10, the SCSI controller at 26; beyond 8 NICs and 16 disks the
 * next functions of the same slots. Slots 0, 1 and 31 belong to the chipsets. */
#define NIC_SLOT        2u
#define N_NIC_SLOTS     8u
#define DISK_SLOT       10u
#define N_DISK_SLOTS    16u
#define SCSI_SLOT       26u
/* Ids of ours have a dot, which no id of a configuration has. */
#define SCSI_CONTROLLER "gw.scsi"
#define UEFI_CODE       "gw.uefi-code"
#define UEFI_VARS       "gw.uefi-vars"
#define FDSET_OF_DISK   1u
#define FDSET_OF_CDROM  (FDSET_OF_DISK + GW_VM_MAX_DISKS)
#define FDSET_OF_VARS   99u

typedef struct {
    GPtrArray *argv;
    const GwVmConfig *config;
    const GwQemuFds *fds;
    bool q35;
    unsigned n_virtio_disks;
    unsigned n_ide_units; /* used so far: disks first, then CD drives */
    int boot_index;       /* from 1: 0 is the loader of -kernel */
} Args;

static void G_GNUC_PRINTF(2, 3) add(Args *args, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    g_ptr_array_add(args->argv, g_strdup_vprintf(format, values));
    va_end(values);
}

static void
add_json(Args *args, const char *option, JsonObject *object)
{
    add(args, "%s", option);
    g_ptr_array_add(args->argv, gw_json_object_to_line(object));
    json_object_unref(object);
}

static JsonObject *
device(const char *driver, const char *id)
{
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "driver", driver);
    json_object_set_string_member(object, "id", id);
    return object;
}

static void
set_pci_address(JsonObject *object, const char *bus, unsigned index, unsigned first_slot, unsigned n_slots)
{
    g_autofree char *address = g_strdup_printf("%02x.%x", first_slot + index % n_slots, index / n_slots);
    json_object_set_string_member(object, "bus", bus);
    json_object_set_string_member(object, "addr", address);
    json_object_set_boolean_member(object, "multifunction", index < n_slots);
}

static const char *
pci_bus(const Args *args)
{
    return args->q35 ? "pcie.0" : "pci.0";
}

static void
add_machine(Args *args, GwAccel accel, bool incoming)
{
    const GwVmConfig *c = args->config;
    add(args, "-name");
    add(args, "guest=%s,debug-threads=on", c->name);
    add(args, "-uuid");
    add(args, "%s", c->uuid);
    add(args, "-sandbox");
    add(args, "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    add(args, "-no-user-config");
    add(args, "-nodefaults");
    add(args, "-msg");
    add(args, "timestamp=on");
    add(args, "-S");

    add(args, "-accel");
    add(args, "%s", accel == GW_ACCEL_KVM ? "kvm" : "tcg,thread=multi");
    /* vmport, hpet, smbus and vapic are devices of the past whose state costs 2 ms of every switchover. */
    add(args, "-machine");
    add(args, "%s,memory-backend=ram,vmport=off,hpet=off,smbus=off,usb=off%s%s", c->machine,
        args->fds->uefi_code ? ",pflash0=" UEFI_CODE : "",
        args->fds->uefi_vars_fd >= 0 ? ",pflash1=" UEFI_VARS : "");
    add(args, "-global");
    add(args, "apic-common.vapic=off");
    /* A guest that sleeps (S3, S4) by itself would leave the states that a motion knows. */
    const char *power = args->q35 ? "ICH9-LPC" : "PIIX4_PM";
    for (unsigned s = 3; s <= 4; s++) {
        add(args, "-global");
        add(args, "%s.disable_s%u=1", power, s);
    }
    add(args, "-cpu");
    add(args, "%s", c->cpu_model);
    add(args, "-smp");
    add(args, "cpus=%u,sockets=%u,cores=%u,threads=%u", c->vcpus, c->sockets, c->cores, c->threads);
    add(args, "-rtc");
    add(args, "base=utc,driftfix=%s", accel == GW_ACCEL_KVM ? "slew" : "none");
    if (incoming) {
        add(args, "-incoming");
        add(args, "defer");
    }
}

/* Only memory-backend-file with share=on stays out of QEMU's stream (x-ignore-shared, from 8.1 on), whatever
 * file it is: here the supervisor's memfd. No prealloc: a destination must not touch what it has not
 * received. */
static void
add_memory(Args *args)
{
    const GwVmConfig *c = args->config;
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", args->fds->memory_fd);
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "qom-type", "memory-backend-file");
    json_object_set_string_member(object, "id", "ram");
    json_object_set_string_member(object, "mem-path", path);
    json_object_set_int_member(object, "size", (gint64)c->memory_bytes);
    json_object_set_boolean_member(object, "share", TRUE);
    add(args, "-m");
    add(args, "%" G_GUINT64_FORMAT "M", c->memory_bytes / MIB);
    add_json(args, "-object", object);
}

static void
add_fdset(Args *args, unsigned set, int fd, const char *what)
{
    if (fd < 0)
        return;
    add(args, "-add-fd");
    add(args, "fd=%d,set=%u,opaque=%s", fd, set, what);
}

/* A file node on a set of descriptors. "threads" is the one kind of asynchronous I/O whose O_DIRECT reads the
 * trace can be told of. */
static JsonObject *
file_node(unsigned set, bool direct, bool read_only)
{
    g_autofree char *filename = g_strdup_printf("/dev/fdset/%u", set);
    JsonObject *cache = json_object_new();
    json_object_set_boolean_member(cache, "direct", direct);
    JsonObject *file = json_object_new();
    json_object_set_string_member(file, "driver", "file");
    json_object_set_string_member(file, "filename", filename);
    json_object_set_string_member(file, "aio", "threads");
    json_object_set_boolean_member(file, "read-only", read_only);
    if (!read_only)
        json_object_set_string_member(file, "discard", "unmap");
    json_object_set_object_member(file, "cache", cache);
    return file;
}

static void
add_block_node(Args *args, const char *node, const char *format, JsonObject *file, bool direct,
               bool read_only)
{
    JsonObject *cache = json_object_new();
    json_object_set_boolean_member(cache, "direct", direct);
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "driver", format);
    json_object_set_string_member(object, "node-name", node);
    json_object_set_boolean_member(object, "read-only", read_only);
    if (!read_only)
        json_object_set_string_member(object, "discard", "unmap");
    json_object_set_object_member(object, "cache", cache);
    json_object_set_object_member(object, "file", file);
    add_json(args, "-blockdev", object);
}

/* The next place on the built-in controller: two units on each of i440fx's two channels, one on each of q35's
 * ports. */
static void
set_ide_place(Args *args, JsonObject *object)
{
    unsigned n = args->n_ide_units++;
    g_autofree char *bus = g_strdup_printf("ide.%u", args->q35 ? n : n / 2);
    json_object_set_string_member(object, "bus", bus);
    json_object_set_int_member(object, "unit", args->q35 ? 0 : n % 2);
}

static JsonObject *
disk_device(Args *args, const GwDiskConfig *disk, unsigned index)
{
    JsonObject *object = NULL;
    switch (disk->bus) {
    case GW_DISK_BUS_VIRTIO:
        object = device("virtio-blk-pci", disk->id);
        set_pci_address(object, pci_bus(args), args->n_virtio_disks++, DISK_SLOT, N_DISK_SLOTS);
        break;
    case GW_DISK_BUS_SCSI:
        object = device("scsi-hd", disk->id);
        json_object_set_string_member(object, "bus", SCSI_CONTROLLER ".0");
        json_object_set_int_member(object, "scsi-id", index);
        break;
    case GW_DISK_BUS_SATA:
    case GW_DISK_BUS_IDE:
        object = device("ide-hd", disk->id);
        set_ide_place(args, object);
        break;
    }
    return object;
}

static void
add_disk_limits(Args *args, const GwDiskConfig *disk, const char *group)
{
    JsonObject *limits = json_object_new();
    json_object_set_int_member(limits, "iops-total", (gint64)disk->iops_limit);
    json_object_set_int_member(limits, "bps-total", (gint64)disk->bytes_per_s_limit);
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "qom-type", "throttle-group");
    json_object_set_string_member(object, "id", group);
    json_object_set_object_member(object, "limits", limits);
    add_json(args, "-object", object);
}

static void
add_disk(Args *args, unsigned index)
{
    const GwDiskConfig *disk = &g_array_index(args->config->disks, GwDiskConfig, index);
    unsigned set = FDSET_OF_DISK + index;
    bool direct = disk->cache == GW_DISK_CACHE_NONE;
    bool limited = disk->iops_limit || disk->bytes_per_s_limit;

    add_fdset(args, set, args->fds->disks[index].rw_fd, disk->id);
    add_fdset(args, set, args->fds->disks[index].ro_fd, disk->id);
    JsonObject *file = file_node(set, direct, disk->read_only);
    if (limited) {
        /* The limit sits below the format, so that the device keeps to one node name. */
        g_autofree char *group = g_strdup_printf("gw.%s.limits", disk->id);
        add_disk_limits(args, disk, group);
        JsonObject *throttle = json_object_new();
        json_object_set_string_member(throttle, "driver", "throttle");
        json_object_set_string_member(throttle, "throttle-group", group);
        json_object_set_object_member(throttle, "file", file);
        file = throttle;
    }
    add_block_node(args, disk->id, disk->format == GW_DISK_FORMAT_QCOW2 ? "qcow2" : "raw", file, direct,
                   disk->read_only);

    JsonObject *object = disk_device(args, disk, index);
    json_object_set_string_member(object, "drive", disk->id);
    json_object_set_string_member(object, "write-cache",
                                  disk->cache == GW_DISK_CACHE_WRITETHROUGH ? "off" : "on");
    if (disk->serial)
        json_object_set_string_member(object, "serial", disk->serial);
    json_object_set_int_member(object, "bootindex", args->boot_index++);
    add_json(args, "-device", object);
}

static void
add_disks(Args *args)
{
    const GArray *disks = args->config->disks;
    bool scsi = false;
    for (guint i = 0; i < disks->len; i++)
        scsi |= g_array_index(disks, GwDiskConfig, i).bus == GW_DISK_BUS_SCSI;
    if (scsi) {
        JsonObject *controller = device("virtio-scsi-pci", SCSI_CONTROLLER);
        set_pci_address(controller, pci_bus(args), 0, SCSI_SLOT, 1);
        add_json(args, "-device", controller);
    }
    for (guint i = 0; i < disks->len; i++)
        add_disk(args, i);
}

static void
add_cdroms(Args *args)
{
    const GArray *cdroms = args->config->cdroms;
    for (guint i = 0; i < cdroms->len; i++) {
        const GwCdromConfig *cdrom = &g_array_index(cdroms, GwCdromConfig, i);
        JsonObject *object = device("ide-cd", cdrom->id);
        set_ide_place(args, object);
        if (cdrom->has_file) {
            add_fdset(args, FDSET_OF_CDROM + i, args->fds->cdrom_fds[i], cdrom->id);
            add_block_node(args, cdrom->id, "raw", file_node(FDSET_OF_CDROM + i, false, true), false, true);
            json_object_set_string_member(object, "drive", cdrom->id);
        }
        json_object_set_int_member(object, "bootindex", args->boot_index++);
        add_json(args, "-device", object);
    }
}

static void
add_nics(Args *args)
{
    static const char *const drivers[] = {
        [GW_NIC_VIRTIO] = "virtio-net-pci", [GW_NIC_E1000] = "e1000", [GW_NIC_E1000E] = "e1000e"};
    const GArray *nics = args->config->nics;
    for (guint i = 0; i < nics->len; i++) {
        const GwNicConfig *nic = &g_array_index(nics, GwNicConfig, i);
        char mac[18];
        gw_mac_format(nic->mac, mac);
        /* QEMU splits this option at commas; an id has none (vm-config.h). */
        add(args, "-netdev");
        add(args, "tap,id=gw.%s,fd=%d,vhost=off", nic->id, args->fds->tap_fds[i]);
        JsonObject *object = device(drivers[nic->model], nic->id);
        g_autofree char *netdev = g_strdup_printf("gw.%s", nic->id);
        json_object_set_string_member(object, "netdev", netdev);
        json_object_set_string_member(object, "mac", mac);
        /* No boot ROM: it would be 256 KiB more in every switchover, and the guest boots from elsewhere. */
        json_object_set_string_member(object, "romfile", "");
        /* We announce the guest ourselves, so that it is announced neither too early nor too late, and have
         * QEMU announce nothing at the end of a load (announce-rounds 0). A virtio NIC that offers its guest
         * to do it then loses a timer, and QEMU dies at the NIC's next reset: of every guest that has moved
         * and then reboots or powers off (seen in 7.2: virtio_net_reset() calls timer_del() with NULL). */
        if (nic->model == GW_NIC_VIRTIO)
            json_object_set_boolean_member(object, "guest_announce", FALSE);
        set_pci_address(object, pci_bus(args), i, NIC_SLOT, N_NIC_SLOTS);
        add_json(args, "-device", object);
    }
}

static void
add_socket_chardev(Args *args, const char *id, int fd)
{
    add(args, "-chardev");
    add(args, "socket,id=%s,fd=%d,server=on,wait=off", id, fd);
}

static void
add_consoles(Args *args)
{
    add(args, "-display");
    add(args, "none");
    add(args, "-vga");
    add(args, "none");
    add_socket_chardev(args, "gw.qmp", args->fds->qmp_fd);
    add(args, "-mon");
    add(args, "chardev=gw.qmp,mode=control");
    for (unsigned i = 0; i < args->config->n_serials; i++) {
        g_autofree char *id = g_strdup_printf("gw.serial%u", i);
        g_autofree char *chardev = g_strdup_printf("gw.serial%u.char", i);
        add_socket_chardev(args, chardev, args->fds->serial_fds[i]);
        JsonObject *object = device("isa-serial", id);
        json_object_set_string_member(object, "chardev", chardev);
        json_object_set_int_member(object, "index", i);
        add_json(args, "-device", object);
    }
}

static void
add_uefi(Args *args)
{
    JsonObject *code = json_object_new();
    json_object_set_string_member(code, "driver", "file");
    json_object_set_string_member(code, "filename", args->fds->uefi_code);
    json_object_set_boolean_member(code, "read-only", TRUE);
    add_block_node(args, UEFI_CODE, "raw", code, false, true);
    add_fdset(args, FDSET_OF_VARS, args->fds->uefi_vars_fd, UEFI_VARS);
    add_block_node(args, UEFI_VARS, "raw", file_node(FDSET_OF_VARS, false, false), false, false);
}

static void
add_boot(Args *args)
{
    const GwBootConfig *boot = &args->config->boot;
    add(args, "-boot");
    add(args, "strict=on");
    if (boot->kind == GW_BOOT_UEFI)
        add_uefi(args);
    if (boot->kind != GW_BOOT_KERNEL)
        return;
    add(args, "-kernel");
    add(args, "/proc/self/fd/%d", args->fds->kernel_fd);
    if (args->fds->initrd_fd >= 0) {
        add(args, "-initrd");
        add(args, "/proc/self/fd/%d", args->fds->initrd_fd);
    }
    if (boot->command_line) {
        add(args, "-append");
        add(args, "%s", boot->command_line);
    }
}

char **
gw_qemu_args(const char *binary, const GwVmConfig *config, GwAccel accel, const GwQemuFds *fds, bool incoming)
{
    Args args = {
        .argv = g_ptr_array_new(),
        .config = config,
        .fds = fds,
        .boot_index = 1,
        .q35 = gw_vm_config_is_q35(config),
    };
    add(&args, "%s", binary);
    add_machine(&args, accel, incoming);
    add_memory(&args);
    add_boot(&args);
    add_consoles(&args);
    add_disks(&args);
    add_cdroms(&args);
    add_nics(&args);
    g_ptr_array_add(args.argv, NULL);
    return (char **)g_ptr_array_free(args.argv, FALSE);
}
