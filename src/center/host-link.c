/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A link is a loop: connect, listen, and when that breaks say so and try again a second later. */
#include "host-link.h"

#include "error.h"
#include "json.h"
#include "reconciler.h"

#include <string.h>

#define SILENCE_S 15 /* an agent says something each 5 s */
#define RETRY_S   1

typedef struct {
    GwHostLinks *links;
    char *host;
    GThread *thread;
    /* guarded by the links' lock */
    GwHostClient *client; /* of the thread, here to be ended from outside */
    bool stopping;
    /* of the thread */
    bool is_up;
} Link;

struct GwHostLinks {
    GwInventory *inventory; /* borrowed */
    GwReconciler *reconciler;
    GMutex lock; /* guards what follows */
    GCond changed;
    GHashTable *links; /* host → Link, not owned by the table */
};

static bool
on_event(const char *id, const char *type, JsonObject *data, void *user_data)
{
    Link *self = user_data;
    if (!type)
        return true;
    if (strcmp(type, "host.hello") == 0) {
        self->is_up = true;
        gw_inventory_host_up(self->links->inventory, self->host, data, gw_json_get_array(data, "vms"));
    } else if (self->is_up) {
        gw_inventory_host_event(self->links->inventory, self->host, type, data);
    }
    return true;
}

static bool
set_client(Link *self, GwHostClient *client)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->links->lock);
    self->client = client;
    return !self->stopping;
}

static void
follow(Link *self)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHostClient) client =
        gw_inventory_client(self->links->inventory, self->host, SILENCE_S, &error);
    self->is_up = false;
    if (client && set_client(self, client))
        gw_host_client_follow(client, "/v1/events", NULL, on_event, self, &error);
    if (!set_client(self, NULL))
        return;
    gw_inventory_host_lost(self->links->inventory, self->host,
                           error ? error->message : "its agent ended the connection");
}

static void *
link_main(void *data)
{
    Link *self = data;
    GwHostLinks *links = self->links;
    g_mutex_lock(&links->lock);
    while (!self->stopping) {
        g_mutex_unlock(&links->lock);
        follow(self);
        g_mutex_lock(&links->lock);
        gint64 until_us = g_get_monotonic_time() + RETRY_S * G_TIME_SPAN_SECOND;
        while (!self->stopping && g_cond_wait_until(&links->changed, &links->lock, until_us))
            ;
    }
    g_mutex_unlock(&links->lock);
    return NULL;
}

static void
start_link(GwHostLinks *self, const char *host)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    Link *link = g_hash_table_lookup(self->links, host);
    if (link) {
        if (link->client)
            gw_host_client_cancel(link->client); /* its address may be another now */
        return;
    }
    link = g_new0(Link, 1);
    link->links = self;
    link->host = g_strdup(host);
    g_hash_table_insert(self->links, link->host, link);
    link->thread = g_thread_new("gw-link", link_main, link);
}

static void
stop_locked(Link *link)
{
    link->stopping = true;
    if (link->client)
        gw_host_client_cancel(link->client);
}

static void
join(Link *link)
{
    g_thread_join(link->thread);
    g_free(link->host);
    g_free(link);
}

static void
end_link(GwHostLinks *self, const char *host)
{
    g_mutex_lock(&self->lock);
    Link *link = g_hash_table_lookup(self->links, host);
    if (link) {
        g_hash_table_remove(self->links, host);
        stop_locked(link);
        g_cond_broadcast(&self->changed);
    }
    g_mutex_unlock(&self->lock);
    if (link)
        join(link);
}

static void
on_change(GwInventoryChange what, const char *host, const char *vm, void *user_data)
{
    if (what == GW_CHANGE_HOST_ADDED)
        start_link(user_data, host);
    else if (what == GW_CHANGE_HOST_REMOVED)
        end_link(user_data, host);
}

GwHostLinks *
gw_host_links_new(GwInventory *inventory, GwTasks *tasks, GwEventHub *hub)
{
    GwHostLinks *self = g_new0(GwHostLinks, 1);
    self->inventory = inventory;
    self->reconciler = gw_reconciler_new(inventory, tasks);
    g_mutex_init(&self->lock);
    g_cond_init(&self->changed);
    self->links = g_hash_table_new(g_str_hash, g_str_equal);
    gw_inventory_watch(inventory, on_change, self);
    g_auto(GStrv) hosts = gw_inventory_host_names(inventory);
    for (char **host = hosts; *host; host++)
        start_link(self, *host);
    return self;
}

void
gw_host_links_free(GwHostLinks *self)
{
    if (!self)
        return;
    gw_inventory_unwatch(self->inventory, on_change, self);
    g_mutex_lock(&self->lock);
    g_autoptr(GList) links = g_hash_table_get_values(self->links);
    for (GList *each = links; each; each = each->next)
        stop_locked(each->data);
    g_cond_broadcast(&self->changed);
    g_mutex_unlock(&self->lock);
    for (GList *each = links; each; each = each->next)
        join(each->data);
    gw_reconciler_free(self->reconciler);
    g_hash_table_unref(self->links);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->changed);
    g_free(self);
}
