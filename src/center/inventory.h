/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What there is and how it is now: hosts and VMs, their homes (kept in the store) and their state as the
 * agents last told (kept in memory). Thread-safe: what is returned is the caller's, or a reference.
 *
 * A host link (host-link.h) for each host writes; API, motions and checks read. */
#pragma once

#include "admit.h"
#include "authority.h"
#include "event-hub.h"
#include "facts.h"
#include "host-client.h"
#include "store.h"

typedef struct GwInventory GwInventory;

/* Reads the store. Store, hub, and authority are borrowed. */
GwInventory *gw_inventory_new(GwStore *store, GwEventHub *hub, const GwAuthority *authority, GError **error);
void gw_inventory_free(GwInventory *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwInventory, gw_inventory_free)

/* -- Hosts. JSON as GET /v1/hosts of the center has it: the agent's facts and "state" ("up", "unreachable"),
 * "in_maintenance", "cluster", "address", "port", "load", "error". Unref it. */
JsonObject *gw_inventory_host_json(GwInventory *self, const char *host, GError **error);
JsonArray *gw_inventory_hosts_json(GwInventory *self);
char **gw_inventory_host_names(GwInventory *self);
GwHostFacts *gw_inventory_host_facts(GwInventory *self, const char *host, GError **error); /* the caller's */
bool gw_inventory_add_host(GwInventory *self, const GwHostRecord *host, GError **error);
bool gw_inventory_remove_host(GwInventory *self, const char *host,
                              GError **error); /* GW_ERROR_WRONG_STATE while VMs have it as their home */
bool gw_inventory_set_maintenance(GwInventory *self, const char *host, bool in_maintenance, GError **error);
/* A client for the host's agent, for the calling thread. */
GwHostClient *gw_inventory_client(GwInventory *self, const char *host, unsigned timeout_s, GError **error);
/* The same, to speak of one VM, which the inventory may know: see gw_host_client_set_uuid(). */
GwHostClient *gw_inventory_vm_client(GwInventory *self, const char *host, const char *vm, unsigned timeout_s,
                                     GError **error);

/* -- VMs. JSON as GET /v1/vms of the center has it: "name", "uuid", "host" (home), "state" ("unknown" while
 * its host cannot be reached), "vcpus", "memory_mib", "status" (the supervisor's, or null), "task" (open one,
 * or null). */
JsonObject *gw_inventory_vm_json(GwInventory *self, const char *vm, GError **error);
JsonArray *gw_inventory_vms_json(GwInventory *self);
bool gw_inventory_add_vm(GwInventory *self, const GwVmRecord *vm, GError **error);
bool gw_inventory_remove_vm(GwInventory *self, const char *vm, GError **error);
char *gw_inventory_vm_home(GwInventory *self, const char *vm, GError **error); /* owned */
char *
gw_inventory_vm_config(GwInventory *self, const char *vm, GError **error); /* canonical document, owned */
/* Both ends' last word of a VM: the agent's status at that host, NULL if it has none; unref it. */
JsonObject *gw_inventory_vm_status_at(GwInventory *self, const char *vm, const char *host);
/* The home changed with a motion: told to the inventory after the store knows. */
void gw_inventory_vm_moved(GwInventory *self, const char *vm, const char *host);

/* What is wrong with where it is; told as an event when it changes, and orders are refused meanwhile. */
typedef enum {
    GW_VM_TROUBLE_NONE,
    GW_VM_TROUBLE_UNSURE,    /* a host that is not its home runs it, and its home cannot be asked */
    GW_VM_TROUBLE_DUPLICATE, /* two hosts say that they run it */
} GwVmTrouble;
void gw_inventory_set_trouble(GwInventory *self, const char *vm, GwVmTrouble trouble, const char *host);
GwVmTrouble gw_inventory_trouble(GwInventory *self, const char *vm);
char **gw_inventory_troubled_vms(GwInventory *self); /* names, owned */
/* The event vm.unknown, once for each time that a host begins to speak of it. */
void gw_inventory_tell_unknown(GwInventory *self, const char *vm, const char *host);
/* The home changes, in the store first. */
bool gw_inventory_take_home(GwInventory *self, const char *vm, const char *host, GError **error);
void gw_inventory_set_vm_task(GwInventory *self, const char *vm, const char *task /* NULL: none */);

/* Who wants to know of changes: called in the thread that made the change, without any lock. `vm` is NULL
 * where the change is the host's. Removing waits for calls that are under way. */
typedef enum {
    GW_CHANGE_HOST_ADDED,
    GW_CHANGE_HOST_REMOVED,
    GW_CHANGE_HOST_UP, /* with its VMs */
    GW_CHANGE_HOST_LOST,
    GW_CHANGE_HOST_ROOM, /* facts, or maintenance */
    GW_CHANGE_VM,        /* a host says something else of it than before, or its home changed */
    GW_CHANGE_MOTION,    /* an engine has decided where the VM runs */
    GW_CHANGE_TASK_ENDED,
} GwInventoryChange;
typedef void (*GwInventoryWatcher)(GwInventoryChange what, const char *host, const char *vm, void *user_data);
void gw_inventory_watch(GwInventory *self, GwInventoryWatcher watcher, void *user_data);
void gw_inventory_unwatch(GwInventory *self, GwInventoryWatcher watcher, void *user_data);
void gw_inventory_note(GwInventory *self, GwInventoryChange what, const char *host, const char *vm);

/* What admission looks at, as the host told last: its memory that is free and its CPU time that is used; what
 * a VM uses of one CPU there, 0 if that is not known. False: no such host, or not up. */
bool gw_inventory_host_room(GwInventory *self, const char *host, GwHostRoom *ret_room);
unsigned gw_inventory_vm_cpu_percent(GwInventory *self, const char *vm, const char *host);

/* Every VM that any host speaks of, and those that none does: an array of GwVmSighting, for reconciliation.
 */
typedef struct {
    char *vm, *host; /* where it was seen */
    char *home;      /* NULL: the inventory does not have it, or another one of that name */
    char *state;     /* as the host says */
} GwVmSighting;
GArray *gw_inventory_sightings(GwInventory *self);

/* -- Written by host links */
void gw_inventory_host_up(GwInventory *self, const char *host, JsonObject *facts, JsonArray *vms);
void gw_inventory_host_lost(GwInventory *self, const char *host, const char *why);
void gw_inventory_host_event(GwInventory *self, const char *host, const char *type, JsonObject *data);
