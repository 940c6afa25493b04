/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What has to be so before the center opens anything: its directory, and whom it runs as. */
#pragma once

#include "center-config.h"

#include <stdbool.h>

/* Makes the data directory and becomes the configuration's user, if there is one and we are root. Before any
 * thread. */
bool gw_center_set_up(const GwCenterConfig *config, GError **error);

/* For commands that open the store of a center that does not run: as root, becomes the directory's owner, so
 * that no file of root's is left in there. */
bool gw_center_become_owner(const GwCenterConfig *config, GError **error);

/* The file with the first password; owned. */
char *gw_center_initial_password_file(const GwCenterConfig *config);
