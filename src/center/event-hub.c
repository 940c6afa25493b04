/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The way of an event from the thread that tells it to the listener.
 *
 * `telling` is held from the store's giving of an id until the event is in the queue, so that the queue has
 * ids in order, whoever tells. It may be held for as long as a disk takes, and passing events, which have no
 * id, do not wait for it. Lock order: telling, the store's, queue_lock.
 *
 * One source of the listener's context empties the queue, one event a turn: a listener may free the hub, and
 * other sources get theirs. */
#include "event-hub.h"

#include "json.h"

/* Passing events that wait for a main loop that does not come are worth nothing: beyond these they are lost.
 */
#define MAX_PASSING 1000

typedef struct {
    int64_t id;
    char *type;       /* owned */
    JsonObject *data; /* owned: who told it has no part of it any more */
} Event;

struct GwEventHub {
    /* set once */
    GwStore *store;        /* borrowed */
    GMainContext *context; /* ref: of the thread that made the hub */

    GMutex telling; /* the order of kept events */

    GMutex queue_lock; /* guards what follows */
    GQueue queue;      /* owned Event */
    guint n_passing;   /* of them with id 0 */
    GSource *source;   /* ref; in the context while the queue is not empty, else NULL */

    /* of the context's thread */
    GwEventListener listener;
    void *user_data;
};

static void
event_free(void *data)
{
    Event *event = data;
    json_object_unref(event->data);
    g_free(event->type);
    g_free(event);
}

GwEventHub *
gw_event_hub_new(GwStore *store)
{
    GwEventHub *self = g_new0(GwEventHub, 1);
    self->store = store;
    self->context = g_main_context_ref_thread_default();
    g_mutex_init(&self->telling);
    g_mutex_init(&self->queue_lock);
    g_queue_init(&self->queue);
    return self;
}

void
gw_event_hub_free(GwEventHub *self)
{
    if (!self)
        return;
    if (self->source)
        g_source_destroy(self->source);
    g_clear_pointer(&self->source, g_source_unref);
    g_queue_clear_full(&self->queue, event_free);
    g_mutex_clear(&self->queue_lock);
    g_mutex_clear(&self->telling);
    g_main_context_unref(self->context);
    g_free(self);
}

void
gw_event_hub_listen(GwEventHub *self, GwEventListener listener, void *user_data)
{
    g_return_if_fail(!self->listener);
    self->listener = listener;
    self->user_data = user_data;
}

/* The next event, *ret_is_last with it if the source has done its work then. */
static Event *
take(GwEventHub *self, bool *ret_is_last)
{
    g_mutex_lock(&self->queue_lock);
    Event *event = g_queue_pop_head(&self->queue);
    if (event && event->id == 0)
        self->n_passing--;
    *ret_is_last = g_queue_is_empty(&self->queue);
    if (*ret_is_last)
        g_clear_pointer(&self->source, g_source_unref);
    g_mutex_unlock(&self->queue_lock);
    return event;
}

static gboolean
deliver(void *data)
{
    GwEventHub *self = data;
    bool is_last;
    Event *event = take(self, &is_last);
    if (event && self->listener)
        self->listener(event->id, event->type, event->data, self->user_data);
    g_clear_pointer(&event, event_free);
    /* the hub may be gone by now; its source is then destroyed, and what is returned does not matter */
    return is_last ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

/* `data` is taken, not shared: an object of json-glib (1.6) counts its references without a lock. */
static void
push(GwEventHub *self, int64_t id, const char *type, JsonObject *data)
{
    g_autoptr(JsonObject) whole = data;
    g_mutex_lock(&self->queue_lock);
    if (id > 0 || self->n_passing < MAX_PASSING) {
        Event *event = g_new0(Event, 1);
        *event = (Event){.id = id, .type = g_strdup(type), .data = g_steal_pointer(&whole)};
        g_queue_push_tail(&self->queue, event);
        self->n_passing += id == 0;
    }
    if (!self->source && !g_queue_is_empty(&self->queue)) {
        self->source = g_idle_source_new();
        g_source_set_priority(self->source, G_PRIORITY_DEFAULT);
        g_source_set_callback(self->source, deliver, self, NULL);
        g_source_attach(self->source, self->context);
    }
    g_mutex_unlock(&self->queue_lock);
}

static void
set_string(JsonObject *data, const char *member, const char *value)
{
    if (value && !json_object_has_member(data, member))
        json_object_set_string_member(data, member, value);
}

/* `data`, taken, or a new object, with what every event has. */
static JsonObject *
complete(const char *type, int64_t at_us, const GwEventRecord *names, JsonObject *data)
{
    g_autoptr(GDateTime) seconds = g_date_time_new_from_unix_utc(at_us / G_USEC_PER_SEC);
    g_autoptr(GDateTime) at = g_date_time_add(seconds, at_us % G_USEC_PER_SEC);
    g_autofree char *at_text = g_date_time_format(at, "%Y-%m-%dT%H:%M:%S.%fZ");
    if (!data)
        data = json_object_new();
    json_object_set_string_member(data, "type", type);
    json_object_set_string_member(data, "at", at_text);
    set_string(data, "host", names->host);
    set_string(data, "vm", names->vm);
    set_string(data, "task", names->task);
    return data;
}

void
gw_event_hub_tell(GwEventHub *self, const char *type, const char *host, const char *vm, const char *task,
                  JsonObject *data)
{
    g_autoptr(GError) error = NULL;
    g_mutex_lock(&self->telling);
    GwEventRecord event = {.at_us = g_get_real_time(),
                           .type = (char *)type,
                           .host = (char *)host,
                           .vm = (char *)vm,
                           .task = (char *)task};
    g_autoptr(JsonObject) whole = complete(type, event.at_us, &event, data);
    g_autofree char *text = gw_json_object_to_line(whole);
    event.data = text;
    if (!gw_store_add_event(self->store, &event, &error))
        g_warning("the event %s is not kept: %s", type, error->message);
    push(self, event.id, type, g_steal_pointer(&whole));
    g_mutex_unlock(&self->telling);
}

void
gw_event_hub_tell_passing(GwEventHub *self, const char *type, const char *host, const char *vm,
                          const char *task, JsonObject *data)
{
    GwEventRecord names = {.host = (char *)host, .vm = (char *)vm, .task = (char *)task};
    push(self, 0, type, complete(type, g_get_real_time(), &names, data));
}
