/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON for programs and for terminals alike. Pure. */
#pragma once

#include <json-glib/json-glib.h>
#include <stdbool.h>

/* Members in their order; fractions in their shortest form that is the same number. Everything that a
 * terminal would obey is escaped. `pretty`: indented, over several lines; no line end at the end. Owned. */
char *gw_json_text(JsonNode *node, bool pretty);
char *gw_json_object_text(JsonObject *object, bool pretty);
