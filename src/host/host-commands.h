/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The subcommands of godwit-host. Each parses its own arguments (argv[0] is the command) and returns an exit
 * status: 0 done, 1 failed, 2 wrong usage or configuration. */
#pragma once

#include "host-config.h"

#include <glib.h>

int gw_host_cmd_run(int argc, char **argv);
int gw_host_cmd_join(int argc, char **argv);
int gw_host_cmd_status(int argc, char **argv);
int gw_host_cmd_reload(int argc, char **argv);
int gw_host_cmd_check(int argc, char **argv);
int gw_host_cmd_clean(int argc, char **argv);

/* --config of every command; NULL: the default. */
extern char *gw_host_opt_config;

#define GW_HOST_CONFIG_ENTRY                                                                                 \
    {                                                                                                        \
        "config", 0, 0, G_OPTION_ARG_FILENAME, &gw_host_opt_config, "default " GW_HOST_CONFIG_PATH, "FILE"   \
    }

const char *gw_host_config_path(void);

/* Parses argv with `entries` and exactly `n_positional` arguments, which `usage` names; prints what is wrong.
 */
bool gw_host_parse_options(int *argc, char ***argv, const GOptionEntry *entries, const char *usage,
                           int n_positional, const char *summary);

/* Prints "godwit-host: MESSAGE" and returns the exit status for the error. */
int gw_host_fail(const GError *error);

/* Tells the agent that runs to read its configuration again. GW_ERROR_NOT_FOUND: none runs. */
bool gw_host_ask_reload(const GwHostConfig *config, GError **error);
