/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VMs' routes: most of them are their supervisors' own. All in the server's threads. */
#include "error.h"
#include "host-api-internal.h"
#include "json.h"
#include "supervisor.h"
#include "vm-config.h"
#include "vm-dir.h"

#include <string.h>

/* A supervisor bounds each of its steps by QEMU's 10 s; a few of them make an operation. */
#define CALL_TIMEOUT_S   90
#define ADOPT_TIMEOUT_MS 20000
#define GONE_TIMEOUT_MS  20000
#define REMOVAL_TRIES    3

void
gw_host_api_take_vm_error(const char *vm, GError *cause, GError **error)
{
    bool is_ours = cause->domain == GW_ERROR;
    if (!is_ours || cause->code == GW_ERROR_PEER_LOST)
        g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE, "VM '%s': its supervisor was lost (%s)", vm,
                    cause->message);
    else if (cause->code == GW_ERROR_TIMED_OUT)
        g_set_error(error, GW_ERROR, GW_ERROR_VMM_FAILED, "VM '%s': %s", vm, cause->message);
    else
        g_set_error(error, GW_ERROR, cause->code, "VM '%s': %s", vm, cause->message);
    g_error_free(cause);
}

/* `body` is taken, may be NULL. */
static JsonObject *
call_vm(GwHostApi *self, const char *vm, const char *method, const char *path, JsonObject *body,
        GError **error)
{
    g_autoptr(GwHttpClient) client =
        gw_registry_connect(gw_agent_registry(self->agent), vm, CALL_TIMEOUT_S, error);
    if (!client) {
        g_clear_pointer(&body, json_object_unref);
        return NULL;
    }
    GError *cause = NULL;
    JsonObject *reply = gw_http_call(client, method, path, body, &cause);
    if (!reply)
        gw_host_api_take_vm_error(vm, cause, error);
    return reply;
}

/* The supervisor's route of the same method, with the same body. */
static JsonObject *
forward(GwHttpRequest *request, GwHostApi *self, const char *path, GError **error)
{
    const char *method = gw_http_request_method(request);
    JsonObject *body = NULL;
    if (strcmp(method, "POST") == 0) {
        body = gw_http_request_json(request, error);
        if (!body)
            return NULL;
        json_object_ref(body);
    }
    return call_vm(self, gw_http_request_param(request, "vm"), method, path, body, error);
}

static JsonObject *
show_vms(GwHttpRequest *request, void *user_data, GError **error)
{
    GwHostApi *self = user_data;
    JsonObject *answer = json_object_new();
    json_object_set_array_member(answer, "vms", gw_registry_list(gw_agent_registry(self->agent)));
    return answer;
}

/* As its supervisor says now; one that cannot be asked is told of all the same. */
static JsonObject *
show_fresh(GwHostApi *self, const char *vm, GError **error)
{
    GwRegistry *registry = gw_agent_registry(self->agent);
    JsonObject *fresh = gw_registry_refresh(registry, vm, NULL);
    return fresh ? fresh : gw_registry_show(registry, vm, error);
}

static JsonObject *
show_vm(GwHttpRequest *request, void *user_data, GError **error)
{
    return show_fresh(user_data, gw_http_request_param(request, "vm"), error);
}

static JsonObject *
show_config(GwHttpRequest *request, void *user_data, GError **error)
{
    return forward(request, user_data, "/v1/config", error);
}

static JsonObject *
power(GwHttpRequest *request, void *user_data, GError **error)
{
    return forward(request, user_data, "/v1/power", error);
}

static JsonObject *
motion(GwHttpRequest *request, void *user_data, GError **error)
{
    return forward(request, user_data, "/v1/motion", error);
}

static JsonObject *
resolve_motion(GwHttpRequest *request, void *user_data, GError **error)
{
    return forward(request, user_data, "/v1/motion/resolve", error);
}

static JsonObject *
check_motion(GwHttpRequest *request, void *user_data, GError **error)
{
    return forward(request, user_data, "/v1/motion/check", error);
}

