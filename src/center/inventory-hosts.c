/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inventory's hosts: records, reachability, facts, and what their agents tell. */
#include "error.h"
#include "inventory-internal.h"
#include "settle.h"

#include <string.h>

#define MAX_CPUS (1 << 20) /* that a host can say it has */

static void
vm_at_free(void *data)
{
    GwVmAt *at = data;
    g_free(at->status);
    g_free(at->state);
    g_free(at->uuid);
    g_free(at);
}

static void
copy_record(const GwHostRecord *from, GwHostRecord *to)
{
    *to = *from;
    to->name = g_strdup(from->name);
    to->cluster = g_strdup(from->cluster);
    to->address = g_strdup(from->address);
}

GwInventoryHost *
gw_inventory_host_new(const GwHostRecord *record)
{
    GwInventoryHost *self = g_new0(GwInventoryHost, 1);
    copy_record(record, &self->record);
    self->vms = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, vm_at_free);
    return self;
}

void
gw_inventory_host_free(void *data)
{
    GwInventoryHost *self = data;
    gw_host_record_clear(&self->record);
    g_free(self->why_lost);
    g_free(self->facts);
    g_free(self->load);
    g_hash_table_unref(self->vms);
    g_free(self);
}

static void
count(GwInventory *self, const GwInventoryHost *host, JsonObject *object)
{
    GHashTableIter iter;
    void *each;
    gint64 n_vms = 0, n_motions = 0;
    g_hash_table_iter_init(&iter, self->vms);
    while (g_hash_table_iter_next(&iter, NULL, &each))
        n_vms += strcmp(((GwInventoryVm *)each)->record.host, host->record.name) == 0;
    g_hash_table_iter_init(&iter, host->vms);
    while (g_hash_table_iter_next(&iter, NULL, &each))
        n_motions += ((GwVmAt *)each)->in_motion;
    json_object_set_int_member(object, "n_vms", n_vms);
    json_object_set_int_member(object, "n_motions", n_motions);
}

static JsonObject *
host_json_locked(GwInventory *self, const GwInventoryHost *host)
{
    JsonObject *object = json_object_new();
    g_autofree char *joined = gw_utc_text(host->record.joined_us);
    json_object_set_string_member(object, "name", host->record.name);
    gw_json_set_text(object, "cluster", host->record.cluster);
    gw_json_set_text(object, "address", host->record.address);
    json_object_set_int_member(object, "port", host->record.port);
    json_object_set_string_member(object, "state", host->link == GW_LINK_UP ? "up" : "unreachable");
    gw_json_set_text(object, "error", host->link == GW_LINK_UP ? NULL : host->why_lost);
    json_object_set_boolean_member(object, "in_maintenance", host->record.in_maintenance);
    gw_json_set_text(object, "joined", joined);
    gw_json_set_parsed(object, "facts", host->facts);
    gw_json_set_parsed(object, "load", host->link == GW_LINK_UP ? host->load : NULL);
    count(self, host, object);
    return object;
}

JsonObject *
gw_inventory_host_json(GwInventory *self, const char *host, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    GwInventoryHost *found = gw_inventory_find_host_locked(self, host, error);
    return found ? host_json_locked(self, found) : NULL;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **
names_locked(GwInventory *self)
{
    GHashTableIter iter;
    void *name;
    GPtrArray *names = g_ptr_array_new();
    g_hash_table_iter_init(&iter, self->hosts);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, by_name);
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, FALSE);
}

char **
gw_inventory_host_names(GwInventory *self)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    return names_locked(self);
}

JsonArray *
gw_inventory_hosts_json(GwInventory *self)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    g_auto(GStrv) names = names_locked(self);
    JsonArray *array = json_array_new();
    for (char **name = names; *name; name++)
        json_array_add_object_element(array, host_json_locked(self, g_hash_table_lookup(self->hosts, *name)));
    return array;
}

GwHostFacts *
gw_inventory_host_facts(GwInventory *self, const char *host, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    GwInventoryHost *found = gw_inventory_find_host_locked(self, host, error);
    if (!found)
        return NULL;
    g_autoptr(JsonObject) object = found->facts ? gw_json_parse_object(found->facts, -1, NULL) : NULL;
    if (!object)
        object = json_object_new();
    json_object_set_string_member(object, "name", host);
    GwHostFacts *facts = gw_host_facts_from_json(object, error);
    if (facts) {
        facts->is_reachable = found->link == GW_LINK_UP;
        facts->in_maintenance = found->record.in_maintenance;
    }
    return facts;
}

