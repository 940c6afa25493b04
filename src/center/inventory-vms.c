/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inventory's VMs: records, homes, and the state that their hosts tell. */
#include "error.h"
#include "inventory-internal.h"

#include <string.h>

static const char *const trouble_names[] = {
    [GW_VM_TROUBLE_NONE] = NULL,
    [GW_VM_TROUBLE_UNSURE] = "unsure",
    [GW_VM_TROUBLE_DUPLICATE] = "duplicate",
};

GwInventoryVm *
gw_inventory_vm_new(const GwVmRecord *record)
{
    GwInventoryVm *self = g_new0(GwInventoryVm, 1);
    g_autoptr(GwVmConfig) config = gw_vm_config_parse(record->config, -1, NULL);
    self->record = (GwVmRecord){.name = g_strdup(record->name),
                                .uuid = g_strdup(record->uuid),
                                .host = g_strdup(record->host),
                                .config = g_strdup(record->config),
                                .created_us = record->created_us};
    self->vcpus = config ? config->vcpus : 0;
    self->memory_mib = config ? config->memory_bytes >> 20 : 0;
    self->told_state = g_strdup("unknown");
    return self;
}

void
gw_inventory_vm_free(void *data)
{
    GwInventoryVm *self = data;
    gw_vm_record_clear(&self->record);
    g_free(self->told_state);
    g_free(self->task);
    g_free(self);
}

/* The VM that is meant, and not another one of this name, which somebody made by hand: its state is not that
 * of ours, and it is not ours to remove. */
static bool
is_of(const GwVmAt *at, const GwInventoryVm *vm)
{
    return at && vm && (!at->uuid || strcmp(at->uuid, vm->record.uuid) == 0);
}

static const GwVmAt *
at_home_locked(GwInventory *self, const GwInventoryVm *vm)
{
    const GwInventoryHost *host = g_hash_table_lookup(self->hosts, vm->record.host);
    const GwVmAt *at =
        host && host->link == GW_LINK_UP ? g_hash_table_lookup(host->vms, vm->record.name) : NULL;
    return is_of(at, vm) ? at : NULL;
}

const char *
gw_inventory_state_locked(GwInventory *self, const GwInventoryVm *vm)
{
    const GwInventoryHost *host = g_hash_table_lookup(self->hosts, vm->record.host);
    const GwVmAt *at = at_home_locked(self, vm);
    if (!host || host->link != GW_LINK_UP)
        return "unknown";
    return at ? at->state : "off";
}

void
gw_inventory_judge_state_locked(GwInventory *self, const char *name, GwAftermath *after)
{
    GwInventoryVm *vm = g_hash_table_lookup(self->vms, name);
    const char *state = vm ? gw_inventory_state_locked(self, vm) : NULL;
    if (!vm || strcmp(vm->told_state, state) == 0)
        return;
    JsonObject *data = json_object_new();
    json_object_set_string_member(data, "state", state);
    json_object_set_string_member(data, "was", vm->told_state);
    gw_aftermath_event(after, "vm.state", vm->record.host, name, data);
    g_free(vm->told_state);
    vm->told_state = g_strdup(state);
}

static JsonObject *
vm_json_locked(GwInventory *self, const GwInventoryVm *vm)
{
    const GwVmAt *at = at_home_locked(self, vm);
    g_autofree char *created = gw_utc_text(vm->record.created_us);
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "name", vm->record.name);
    json_object_set_string_member(object, "uuid", vm->record.uuid);
    json_object_set_string_member(object, "host", vm->record.host);
    json_object_set_string_member(object, "state", gw_inventory_state_locked(self, vm));
    json_object_set_int_member(object, "vcpus", vm->vcpus);
    json_object_set_int_member(object, "memory_mib", (gint64)vm->memory_mib);
    gw_json_set_parsed(object, "status", at ? at->status : NULL);
    gw_json_set_text(object, "task", vm->task);
    gw_json_set_text(object, "trouble", trouble_names[vm->trouble]);
    gw_json_set_text(object, "created", created);
    return object;
}

