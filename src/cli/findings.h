/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Findings of checks, as people read them. Pure. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

/* Of an object's "findings" those that stop a motion, or those that do not. */
unsigned gw_findings_count(JsonObject *object, bool errors);

/* Each with its id, sentence, evidence, repair, and what can be done about it; errors first. An object with
 * "source", "destination", "findings". Owned. */
char *gw_findings_text(JsonObject *object, unsigned width, bool colour);

/* The member "overrides" of a request; `ids` may be NULL. */
void gw_findings_add_overrides(JsonObject *body, const char *const *ids);
