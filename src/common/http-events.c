/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams as a client reads them: raw, and as server-sent events. */
#include "error.h"
#include "event-parser.h"
#include "http-client-internal.h"

#define READ_BYTES (64 * 1024)

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

/* Until something ends it; true if that is the caller's wish. */
static bool
follow(GwHttpClient *self, GInputStream *stream, GwEventParser *parser, GError **error)
{
    g_autofree char *piece = g_malloc(READ_BYTES);
    for (;;) {
        g_autoptr(GError) inner = NULL;
        gssize n = g_input_stream_read(stream, piece, READ_BYTES, self->cancel, &inner);
        if (n == 0)
            g_set_error_literal(&inner, GW_ERROR, GW_ERROR_PEER_LOST,
                                "the server ended the stream of events");
        else if (n > 0 && !gw_event_parser_feed(parser, piece, (size_t)n, &inner) && !inner)
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
    g_autoptr(GwEventParser) parser = gw_event_parser_new(on_event, user_data);
    return follow(self, stream, parser, error);
}
