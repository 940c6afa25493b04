/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `godwit-host run`: the agent's main loop. */
#pragma once

#include <glib.h>

/* The agent's socket below a runtime directory. */
#define GW_HOST_SOCKET "host.sock"

/* Runs until SIGTERM or SIGINT; SIGHUP reads the configuration again. Returns the program's exit status. */
int gw_daemon_run(const char *config_path);
