/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An event as a line. Pure. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>

/* When, what, whose, and what else it says. The event has to be plain (text.h). Owned. */
char *gw_event_text(JsonObject *event, GTimeZone *zone);
