/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the inventory's parts share.
 *
 * One lock over everything below, never held over I/O. JSON is kept as text: json-glib's objects count their
 * references without atomics, so each reader gets a tree of its own. What a change makes known (events,
 * watchers) is collected while the lock is held and told after it. */
#pragma once

#include "inventory.h"
#include "json.h"

/* A VM as a host says that it is there. */
typedef struct {
    char *status; /* JSON */
    char *state;
    char *uuid; /* NULL: not told */
    bool in_motion, told_unknown;
    int64_t last_event; /* the supervisor's last when it said so; 0: nobody did */
} GwVmAt;

typedef enum { GW_LINK_NEW, GW_LINK_UP, GW_LINK_LOST } GwLinkState;

typedef struct {
    GwHostRecord record;
    GwLinkState link;
    char *why_lost;
    char *facts, *load; /* JSON; NULL: none yet */
    GHashTable *vms;    /* name → GwVmAt */
} GwInventoryHost;

typedef struct {
    GwVmRecord record;
    unsigned vcpus;
    uint64_t memory_mib;
    GwVmTrouble trouble;
    char *told_state; /* the last that an event told */
    char *task;       /* the open one's id; NULL: none */
} GwInventoryVm;

struct GwInventory {
    GwStore *store;               /* borrowed */
    GwEventHub *hub;              /* borrowed */
    const GwAuthority *authority; /* borrowed */
    GMutex lock;                  /* guards all below */
    GHashTable *hosts;            /* name → GwInventoryHost */
    GHashTable *vms;              /* name → GwInventoryVm */
    GPtrArray *watchers;          /* of Watcher */
    GCond watched;                /* a watcher's call has returned */
};

/* What is told once the lock is free. */
typedef struct GwAftermath GwAftermath;
GwAftermath *gw_aftermath_new(void);
void
gw_aftermath_event(GwAftermath *self, const char *type, const char *host, const char *vm, JsonObject *data);
void gw_aftermath_change(GwAftermath *self, GwInventoryChange what, const char *host, const char *vm);
void gw_aftermath_tell(GwAftermath *self, GwInventory *inventory); /* frees it */

GwInventoryHost *gw_inventory_find_host_locked(GwInventory *self, const char *host, GError **error);
GwInventoryVm *gw_inventory_find_vm_locked(GwInventory *self, const char *vm, GError **error);

/* As the home says: "unknown" while it cannot be reached, "off" if it has no supervisor of it. */
const char *gw_inventory_state_locked(GwInventory *self, const GwInventoryVm *vm);
/* Notes an event if that is another than was told. */
void gw_inventory_judge_state_locked(GwInventory *self, const char *vm, GwAftermath *after);

GwInventoryHost *gw_inventory_host_new(const GwHostRecord *record);
void gw_inventory_host_free(void *host);
GwInventoryVm *gw_inventory_vm_new(const GwVmRecord *record);
void gw_inventory_vm_free(void *vm);

char *gw_utc_text(int64_t us); /* "2026-11-26T03:00:00Z", owned; NULL for 0 */
void gw_json_set_text(JsonObject *object, const char *member, const char *text); /* null for NULL */
void gw_json_set_parsed(JsonObject *object, const char *member, const char *json);
