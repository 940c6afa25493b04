/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's configuration: one JSON document (docs/vm-config.schema.json), parsed and checked as a whole.
 *
 * Pure: no file is opened and nothing of the host is asked. What is unknown, missing, of the wrong type or
 * out of range is reported by its JSON pointer (RFC 6901), all of it in one pass, so that an administrator
 * mends a document once; so are members that stand twice and numbers beyond 64 bits, which json-glib hides.
 * Every string in the result is non-empty UTF-8 without control characters. Names, ids, serials, CPU models
 * and machines are ASCII of few characters; `path`, `port_group`, `command_line` and `description` may hold
 * commas, quotes and "=", so they go to QEMU in its JSON options only. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

#define GW_VM_MAX_VCPUS        288 /* QEMU's q35; above 255 it needs KVM and an IOMMU with x2APIC */
#define GW_VM_MAX_VCPUS_I440FX 255 /* QEMU's i440fx */
#define GW_VM_MAX_DISKS        32
#define GW_VM_MAX_NICS         16
#define GW_VM_MAX_SATA_DRIVES  6 /* q35: disks on "sata" and CD drives, which are SATA there */
#define GW_VM_MAX_IDE_DRIVES   4 /* i440fx: disks on "ide" and CD drives, which are IDE there */
#define GW_VM_MAX_CDROMS       GW_VM_MAX_SATA_DRIVES
#define GW_VM_MAX_SERIALS      4
#define GW_VM_MAX_PINS         65536 /* CPUs in all lists of "pinning" together */
/* Bytes of a document; a larger one is refused unread. All the limits together keep a canonical document
 * below. */
#define GW_VM_CONFIG_LIMIT     (512 * 1024)

typedef enum { GW_ACCEL_AUTO, GW_ACCEL_KVM, GW_ACCEL_TCG } GwAccel;
typedef enum { GW_DISK_FORMAT_RAW, GW_DISK_FORMAT_QCOW2 } GwDiskFormat;
typedef enum { GW_DISK_BUS_VIRTIO, GW_DISK_BUS_SCSI, GW_DISK_BUS_SATA, GW_DISK_BUS_IDE } GwDiskBus;
/* writeback and writethrough go through the host's page cache; none is O_DIRECT. */
typedef enum { GW_DISK_CACHE_WRITEBACK, GW_DISK_CACHE_WRITETHROUGH, GW_DISK_CACHE_NONE } GwDiskCache;
typedef enum { GW_NIC_VIRTIO, GW_NIC_E1000, GW_NIC_E1000E } GwNicModel;
typedef enum { GW_BOOT_BIOS, GW_BOOT_UEFI, GW_BOOT_KERNEL } GwBootKind;

/* A file in a datastore: `path` is relative to the datastore and has no "..", ".", empty or absolute part. */
typedef struct {
    char *datastore;
    char *path;
} GwFileRef;

typedef struct {
    char *id; /* [A-Za-z][A-Za-z0-9_-]{0,30}, no dot; unique among all devices of the VM; "disk0" … by default
               */
    GwFileRef file;
    GwDiskFormat format;
    GwDiskBus bus; /* never SATA on i440fx, never IDE on q35 */
    GwDiskCache cache;
    char *serial;               /* as the guest sees it; NULL: none */
    bool read_only;             /* virtio and SCSI only: QEMU has no read-only IDE or SATA disks */
    uint64_t iops_limit;        /* operations a second; 0: none */
    uint64_t bytes_per_s_limit; /* 0: none */
} GwDiskConfig;

typedef struct {
    char *id; /* "nic0" … by default */
    char *port_group;
    uint8_t mac[6]; /* unicast; unique in the VM */
    GwNicModel model;
} GwNicConfig;

typedef struct {
    char *id; /* "cd0" … by default */
    bool has_file;
    GwFileRef file; /* an ISO image; an empty drive without */
} GwCdromConfig;

typedef struct {
    GwBootKind kind;
    /* GW_BOOT_KERNEL: */
    GwFileRef kernel, initrd; /* initrd.path NULL: none */
    char *command_line;       /* NULL: none */
    /* GW_BOOT_UEFI: the variable store, read and written; the code is the host's OVMF */
    GwFileRef uefi_vars;
} GwBootConfig;

typedef struct {
    char *name;        /* [A-Za-z0-9][A-Za-z0-9._-]{0,62} */
    char *uuid;        /* lower case */
    char *description; /* NULL: none */
    unsigned vcpus;
    unsigned sockets, cores, threads; /* their product is vcpus */
    char *cpu_model; /* QEMU's name, features behind commas allowed: "qemu64", "Skylake-Server-v4,-pku" */
    uint64_t memory_bytes; /* whole MiB */
    char *machine;         /* a fixed version such as "pc-q35-7.2", never "pc", "q35" or another alias */
    GwAccel accel;
    GwBootConfig boot;
    GArray *disks;  /* of GwDiskConfig */
    GArray *nics;   /* of GwNicConfig */
    GArray *cdroms; /* of GwCdromConfig */
    unsigned n_serials;
    GArray *pins;               /* of GArray* of unsigned: pins[vcpu] = host CPUs; empty: not pinned */
    unsigned cpu_shares;        /* relative weight, 1000 is normal (100 … 100000) */
    unsigned cpu_limit_percent; /* of one host CPU; 0: none */
    JsonNode *document; /* as it was parsed, immutable: what the administrator wrote, no default filled in */
} GwVmConfig;

/* Parses and checks. On failure NULL with GW_ERROR_INVALID_CONFIG, whose text is a line "N errors in the VM's
 * configuration:" (or "1 error …") and then a line "  POINTER: what is wrong (got …, expected …)" for each,
 * in the order of the document, at most 100 and then "  … and N more". A missing member stands behind its
 * siblings. What is no JSON is one error with line and column. `length` -1: up to the NUL. */
GwVmConfig *gw_vm_config_parse(const char *text, gssize length, GError **error);

void gw_vm_config_free(GwVmConfig *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwVmConfig, gw_vm_config_free)

/* The canonical document: every default written out, members in a fixed order; the text is indented unless it
 * is huge. Parsing it gives an equal configuration, also by a version with other defaults: this is what a
 * motion's destination gets. */
JsonNode *gw_vm_config_to_json(const GwVmConfig *self);
char *gw_vm_config_to_text(const GwVmConfig *self);

/* Which of the two machines it is: q35 (PCIe, SATA), or else i440fx (PCI, IDE). */
bool gw_vm_config_is_q35(const GwVmConfig *self);

/* "52:54:00:12:34:56"; `text` has room for 18 bytes. */
void gw_mac_format(const uint8_t mac[6], char text[18]);
