/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the API's nouns (api-….c) share: a call that was authenticated and authorised, and the handlers that
 * the table in api-routes.c names. */
#pragma once

#include "api-arguments.h"
#include "api-json.h"
#include "api.h"
#include "call-scope.h"
#include "console-proxy.h"
#include "event-stream.h"
#include "session-watch.h"

typedef enum {
    GW_ACCESS_OPEN, /* nobody has to say who he is */
    GW_ACCESS_READ,
    GW_ACCESS_OPERATE,
    GW_ACCESS_ADMINISTER,
} GwAccess;

typedef struct GwRoute GwRoute;

/* One request on its way through the API. */
typedef struct {
    GwApi *api;
    const GwRoute *route;
    GwHttpRequest *request;
    JsonObject *body;    /* borrowed from the request; an empty one for routes without */
    char *user;          /* owned */
    GwRole role;         /* of the user */
    const char *address; /* borrowed from the request */
    char *reason;        /* owned; NULL: none given */
    char *object;        /* owned; of the audit record, such as "vm/web1"; NULL: none */
    int64_t audit_id;    /* of the open record; 0: none */
    /* Of streams: what was prepared in another thread for the one in which they begin. */
    void *prepared;
    GDestroyNotify free_prepared;
} GwCall;

/* May block; several at once. Returns the answer, or NULL with an error. */
typedef JsonObject *(*GwApiWork)(GwCall *call, GError **error);
/* Streams: `prepare` may block, and returns an answer if it is not to be a stream after all, else NULL
 * without an error; then `begin` in the server's thread. */
typedef void (*GwApiBegin)(GwCall *call);

struct GwRoute {
    const char *method, *pattern;
    GwAccess access;
    const char *action; /* of the audit record; NULL: changes nothing */
    const char *kind;   /* of the object: "vm"; its name is the parameter of that name, or … */
    const char *member; /* … this member of the body, "config/name" being one of an object in it */
    GwApiWork work;
    unsigned status;  /* of the answer; 0: 200. 202 is recorded as "accepted" */
    bool is_raw;      /* the body is no JSON */
    GwApiBegin begin; /* NULL: no stream */
};

extern const GwRoute gw_api_routes[];
extern const size_t gw_api_n_routes;

struct GwApi {
    GwApiParts parts; /* borrowed */
    GwEventStreams *events;
    GwConsoleProxies *consoles;
    GwSessionWatch *sessions;
    GwCallScope *calls;   /* to hosts, for requests */
    GPtrArray *bindings;  /* owned; a route of this API */
    GThreadPool *openers; /* prepare streams */
    GPtrArray *openings;  /* owned; streams being prepared; server's thread */
    GMutex lock;          /* guards the rest */
    int64_t minute_us;    /* since when refusals of strangers are counted */
    unsigned n_refusals;
};

/* api-call.c */
void gw_call_clear(GwCall *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwCall, gw_call_clear)
/* Who asks, whether he may, and the body; what is refused is audited if the route changes something. */
bool gw_call_begin(GwCall *self, GError **error);
/* The whole of it: begin, audit, work, audit. */
JsonObject *gw_call_run(GwCall *self, GError **error);
/* For routes whose body has no members but "reason". */
bool gw_call_no_arguments(GwCall *self, GError **error);
/* A number of the query, at least `min`; true and `fallback` if absent. */
bool gw_call_query_int(GwCall *self, const char *name, int64_t min, int64_t max, int64_t fallback,
                       int64_t *ret_value, GError **error);
/* "1" or "0". */
bool gw_call_query_flag(GwCall *self, const char *name, bool *ret_value, GError **error);
const char *gw_call_param(GwCall *self, const char *name);

/* api-audit.c */
bool gw_call_audit_begin(GwCall *self, GError **error);
void gw_call_audit_end(GwCall *self, const GError *failure);
void gw_call_audit_refused(GwCall *self, const GError *failure);
/* A body without what is secret: a copy, one line, NULL if it is empty. Owned. */
char *gw_audit_details(JsonObject *body);
/* What a route's call is about: "vm/web1"; owned, NULL: nothing that has a name. */
char *gw_audit_object(const GwRoute *route, GwHttpRequest *request, JsonObject *body);

/* The handlers, by file. */
/* api-session.c */
JsonObject *gw_api_about(GwCall *call, GError **error);
JsonObject *gw_api_login(GwCall *call, GError **error);
JsonObject *gw_api_logout(GwCall *call, GError **error);
/* api-hosts.c */
JsonObject *gw_api_join(GwCall *call, GError **error);
JsonObject *gw_api_hosts(GwCall *call, GError **error);
JsonObject *gw_api_host(GwCall *call, GError **error);
JsonObject *gw_api_host_token(GwCall *call, GError **error);
JsonObject *gw_api_host_remove(GwCall *call, GError **error);
JsonObject *gw_api_host_maintenance(GwCall *call, GError **error);
JsonObject *gw_api_host_probe(GwCall *call, GError **error);
JsonObject *gw_api_networks(GwCall *call, GError **error);
JsonObject *gw_api_datastores(GwCall *call, GError **error);
/* api-vms.c */
JsonObject *gw_api_vms(GwCall *call, GError **error);
JsonObject *gw_api_vm(GwCall *call, GError **error);
JsonObject *gw_api_vm_config(GwCall *call, GError **error);
JsonObject *gw_api_vm_create(GwCall *call, GError **error);
JsonObject *gw_api_vm_adopt(GwCall *call, GError **error);
JsonObject *gw_api_vm_remove(GwCall *call, GError **error);
JsonObject *gw_api_vm_power(GwCall *call, GError **error);
JsonObject *gw_api_vm_resolve(GwCall *call, GError **error);
/* api-motion.c */
JsonObject *gw_api_vm_check(GwCall *call, GError **error);
JsonObject *gw_api_vm_migrate(GwCall *call, GError **error);
/* api-console.c */
JsonObject *gw_api_console_prepare(GwCall *call, GError **error);
void gw_api_console_begin(GwCall *call);
JsonObject *gw_api_console_write(GwCall *call, GError **error);
/* api-tasks.c */
JsonObject *gw_api_tasks(GwCall *call, GError **error);
JsonObject *gw_api_task(GwCall *call, GError **error);
JsonObject *gw_api_task_cancel(GwCall *call, GError **error);
JsonObject *gw_api_task_client_gap(GwCall *call, GError **error);
/* api-log.c */
JsonObject *gw_api_events_prepare(GwCall *call, GError **error);
void gw_api_events_begin(GwCall *call);
JsonObject *gw_api_audit(GwCall *call, GError **error);
/* api-users.c */
JsonObject *gw_api_users(GwCall *call, GError **error);
JsonObject *gw_api_user_add(GwCall *call, GError **error);
JsonObject *gw_api_user_remove(GwCall *call, GError **error);
JsonObject *gw_api_user_role(GwCall *call, GError **error);
JsonObject *gw_api_user_password(GwCall *call, GError **error);
