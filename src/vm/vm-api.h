/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The supervisor's API on its control socket: HTTP + JSON, described in docs/godwit-vm-api.md.
 *
 * Main thread. Answers to operations come when the operation is done; streams (events, consoles) stay open.
 */
#pragma once

#include "http-server.h"
#include "vm.h"

typedef struct GwVmApi GwVmApi;

/* Called when a client has removed the VM: there is nothing left to supervise. */
typedef void (*GwVmApiRemoved)(void *user_data);

/* All borrowed. `vm` may come later, see gw_vm_api_set_vm(). */
GwVmApi *gw_vm_api_new(GwHttpServer *server, GwEventLog *events, GwVmApiRemoved removed, void *user_data);
void gw_vm_api_set_vm(GwVmApi *self, GwVm *vm);

/* The listener for the event log: hands an event to every open stream. `user_data` is a GwVmApi. */
void gw_vm_api_on_event(guint64 id, const char *type, const char *text, void *user_data);

/* Ends every stream. Until it is freed, operations that were asked for may still be answered. */
void gw_vm_api_close(GwVmApi *self);
void gw_vm_api_free(GwVmApi *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwVmApi, gw_vm_api_free)
