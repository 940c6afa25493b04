/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Followers of events. */
#include "event-stream.h"

#include "api-json.h"
#include "json.h"

#include <string.h>

#define HEARTBEAT_S 5   /* a comment when nothing happens: both ends notice that the other is gone */
#define RING        256 /* events between a follower's reading of the store and its beginning */

typedef struct {
    GwEventStreams *owner;
    GwHttpRequest *request; /* ref */
    guint64 watch;          /* of its session */
    int64_t last_id;
} Follower;

typedef struct {
    int64_t id;
    char *message;
} Told;

struct GwEventStreams {
    GwSessionWatch *sessions; /* borrowed */
    GPtrArray *followers;     /* owned Follower */
    GQueue ring;              /* of owned Told, the newest last */
    guint heartbeat;
};

static void
told_free(void *data)
{
    Told *told = data;
    g_free(told->message);
    g_free(told);
}

static void
follower_free(void *data)
{
    Follower *follower = data;
    gw_session_watch_remove(follower->owner->sessions, follower->watch);
    gw_http_request_unref(follower->request);
    g_free(follower);
}

static void
on_closed(GwHttpRequest *request, void *user_data)
{
    Follower *follower = user_data;
    g_ptr_array_remove_fast(follower->owner->followers, follower);
}

static void
on_session_ended(void *user_data)
{
    Follower *follower = user_data;
    gw_http_stream_end(follower->request);
    g_ptr_array_remove_fast(follower->owner->followers, follower);
}

/* Sending may find the reader gone, which takes it off the list: walk from the end. */
static void
send_to_all(GwEventStreams *self, int64_t id, const char *message)
{
    for (guint i = self->followers->len; i-- > 0;) {
        Follower *follower = i < self->followers->len ? self->followers->pdata[i] : NULL;
        if (!follower || (id != 0 && id <= follower->last_id))
            continue;
        if (id != 0)
            follower->last_id = id;
        gw_http_stream_send(follower->request, message, strlen(message));
    }
}

static char *
message_of(int64_t id, const char *type, const char *line)
{
    return id ? g_strdup_printf("id: %" G_GINT64_FORMAT "\nevent: %s\ndata: %s\n\n", id, type, line)
              : g_strdup_printf("event: %s\ndata: %s\n\n", type, line);
}

static void
on_event(int64_t id, const char *type, JsonObject *data, void *user_data)
{
    GwEventStreams *self = user_data;
    g_autofree char *line = gw_json_object_to_line(data);
    g_autofree char *message = message_of(id, type, line);
    send_to_all(self, id, message);
    if (id == 0)
        return;
    Told *told = g_new(Told, 1);
    *told = (Told){id, g_steal_pointer(&message)};
    g_queue_push_tail(&self->ring, told);
    if (g_queue_get_length(&self->ring) > RING)
        told_free(g_queue_pop_head(&self->ring));
}

static gboolean
on_heartbeat(void *user_data)
{
    send_to_all(user_data, 0, ":\n\n");
    return G_SOURCE_CONTINUE;
}

JsonObject *
gw_event_to_json(const GwEventRecord *event)
{
    JsonObject *object = event->data ? gw_json_parse_object(event->data, -1, NULL) : NULL;
    if (!object)
        object = json_object_new();
    json_object_set_int_member(object, "id", event->id);
    json_object_set_string_member(object, "type", event->type);
    if (!json_object_has_member(object, "at"))
        gw_answer_set_time(object, "at", event->at_us);
    return object;
}

static char *
missed_message(int64_t after_id, int64_t first_id)
{
    g_autoptr(JsonObject) data = json_object_new();
    json_object_set_string_member(data, "type", "events.missed");
    gw_answer_set_time(data, "at", g_get_real_time());
    json_object_set_int_member(data, "after", after_id);
    json_object_set_int_member(data, "first", first_id);
    g_autofree char *line = gw_json_object_to_line(data);
    return message_of(0, "events.missed", line);
}