static void
set_address(GwInventoryHost *host, const GwHostRecord *record)
{
    bool in_maintenance = host->record.in_maintenance;
    gw_host_record_clear(&host->record);
    copy_record(record, &host->record);
    host->record.in_maintenance = in_maintenance;
}

bool
gw_inventory_add_host(GwInventory *self, const GwHostRecord *host, GError **error)
{
    if (!gw_store_add_host(self->store, host, error))
        return false;
    GwAftermath *after = gw_aftermath_new();
    g_mutex_lock(&self->lock);
    GwInventoryHost *found = g_hash_table_lookup(self->hosts, host->name);
    if (found) {
        set_address(found, host);
        found->link = GW_LINK_NEW; /* the old way to it is given up */
    } else {
        g_hash_table_insert(self->hosts, g_strdup(host->name), gw_inventory_host_new(host));
    }
    g_mutex_unlock(&self->lock);
    gw_aftermath_event(after, "host.joined", host->name, NULL, NULL);
    gw_aftermath_change(after, GW_CHANGE_HOST_ADDED, host->name, NULL);
    gw_aftermath_tell(after, self);
    return true;
}

static bool
may_remove_locked(GwInventory *self, const char *host, GError **error)
{
    GHashTableIter iter;
    void *each;
    if (!gw_inventory_find_host_locked(self, host, error))
        return false;
    g_autoptr(GString) names = g_string_new(NULL);
    g_hash_table_iter_init(&iter, self->vms);
    while (g_hash_table_iter_next(&iter, NULL, &each)) {
        const GwInventoryVm *vm = each;
        if (strcmp(vm->record.host, host) == 0)
            g_string_append_printf(names, "%s%s", names->len ? ", " : "", vm->record.name);
    }
    if (names->len)
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                    "host %s is the home of %s: migrate or remove them first", host, names->str);
    return names->len == 0;
}

bool
gw_inventory_remove_host(GwInventory *self, const char *host, GError **error)
{
    g_mutex_lock(&self->lock);
    bool may = may_remove_locked(self, host, error);
    g_mutex_unlock(&self->lock);
    if (!may || !gw_store_remove_host(self->store, host, error))
        return false;
    GwAftermath *after = gw_aftermath_new();
    g_mutex_lock(&self->lock);
    g_hash_table_remove(self->hosts, host);
    g_mutex_unlock(&self->lock);
    gw_aftermath_event(after, "host.removed", host, NULL, NULL);
    gw_aftermath_change(after, GW_CHANGE_HOST_REMOVED, host, NULL);
    gw_aftermath_tell(after, self);
    return true;
}

bool
gw_inventory_set_maintenance(GwInventory *self, const char *host, bool in_maintenance, GError **error)
{
    if (!gw_store_set_maintenance(self->store, host, in_maintenance, error))
        return false;
    GwAftermath *after = gw_aftermath_new();
    g_mutex_lock(&self->lock);
    GwInventoryHost *found = g_hash_table_lookup(self->hosts, host);
    if (found && found->record.in_maintenance != in_maintenance) {
        found->record.in_maintenance = in_maintenance;
        JsonObject *data = json_object_new();
        json_object_set_boolean_member(data, "enabled", in_maintenance);
        gw_aftermath_event(after, "host.maintenance", host, NULL, data);
        gw_aftermath_change(after, GW_CHANGE_HOST_ROOM, host, NULL);
    }
    g_mutex_unlock(&self->lock);
    gw_aftermath_tell(after, self);
    return true;
}

GwHostClient *
gw_inventory_client(GwInventory *self, const char *host, unsigned timeout_s, GError **error)
{
    g_mutex_lock(&self->lock);
    GwInventoryHost *found = gw_inventory_find_host_locked(self, host, error);
    g_autofree char *address = found ? g_strdup(found->record.address) : NULL;
    unsigned port = found ? found->record.port : 0;
    g_mutex_unlock(&self->lock);
    return found ? gw_host_client_new(host, address, port, gw_authority_files(self->authority), timeout_s,
                                      error)
                 : NULL;
}

GwHostClient *
gw_inventory_vm_client(GwInventory *self, const char *host, const char *vm, unsigned timeout_s,
                       GError **error)
{
    GwHostClient *client = gw_inventory_client(self, host, timeout_s, error);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    const GwInventoryVm *found = client ? gw_inventory_find_vm_locked(self, vm, NULL) : NULL;
    if (found)
        gw_host_client_set_uuid(client, found->record.uuid);
    return client;
}

