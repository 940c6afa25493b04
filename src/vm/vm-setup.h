/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a host provides for a VM: where its datastores and port groups are, which QEMU, which user. */
#pragma once

#include "vm-config.h"

#include <glib.h>

#define GW_DEFAULT_TLS_DIR "/etc/godwit/tls"

typedef struct {
    char *runtime_dir; /* "/run/godwit" */
    char *qemu_binary;
    char *qemu_user;
    char *preload_library;
    char *uefi_code;         /* OVMF's code file, used by VMs that boot by UEFI */
    char *tls_dir;           /* this host's certificates for motions: ca.pem, cert.pem, key.pem */
    GHashTable *datastores;  /* name -> directory */
    GHashTable *port_groups; /* name -> bridge */
} GwVmSetup;

GwVmSetup *gw_vm_setup_new(void);
void gw_vm_setup_free(GwVmSetup *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwVmSetup, gw_vm_setup_free)

/* Adds "NAME=VALUE" to a table; GW_ERROR_INVALID_ARGUMENT naming `option` if it is of another form. */
bool gw_vm_setup_add(GHashTable *table, const char *option, const char *assignment, GError **error);

/* To and from setup.json, which a supervisor that adopts the VM reads. */
char *gw_vm_setup_to_text(const GwVmSetup *self);
GwVmSetup *gw_vm_setup_parse(const char *text, GError **error);

/* Opens a file of a datastore without leaving it, by whatever links lie in it; -1 with an error that names
 * datastore, path and what to do. */
int gw_vm_setup_open(const GwVmSetup *self, const GwFileRef *file, int flags, GError **error);
