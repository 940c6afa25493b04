/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams as a client reads them: raw, and as server-sent events (the WHATWG's HTML standard, 9.2). */
#include "error.h"
#include "http-client-internal.h"
#include "json.h"

#include <string.h>

#define MAX_LINE_BYTES (1024 * 1024)
#define MAX_DATA_BYTES (4 * 1024 * 1024) /* of an event, over all its lines */
#define READ_BYTES     (64 * 1024)

/* A stream that the client's cancel ends too, whoever reads it. */
typedef struct {
    GFilterInputStream parent_instance;
    GCancellable *cancel; /* ref */
} CancelInput;
typedef GFilterInputStreamClass CancelInputClass;

static GType cancel_input_get_type(void);
G_DEFINE_TYPE(CancelInput, cancel_input, G_TYPE_FILTER_INPUT_STREAM)

static gssize
cancel_input_read(GInputStream *stream, void *buffer, gsize count, GCancellable *cancellable, GError **error)
{
    CancelInput *self = (CancelInput *)stream;
    GInputStream *base = g_filter_input_stream_get_base_stream(&self->parent_instance);
    return g_input_stream_read(base, buffer, count, cancellable ? cancellable : self->cancel, error);
}

static void
cancel_input_finalize(GObject *object)
{
    g_object_unref(((CancelInput *)object)->cancel);
    G_OBJECT_CLASS(cancel_input_parent_class)->finalize(object);
}

static void
cancel_input_class_init(CancelInputClass *class)
{
    G_OBJECT_CLASS(class)->finalize = cancel_input_finalize;
    G_INPUT_STREAM_CLASS(class)->read_fn = cancel_input_read;
}

static void
cancel_input_init(CancelInput *self)
{
}

GInputStream *
gw_http_open(GwHttpClient *self, const char *path, GError **error)
{
    g_autoptr(GInputStream) stream = gw_http_start_get(self, path, NULL, error);
    if (!stream)
        return NULL;
    CancelInput *wrapped = g_object_new(cancel_input_get_type(), "base-stream", stream, NULL);
    wrapped->cancel = g_object_ref(self->cancel);
    return (GInputStream *)wrapped;
}

typedef struct {
    GString *line; /* as far as it has come */
    GString *data; /* lines of the present event, each with a line end */
    char *id;      /* the last that was said */
    char *type;    /* of the present event; NULL: "message" */
    bool after_cr; /* a line feed that comes now belongs to the line before */
    GwHttpOnEvent on_event;
    void *user_data;
} Events;

/* An empty line: the event is whole. Whether to go on. */
static bool
dispatch(Events *self)
{
    bool goes_on = true;
    if (self->data->len > 0) {
        gssize length = (gssize)self->data->len - 1; /* without the last line end */
        g_autoptr(JsonObject) object = gw_json_parse_object(self->data->str, length, NULL);
        if (object)
            goes_on = self->on_event(self->id, self->type ? self->type : "message", object, self->user_data);
    }
    g_string_truncate(self->data, 0);
    g_clear_pointer(&self->type, g_free);
    return goes_on;
}

static bool
take_field(Events *self, const char *value, GError **error)
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
    if (self->data->len <= MAX_DATA_BYTES)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "an event has more than %d bytes", MAX_DATA_BYTES);
    return false;
}

/* Whether to go on: false without an error is the caller's wish. */
static bool
take_line(Events *self, GError **error)
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

static bool
take_bytes(Events *self, const char *bytes, size_t length, GError **error)
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
        if (self->line->len + n > MAX_LINE_BYTES) {
            g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "a line of events has more than %d bytes",
                        MAX_LINE_BYTES);
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

/* Until something ends it; true if that is the caller's wish. */
static bool
follow(GwHttpClient *self, GInputStream *stream, Events *events, GError **error)
{
    g_autofree char *piece = g_malloc(READ_BYTES);
    for (;;) {
        g_autoptr(GError) inner = NULL;
        gssize n = g_input_stream_read(stream, piece, READ_BYTES, self->cancel, &inner);
        if (n == 0)
            g_set_error_literal(&inner, GW_ERROR, GW_ERROR_PEER_LOST,
                                "the server ended the stream of events");
        else if (n > 0 && !take_bytes(events, piece, (size_t)n, &inner) && !inner)
            return true;
        if (!inner)
            continue;
        if (g_error_matches(inner, G_IO_ERROR, G_IO_ERROR_TIMED_OUT)) {
            g_clear_error(&inner);
            g_set_error(&inner, GW_ERROR, GW_ERROR_PEER_LOST, "the server has said nothing for %u s",
                        self->timeout_s);
        }
        gw_http_settle_error(self, &inner);
        g_propagate_error(error, g_steal_pointer(&inner));
        return false;
    }
}

bool
gw_http_follow(GwHttpClient *self, const char *path, GwHttpOnOpen on_open, GwHttpOnEvent on_event,
               void *user_data, GError **error)
{
    g_autoptr(GInputStream) stream = gw_http_start_get(self, path, "text/event-stream", error);
    if (!stream)
        return false;
    if (on_open)
        on_open(user_data);
    Events events = {
        .line = g_string_new(NULL), .data = g_string_new(NULL), .on_event = on_event, .user_data = user_data};
    bool is_done = follow(self, stream, &events, error);
    g_string_free(events.line, TRUE);
    g_string_free(events.data, TRUE);
    g_free(events.id);
    g_free(events.type);
    return is_done;
}
