/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A center without its API, over agents that are played (fake-agent.h), and what tests ask of it. It can be
 * ended and begun again on the same store. */
#pragma once

#include "fake-agent.h"
#include "host-link.h"
#include "task.h"
#include "vm-orders.h"

typedef struct {
    char *directory, *hold_file;
    GwAuthority *authority;
    FakeCluster *agents;
    GwStore *store;
    GwEventHub *hub;
    GwInventory *inventory;
    GwTasks *tasks;
    GwHostLinks *links;
} CenterRig;

/* First thing in main(), before there are threads: where the center is told to stand still. */
void center_rig_init(void);

/* host1 … hostN, all of them up. */
CenterRig *center_rig_new(unsigned n_hosts);
void center_rig_free(CenterRig *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CenterRig, center_rig_free)
void center_rig_end(CenterRig *self);   /* as an orderly end does */
void center_rig_begin(CenterRig *self); /* and takes up what was open; hosts come up as they answer */

/* The center stands still before this step (NULL: no more) ... */
void center_rig_hold_at(CenterRig *self, const char *step);
void center_rig_await_hold(CenterRig *self); /* ... and does so now */

void center_rig_add_vm(CenterRig *self, const char *vm, const char *host); /* it runs there, and is known */
char *center_rig_migrate(CenterRig *self, const char *vm, const char *to); /* the task's id, owned */
JsonObject *center_rig_await_end(CenterRig *self, const char *id);         /* its JSON; unref it */
void center_rig_await_task(CenterRig *self, const char *id, const char *member, const char *value);
void center_rig_await_host(CenterRig *self, const char *host, const char *state);
void center_rig_await_vm(CenterRig *self, const char *vm, const char *member, const char *value);
void center_rig_await_place(CenterRig *self, const char *host, const char *vm, const char *state);

void center_rig_assert_state(JsonObject *task, const char *state);
void center_rig_assert_at(CenterRig *self, const char *vm, const char *home, const char *state);
unsigned center_rig_n_events(CenterRig *self, const char *type, const char *vm); /* of the store */