/* The newest that is known: the load comes each second. */
static uint64_t
memory_available(JsonObject *load, JsonObject *facts)
{
    JsonObject *memory = gw_json_get_object(facts, "memory");
    int64_t bytes = 0;
    if (!(load && gw_json_get_int(load, "memory_available_bytes", &bytes)) && memory)
        gw_json_get_int(memory, "available_bytes", &bytes);
    return (uint64_t)MAX(bytes, 0);
}

/* "cpu_percent" of a load, whole and within sense; 0 if it is not known. */
static unsigned
percent_of(JsonObject *load, unsigned most)
{
    JsonNode *node = load ? json_object_get_member(load, "cpu_percent") : NULL;
    double value = node && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_double(node) : 0;
    return value > 0 ? (unsigned)MIN(value, (double)most) : 0;
}

bool
gw_inventory_host_room(GwInventory *self, const char *host, GwHostRoom *ret_room)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    GwInventoryHost *found = g_hash_table_lookup(self->hosts, host);
    if (!found || found->link != GW_LINK_UP || !found->facts)
        return false;
    g_autoptr(JsonObject) facts = gw_json_parse_object(found->facts, -1, NULL);
    if (!facts)
        return false;
    JsonObject *cpu = gw_json_get_object(facts, "cpu");
    int64_t n_cpus = 0;
    if (cpu)
        gw_json_get_int(cpu, "count", &n_cpus);
    n_cpus = CLAMP(n_cpus, 0, MAX_CPUS);
    g_autoptr(JsonObject) load = found->load ? gw_json_parse_object(found->load, -1, NULL) : NULL;
    *ret_room = (GwHostRoom){.host = host,
                             .memory_available_bytes = memory_available(load, facts),
                             .n_cpus = (unsigned)n_cpus,
                             .cpu_percent = percent_of(load, 100) * (unsigned)n_cpus};
    return true;
}

unsigned
gw_inventory_vm_cpu_percent(GwInventory *self, const char *vm, const char *host)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    GwInventoryHost *found = g_hash_table_lookup(self->hosts, host);
    g_autoptr(JsonObject) load = found && found->load ? gw_json_parse_object(found->load, -1, NULL) : NULL;
    JsonArray *vms = load ? gw_json_get_array(load, "vms") : NULL;
    guint n = vms ? json_array_get_length(vms) : 0;
    for (guint i = 0; i < n; i++) {
        JsonObject *each = gw_json_array_object(vms, i);
        if (each && g_strcmp0(gw_json_get_string(each, "name"), vm) == 0)
            return percent_of(each, 100 * MAX_CPUS);
    }
    return 0;
}

static bool
is_in_motion(JsonObject *status)
{
    JsonObject *motion = gw_json_get_object(status, "motion");
    const char *state = motion ? gw_json_get_string(motion, "state") : NULL;
    return state && strcmp(state, "completed") != 0 && strcmp(state, "failed") != 0 &&
           strcmp(state, "cancelled") != 0;
}

/* Its number; 0: there is no supervisor to have one. */
static int64_t
last_event(JsonObject *status)
{
    return gw_json_inner_int(status, "events", "last_id");
}

static void
set_at(GwInventoryHost *host, const char *vm, JsonObject *status, bool told_unknown)
{
    const char *state = gw_vm_state_told(status, gw_json_get_object(status, "motion"));
    GwVmAt *at = g_new0(GwVmAt, 1);
    at->status = gw_json_object_to_line(status);
    at->state = g_strdup(state ? state : "unknown");
    at->uuid = g_strdup(gw_json_get_string(status, "uuid"));
    at->in_motion = is_in_motion(status);
    at->told_unknown = told_unknown;
    at->last_event = last_event(status);
    g_hash_table_replace(host->vms, g_strdup(vm), at);
}

/* Two tell of a VM: its host's stream, and whoever has just asked because of an order. */
static bool
is_older(const GwVmAt *was, JsonObject *status)
{
    const char *uuid = gw_json_get_string(status, "uuid");
    int64_t id = last_event(status);
    return id > 0 && id < was->last_event && g_strcmp0(uuid, was->uuid) == 0;
}

static void
replace_vms(GwInventoryHost *host, JsonArray *vms)
{
    g_autoptr(GHashTable) before = g_steal_pointer(&host->vms);
    host->vms = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, vm_at_free);
    for (guint i = 0; vms && i < json_array_get_length(vms); i++) {
        JsonObject *status = gw_json_array_object(vms, i);
        const char *name = status ? gw_json_get_string(status, "name") : NULL;
        const GwVmAt *was = name ? g_hash_table_lookup(before, name) : NULL;
        if (name)
            set_at(host, name, status, was && was->told_unknown);
    }
}