static bool
read_mode(JsonObject *body, GwSupervisorMode *ret_mode, GError **error)
{
    static const char *const modes[] = {
        [GW_SUPERVISOR_RUN] = "start",
        [GW_SUPERVISOR_PAUSED] = "paused",
        [GW_SUPERVISOR_INCOMING] = "incoming",
    };
    const char *mode = json_object_has_member(body, "mode") ? gw_json_get_string(body, "mode") : "start";
    for (size_t i = 0; mode && i < G_N_ELEMENTS(modes); i++) {
        *ret_mode = (GwSupervisorMode)i;
        if (strcmp(modes[i], mode) == 0)
            return true;
    }
    g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                "mode: got %s%s%s, expected start, paused or incoming", mode ? "'" : "",
                mode ? mode : "no string", mode ? "'" : "");
    return false;
}

/* The agent may have met a supervisor whose start failed: the name is free when that is said. */
static void
await_forgotten(GwRegistry *registry, const GwHostConfig *config, const char *name)
{
    g_autofree char *path = gw_vm_dir_path(config->runtime_dir, name, NULL);
    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        gw_registry_await_gone(registry, name, GONE_TIMEOUT_MS);
}

static JsonObject *
start_reserved(GwHostApi *self, const char *name, const char *text, GwSupervisorMode mode, GError **error)
{
    GwRegistry *registry = gw_agent_registry(self->agent);
    g_autoptr(GwAgentConfig) config = gw_agent_config(self->agent);
    GError *cause = NULL;
    if (!gw_supervisor_start(config->host, name, text, mode, &cause)) {
        gw_host_api_take_vm_error(name, cause, error);
        await_forgotten(registry, config->host, name);
        return NULL;
    }
    gw_registry_notice(registry, name);
    if (!gw_registry_await_supervised(registry, name, ADOPT_TIMEOUT_MS)) {
        g_set_error(error, GW_ERROR, GW_ERROR_VMM_FAILED,
                    "VM '%s' has been started, but its supervisor does not answer", name);
        return NULL;
    }
    return show_fresh(self, name, error);
}

static JsonObject *
start_vm(GwHttpRequest *request, void *user_data, GError **error)
{
    GwHostApi *self = user_data;
    GwRegistry *registry = gw_agent_registry(self->agent);
    GwSupervisorMode mode;
    JsonObject *body = gw_http_request_json(request, error);
    if (!body || !read_mode(body, &mode, error))
        return NULL;
    JsonObject *document = gw_json_get_object(body, "config");
    if (!document) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                            "config: expected a VM's configuration, an object");
        return NULL;
    }
    g_autofree char *text = gw_json_object_to_line(document);
    g_autoptr(GwVmConfig) config = gw_vm_config_parse(text, -1, error);
    if (!config || !gw_registry_reserve(registry, config->name, error))
        return NULL;
    JsonObject *vm = start_reserved(self, config->name, text, mode, error);
    gw_registry_release(registry, config->name);
    return vm;
}

static void
call_ignoring(GwHostApi *self, const char *vm, const char *method, const char *path, const char *action)
{
    g_autoptr(GError) error = NULL;
    JsonObject *body = action ? json_object_new() : NULL;
    if (action)
        json_object_set_string_member(body, "action", action);
    g_autoptr(JsonObject) reply = call_vm(self, vm, method, path, body, &error);
    if (!reply)
        g_debug("%s, ignoring", error->message);
}

/* Its motion is given up, or it has none: only then it is certain that no guest comes to run between our
 * looking and the stop. */
static bool
may_end_incoming(GwHostApi *self, const char *vm)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) cancelled = call_vm(self, vm, "DELETE", "/v1/motion", NULL, NULL);
    g_autoptr(JsonObject) motion = cancelled ? NULL : call_vm(self, vm, "GET", "/v1/motion", NULL, &error);
    return cancelled || (!motion && g_error_matches(error, GW_ERROR, GW_ERROR_NOT_FOUND));
}

/* One that waits for a motion has no guest to lose. It may end by itself as soon as its motion is cancelled.
 */
static void
end_incoming(GwHostApi *self, const char *vm)
{
    g_autoptr(JsonObject) status = call_vm(self, vm, "GET", "/v1/status", NULL, NULL);
    if (!status || g_strcmp0(gw_json_get_string(status, "state"), "incoming") != 0)
        return;
    if (!may_end_incoming(self, vm) || gw_registry_await_gone(gw_agent_registry(self->agent), vm, 1000))
        return;
    call_ignoring(self, vm, "POST", "/v1/power", "stop");
}

