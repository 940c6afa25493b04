/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The center as a whole: what it consists of, and the order in which that begins and ends. */
#pragma once

#include "center-config.h"

#include <stdbool.h>

/* Runs until SIGTERM or SIGINT; true if it ended in order. The first start makes the authority and the
 * administrator: `show_password` prints the password, otherwise it is written to a file beside the store. */
bool gw_center_run(const GwCenterConfig *config, bool show_password, GError **error);

/* Gives a user a new password and returns it (gw_secret_free()): through the Unix socket of a center that
 * runs, else in the store of one that does not. */
char *gw_center_reset_password(const GwCenterConfig *config, const char *user, GError **error);
