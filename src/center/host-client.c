/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls to a host's agent. */
#include "host-client.h"

#include "call-scope.h"
#include "error.h"

#include <string.h>

struct GwHostClient {
    char *host, *uuid; /* uuid: NULL: any */
    GwHttpClient *http;
    GwCallScope *scope; /* borrowed; NULL: none */
};

GwHostClient *
gw_host_client_new(const char *host, const char *address, unsigned port, const GwTlsFiles *files,
                   unsigned timeout_s, GError **error)
{
    const char *expected_name = host;
    GwHttpClient *http = gw_http_client_new_tls(address, port, files, expected_name, timeout_s, error);
    if (!http) {
        g_prefix_error(error, "%s: ", host);
        return NULL;
    }
    GwHostClient *self = g_new0(GwHostClient, 1);
    self->host = g_strdup(host);
    self->http = http;
    self->scope = gw_call_scope_add(self);
    return self;
}

void
gw_host_client_free(GwHostClient *self)
{
    if (!self)
        return;
    if (self->scope)
        gw_call_scope_remove(self->scope, self);
    gw_http_client_free(self->http);
    g_free(self->host);
    g_free(self->uuid);
    g_free(self);
}

void
gw_host_client_set_uuid(GwHostClient *self, const char *uuid)
{
    g_free(self->uuid);
    self->uuid = g_strdup(uuid);
}

const char *
gw_host_client_host(const GwHostClient *self)
{
    return self->host;
}

void
gw_host_client_cancel(GwHostClient *self)
{
    gw_http_client_cancel(self->http);
}

/* What the agent answers comes in GW_ERROR; everything else means that it was not reached, or broke off. */
static GwError
code_of(const GError *cause)
{
    if (cause->domain == GW_ERROR)
        return cause->code;
    if (g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
        return GW_ERROR_TIMED_OUT;
    if (g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_CANCELLED))
        return GW_ERROR_CANCELLED;
    if (cause->domain == G_TLS_ERROR && cause->code == G_TLS_ERROR_BAD_CERTIFICATE)
        return GW_ERROR_NOT_PERMITTED;
    return GW_ERROR_PEER_LOST;
}

static void
take_error(const GwHostClient *self, GError *cause, GError **error)
{
    g_set_error(error, GW_ERROR, (int)code_of(cause), "%s: %s", self->host, cause->message);
    g_error_free(cause);
}

JsonObject *
gw_host_client_call(GwHostClient *self, const char *method, const char *path, JsonObject *body,
                    GError **error)
{
    GError *cause = NULL;
    JsonObject *reply = gw_http_call(self->http, method, path, body, &cause);
    if (!reply)
        take_error(self, cause, error);
    return reply;
}

static char *
vm_path(const GwHostClient *self, const char *vm, const char *suffix)
{
    g_autofree char *name = g_uri_escape_string(vm, NULL, FALSE);
    g_autofree char *uuid = self->uuid ? g_uri_escape_string(self->uuid, NULL, FALSE) : NULL;
    if (!uuid)
        return g_strconcat("/v1/vms/", name, suffix, NULL);
    return g_strconcat("/v1/vms/", name, suffix, strchr(suffix, '?') ? "&" : "?", "uuid=", uuid, NULL);
}

JsonObject *
gw_host_client_vm(GwHostClient *self, const char *method, const char *vm, const char *suffix,
                  JsonObject *body, GError **error)
{
    g_autofree char *path = vm_path(self, vm, suffix);
    return gw_host_client_call(self, method, path, body, error);
}

bool
gw_host_client_follow(GwHostClient *self, const char *path, GwHttpOnOpen on_open, GwHttpOnEvent on_event,
                      void *user_data, GError **error)
{
    GError *cause = NULL;
    if (gw_http_follow(self->http, path, on_open, on_event, user_data, &cause))
        return true;
    take_error(self, cause, error);
    return false;
}

GInputStream *
gw_host_client_open(GwHostClient *self, const char *vm, const char *suffix, GError **error)
{
    GError *cause = NULL;
    g_autofree char *path = vm_path(self, vm, suffix);
    GInputStream *stream = gw_http_open(self->http, path, &cause);
    if (!stream)
        take_error(self, cause, error);
    return stream;
}

bool
gw_host_client_post_bytes(GwHostClient *self, const char *vm, const char *suffix, const void *data,
                          size_t length, GError **error)
{
    GError *cause = NULL;
    g_autofree char *path = vm_path(self, vm, suffix);
    if (gw_http_post_bytes(self->http, path, data, length, &cause))
        return true;
    take_error(self, cause, error);
    return false;
}
