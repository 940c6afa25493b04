/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What belongs to a host and what it is called: the agent's configuration file, host.conf (see
 * docs/man/godwit-host.conf.5). */
#pragma once

#include "vm-setup.h"

#include <glib.h>
#include <stdbool.h>

#define GW_HOST_CONFIG_PATH "/etc/godwit/host.conf"
#define GW_HOST_PORT        7441

typedef struct {
    char *name;
    char *bridge;
    bool create;    /* the bridge is ours to make */
    char **uplinks; /* interfaces; empty: internal */
} GwHostSwitch;

typedef struct {
    char *name, *switch_name; /* the switch is one of the configuration's */
} GwHostPortGroup;

typedef struct {
    char *name, *path;   /* absolute */
    bool is_mount_point; /* unusable unless something is mounted at `path` */
} GwHostDatastore;

/* Everything is owned and set, unless it says otherwise; arrays are in the order of the file. */
typedef struct {
    char *name;
    char *listen; /* numeric address */
    unsigned port;
    char *runtime_dir, *tls_dir;
    char *qemu_binary, *qemu_user, *uefi_code;
    char *vm_program;
    char *uffd_library; /* NULL: godwit-vm's own default */
    char *log_level;
    bool huge_pages;
    GArray *switches;           /* of GwHostSwitch */
    GArray *port_groups;        /* of GwHostPortGroup */
    char **motion_interfaces;   /* at most GW_HOST_MAX_MOTION_INTERFACES */
    unsigned motion_speed_mbit; /* of each of them, where the way is slower than the link; 0: the link's */
    GArray *datastores;         /* of GwHostDatastore */
} GwHostConfig;

#define GW_HOST_MAX_MOTION_INTERFACES 8

/* Reads the text of a configuration. Nothing of the host is asked but for defaults. NULL with
 * GW_ERROR_INVALID_CONFIG, which lists every mistake with its group and key; `subject` is what the text is
 * called there. */
GwHostConfig *gw_host_config_parse(const char *text, const char *subject, GError **error);

/* The same from a file. GW_ERROR_NOT_FOUND, GW_ERROR_IO if it cannot be read. */
GwHostConfig *gw_host_config_load(const char *path, GError **error);

void gw_host_config_free(GwHostConfig *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwHostConfig, gw_host_config_free)

/* Borrowed; NULL: there is none of that name. */
const GwHostSwitch *gw_host_config_switch(const GwHostConfig *self, const char *name);

/* How this host provides for a VM: for gw_host_check(), and what a supervisor is started with. */
GwVmSetup *gw_host_config_to_setup(const GwHostConfig *self);
