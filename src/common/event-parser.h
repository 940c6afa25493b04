/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Server-sent events (the WHATWG's HTML standard, 9.2) out of bytes as they come. Pure; one thread at a time.
 */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

#define GW_EVENT_MAX_LINE_BYTES (4 * 1024 * 1024) /* what a server may send at once */
#define GW_EVENT_MAX_DATA_BYTES (4 * 1024 * 1024) /* of an event, over all its lines */

/* `data` is borrowed; `id` is the last that was said, NULL: none was. False: no more. */
typedef bool (*GwEventSink)(const char *id, const char *type, JsonObject *data, void *user_data);

typedef struct GwEventParser GwEventParser;
GwEventParser *gw_event_parser_new(GwEventSink sink, void *user_data);
void gw_event_parser_free(GwEventParser *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwEventParser, gw_event_parser_free)

/* Gives each event that is whole to the sink; one whose data is no object is left out. Whether to go on:
 * false without an error is the sink's wish, false with GW_ERROR_PROTOCOL the end of a stream that breaks the
 * limits. Either way no more may be fed. */
bool gw_event_parser_feed(GwEventParser *self, const char *bytes, size_t length, GError **error);