JsonObject *
gw_inventory_vm_json(GwInventory *self, const char *vm, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    const GwInventoryVm *found = gw_inventory_find_vm_locked(self, vm, error);
    return found ? vm_json_locked(self, found) : NULL;
}

JsonArray *
gw_inventory_vms_json(GwInventory *self)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(self->vms), (GCompareFunc)strcmp);
    JsonArray *array = json_array_new();
    for (GList *each = names; each; each = each->next)
        json_array_add_object_element(array,
                                      vm_json_locked(self, g_hash_table_lookup(self->vms, each->data)));
    return array;
}

bool
gw_inventory_add_vm(GwInventory *self, const GwVmRecord *vm, GError **error)
{
    if (!gw_store_add_vm(self->store, vm, error))
        return false;
    GwAftermath *after = gw_aftermath_new();
    g_mutex_lock(&self->lock);
    GwInventoryVm *added = gw_inventory_vm_new(vm);
    g_free(added->told_state);
    added->told_state = g_strdup(gw_inventory_state_locked(self, added));
    g_hash_table_replace(self->vms, g_strdup(vm->name), added);
    g_mutex_unlock(&self->lock);
    gw_aftermath_event(after, "vm.created", vm->host, vm->name, NULL);
    gw_aftermath_change(after, GW_CHANGE_VM, vm->host, vm->name);
    gw_aftermath_tell(after, self);
    return true;
}

bool
gw_inventory_remove_vm(GwInventory *self, const char *vm, GError **error)
{
    if (!gw_store_remove_vm(self->store, vm, error))
        return false;
    GwAftermath *after = gw_aftermath_new();
    g_mutex_lock(&self->lock);
    const GwInventoryVm *found = g_hash_table_lookup(self->vms, vm);
    gw_aftermath_event(after, "vm.removed", found ? found->record.host : NULL, vm, NULL);
    g_hash_table_remove(self->vms, vm);
    g_mutex_unlock(&self->lock);
    gw_aftermath_tell(after, self);
    return true;
}

char *
gw_inventory_vm_home(GwInventory *self, const char *vm, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    const GwInventoryVm *found = gw_inventory_find_vm_locked(self, vm, error);
    return found ? g_strdup(found->record.host) : NULL;
}

char *
gw_inventory_vm_config(GwInventory *self, const char *vm, GError **error)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    const GwInventoryVm *found = gw_inventory_find_vm_locked(self, vm, error);
    return found ? g_strdup(found->record.config) : NULL;
}

JsonObject *
gw_inventory_vm_status_at(GwInventory *self, const char *vm, const char *host)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    const GwInventoryHost *found = g_hash_table_lookup(self->hosts, host);
    const GwVmAt *at = found ? g_hash_table_lookup(found->vms, vm) : NULL;
    const GwInventoryVm *known = g_hash_table_lookup(self->vms, vm);
    return at && (!known || is_of(at, known)) ? gw_json_parse_object(at->status, -1, NULL) : NULL;
}

void
gw_inventory_vm_moved(GwInventory *self, const char *vm, const char *host)
{
    GwAftermath *after = gw_aftermath_new();
    g_mutex_lock(&self->lock);
    GwInventoryVm *found = g_hash_table_lookup(self->vms, vm);
    if (found && strcmp(found->record.host, host) != 0) {
        JsonObject *data = json_object_new();
        json_object_set_string_member(data, "was", found->record.host);
        gw_aftermath_event(after, "vm.home-changed", host, vm, data);
        g_free(found->record.host);
        found->record.host = g_strdup(host);
        gw_inventory_judge_state_locked(self, vm, after);
        gw_aftermath_change(after, GW_CHANGE_VM, host, vm);
    }
    g_mutex_unlock(&self->lock);
    gw_aftermath_tell(after, self);
}

bool
gw_inventory_take_home(GwInventory *self, const char *vm, const char *host, GError **error)
{
    if (!gw_store_set_vm_host(self->store, vm, host, error))
        return false;
    gw_inventory_vm_moved(self, vm, host);
    return true;
}

