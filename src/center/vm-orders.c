/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Orders to single VMs, at their home's agent. */
#include "vm-orders.h"

#include "error.h"
#include "json.h"
#include "settle.h"

#include <string.h>

#define ORDER_S 100 /* the start of a QEMU, and more than an agent waits for a supervisor */

typedef struct {
    GwTasks *tasks; /* borrowed, as the inventory */
    GwInventory *inventory;
    char *vm, *home;
    bool is_held;
    GwHostClient *agent;
} Order;

static void
order_clear(Order *self)
{
    if (self->is_held)
        gw_tasks_release_vm(self->tasks, self->vm);
    g_clear_pointer(&self->agent, gw_host_client_free);
    g_free(self->vm);
    g_free(self->home);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Order, order_clear)

static bool
hold(Order *self, GwTasks *tasks, const char *vm, GError **error)
{
    self->tasks = tasks;
    self->inventory = gw_tasks_inventory(tasks);
    self->vm = g_strdup(vm);
    self->is_held = gw_tasks_hold_vm(tasks, vm, error);
    return self->is_held;
}

static bool
find_home(Order *self, GError **error)
{
    self->home = gw_inventory_vm_home(self->inventory, self->vm, error);
    if (self->home)
        self->agent = gw_inventory_vm_client(self->inventory, self->home, self->vm, ORDER_S, error);
    return self->agent != NULL;
}

static bool
check_trouble(const Order *self, GError **error)
{
    switch (gw_inventory_trouble(self->inventory, self->vm)) {
    case GW_VM_TROUBLE_DUPLICATE:
        g_set_error(
            error, GW_ERROR, GW_ERROR_WRONG_STATE,
            "two hosts say that they run %s: find out which is right ('godwit event ls'), and stop the "
            "other with 'godwit-vm power stop' there",
            self->vm);
        return false;
    case GW_VM_TROUBLE_UNSURE:
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                    "%s runs on a host that is not its home %s, which cannot be asked: bring %s back first",
                    self->vm, self->home, self->home);
        return false;
    default:
        return true;
    }
}

/* Where else a host has it, in one of the states in which a guest is there; NULL: nowhere; owned. */
static char *
runs_elsewhere(GwInventory *inventory, const char *vm, const char *home)
{
    g_autoptr(GArray) sightings = gw_inventory_sightings(inventory);
    for (guint i = 0; i < sightings->len; i++) {
        const GwVmSighting *seen = &g_array_index(sightings, GwVmSighting, i);
        GwPlace place = gw_place_from_state(seen->state);
        if (strcmp(seen->vm, vm) == 0 && g_strcmp0(seen->host, home) != 0 &&
            (place == GW_PLACE_RUNNING || place == GW_PLACE_PAUSED || place == GW_PLACE_STARTING))
            return g_strdup(seen->host);
    }
    return NULL;
}

/* So that whoever looks next sees what was ordered, and does not have to wait for the host's event. */
static void
refresh(Order *self)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) data = json_object_new();
    JsonObject *status = gw_host_client_vm(self->agent, "GET", self->vm, "", NULL, &error);
    if (!status && !g_error_matches(error, GW_ERROR, GW_ERROR_NOT_FOUND))
        return;
    json_object_set_string_member(data, "vm", self->vm);
    if (status)
        json_object_set_object_member(data, "status", status);
    else
        json_object_set_null_member(data, "status");
    gw_inventory_host_event(self->inventory, self->home, "vm.status", data);
}

static bool
start_supervisor(Order *self, GError **error)
{
    g_autofree char *text = gw_inventory_vm_config(self->inventory, self->vm, error);
    JsonObject *config = text ? gw_json_parse_object(text, -1, error) : NULL;
    if (!config)
        return false;
    JsonObject *body = json_object_new();
    json_object_set_object_member(body, "config", config);
    json_object_set_string_member(body, "mode", "start");
    g_autoptr(JsonObject) status = gw_host_client_call(self->agent, "POST", "/v1/vms", body, error);
    return status != NULL;
}

static GwVmConfig *
parse_config(JsonObject *config, GError **error)
{
    g_autofree char *text = gw_json_object_to_line(config);
    return gw_vm_config_parse(text, -1, error);
}

