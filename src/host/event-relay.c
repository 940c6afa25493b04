/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events from any thread to streams in the main one. */
#include "event-relay.h"

#include "json.h"

#include <string.h>

#define HEARTBEAT_S                                                                                          \
    5 /* the center takes a stream that says nothing for longer than some of these for dead                  \
       */

typedef struct {
    guint64 number;
    char *text; /* as it is sent */
} Message;

typedef struct {
    GwEventRelay *relay;
    GwHttpRequest *request; /* ref */
    guint64 after;          /* messages up to this number were told before it began */
} Stream;

struct GwEventRelay {
    GMainContext *context;
    GPtrArray *streams; /* owned Stream; the main thread's */
    GSource *heartbeat;
    /* guarded by lock */
    GMutex lock;
    GQueue messages;  /* of Message, not sent yet */
    guint64 last;     /* number of the newest */
    GSource *sending; /* scheduled and not yet run */
};

static void
message_free(void *data)
{
    Message *message = data;
    g_free(message->text);
    g_free(message);
}

static void
stream_free(void *data)
{
    Stream *stream = data;
    gw_http_request_unref(stream->request);
    g_free(stream);
}

static void
on_closed(GwHttpRequest *request, void *user_data)
{
    Stream *stream = user_data;
    g_ptr_array_remove_fast(stream->relay->streams, stream);
}

/* Sending may close a stream, which takes it off the list. */
static void
send_to_all(GwEventRelay *self, const char *text, guint64 number)
{
    for (guint i = self->streams->len; i-- > 0;) {
        Stream *stream = i < self->streams->len ? self->streams->pdata[i] : NULL;
        if (stream && number > stream->after)
            gw_http_stream_send(stream->request, text, strlen(text));
    }
}

static gboolean
on_heartbeat(void *user_data)
{
    send_to_all(user_data, ":\n\n", G_MAXUINT64);
    return G_SOURCE_CONTINUE;
}

static gboolean
send_messages(void *user_data)
{
    GwEventRelay *self = user_data;
    g_mutex_lock(&self->lock);
    GQueue messages = self->messages;
    g_queue_init(&self->messages);
    g_clear_pointer(&self->sending, g_source_unref);
    g_mutex_unlock(&self->lock);
    for (Message *message; (message = g_queue_pop_head(&messages)); message_free(message))
        send_to_all(self, message->text, message->number);
    return G_SOURCE_REMOVE;
}

GwEventRelay *
gw_event_relay_new(void)
{
    GwEventRelay *self = g_new0(GwEventRelay, 1);
    self->context = g_main_context_ref_thread_default();
    self->streams = g_ptr_array_new_with_free_func(stream_free);
    g_mutex_init(&self->lock);
    g_queue_init(&self->messages);
    self->heartbeat = g_timeout_source_new_seconds(HEARTBEAT_S);
    g_source_set_callback(self->heartbeat, on_heartbeat, self, NULL);
    g_source_attach(self->heartbeat, self->context);
    return self;
}

/* Server-sent events: HTML standard, section 9.2. */
static char *
format_event(JsonObject *event)
{
    const char *type = gw_json_get_string(event, "type");
    if (!gw_json_get_string(event, "at")) {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *at = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S.%fZ");
        json_object_set_string_member(event, "at", at);
    }
    g_autofree char *line = gw_json_object_to_line(event);
    return g_strdup_printf("event: %s\ndata: %s\n\n", type ? type : "unknown", line);
}

void
gw_event_relay_tell(GwEventRelay *self, JsonObject *event)
{
    Message *message = g_new0(Message, 1);
    message->text = format_event(event);
    json_object_unref(event);
    g_mutex_lock(&self->lock);
    message->number = ++self->last;
    g_queue_push_tail(&self->messages, message);
    if (!self->sending) {
        self->sending = g_idle_source_new();
        g_source_set_priority(self->sending, G_PRIORITY_DEFAULT);
        g_source_set_callback(self->sending, send_messages, self, NULL);
        g_source_attach(self->sending, self->context);
    }
    g_mutex_unlock(&self->lock);
}

void
gw_event_relay_open(GwEventRelay *self, GwHttpRequest *request, GwEventHello hello, void *user_data)
{
    Stream *stream = g_new0(Stream, 1);
    *stream = (Stream){.relay = self, .request = gw_http_request_ref(request)};
    g_mutex_lock(&self->lock);
    stream->after = self->last;
    g_mutex_unlock(&self->lock);
    g_autoptr(JsonObject) first = hello(user_data);
    g_autofree char *text = format_event(first);
    g_ptr_array_add(self->streams, stream);
    gw_http_stream_begin(request, "text/event-stream", on_closed, stream);
    gw_http_stream_send(request, text, strlen(text));
}

void
gw_event_relay_close(GwEventRelay *self)
{
    while (self->streams->len > 0) {
        Stream *stream = self->streams->pdata[self->streams->len - 1];
        gw_http_stream_end(stream->request);
        g_ptr_array_remove_index(self->streams, self->streams->len - 1);
    }
}

void
gw_event_relay_free(GwEventRelay *self)
{
    if (!self)
        return;
    g_source_destroy(self->heartbeat);
    g_source_unref(self->heartbeat);
    if (self->sending) {
        g_source_destroy(self->sending);
        g_source_unref(self->sending);
    }
    gw_event_relay_close(self);
    g_ptr_array_unref(self->streams);
    g_queue_clear_full(&self->messages, message_free);
    g_main_context_unref(self->context);
    g_mutex_clear(&self->lock);
    g_free(self);
}
