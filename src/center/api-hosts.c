/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hosts: how they join, what is done to them, and what they have together. */
#include "api-internal.h"
#include "certificate.h"
#include "error.h"
#include "preflight.h"
#include "views.h"

#include <gio/gio.h>

#define TOKEN_MAX     512
#define REQUEST_MAX   16384
#define TOKEN_VALID_S 3600

typedef struct {
    const char *token, *name, *address, *request;
    unsigned port;
} JoinRequest;

static bool
read_join(GwCall *call, JoinRequest *ret_join, GError **error)
{
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    *ret_join = (JoinRequest){
        .token = gw_arguments_string(&args, "token", GW_REQUIRED, TOKEN_MAX),
        .name = gw_arguments_string(&args, "name", GW_REQUIRED, 63),
        .address = gw_arguments_string(&args, "address", GW_REQUIRED, 63),
        .port = (unsigned)gw_arguments_int(&args, "port", GW_REQUIRED, 1, 65535, 0),
        .request = gw_arguments_string(&args, "request", GW_REQUIRED, REQUEST_MAX),
    };
    if (ret_join->name && !gw_is_host_name(ret_join->name))
        gw_arguments_refuse(&args, "name",
                            "got '%s', expected lower-case letters, digits and '-', the first no '-'",
                            ret_join->name);
    if (ret_join->address && !g_hostname_is_ip_address(ret_join->address))
        gw_arguments_refuse(&args, "address", "got '%s', expected a numeric IP address", ret_join->address);
    return gw_arguments_end(&args, error);
}

static bool
is_host(GwCall *call, const char *name)
{
    g_auto(GStrv) names = gw_inventory_host_names(call->api->parts.inventory);
    return g_strv_contains((const char *const *)names, name);
}

/* A token that is for any host must not replace one: who has it could take a host's place. It is used up all
 * the same, or it would tell who guesses which hosts there are. */
static bool
use_token(GwCall *call, const JoinRequest *join, GError **error)
{
    GwAuth *auth = call->api->parts.auth;
    g_autofree char *for_host = NULL;
    if (!gw_auth_join_token_host(auth, join->token, &for_host, error) ||
        !gw_auth_use_join_token(auth, join->token, join->name, error))
        return false;
    if (for_host || !is_host(call, join->name))
        return true;
    g_set_error(
        error, GW_ERROR, GW_ERROR_EXISTS,
        "there is a host '%s' already; to replace it use a token of 'godwit host add-token --host %s', or "
        "remove it first ('godwit host rm %s'). This token is used up",
        join->name, join->name, join->name);
    return false;
}

JsonObject *
gw_api_join(GwCall *call, GError **error)
{
    const GwApiParts *parts = &call->api->parts;
    JoinRequest join;
    g_free(call->user);
    call->user = g_strdup("join-token");
    if (!read_join(call, &join, error))
        return NULL;
    /* Before the token is used up: a request that is no good should not cost one. */
    g_autofree char *certificate =
        gw_authority_sign_host(parts->authority, join.request, join.name, join.address, error);
    if (!certificate || !use_token(call, &join, error) || !gw_call_audit_begin(call, error))
        return NULL;
    GwHostRecord host = {.name = (char *)join.name,
                         .cluster = (char *)parts->cluster,
                         .address = (char *)join.address,
                         .port = join.port,
                         .joined_us = g_get_real_time()};
    if (!gw_inventory_add_host(parts->inventory, &host, error))
        return NULL;
    JsonObject *answer = json_object_new();
    json_object_set_string_member(answer, "name", join.name);
    json_object_set_string_member(answer, "ca", gw_authority_certificate(parts->authority));
    json_object_set_string_member(answer, "certificate", certificate);
    return answer;
}

JsonObject *
gw_api_host_token(GwCall *call, GError **error)
{
    const GwApiParts *parts = &call->api->parts;
    int64_t expires_us = 0;
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    int64_t valid_s = gw_arguments_int(&args, "valid_s", GW_OPTIONAL, 1, 30 * 86400, TOKEN_VALID_S);
    const char *host = gw_arguments_string(&args, "host", GW_OPTIONAL, 63);
    if (host && !gw_is_host_name(host))
        gw_arguments_refuse(&args, "host", "got '%s', which cannot be a host's name", host);
    if (!gw_arguments_end(&args, error))
        return NULL;
    char *token = gw_auth_new_join_token_for(parts->auth, gw_authority_fingerprint(parts->authority), host,
                                             call->user, (unsigned)valid_s, &expires_us, error);
    if (!token)
        return NULL;
    JsonObject *answer = json_object_new();
    json_object_set_string_member(answer, "token", token);
    gw_answer_set_time(answer, "expires", expires_us);
    gw_secret_free(token);
    return answer;
}