/* True: the supervisor has agreed, or there is none any more. */
static bool
try_removal(GwHostApi *self, const char *vm, GError **error)
{
    GwRegistry *registry = gw_agent_registry(self->agent);
    gw_registry_notice(registry, vm); /* one without a supervisor gets it now */
    if (!gw_registry_await_supervised(registry, vm, ADOPT_TIMEOUT_MS)) {
        g_autoptr(GwHttpClient) none = gw_registry_connect(registry, vm, 1, error);
        return false;
    }
    end_incoming(self, vm);
    g_autoptr(GError) cause = NULL;
    g_autoptr(JsonObject) reply = call_vm(self, vm, "DELETE", "/v1/vm", NULL, &cause);
    if (reply || g_error_matches(cause, GW_ERROR, GW_ERROR_NOT_FOUND))
        return true;
    g_propagate_error(error, g_steal_pointer(&cause));
    return false;
}

static JsonObject *
remove_vm(GwHttpRequest *request, void *user_data, GError **error)
{
    GwHostApi *self = user_data;
    GwRegistry *registry = gw_agent_registry(self->agent);
    const char *vm = gw_http_request_param(request, "vm");
    g_autoptr(JsonObject) known = gw_registry_show(registry, vm, error);
    if (!known)
        return NULL;
    g_autoptr(GError) cause = NULL;
    bool agreed = false;
    /* A supervisor may go while we ask: because its motion was refused, or because it died. */
    for (unsigned i = 0; i < REMOVAL_TRIES && !agreed; i++) {
        g_clear_error(&cause);
        agreed = try_removal(self, vm, &cause);
    }
    if (!agreed && cause) {
        g_propagate_error(error, g_steal_pointer(&cause));
        return NULL;
    }
    if (gw_registry_await_gone(registry, vm, GONE_TIMEOUT_MS))
        return json_object_new();
    g_set_error(error, GW_ERROR, GW_ERROR_FAILED, "VM '%s' is still being removed", vm);
    return NULL;
}

static JsonObject *
type_into_console(GwHttpRequest *request, void *user_data, GError **error)
{
    GwHostApi *self = user_data;
    const char *vm = gw_http_request_param(request, "vm");
    g_autofree char *port = g_uri_escape_string(gw_http_request_param(request, "port"), NULL, FALSE);
    g_autofree char *path = g_strconcat("/v1/console/", port, NULL);
    g_autoptr(GwHttpClient) client =
        gw_registry_connect(gw_agent_registry(self->agent), vm, CALL_TIMEOUT_S, error);
    GBytes *typed = gw_http_request_body(request);
    GError *cause = NULL;
    if (!client)
        return NULL;
    if (gw_http_post_bytes(client, path, g_bytes_get_data(typed, NULL), g_bytes_get_size(typed), &cause))
        return json_object_new();
    gw_host_api_take_vm_error(vm, cause, error);
    return NULL;
}

void
gw_host_api_add_vms(GwHostApi *self, GwHttpServer *server)
{
    static const GwHostRoute routes[] = {
        {"GET", "/v1/vms", .work = show_vms},
        {"POST", "/v1/vms", .work = start_vm},
        {"GET", "/v1/vms/{vm}", .work = show_vm},
        {"DELETE", "/v1/vms/{vm}", .work = remove_vm},
        {"GET", "/v1/vms/{vm}/config", .work = show_config},
        {"POST", "/v1/vms/{vm}/power", .work = power},
        {"GET", "/v1/vms/{vm}/console/{port}", .handler = gw_host_api_console_read},
        {"POST", "/v1/vms/{vm}/console/{port}", .work = type_into_console},
        {"GET", "/v1/vms/{vm}/motion", .work = motion},
        {"POST", "/v1/vms/{vm}/motion", .work = motion},
        {"DELETE", "/v1/vms/{vm}/motion", .work = motion},
        {"POST", "/v1/vms/{vm}/motion/resolve", .work = resolve_motion},
        {"GET", "/v1/vms/{vm}/motion/check", .work = check_motion},
    };
    gw_host_api_add_routes(self, server, routes, G_N_ELEMENTS(routes));
}
