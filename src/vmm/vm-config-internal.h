/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files behind vm-config.h share: how strings have to look, what enums are called, the draft. */
#pragma once

#include "config-reader.h"
#include "vm-config.h"

#include <glib.h>

extern const GwStringRule gw_rule_name, gw_rule_uuid, gw_rule_description, gw_rule_cpu_model, gw_rule_machine,
    gw_rule_command_line, gw_rule_datastore, gw_rule_path, gw_rule_id, gw_rule_serial, gw_rule_port_group,
    gw_rule_mac;

/* A fixed version of one of the two machines, "pc-q35-7.2"; aliases and others are not. */
bool gw_vm_machine_is_versioned(const char *machine);

/* False if `text` is not of the form "52:54:00:12:34:56", in either case. */
bool gw_mac_parse(const char *text, uint8_t ret_mac[6]);

/* Names by their enum's value, ended with NULL. */
extern const char *const gw_accel_names[], *const gw_boot_names[], *const gw_disk_format_names[],
                                                                       *const gw_disk_bus_names[],
                                                                           *const gw_disk_cache_names[],
                                                                               *const gw_nic_model_names[];

/* A configuration while it is read, with what has to be unique in it: value → pointer of its first user. */
typedef struct {
    GwConfigReader *reader; /* borrowed */
    GwVmConfig *config;     /* borrowed */
    bool machine_is_known;  /* whether rules that depend on the machine can be judged */
    GHashTable *ids, *macs;
    GHashTable *written_files, *read_files; /* a file that is written has no other user */
    unsigned n_drive_units;                 /* taken on the IDE or SATA controller */
} GwVmConfigDraft;

/* "datastore" and "path" of the object that the reader stands in. */
void gw_vm_config_read_file(GwVmConfigDraft *draft, GwMemberNeed need, bool is_written, GwFileRef *ret_file);

/* "disks", "nics" and "cdroms". `machine` and the boot files come first. */
void gw_vm_config_read_devices(GwVmConfigDraft *draft);

void gw_file_ref_clear(GwFileRef *self);
GArray *gw_disk_array_new(void);
GArray *gw_nic_array_new(void);
GArray *gw_cdrom_array_new(void);