void
gw_inventory_set_vm_task(GwInventory *self, const char *vm, const char *task)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    GwInventoryVm *found = g_hash_table_lookup(self->vms, vm);
    if (!found)
        return;
    g_free(found->task);
    found->task = g_strdup(task);
}

void
gw_inventory_set_trouble(GwInventory *self, const char *vm, GwVmTrouble trouble, const char *host)
{
    GwAftermath *after = gw_aftermath_new();
    g_mutex_lock(&self->lock);
    GwInventoryVm *found = g_hash_table_lookup(self->vms, vm);
    if (found && found->trouble != trouble) {
        found->trouble = trouble;
        if (trouble != GW_VM_TROUBLE_NONE) {
            JsonObject *data = json_object_new();
            json_object_set_string_member(data, "home", found->record.host);
            gw_aftermath_event(after, trouble == GW_VM_TROUBLE_DUPLICATE ? "vm.duplicate" : "vm.unsure", host,
                               vm, data);
        }
    }
    g_mutex_unlock(&self->lock);
    gw_aftermath_tell(after, self);
}

GwVmTrouble
gw_inventory_trouble(GwInventory *self, const char *vm)
{
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    const GwInventoryVm *found = g_hash_table_lookup(self->vms, vm);
    return found ? found->trouble : GW_VM_TROUBLE_NONE;
}

void
gw_inventory_tell_unknown(GwInventory *self, const char *vm, const char *host)
{
    GwAftermath *after = gw_aftermath_new();
    g_mutex_lock(&self->lock);
    const GwInventoryHost *found = g_hash_table_lookup(self->hosts, host);
    GwVmAt *at = found ? g_hash_table_lookup(found->vms, vm) : NULL;
    if (at && !at->told_unknown) {
        at->told_unknown = true;
        gw_aftermath_event(after, "vm.unknown", host, vm, NULL);
    }
    g_mutex_unlock(&self->lock);
    gw_aftermath_tell(after, self);
}

static void
sighting_clear(void *data)
{
    GwVmSighting *sighting = data;
    g_free(sighting->vm);
    g_free(sighting->host);
    g_free(sighting->home);
    g_free(sighting->state);
}

static void
add_sightings(GwInventory *self, const GwInventoryHost *host, GArray *sightings)
{
    GHashTableIter iter;
    void *name, *each;
    g_hash_table_iter_init(&iter, host->vms);
    while (g_hash_table_iter_next(&iter, &name, &each)) {
        const GwInventoryVm *vm = g_hash_table_lookup(self->vms, name);
        GwVmSighting sighting = {.vm = g_strdup(name),
                                 .host = g_strdup(host->record.name),
                                 .home = is_of(each, vm) ? g_strdup(vm->record.host) : NULL,
                                 .state = g_strdup(((GwVmAt *)each)->state)};
        g_array_append_val(sightings, sighting);
    }
}

GArray *
gw_inventory_sightings(GwInventory *self)
{
    GArray *sightings = g_array_new(FALSE, FALSE, sizeof(GwVmSighting));
    g_array_set_clear_func(sightings, sighting_clear);
    g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
    GHashTableIter iter;
    void *each;
    g_hash_table_iter_init(&iter, self->hosts);
    while (g_hash_table_iter_next(&iter, NULL, &each))
        if (((GwInventoryHost *)each)->link == GW_LINK_UP)
            add_sightings(self, each, sightings);
    return sightings;
}

char **
gw_inventory_troubled_vms(GwInventory *self)
{
    GPtrArray *names = g_ptr_array_new();
    g_mutex_lock(&self->lock);
    GHashTableIter iter;
    void *each;
    g_hash_table_iter_init(&iter, self->vms);
    while (g_hash_table_iter_next(&iter, NULL, &each)) {
        const GwInventoryVm *vm = each;
        if (vm->trouble != GW_VM_TROUBLE_NONE)
            g_ptr_array_add(names, g_strdup(vm->record.name));
    }
    g_mutex_unlock(&self->lock);
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, FALSE);
}
