/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the API share: host-api.c (routes, the gate, the host), host-api-vms.c (VMs),
 * host-api-console.c (streams of consoles). */
#pragma once

#include "host-api.h"

/* A route that only the center and root on this host pass. One of handler and work; `user_data` of both is
 * the API. */
typedef struct {
    const char *method, *pattern;
    GwHttpHandler handler;
    GwHttpWork work;
} GwHostRoute;

struct GwHostApi {
    /* set once */
    GwAgent *agent; /* borrowed */
    GwHostReload reload;
    void *reload_data;
    GMainContext *context;
    GPtrArray *gates;      /* owned; one a route */
    GThreadPool *greeters; /* gather facts for who begins to listen */
    /* the main thread's */
    GPtrArray *consoles; /* owned; open ones */
    gint ending;         /* atomic */
};

void
gw_host_api_add_routes(GwHostApi *self, GwHttpServer *server, const GwHostRoute *routes, size_t n_routes);

void gw_host_api_add_vms(GwHostApi *self, GwHttpServer *server);

/* GET /v1/vms/{vm}/console/{port} */
void gw_host_api_console_read(GwHttpRequest *request, void *api);
/* Ends every stream and its thread. */
void gw_host_api_close_consoles(GwHostApi *self);

/* What a call to a supervisor came to. The codes that mean "the host cannot be reached" to the center are not
 * for a host that answers. Takes `cause`. */
void gw_host_api_take_vm_error(const char *vm, GError *cause, GError **error);

/* Runs `function` in the main thread. */
void gw_host_api_in_main_thread(GwHostApi *self, GSourceFunc function, void *data);