static bool
keep(GwInventory *inventory, const GwVmConfig *config, const char *host, GError **error)
{
    g_autofree char *text = gw_vm_config_to_text(config);
    GwVmRecord record = {.name = config->name,
                         .uuid = config->uuid,
                         .host = (char *)host,
                         .config = text,
                         .created_us = g_get_real_time()};
    return gw_inventory_add_vm(inventory, &record, error);
}

/* One of that name that a host has and the center does not know would be taken for the new one. */
static bool
check_unseen(GwInventory *inventory, const char *vm, GError **error)
{
    g_autoptr(GArray) sightings = gw_inventory_sightings(inventory);
    for (guint i = 0; i < sightings->len; i++) {
        const GwVmSighting *seen = &g_array_index(sightings, GwVmSighting, i);
        if (strcmp(seen->vm, vm) != 0)
            continue;
        g_set_error(error, GW_ERROR, GW_ERROR_EXISTS, "%s has a VM '%s' (%s): 'godwit vm adopt' takes it in",
                    seen->host, vm, seen->state);
        return false;
    }
    return true;
}

bool
gw_order_create(GwTasks *tasks, JsonObject *config, const char *host, bool start, GError **error)
{
    g_auto(Order) order = {0};
    g_autoptr(GwVmConfig) parsed = parse_config(config, error);
    if (!parsed || !hold(&order, tasks, parsed->name, error))
        return false;
    order.home = g_strdup(host);
    order.agent = gw_inventory_client(order.inventory, host, ORDER_S, error);
    if (!order.agent || !check_unseen(order.inventory, parsed->name, error) ||
        !keep(order.inventory, parsed, host, error))
        return false;
    if (!start)
        return true;
    GError *failure = NULL;
    bool is_started = start_supervisor(&order, &failure);
    if (!g_error_matches(failure, GW_ERROR, GW_ERROR_PEER_LOST) &&
        !g_error_matches(failure, GW_ERROR, GW_ERROR_TIMED_OUT))
        refresh(&order); /* the host answers */
    if (is_started)
        return true;
    g_propagate_error(error, failure);
    g_autoptr(GError) cause = NULL;
    if (!gw_inventory_remove_vm(order.inventory, parsed->name, &cause))
        g_warning("%s: %s, ignoring: it stays in the inventory, off", parsed->name, cause->message);
    return false;
}

static bool
forward_power(Order *self, const char *action, GError **error)
{
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "action", action);
    g_autoptr(JsonObject) reply = gw_host_client_vm(self->agent, "POST", self->vm, "/power", body, error);
    return reply != NULL;
}

static bool
start_vm(Order *self, GError **error)
{
    g_autofree char *elsewhere = runs_elsewhere(self->inventory, self->vm, self->home);
    if (elsewhere) {
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE, "%s is on %s: it is not started on %s", self->vm,
                    elsewhere, self->home);
        return false;
    }
    g_autoptr(GError) cause = NULL;
    if (forward_power(self, "start", &cause))
        return true;
    if (g_error_matches(cause, GW_ERROR, GW_ERROR_NOT_FOUND))
        return start_supervisor(self, error);
    g_propagate_error(error, g_steal_pointer(&cause));
    return false;
}

bool
gw_order_power(GwTasks *tasks, const char *vm, const char *action, GError **error)
{
    static const char *const actions[] = {"start", "shutdown", "stop", "reset", "pause", "resume", NULL};
    g_auto(Order) order = {0};
    if (strcmp(action, "suspend") == 0)
        action = "pause";
    if (!g_strv_contains(actions, action)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "action: got '%s', expected start, shutdown, stop, reset, pause or resume", action);
        return false;
    }
    /* A stop is not held up by anything: it is what one does when everything else hangs. */
    bool is_stop = strcmp(action, "stop") == 0;
    order = (Order){.tasks = tasks, .inventory = gw_tasks_inventory(tasks)};
    if (is_stop)
        order.vm = g_strdup(vm);
    else if (!hold(&order, tasks, vm, error))
        return false;
    if (!find_home(&order, error) || (!is_stop && !check_trouble(&order, error)))
        return false;
    bool is_done =
        strcmp(action, "start") == 0 ? start_vm(&order, error) : forward_power(&order, action, error);
    refresh(&order);
    if (is_done || is_stop || !error || !g_error_matches(*error, GW_ERROR, GW_ERROR_NOT_FOUND))
        return is_done;
    g_clear_error(error);
    g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE, "cannot %s %s: it is off", action, vm);
    return false;
}