static void
judge_all_locked(GwInventory *self, GwAftermath *after)
{
    GHashTableIter iter;
    void *name;
    g_hash_table_iter_init(&iter, self->vms);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        gw_inventory_judge_state_locked(self, name, after);
}

void
gw_inventory_host_up(GwInventory *self, const char *host, JsonObject *facts, JsonArray *vms)
{
    GwAftermath *after = gw_aftermath_new();
    g_mutex_lock(&self->lock);
    GwInventoryHost *found = g_hash_table_lookup(self->hosts, host);
    if (found) {
        if (found->link != GW_LINK_UP)
            gw_aftermath_event(after, "host.up", host, NULL, NULL);
        found->link = GW_LINK_UP;
        g_clear_pointer(&found->why_lost, g_free);
        g_free(found->facts);
        found->facts = gw_json_object_to_line(facts);
        replace_vms(found, vms);
        judge_all_locked(self, after);
        gw_aftermath_change(after, GW_CHANGE_HOST_UP, host, NULL);
    }
    g_mutex_unlock(&self->lock);
    gw_aftermath_tell(after, self);
}

void
gw_inventory_host_lost(GwInventory *self, const char *host, const char *why)
{
    GwAftermath *after = gw_aftermath_new();
    g_mutex_lock(&self->lock);
    GwInventoryHost *found = g_hash_table_lookup(self->hosts, host);
    if (found) {
        g_free(found->why_lost);
        found->why_lost = g_strdup(why);
        if (found->link != GW_LINK_LOST) {
            JsonObject *data = json_object_new();
            json_object_set_string_member(data, "why", why);
            gw_aftermath_event(after, "host.unreachable", host, NULL, data);
            gw_aftermath_change(after, GW_CHANGE_HOST_LOST, host, NULL);
        }
        found->link = GW_LINK_LOST;
        judge_all_locked(self, after);
    }
    g_mutex_unlock(&self->lock);
    gw_aftermath_tell(after, self);
}

static void
note_status_locked(GwInventory *self, GwInventoryHost *host, const char *vm, JsonObject *data,
                   GwAftermath *after)
{
    JsonObject *status = gw_json_get_object(data, "status");
    const GwVmAt *was = g_hash_table_lookup(host->vms, vm);
    if (was && status && is_older(was, status))
        return;
    g_autofree char *state = was ? g_strdup(was->state) : NULL;
    if (status)
        set_at(host, vm, status, was && was->told_unknown);
    else
        g_hash_table_remove(host->vms, vm);
    const GwVmAt *is = g_hash_table_lookup(host->vms, vm);
    gw_inventory_judge_state_locked(self, vm, after);
    if (g_strcmp0(state, is ? is->state : NULL) != 0)
        gw_aftermath_change(after, GW_CHANGE_VM, host->record.name, vm);
}

/* The hub's listeners are another thread's: a tree of their own. */
static void
tell_load(GwInventory *self, const char *host, JsonObject *data)
{
    g_autofree char *text = gw_json_object_to_line(data);
    JsonObject *copy = gw_json_parse_object(text, -1, NULL);
    if (copy)
        gw_event_hub_tell_passing(self->hub, "host.load", host, NULL, NULL, copy);
}

void
gw_inventory_host_event(GwInventory *self, const char *host, const char *type, JsonObject *data)
{
    const char *vm = gw_json_get_string(data, "vm");
    if (strcmp(type, "host.load") == 0)
        tell_load(self, host, data);
    GwAftermath *after = gw_aftermath_new();
    g_mutex_lock(&self->lock);
    GwInventoryHost *found = g_hash_table_lookup(self->hosts, host);
    JsonObject *facts = gw_json_get_object(data, "host");
    if (found && strcmp(type, "host.load") == 0) {
        g_free(found->load);
        found->load = gw_json_object_to_line(data);
    } else if (found && strcmp(type, "host.facts") == 0 && facts) {
        g_free(found->facts);
        found->facts = gw_json_object_to_line(facts);
        gw_aftermath_change(after, GW_CHANGE_HOST_ROOM, host, NULL);
    } else if (found && vm && strcmp(type, "vm.status") == 0) {
        note_status_locked(self, found, vm, data, after);
    } else if (found && vm && strcmp(type, "motion.ended") == 0) {
        /* Of the others there are a dozen within the pause: who looks at each takes the hosts' CPUs just
         * then. */
        gw_aftermath_change(after, GW_CHANGE_MOTION, host, vm);
    }
    g_mutex_unlock(&self->lock);
    gw_aftermath_tell(after, self);
}
