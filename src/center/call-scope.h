/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls to hosts that are made on behalf of requests: what the API's threads wait in, to be ended as a whole
 * when the center ends. A motion's own calls are not among them. */
#pragma once

#include "host-client.h"

typedef struct GwCallScope GwCallScope;

GwCallScope *gw_call_scope_new(void);
void gw_call_scope_free(GwCallScope *self); /* behind its clients */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwCallScope, gw_call_scope_free)

/* Clients that this thread makes from now on belong to the scope; NULL: to none. */
void gw_call_scope_enter(GwCallScope *self);

/* Cancels all of its clients, and those to come. Any thread. */
void gw_call_scope_end(GwCallScope *self);

/* For host-client.c: the scope that a new client gets into (NULL: none), and its leaving. */
GwCallScope *gw_call_scope_add(GwHostClient *client);
void gw_call_scope_remove(GwCallScope *self, GwHostClient *client);
