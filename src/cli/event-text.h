/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An event, and what was asked for, as a line. Pure. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>

/* When, what, whose, and what else it says. The event has to be plain (text.h). Owned. */
char *gw_event_text(JsonObject *event, GTimeZone *zone);

/* The simple members of an object as name=value, "" if there are none. Owned. */
char *gw_event_members(JsonObject *object);
