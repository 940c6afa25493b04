/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMs: what there is, and orders. */
#include "api-internal.h"
#include "json.h"
#include "vm-orders.h"

#define NAME_MAX_BYTES 63

static JsonObject *
show_vm(GwCall *call, const char *vm, GError **error)
{
    return gw_inventory_vm_json(call->api->parts.inventory, vm, error);
}

JsonObject *
gw_api_vms(GwCall *call, GError **error)
{
    return gw_answer_list("vms", gw_inventory_vms_json(call->api->parts.inventory));
}

JsonObject *
gw_api_vm(GwCall *call, GError **error)
{
    return show_vm(call, gw_call_param(call, "vm"), error);
}

JsonObject *
gw_api_vm_config(GwCall *call, GError **error)
{
    g_autofree char *text =
        gw_inventory_vm_config(call->api->parts.inventory, gw_call_param(call, "vm"), error);
    return text ? gw_json_parse_object(text, -1, error) : NULL;
}

JsonObject *
gw_api_vm_create(GwCall *call, GError **error)
{
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    JsonObject *config = gw_arguments_object(&args, "config", GW_REQUIRED);
    const char *host = gw_arguments_string(&args, "host", GW_REQUIRED, NAME_MAX_BYTES);
    bool start = gw_arguments_bool(&args, "start", GW_OPTIONAL, false);
    if (!gw_arguments_end(&args, error) ||
        !gw_order_create(call->api->parts.tasks, config, host, start, error))
        return NULL;
    return show_vm(call, gw_json_get_string(config, "name"), error);
}

JsonObject *
gw_api_vm_adopt(GwCall *call, GError **error)
{
    const char *vm = gw_call_param(call, "vm");
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    const char *host = gw_arguments_string(&args, "host", GW_REQUIRED, NAME_MAX_BYTES);
    if (!gw_arguments_end(&args, error) || !gw_order_adopt(call->api->parts.tasks, vm, host, error))
        return NULL;
    return show_vm(call, vm, error);
}

JsonObject *
gw_api_vm_remove(GwCall *call, GError **error)
{
    if (!gw_call_no_arguments(call, error) ||
        !gw_order_remove(call->api->parts.tasks, gw_call_param(call, "vm"), error))
        return NULL;
    return json_object_new();
}

JsonObject *
gw_api_vm_power(GwCall *call, GError **error)
{
    static const char *const actions[] = {"start", "shutdown", "stop",    "reset",
                                          "pause", "resume",   "suspend", NULL};
    const char *vm = gw_call_param(call, "vm");
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    int action = gw_arguments_choice(&args, "action", GW_REQUIRED, actions);
    if (!gw_arguments_end(&args, error) ||
        !gw_order_power(call->api->parts.tasks, vm, actions[action], error))
        return NULL;
    return show_vm(call, vm, error);
}

JsonObject *
gw_api_vm_resolve(GwCall *call, GError **error)
{
    static const char *const outcomes[] = {"run", "discard", NULL};
    const char *vm = gw_call_param(call, "vm");
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    int outcome = gw_arguments_choice(&args, "outcome", GW_REQUIRED, outcomes);
    const char *host = gw_arguments_string(&args, "host", GW_REQUIRED, NAME_MAX_BYTES);
    if (!gw_arguments_end(&args, error) ||
        !gw_order_resolve(call->api->parts.tasks, vm, host, outcomes[outcome], error))
        return NULL;
    return show_vm(call, vm, error);
}
