/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may ask, and what is asked of the host itself. */
#include "host-api.h"

#include "error.h"
#include "host-api-internal.h"
#include "vm-dir.h"

#include <string.h>

#define MAX_GREETERS 4

/* A supervisor that has just been started by hand answers well before. */
#define LOOK_MS 2000

typedef struct {
    GwHostApi *api;
    GwHttpHandler handler;
    GwHttpWork work;
} Gate;

/* What is asked for by whom stands in the log, unless it changes nothing. */
static void
note(GwHttpRequest *request)
{
    const char *name = gw_http_request_peer_name(request);
    if (strcmp(gw_http_request_method(request), "GET") != 0)
        g_info("%s %s, asked by %s", gw_http_request_method(request), gw_http_request_path(request),
               gw_http_request_is_local(request) ? "root on this host"
               : name                            ? name
                                                 : "nobody");
}

/* Who gives a UUID means that VM, and not another one that was made here by hand under its name. */
static bool
is_meant(GwHostApi *self, GwHttpRequest *request, const char *vm, GError **error)
{
    const char *uuid = gw_http_request_query(request, "uuid");
    if (!uuid || !gw_registry_is_other(gw_agent_registry(self->agent), vm, uuid))
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND,
                "the VM '%s' of this host is another one than that of UUID %.36s", vm, uuid);
    return false;
}

static bool
admit(GwHostApi *self, GwHttpRequest *request, GError **error)
{
    const char *name = gw_http_request_peer_name(request), *role = gw_http_request_peer_role(request);
    const char *vm = gw_http_request_param(request, "vm");
    if (!gw_http_request_is_local(request) && g_strcmp0(role, "center") != 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
                    "%s (%s, role %s) may not ask this host: only its center may",
                    gw_http_request_address(request), name ? name : "without a certificate",
                    role ? role : "none");
        g_warning("%s", (*error)->message);
        return false;
    }
    if (vm && !gw_vm_name_is_valid(vm)) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'%s' cannot be a VM's name", vm);
        return false;
    }
    if (g_atomic_int_get(&self->ending)) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_WRONG_STATE, "the agent is about to end");
        return false;
    }
    if (vm && !is_meant(self, request, vm, error))
        return false;
    note(request);
    return true;
}

static void
pass_handler(GwHttpRequest *request, void *user_data)
{
    Gate *gate = user_data;
    g_autoptr(GError) error = NULL;
    if (admit(gate->api, request, &error))
        gate->handler(request, gate->api);
    else
        gw_http_reply_error(request, error);
}

static JsonObject *
pass_work(GwHttpRequest *request, void *user_data, GError **error)
{
    Gate *gate = user_data;
    g_autoptr(GError) cause = NULL;
    const char *vm = gw_http_request_param(request, "vm");
    if (vm && gw_vm_name_is_valid(vm))
        gw_registry_look_for(gw_agent_registry(gate->api->agent), vm, LOOK_MS);
    JsonObject *answer = admit(gate->api, request, &cause) ? gate->work(request, gate->api, &cause) : NULL;
    if (!answer)
        g_propagate_error(error, g_steal_pointer(&cause));
    return answer;
}

void
gw_host_api_add_routes(GwHostApi *self, GwHttpServer *server, const GwHostRoute *routes, size_t n_routes)
{
    for (size_t i = 0; i < n_routes; i++) {
        const GwHostRoute *route = &routes[i];
        Gate *gate = g_new0(Gate, 1);
        *gate = (Gate){self, route->handler, route->work};
        g_ptr_array_add(self->gates, gate);
        if (route->work)
            gw_http_server_add_work(server, route->method, route->pattern, pass_work, gate);
        else
            gw_http_server_add_route(server, route->method, route->pattern, pass_handler, gate);
    }
}

void
gw_host_api_in_main_thread(GwHostApi *self, GSourceFunc function, void *data)
{
    g_autoptr(GSource) source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, function, data, NULL);
    g_source_attach(source, self->context);
}

