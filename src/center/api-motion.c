/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* May a VM move, and move it. */
#include "api-internal.h"
#include "check.h"
#include "error.h"
#include "preflight.h"

#include <string.h>

#define MAX_OVERRIDES   64
#define OVERRIDE_BYTES  64
#define HOST_NAME_BYTES 63

typedef struct {
    const char *vm, *source;
    const char *const *overrides;
    bool probe;
} CheckRequest;

/* One line of the matrix: from where it is to there. */
static JsonObject *
check_one(GwCall *call, const CheckRequest *check, const char *destination, GError **error)
{
    g_autoptr(GArray) findings = NULL;
    g_autoptr(GError) verdict = NULL;
    if (!gw_preflight(call->api->parts.inventory, check->vm, destination, check->overrides, check->probe,
                      &findings, NULL, error))
        return NULL;
    bool possible = gw_check_verdict(findings, check->overrides, &verdict);
    if (!possible && !g_error_matches(verdict, GW_ERROR, GW_ERROR_CHECK_FAILED)) {
        g_propagate_error(error, g_steal_pointer(&verdict));
        return NULL;
    }
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, "vm", check->vm);
    json_object_set_string_member(object, "source", check->source);
    json_object_set_string_member(object, "destination", destination);
    json_object_set_boolean_member(object, "possible", possible);
    json_object_set_array_member(object, "findings", gw_findings_to_json(findings));
    return object;
}

static JsonObject *
check_all(GwCall *call, const CheckRequest *check, const char *const *destinations, GError **error)
{
    g_autoptr(JsonArray) checks = json_array_new();
    for (size_t i = 0; destinations[i]; i++) {
        if (destinations[1] && strcmp(destinations[i], check->source) == 0)
            continue; /* in a matrix, where it is */
        JsonObject *one = check_one(call, check, destinations[i], error);
        if (!one)
            return NULL;
        json_array_add_object_element(checks, one);
    }
    return gw_answer_list("checks", g_steal_pointer(&checks));
}

JsonObject *
gw_api_vm_check(GwCall *call, GError **error)
{
    GwInventory *inventory = call->api->parts.inventory;
    CheckRequest check = {.vm = gw_call_param(call, "vm")};
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    const char *to = gw_arguments_string(&args, "to", GW_OPTIONAL, HOST_NAME_BYTES);
    bool all_hosts = gw_arguments_bool(&args, "all_hosts", GW_OPTIONAL, false);
    check.overrides = gw_arguments_strings(&args, "overrides", GW_OPTIONAL, MAX_OVERRIDES, OVERRIDE_BYTES);
    check.probe = gw_arguments_bool(&args, "probe", GW_OPTIONAL, true);
    if (all_hosts == (to != NULL))
        gw_arguments_refuse(&args, "to", "expected a host's name, or \"all_hosts\": true instead of it");
    if (!gw_arguments_end(&args, error) || !gw_check_overrides(check.overrides, error))
        return NULL;

    g_autofree char *source = gw_inventory_vm_home(inventory, check.vm, error);
    if (!source)
        return NULL;
    check.source = source;
    g_auto(GStrv) hosts = gw_inventory_host_names(inventory);
    if (!to && g_strv_length(hosts) <= 1)
        return gw_answer_list("checks", json_array_new()); /* nowhere to go */
    const char *const one[] = {to, NULL};
    return check_all(call, &check, to ? one : (const char *const *)hosts, error);
}

JsonObject *
gw_api_vm_migrate(GwCall *call, GError **error)
{
    static const char *const priorities[] = {"normal", "high", NULL};
    GwTasks *tasks = call->api->parts.tasks;
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    GwMigrateRequest motion = {
        .vm = gw_call_param(call, "vm"),
        .destination = gw_arguments_string(&args, "to", GW_REQUIRED, HOST_NAME_BYTES),
        .priority = gw_arguments_choice(&args, "priority", GW_OPTIONAL, priorities) == 1 ? GW_PRIORITY_HIGH
                                                                                         : GW_PRIORITY_NORMAL,
        .overrides = gw_arguments_strings(&args, "overrides", GW_OPTIONAL, MAX_OVERRIDES, OVERRIDE_BYTES),
        .reason = call->reason,
        .user = call->user,
        .address = call->address,
        .streams = (unsigned)gw_arguments_int(&args, "streams", GW_OPTIONAL, 1, 8, 0),
        .switchover_goal_ms =
            (unsigned)gw_arguments_int(&args, "switchover_goal_ms", GW_OPTIONAL, 10, 60000, 0),
        .deadline_s = (unsigned)gw_arguments_int(&args, "deadline_s", GW_OPTIONAL, 1, 7 * 86400, 0),
        .no_tls = !gw_arguments_bool(&args, "tls", GW_OPTIONAL, true),
    };
    if (!gw_arguments_end(&args, error) || !gw_check_overrides(motion.overrides, error))
        return NULL;
    g_autofree char *id = gw_tasks_migrate(tasks, &motion, error);
    return id ? gw_tasks_json(tasks, id, error) : NULL;
}
