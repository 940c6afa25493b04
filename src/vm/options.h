/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Command-line options that several subcommands have, and defaults of this host. */
#pragma once

#include "vm-setup.h"

#include <glib.h>
#include <stdbool.h>

/* $GODWIT_RUNTIME_DIR, else /run/godwit. Borrowed. */
const char *gw_default_runtime_dir(void);

/* A setup with this host's defaults. */
GwVmSetup *gw_default_setup(void);

/* Parses argv with `entries` and exactly the positional arguments that `usage` names ("CONFIG"); prints what
 * is wrong. On false *ret_status is the exit status (0 after --help cannot happen: GLib exits itself). */
bool gw_parse_options(int *argc, char ***argv, const GOptionEntry *entries, const char *usage,
                      int n_positional, const char *summary);

/* Prints "godwit-vm: MESSAGE" and returns the exit status for the error. */
int gw_fail(const GError *error);
