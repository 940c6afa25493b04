/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small things of which the API's answers are made. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdint.h>

/* "2026-11-26T03:00:00.123456Z"; owned. */
char *gw_time_text(int64_t at_us);

/* null for a time of 0, and for NULL. */
void gw_answer_set_time(JsonObject *object, const char *member, int64_t at_us);
void gw_answer_set_text(JsonObject *object, const char *member, const char *text);

/* {"member": array}; the array is taken. */
JsonObject *gw_answer_list(const char *member, JsonArray *array);
