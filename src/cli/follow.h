/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waits for a task's end, shows where it is, and hears Ctrl-C. */
#pragma once

#include "cli.h"

#include <json-glib/json-glib.h>

/* How long a center may be away before we give up: it restarts, or its host does. */
#define GW_FOLLOW_PATIENCE_S 300

/* Returns the task as it ended (as the center gave it: not made plain). NULL with cli->status
 * GW_EXIT_INTERRUPTED and no error if it was left to go on in the background. */
JsonObject *gw_follow_task(GwCli *cli, const char *task, GError **error);

/* Prints how a motion ended, or one object with all of it if JSON is wanted, and sets cli->status. */
void gw_follow_print_end(GwCli *cli, JsonObject *task);
