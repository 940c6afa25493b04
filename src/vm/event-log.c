/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events from any thread to listeners in one. */
#include "event-log.h"

#include "json.h"

typedef struct {
    guint64 id;
    char *type;
    char *text;
} Event;

struct GwEventLog {
    GwEventListener listener;
    void *user_data;
    GMainContext *context;
    /* guarded by lock */
    GMutex lock;
    GQueue events; /* of Event, oldest first */
    guint64 next_id, next_to_tell;
    GSource *telling; /* scheduled and not yet run */
};

static void
event_free(void *data)
{
    Event *event = data;
    g_free(event->type);
    g_free(event->text);
    g_free(event);
}

GwEventLog *
gw_event_log_new(guint64 first_id, GwEventListener listener, void *user_data)
{
    GwEventLog *self = g_new0(GwEventLog, 1);
    self->listener = listener;
    self->user_data = user_data;
    self->context = g_main_context_ref_thread_default();
    g_mutex_init(&self->lock);
    g_queue_init(&self->events);
    self->next_id = self->next_to_tell = first_id;
    return self;
}

/* Copies, so that a listener may publish or take its time without the lock. */
static GPtrArray *
copy_after(GwEventLog *self, guint64 after)
{
    GPtrArray *copies = g_ptr_array_new_with_free_func(event_free);
    for (GList *link = self->events.head; link; link = link->next) {
        const Event *event = link->data;
        if (event->id <= after)
            continue;
        Event *copy = g_new0(Event, 1);
        *copy = (Event){event->id, g_strdup(event->type), g_strdup(event->text)};
        g_ptr_array_add(copies, copy);
    }
    return copies;
}

static void
tell(GPtrArray *events, GwEventListener listener, void *user_data)
{
    for (guint i = 0; i < events->len; i++) {
        const Event *event = events->pdata[i];
        listener(event->id, event->type, event->text, user_data);
    }
}

static gboolean
tell_new(void *data)
{
    GwEventLog *self = data;
    g_mutex_lock(&self->lock);
    g_clear_pointer(&self->telling, g_source_unref);
    g_autoptr(GPtrArray) events = copy_after(self, self->next_to_tell - 1);
    self->next_to_tell = self->next_id;
    g_mutex_unlock(&self->lock);
    tell(events, self->listener, self->user_data);
    return G_SOURCE_REMOVE;
}

void
gw_event_log_publish(GwEventLog *self, const char *type, JsonObject *data, gint64 monotonic_us)
{
    g_autoptr(JsonObject) object = data ? data : json_object_new();
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *at = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S.%fZ");
    json_object_set_string_member(object, "type", type);
    json_object_set_string_member(object, "at", at);
    json_object_set_int_member(object, "monotonic_us", monotonic_us ? monotonic_us : g_get_monotonic_time());

    g_mutex_lock(&self->lock);
    Event *event = g_new0(Event, 1);
    event->id = self->next_id++;
    event->type = g_strdup(type);
    json_object_set_int_member(object, "id", (gint64)event->id);
    event->text = gw_json_object_to_line(object);
    g_queue_push_tail(&self->events, event);
    if (self->events.length > GW_EVENT_LOG_KEPT)
        event_free(g_queue_pop_head(&self->events));
    if (!self->telling) {
        self->telling = g_idle_source_new();
        g_source_set_priority(self->telling, G_PRIORITY_DEFAULT);
        g_source_set_callback(self->telling, tell_new, self, NULL);
        g_source_attach(self->telling, self->context);
    }
    g_mutex_unlock(&self->lock);
}

void
gw_event_log_replay(GwEventLog *self, guint64 after, GwEventListener listener, void *user_data)
{
    g_mutex_lock(&self->lock);
    g_autoptr(GPtrArray) events = copy_after(self, after);
    g_mutex_unlock(&self->lock);
    tell(events, listener, user_data);
}

guint64
gw_event_log_last_id(GwEventLog *self)
{
    g_mutex_lock(&self->lock);
    guint64 id = self->next_id - 1;
    g_mutex_unlock(&self->lock);
    return id;
}

void
gw_event_log_free(GwEventLog *self)
{
    if (!self)
        return;
    if (self->telling) {
        g_source_destroy(self->telling);
        g_source_unref(self->telling);
    }
    g_queue_clear_full(&self->events, event_free);
    g_main_context_unref(self->context);
    g_mutex_clear(&self->lock);
    g_free(self);
}
