/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Host clients by whom they work for. */
#include "call-scope.h"

struct GwCallScope {
    GMutex lock;
    GPtrArray *clients; /* borrowed */
    bool has_ended;
};

static GPrivate present; /* borrowed GwCallScope, of a thread */

GwCallScope *
gw_call_scope_new(void)
{
    GwCallScope *self = g_new0(GwCallScope, 1);
    g_mutex_init(&self->lock);
    self->clients = g_ptr_array_new();
    return self;
}

void
gw_call_scope_free(GwCallScope *self)
{
    if (!self)
        return;
    g_ptr_array_unref(self->clients);
    g_mutex_clear(&self->lock);
    g_free(self);
}

void
gw_call_scope_enter(GwCallScope *self)
{
    g_private_set(&present, self);
}

void
gw_call_scope_end(GwCallScope *self)
{
    g_mutex_lock(&self->lock);
    self->has_ended = true;
    for (guint i = 0; i < self->clients->len; i++)
        gw_host_client_cancel(self->clients->pdata[i]);
    g_mutex_unlock(&self->lock);
}

GwCallScope *
gw_call_scope_add(GwHostClient *client)
{
    GwCallScope *self = g_private_get(&present);
    if (!self)
        return NULL;
    g_mutex_lock(&self->lock);
    g_ptr_array_add(self->clients, client);
    if (self->has_ended)
        gw_host_client_cancel(client);
    g_mutex_unlock(&self->lock);
    return self;
}

void
gw_call_scope_remove(GwCallScope *self, GwHostClient *client)
{
    g_mutex_lock(&self->lock);
    g_ptr_array_remove_fast(self->clients, client);
    g_mutex_unlock(&self->lock);
}