static JsonObject *
show_host(GwHttpRequest *request, void *user_data, GError **error)
{
    GwHostApi *self = user_data;
    return gw_agent_facts(self->agent);
}

static JsonObject *
listen_for_probe(GwHttpRequest *request, void *user_data, GError **error)
{
    GwHostApi *self = user_data;
    JsonObject *body = gw_http_request_json(request, error);
    return body ? gw_probe_door_open(gw_agent_probe_door(self->agent), body, error) : NULL;
}

static JsonObject *
run_probe(GwHttpRequest *request, void *user_data, GError **error)
{
    JsonObject *body = gw_http_request_json(request, error);
    return body ? gw_probe_run(body, error) : NULL;
}

static void
handle_reload(GwHttpRequest *request, void *user_data)
{
    GwHostApi *self = user_data;
    g_autoptr(GError) error = NULL;
    if (self->reload(self->reload_data, &error))
        gw_http_reply(request, 200, json_object_new());
    else
        gw_http_reply_error(request, error);
}

typedef struct {
    GwHostApi *api;
    GwHttpRequest *request; /* ref */
} Greeting;

static JsonObject *
hello(void *user_data)
{
    GwHostApi *self = user_data;
    return gw_agent_hello(self->agent);
}

static gboolean
begin_events(void *data)
{
    g_autofree Greeting *greeting = data;
    g_autoptr(GwHttpRequest) request = greeting->request;
    gw_event_relay_open(gw_agent_relay(greeting->api->agent), request, hello, greeting->api);
    return G_SOURCE_REMOVE;
}

/* In a thread: facts take their time. What the stream begins with is what was told of them last. */
static void
greet(void *data, void *user_data)
{
    Greeting *greeting = data;
    g_autoptr(JsonObject) facts = gw_agent_facts(greeting->api->agent);
    gw_host_api_in_main_thread(greeting->api, begin_events, greeting);
}

static void
handle_events(GwHttpRequest *request, void *user_data)
{
    GwHostApi *self = user_data;
    Greeting *greeting = g_new(Greeting, 1);
    *greeting = (Greeting){self, gw_http_request_ref(request)};
    g_thread_pool_push(self->greeters, greeting, NULL);
}

GwHostApi *
gw_host_api_new(GwHttpServer *server, GwAgent *agent, GwHostReload reload, void *user_data)
{
    static const GwHostRoute routes[] = {
        {"GET", "/v1/host", .work = show_host},
        {"POST", "/v1/probe/listen", .work = listen_for_probe},
        {"POST", "/v1/probe", .work = run_probe},
        {"GET", "/v1/events", .handler = handle_events},
        {"POST", "/v1/reload", .handler = handle_reload},
    };
    GwHostApi *self = g_new0(GwHostApi, 1);
    self->agent = agent;
    self->reload = reload;
    self->reload_data = user_data;
    self->context = g_main_context_ref_thread_default();
    self->gates = g_ptr_array_new_with_free_func(g_free);
    self->consoles = g_ptr_array_new();
    self->greeters = g_thread_pool_new(greet, self, MAX_GREETERS, FALSE, NULL);
    gw_host_api_add_routes(self, server, routes, G_N_ELEMENTS(routes));
    gw_host_api_add_vms(self, server);
    return self;
}

void
gw_host_api_close(GwHostApi *self)
{
    g_atomic_int_set(&self->ending, 1);
    g_thread_pool_free(g_steal_pointer(&self->greeters), FALSE, TRUE);
    gw_host_api_close_consoles(self);
    /* What the threads have still sent here refers to us. */
    while (g_main_context_iteration(self->context, FALSE))
        ;
    gw_event_relay_close(gw_agent_relay(self->agent));
}

void
gw_host_api_free(GwHostApi *self)
{
    if (!self)
        return;
    g_ptr_array_unref(self->consoles);
    g_ptr_array_unref(self->gates);
    g_main_context_unref(self->context);
    g_free(self);
}
