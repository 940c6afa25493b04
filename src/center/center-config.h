/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The center's configuration file, center.conf(5): GKeyFile, one group, every key optional. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define GW_CENTER_CONFIG_FILE "/etc/godwit/center.conf"

typedef struct {
    char *listen; /* numeric */
    unsigned port;
    char **names;     /* DNS names that people call the center by */
    char **addresses; /* numeric, likewise */
    char *data_dir;
    char *store;   /* "sqlite:PATH" */
    char *socket;  /* of root on this machine */
    char *user;    /* to run as; NULL: as it was started */
    char *cluster; /* of the hosts that join */
    char *log_level;
} GwCenterConfig;

/* What `text` says, defaults filled in. All mistakes at once, GW_ERROR_INVALID_CONFIG: a line "N errors in
 * FILE:" (or "1 error …") and a line "  [group] key: what is wrong" for each. `file` is for these texts. */
GwCenterConfig *gw_center_config_parse(const char *text, const char *file, GError **error);

/* The same of a file. `may_be_absent`: then the defaults. */
GwCenterConfig *gw_center_config_read(const char *file, bool may_be_absent, GError **error);

void gw_center_config_free(GwCenterConfig *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwCenterConfig, gw_center_config_free)