JsonObject *
gw_api_hosts(GwCall *call, GError **error)
{
    return gw_answer_list("hosts", gw_inventory_hosts_json(call->api->parts.inventory));
}

JsonObject *
gw_api_host(GwCall *call, GError **error)
{
    return gw_inventory_host_json(call->api->parts.inventory, gw_call_param(call, "host"), error);
}

JsonObject *
gw_api_host_remove(GwCall *call, GError **error)
{
    if (!gw_call_no_arguments(call, error) ||
        !gw_inventory_remove_host(call->api->parts.inventory, gw_call_param(call, "host"), error))
        return NULL;
    return json_object_new();
}

JsonObject *
gw_api_host_maintenance(GwCall *call, GError **error)
{
    GwInventory *inventory = call->api->parts.inventory;
    const char *host = gw_call_param(call, "host");
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    bool enabled = gw_arguments_bool(&args, "enabled", GW_REQUIRED, false);
    if (!gw_arguments_end(&args, error) || !gw_inventory_set_maintenance(inventory, host, enabled, error))
        return NULL;
    return gw_inventory_host_json(inventory, host, error);
}

static JsonObject *
path_json(const GwPath *path)
{
    JsonObject *object = json_object_new();
    gw_answer_set_text(object, "source_interface", path->source_interface);
    gw_answer_set_text(object, "source_address", path->source_address);
    gw_answer_set_text(object, "destination_interface", path->destination_interface);
    gw_answer_set_text(object, "destination_address", path->destination_address);
    json_object_set_boolean_member(object, "reachable", path->is_reachable);
    gw_answer_set_text(object, "error", path->error);
    json_object_set_int_member(object, "rtt_us", (int64_t)path->rtt_us);
    json_object_set_int_member(object, "bits_per_s", (int64_t)path->bits_per_s);
    return object;
}

JsonObject *
gw_api_host_probe(GwCall *call, GError **error)
{
    const char *host = gw_call_param(call, "host");
    g_auto(GwArguments) args;
    gw_arguments_init(&args, call->body);
    const char *to = gw_arguments_string(&args, "to", GW_REQUIRED, 63);
    unsigned duration_ms = (unsigned)gw_arguments_int(&args, "duration_ms", GW_OPTIONAL, 10, 10000, 200);
    if (to && g_str_equal(to, host))
        gw_arguments_refuse(&args, "to", "got '%s', expected another host", to);
    if (!gw_arguments_end(&args, error))
        return NULL;
    g_autoptr(GArray) paths =
        gw_preflight_probe_hosts(call->api->parts.inventory, host, to, duration_ms, error);
    if (!paths)
        return NULL;
    JsonArray *list = json_array_new();
    for (guint i = 0; i < paths->len; i++)
        json_array_add_object_element(list, path_json(&g_array_index(paths, GwPath, i)));
    return gw_answer_list("paths", list);
}

/* The configurations of all VMs. What the store has was checked when it came in. */
static GPtrArray *
all_configs(GwCall *call, GError **error)
{
    g_autoptr(GArray) vms = gw_store_vms(call->api->parts.store, error);
    if (!vms)
        return NULL;
    GPtrArray *configs = g_ptr_array_new_with_free_func((GDestroyNotify)gw_vm_config_free);
    for (guint i = 0; i < vms->len; i++) {
        g_autoptr(GError) failure = NULL;
        const GwVmRecord *vm = &g_array_index(vms, GwVmRecord, i);
        GwVmConfig *config = gw_vm_config_parse(vm->config, -1, &failure);
        if (config)
            g_ptr_array_add(configs, config);
        else
            g_warning("the stored configuration of VM '%s' is wrong, ignoring: %s", vm->name,
                      failure->message);
    }
    return configs;
}

static JsonObject *
view(GwCall *call, const char *member, JsonArray *(*look)(JsonArray *, const GPtrArray *), GError **error)
{
    g_autoptr(GPtrArray) configs = all_configs(call, error);
    if (!configs)
        return NULL;
    g_autoptr(JsonArray) hosts = gw_inventory_hosts_json(call->api->parts.inventory);
    return gw_answer_list(member, look(hosts, configs));
}

JsonObject *
gw_api_networks(GwCall *call, GError **error)
{
    return view(call, "networks", gw_view_networks, error);
}

JsonObject *
gw_api_datastores(GwCall *call, GError **error)
{
    return view(call, "datastores", gw_view_datastores, error);
}
