/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Server-sent events out of bytes: lines, then fields, then events. */
#include "event-parser.h"

#include "error.h"
#include "json.h"

#include <string.h>

struct GwEventParser {
    GString *line; /* as far as it has come */
    GString *data; /* lines of the present event, each with a line end */
    char *id;      /* the last that was said */
    char *type;    /* of the present event; NULL: "message" */
    bool after_cr; /* a line feed that comes now belongs to the line before */
    GwEventSink sink;
    void *user_data;
};

GwEventParser *
gw_event_parser_new(GwEventSink sink, void *user_data)
{
    GwEventParser *self = g_new0(GwEventParser, 1);
    self->line = g_string_new(NULL);
    self->data = g_string_new(NULL);
    self->sink = sink;
    self->user_data = user_data;
    return self;
}

void
gw_event_parser_free(GwEventParser *self)
{
    if (!self)
        return;
    g_string_free(self->line, TRUE);
    g_string_free(self->data, TRUE);
    g_free(self->id);
    g_free(self->type);
    g_free(self);
}

/* An empty line: the event is whole. Whether to go on. */
static bool
dispatch(GwEventParser *self)
{
    bool goes_on = true;
    if (self->data->len > 0) {
        gssize length = (gssize)self->data->len - 1; /* without the last line end */
        g_autoptr(JsonObject) object = gw_json_parse_object(self->data->str, length, NULL);
        if (object)
            goes_on = self->sink(self->id, self->type ? self->type : "message", object, self->user_data);
    }
    g_string_truncate(self->data, 0);
    g_clear_pointer(&self->type, g_free);
    return goes_on;
}

static bool
take_field(GwEventParser *self, const char *value, GError **error)
{
    if (strcmp(self->line->str, "data") == 0) {
        g_string_append(self->data, value);
        g_string_append_c(self->data, '\n');
    } else if (strcmp(self->line->str, "event") == 0) {
        g_free(self->type);
        self->type = g_strdup(value);
    } else if (strcmp(self->line->str, "id") == 0) {
        g_free(self->id);
        self->id = g_strdup(value);
    } /* "retry" is for browsers; others are of a later version */
    if (self->data->len <= GW_EVENT_MAX_DATA_BYTES)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "an event has more than %d bytes",
                GW_EVENT_MAX_DATA_BYTES);
    return false;
}

/* Whether to go on: false without an error is the caller's wish. */
static bool
take_line(GwEventParser *self, GError **error)
{
    bool goes_on = true;
    if (self->line->len == 0) {
        goes_on = dispatch(self);
    } else if (self->line->str[0] != ':') {
        char *colon = strchr(self->line->str, ':');
        const char *value = "";
        if (colon) {
            *colon = '\0';
            value = colon[1] == ' ' ? colon + 2 : colon + 1;
        }
        goes_on = take_field(self, value, error);
    }
    g_string_truncate(self->line, 0);
    return goes_on;
}

bool
gw_event_parser_feed(GwEventParser *self, const char *bytes, size_t length, GError **error)
{
    for (size_t i = 0; i < length;) {
        bool is_second_half = self->after_cr && bytes[i] == '\n';
        self->after_cr = false;
        if (is_second_half) {
            i++;
            continue;
        }
        size_t n = 0;
        while (i + n < length && bytes[i + n] != '\n' && bytes[i + n] != '\r')
            n++;
        if (self->line->len + n > GW_EVENT_MAX_LINE_BYTES) {
            g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "a line of events has more than %d bytes",
                        GW_EVENT_MAX_LINE_BYTES);
            return false;
        }
        g_string_append_len(self->line, bytes + i, (gssize)n);
        i += n;
        if (i == length)
            break;
        self->after_cr = bytes[i] == '\r';
        i++;
        if (!take_line(self, error))
            return false;
    }
    return true;
}