bool
gw_order_remove(GwTasks *tasks, const char *vm, GError **error)
{
    g_auto(Order) order = {0};
    if (!hold(&order, tasks, vm, error) || !find_home(&order, error) || !check_trouble(&order, error))
        return false;
    g_autofree char *elsewhere = runs_elsewhere(order.inventory, vm, order.home);
    GwEnd end = gw_end_ask(order.agent, vm, NULL);
    if (elsewhere) {
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE, "%s is on %s: stop it first", vm, elsewhere);
        return false;
    }
    switch (end.place) {
    case GW_PLACE_ABSENT:
        return gw_inventory_remove_vm(order.inventory, vm, error);
    case GW_PLACE_OFF:
    case GW_PLACE_CRASHED:
        break;
    case GW_PLACE_UNKNOWN:
        g_set_error(error, GW_ERROR, GW_ERROR_PEER_LOST, "%s: it does not say whether %s is off", order.home,
                    vm);
        return false;
    default:
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE, "%s is %s: stop it first", vm,
                    gw_place_name(end.place));
        return false;
    }
    GError *cause = NULL;
    g_autoptr(JsonObject) reply = gw_host_client_vm(order.agent, "DELETE", vm, "", NULL, &cause);
    if (!reply && !g_error_matches(cause, GW_ERROR, GW_ERROR_NOT_FOUND)) {
        g_propagate_error(error, cause);
        return false;
    }
    g_clear_error(&cause);
    refresh(&order); /* the name is free as soon as we answer */
    return gw_inventory_remove_vm(order.inventory, vm, error);
}

bool
gw_order_adopt(GwTasks *tasks, const char *vm, const char *host, GError **error)
{
    g_auto(Order) order = {0};
    if (!hold(&order, tasks, vm, error))
        return false;
    order.home = g_strdup(host);
    order.agent = gw_inventory_client(order.inventory, host, ORDER_S, error);
    if (!order.agent)
        return false;
    g_autofree char *known = gw_inventory_vm_home(order.inventory, vm, NULL);
    if (known) {
        g_set_error(error, GW_ERROR, GW_ERROR_EXISTS, "%s is in the inventory already, on %s", vm, known);
        return false;
    }
    g_autoptr(JsonObject) config = gw_host_client_vm(order.agent, "GET", vm, "/config", NULL, error);
    g_autoptr(GwVmConfig) parsed = config ? parse_config(config, error) : NULL;
    if (!parsed)
        return false;
    if (strcmp(parsed->name, vm) != 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_PROTOCOL, "%s: it says that the VM '%s' is called '%s'", host,
                    vm, parsed->name);
        return false;
    }
    if (!keep(order.inventory, parsed, host, error))
        return false;
    refresh(&order);
    return true;
}

bool
gw_order_resolve(GwTasks *tasks, const char *vm, const char *host, const char *outcome, GError **error)
{
    g_auto(Order) order = {.tasks = tasks, .inventory = gw_tasks_inventory(tasks), .vm = g_strdup(vm)};
    if (strcmp(outcome, "run") != 0 && strcmp(outcome, "discard") != 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "outcome: got '%s', expected run or discard",
                    outcome);
        return false;
    }
    g_autofree char *home = gw_inventory_vm_home(order.inventory, vm, error);
    if (!home)
        return false;
    order.home = g_strdup(host ? host : home);
    order.agent = gw_inventory_vm_client(order.inventory, order.home, vm, ORDER_S, error);
    if (!order.agent)
        return false;
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "outcome", outcome);
    g_autoptr(JsonObject) reply = gw_host_client_vm(order.agent, "POST", vm, "/motion/resolve", body, error);
    refresh(&order);
    return reply != NULL;
}
