/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tasks' ids are long; people see and type their beginnings. */
#pragma once

#include "cli.h"

/* As much of an id as tables and messages show: 8 digits of the center's "task-UUID", another id whole.
 * Owned. */
char *gw_task_id_short(const char *id);

/* What a person calls a task, "3f0c9a52", "task-3f", as the id that the center knows: that very id, or a
 * beginning among the newest. GW_ERROR_NOT_FOUND, GW_ERROR_INVALID_ARGUMENT if more than one begins so.
 * Owned. */
char *gw_task_id_find(GwCli *cli, const char *text, GError **error);

/* Pure: the one of the tasks that begins so. */
char *gw_task_id_match(JsonObject *tasks, const char *text, GError **error);
