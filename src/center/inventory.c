/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inventory's life, and who is told of its changes. */
#include "error.h"
#include "inventory-internal.h"

#include <string.h>

typedef struct {
    GwInventoryWatcher watcher;
    void *user_data;
    unsigned n_calls; /* under way */
} Watcher;

typedef struct {
    bool is_event;
    GwInventoryChange change;
    const char *type; /* a literal */
    char *host, *vm;
    JsonObject *data;
} Told;

struct GwAftermath {
    GArray *told; /* of Told, in order */
};

static void
told_clear(void *data)
{
    Told *told = data;
    g_free(told->host);
    g_free(told->vm);
    g_clear_pointer(&told->data, json_object_unref);
}

GwAftermath *
gw_aftermath_new(void)
{
    GwAftermath *self = g_new0(GwAftermath, 1);
    self->told = g_array_new(FALSE, FALSE, sizeof(Told));
    g_array_set_clear_func(self->told, told_clear);
    return self;
}

void
gw_aftermath_event(GwAftermath *self, const char *type, const char *host, const char *vm, JsonObject *data)
{
    Told told = {.is_event = true, .type = type, .host = g_strdup(host), .vm = g_strdup(vm), .data = data};
    g_array_append_val(self->told, told);
}

void
gw_aftermath_change(GwAftermath *self, GwInventoryChange what, const char *host, const char *vm)
{
    Told told = {.change = what, .host = g_strdup(host), .vm = g_strdup(vm)};
    g_array_append_val(self->told, told);
}

void
gw_aftermath_tell(GwAftermath *self, GwInventory *inventory)
{
    for (guint i = 0; i < self->told->len; i++) {
        Told *told = &g_array_index(self->told, Told, i);
        if (told->is_event)
            gw_event_hub_tell(inventory->hub, told->type, told->host, told->vm, NULL,
                              g_steal_pointer(&told->data));
        else
            gw_inventory_note(inventory, told->change, told->host, told->vm);
    }
    g_array_unref(self->told);
    g_free(self);
}

void
gw_inventory_watch(GwInventory *self, GwInventoryWatcher watcher, void *user_data)
{
    Watcher *each = g_new0(Watcher, 1);
    each->watcher = watcher;
    each->user_data = user_data;
    g_mutex_lock(&self->lock);
    g_ptr_array_add(self->watchers, each);
    g_mutex_unlock(&self->lock);
}

void
gw_inventory_unwatch(GwInventory *self, GwInventoryWatcher watcher, void *user_data)
{
    g_mutex_lock(&self->lock);
    for (guint i = 0; i < self->watchers->len; i++) {
        Watcher *each = self->watchers->pdata[i];
        if (each->watcher != watcher || each->user_data != user_data)
            continue;
        g_ptr_array_remove_index(self->watchers, i);
        while (each->n_calls > 0)
            g_cond_wait(&self->watched, &self->lock);
        g_free(each);
        break;
    }
    g_mutex_unlock(&self->lock);
}

void
gw_inventory_note(GwInventory *self, GwInventoryChange what, const char *host, const char *vm)
{
    g_mutex_lock(&self->lock);
    g_autoptr(GPtrArray) watchers = g_ptr_array_sized_new(self->watchers->len);
    for (guint i = 0; i < self->watchers->len; i++) {
        Watcher *each = self->watchers->pdata[i];
        each->n_calls++;
        g_ptr_array_add(watchers, each);
    }
    g_mutex_unlock(&self->lock);
    for (guint i = 0; i < watchers->len; i++) {
        Watcher *each = watchers->pdata[i];
        each->watcher(what, host, vm, each->user_data);
        g_mutex_lock(&self->lock);
        each->n_calls--;
        g_cond_broadcast(&self->watched);
        g_mutex_unlock(&self->lock);
    }
}

static bool
read_hosts(GwInventory *self, GError **error)
{
    g_autoptr(GArray) hosts = gw_store_hosts(self->store, error);
    for (guint i = 0; hosts && i < hosts->len; i++) {
        const GwHostRecord *record = &g_array_index(hosts, GwHostRecord, i);
        g_hash_table_insert(self->hosts, g_strdup(record->name), gw_inventory_host_new(record));
    }
    return hosts != NULL;
}

static bool
read_vms(GwInventory *self, GError **error)
{
    g_autoptr(GArray) vms = gw_store_vms(self->store, error);
    for (guint i = 0; vms && i < vms->len; i++) {
        const GwVmRecord *record = &g_array_index(vms, GwVmRecord, i);
        g_hash_table_insert(self->vms, g_strdup(record->name), gw_inventory_vm_new(record));
    }
    return vms != NULL;
}

GwInventory *
gw_inventory_new(GwStore *store, GwEventHub *hub, const GwAuthority *authority, GError **error)
{
    GwInventory *self = g_new0(GwInventory, 1);
    self->store = store;
    self->hub = hub;
    self->authority = authority;
    g_mutex_init(&self->lock);
    g_cond_init(&self->watched);
    self->hosts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, gw_inventory_host_free);
    self->vms = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, gw_inventory_vm_free);
    self->watchers = g_ptr_array_new();
    if (read_hosts(self, error) && read_vms(self, error))
        return self;
    gw_inventory_free(self);
    return NULL;
}

void
gw_inventory_free(GwInventory *self)
{
    if (!self)
        return;
    g_hash_table_unref(self->hosts);
    g_hash_table_unref(self->vms);
    g_ptr_array_unref(self->watchers);
    g_mutex_clear(&self->lock);
    g_cond_clear(&self->watched);
    g_free(self);
}

GwInventoryHost *
gw_inventory_find_host_locked(GwInventory *self, const char *host, GError **error)
{
    GwInventoryHost *found = g_hash_table_lookup(self->hosts, host);
    if (!found)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "there is no host '%s'", host);
    return found;
}

GwInventoryVm *
gw_inventory_find_vm_locked(GwInventory *self, const char *vm, GError **error)
{
    GwInventoryVm *found = g_hash_table_lookup(self->vms, vm);
    if (!found)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "there is no VM '%s'", vm);
    return found;
}

char *
gw_utc_text(int64_t us)
{
    g_autoptr(GDateTime) time = us ? g_date_time_new_from_unix_utc(us / G_USEC_PER_SEC) : NULL;
    return time ? g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ") : NULL;
}

void
gw_json_set_text(JsonObject *object, const char *member, const char *text)
{
    if (text)
        json_object_set_string_member(object, member, text);
    else
        json_object_set_null_member(object, member);
}

void
gw_json_set_parsed(JsonObject *object, const char *member, const char *json)
{
    JsonNode *node = json ? gw_json_parse(json, -1, NULL) : NULL;
    if (node)
        json_object_set_member(object, member, node);
    else
        json_object_set_null_member(object, member);
}