/* The newest of the store's last events that fit, oldest first. */
static void
fill_replay(GwEventReplay *self, const GArray *events, int64_t after_id)
{
    size_t bytes = 0;
    guint first = events->len;
    g_autoptr(GPtrArray) newest_first = g_ptr_array_new_with_free_func(g_free);
    for (guint i = events->len; i-- > 0;) {
        const GwEventRecord *event = &g_array_index(events, GwEventRecord, i);
        if (event->id <= after_id)
            break;
        g_autofree char *message = message_of(event->id, event->type, event->data ? event->data : "{}");
        bytes += strlen(message);
        if (bytes > GW_EVENT_REPLAY_BYTES)
            break;
        g_ptr_array_add(newest_first, g_steal_pointer(&message));
        first = i;
    }
    int64_t first_id =
        first < events->len ? g_array_index(events, GwEventRecord, first).id : self->last_id + 1;
    if (first_id > after_id + 1)
        g_ptr_array_add(self->messages, missed_message(after_id, first_id));
    for (guint i = newest_first->len; i-- > 0;)
        g_ptr_array_add(self->messages, g_steal_pointer(&newest_first->pdata[i]));
}

GwEventReplay *
gw_event_replay_read(GwStore *store, int64_t after_id, GError **error)
{
    g_autoptr(GArray) events = gw_store_events(store, -1, after_id < 0 ? 1 : GW_EVENT_REPLAY_MAX, error);
    if (!events)
        return NULL;
    GwEventReplay *self = g_new0(GwEventReplay, 1);
    self->messages = g_ptr_array_new_with_free_func(g_free);
    if (events->len > 0)
        self->last_id = g_array_index(events, GwEventRecord, events->len - 1).id;
    /* A number that was never given is one of another store, or none: there is nothing to send behind it. */
    if (after_id >= 0 && after_id < self->last_id)
        fill_replay(self, events, after_id);
    return self;
}

void
gw_event_replay_free(GwEventReplay *self)
{
    if (!self)
        return;
    g_ptr_array_unref(self->messages);
    g_free(self);
}

static void
send_to(Follower *follower, const char *message)
{
    gw_http_stream_send(follower->request, message, strlen(message));
}

void
gw_event_streams_begin(GwEventStreams *self, GwHttpRequest *request, const char *token,
                       const GwEventReplay *replay)
{
    Follower *follower = g_new0(Follower, 1);
    *follower = (Follower){self, gw_http_request_ref(request), 0, replay->last_id};
    g_ptr_array_add(self->followers, follower);
    follower->watch =
        gw_session_watch_add(self->sessions, token, GW_ROLE_READ_ONLY, on_session_ended, follower);
    gw_http_stream_begin(request, "text/event-stream", on_closed, follower);
    send_to(follower, ":\n\n"); /* so that a client knows at once that it listens */
    /* What is sent here is below the limit at which a stream is cut off: the follower stays. */
    for (guint i = 0; i < replay->messages->len; i++)
        send_to(follower, replay->messages->pdata[i]);
    for (GList *link = self->ring.head; link; link = link->next) {
        const Told *told = link->data;
        if (told->id <= follower->last_id)
            continue;
        follower->last_id = told->id;
        send_to(follower, told->message);
    }
}

GwEventStreams *
gw_event_streams_new(GwEventHub *hub, GwSessionWatch *sessions)
{
    GwEventStreams *self = g_new0(GwEventStreams, 1);
    self->sessions = sessions;
    self->followers = g_ptr_array_new_with_free_func(follower_free);
    g_queue_init(&self->ring);
    self->heartbeat = g_timeout_add_seconds(HEARTBEAT_S, on_heartbeat, self);
    gw_event_hub_listen(hub, on_event, self);
    return self;
}

void
gw_event_streams_free(GwEventStreams *self)
{
    if (!self)
        return;
    g_source_remove(self->heartbeat);
    while (self->followers->len > 0) {
        Follower *follower = self->followers->pdata[self->followers->len - 1];
        gw_http_stream_end(follower->request);
        g_ptr_array_remove_index(self->followers, self->followers->len - 1);
    }
    g_ptr_array_unref(self->followers);
    g_queue_clear_full(&self->ring, told_free);
    g_free(self);
}
