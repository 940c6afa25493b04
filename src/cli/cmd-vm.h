/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Those of godwit vm's commands that have a file of their own. */
#pragma once

#include "cli.h"

extern const GwOption gw_vm_console_options[], gw_vm_check_options[], gw_vm_migrate_options[];

bool gw_vm_console(GwCli *cli, GError **error);
bool gw_vm_check(GwCli *cli, GError **error);
bool gw_vm_migrate(GwCli *cli, GError **error);
