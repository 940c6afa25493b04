/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A task's JSON as a line for people. Pure; results are owned and plain (text.h) whatever the JSON holds. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

/* Where the task is now, on one line of at most `width` columns (0: any); the least important parts go first.
 */
char *gw_progress_line(JsonObject *task, unsigned width);

/* The same without what changes all the time: a line is worth printing when this is another one. */
char *gw_progress_step(JsonObject *task);

/* Why a motion does not converge, NULL if it does. */
char *gw_progress_explanation(JsonObject *task);

/* "completed", "failed" or "cancelled". */
bool gw_progress_has_ended(JsonObject *task);

/* How a motion that is completed went. */
char *gw_progress_summary(JsonObject *task);

/* One object with all that is known of a motion, the same members whatever came of it; null what is not
 * known. godwit(1) lists them. */
JsonObject *gw_progress_result(JsonObject *task);
