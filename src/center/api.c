/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The API put on a server: each route's call in a thread of the server's pool; streams are prepared in one of
 * ours, since they begin in the server's own. */
#include "api-internal.h"

#include "error.h"

#define OPENERS 4 /* streams being prepared at once; one may wait for an agent that does not answer */

/* A route of one API, as the server knows it. */
typedef struct {
    GwApi *api;
    const GwRoute *route;
} Binding;

/* A stream on its way. */
typedef struct {
    GwApi *api;
    GwHttpRequest *request; /* ref */
    GwCall call;
    JsonObject *answer;
    GError *error;
    GMainContext *context; /* ref, the server's */
    GSource *ready;        /* ref; NULL until it is prepared */
} Opening;

static JsonObject *
work(GwHttpRequest *request, void *user_data, GError **error)
{
    const Binding *binding = user_data;
    g_auto(GwCall) call = {.api = binding->api, .route = binding->route, .request = request};
    gw_call_scope_enter(binding->api->calls);
    JsonObject *answer = gw_call_run(&call, error);
    gw_call_scope_enter(NULL);
    return answer;
}

static void
opening_free(void *data)
{
    Opening *self = data;
    if (self->ready)
        g_source_destroy(self->ready);
    g_clear_pointer(&self->ready, g_source_unref);
    gw_call_clear(&self->call);
    g_clear_pointer(&self->answer, json_object_unref);
    g_clear_error(&self->error);
    g_main_context_unref(self->context);
    gw_http_request_unref(self->request);
    g_free(self);
}

/* In the server's thread. */
static gboolean
open_stream(void *user_data)
{
    Opening *self = user_data;
    if (self->error)
        gw_http_reply_error(self->request, self->error);
    else if (self->answer)
        gw_http_reply(self->request, 200, g_steal_pointer(&self->answer));
    else if (!gw_http_request_is_gone(self->request))
        self->call.route->begin(&self->call);
    g_ptr_array_remove_fast(self->api->openings, self);
    return G_SOURCE_REMOVE;
}

/* In a thread of ours. */
static void
prepare(void *data, void *user_data)
{
    Opening *self = data;
    GwApi *api = user_data;
    gw_call_scope_enter(api->calls);
    if (gw_call_begin(&self->call, &self->error))
        self->answer = self->call.route->work(&self->call, &self->error);
    gw_call_scope_enter(NULL);
    self->ready = g_idle_source_new();
    g_source_set_priority(self->ready, G_PRIORITY_DEFAULT);
    g_source_set_callback(self->ready, open_stream, self, NULL);
    g_source_attach(self->ready, self->context); /* from here on it is the server's thread's */
}

static void
on_stream(GwHttpRequest *request, void *user_data)
{
    const Binding *binding = user_data;
    GwApi *api = binding->api;
    Opening *self = g_new0(Opening, 1);
    self->api = api;
    self->request = gw_http_request_ref(request);
    self->call = (GwCall){.api = api, .route = binding->route, .request = request};
    self->context = g_main_context_ref_thread_default();
    g_ptr_array_add(api->openings, self);
    g_thread_pool_push(api->openers, self, NULL);
}

GwApi *
gw_api_new(GwHttpServer *server, const GwApiParts *parts)
{
    GwApi *self = g_new0(GwApi, 1);
    self->parts = *parts;
    g_mutex_init(&self->lock);
    self->sessions = gw_session_watch_new(parts->auth);
    self->events = gw_event_streams_new(parts->hub, self->sessions);
    self->consoles = gw_console_proxies_new(self->sessions);
    self->calls = gw_call_scope_new();
    self->openings = g_ptr_array_new_with_free_func(opening_free);
    self->openers = g_thread_pool_new(prepare, self, OPENERS, FALSE, NULL);
    self->bindings = g_ptr_array_new_with_free_func(g_free);
    for (size_t i = 0; i < gw_api_n_routes; i++) {
        const GwRoute *route = &gw_api_routes[i];
        Binding *binding = g_new(Binding, 1);
        *binding = (Binding){self, route};
        g_ptr_array_add(self->bindings, binding);
        if (route->begin)
            gw_http_server_add_route(server, route->method, route->pattern, on_stream, binding);
        else
            gw_http_server_add_work(server, route->method, route->pattern, work, binding);
    }
    return self;
}

void
gw_api_free(GwApi *self)
{
    if (!self)
        return;
    /* Those that wait are not begun, those that run are waited for. */
    g_thread_pool_free(self->openers, TRUE, TRUE);
    g_ptr_array_unref(self->openings);
    gw_console_proxies_free(self->consoles);
    gw_event_streams_free(self->events);
    gw_session_watch_free(self->sessions);
    gw_call_scope_free(self->calls);
    g_ptr_array_unref(self->bindings);
    g_mutex_clear(&self->lock);
    g_free(self);
}

void
gw_api_end_calls(GwApi *self)
{
    gw_call_scope_end(self->calls);
}

void
gw_api_print_routes(FILE *out)
{
    static const char *const access[] = {"open", "read-only", "operator", "administrator"};
    for (size_t i = 0; i < gw_api_n_routes; i++) {
        const GwRoute *route = &gw_api_routes[i];
        fprintf(out, "%s %s %s %s\n", route->method, route->pattern, access[route->access],
                route->action ? route->action : "-");
    }
}
