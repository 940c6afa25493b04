/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What registry.c (the table) and registry-watch.c (a VM's thread) share. */
#pragma once

#include "registry.h"

#define GW_REGISTRY_CALL_TIMEOUT_S 10

typedef struct {
    gatomicrefcount refs;
    /* set once */
    GwRegistry *registry;
    char *name;
    bool is_old; /* it was there before us: what has happened to it so far is not told again */
    /* the thread's */
    guint64 last_id; /* of its supervisors' events; 0: none seen */
    gint64 debris_since;
    unsigned n_failures; /* adoptions in a row behind which no supervisor lived for long */
    unsigned n_silences; /* calls in a row that a living supervisor did not answer */
    /* guarded by the registry's lock */
    JsonObject *status; /* owned; as a supervisor last gave it; NULL: none has */
    JsonObject *motion; /* owned; "session", "role", "state", "step"; NULL: none */
    bool supervised;
    bool known; /* it is a VM: listed, and its going is told */
    char *uuid; /* from its config.json; NULL: not read yet */
    int64_t memory_mib;
    char *trouble;           /* why it has no supervisor; NULL: not known */
    bool poked;              /* look again now */
    GwHttpClient *following; /* borrowed; what the thread waits in */
} GwRegistryEntry;

struct GwRegistry {
    /* set once */
    char *runtime_dir;
    GwRegistryTell tell;
    void *user_data;
    int inotify;
    GSource *inotify_source;
    int vms_watch;
    /* guarded by lock */
    GMutex lock;
    GCond
        changed; /* an entry came, went, was poked, got or lost its supervisor; a thread or adoption ended */
    GHashTable *entries;  /* name -> GwRegistryEntry, ref */
    GHashTable *reserved; /* names */
    GHashTable *watches;  /* inotify's number of a VM's directory -> name */
    unsigned n_threads, n_adoptions;
    bool ending;
    char *vm_program, *log_level;
};

void gw_registry_entry_unref(GwRegistryEntry *entry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwRegistryEntry, gw_registry_entry_unref)

/* A VM as GET /v1/vms has it; the caller's. The lock is held. */
JsonObject *gw_registry_entry_to_json(GwRegistryEntry *entry);

/* Keeps a copy of the status unless it is older than the one that is stored. GW_ERROR_PROTOCOL if it is none.
 */
bool gw_registry_store_status(GwRegistryEntry *entry, JsonObject *status, GError **error);

/* Tells vm.status as it is stored, null if the VM is gone. */
void gw_registry_tell_status(GwRegistryEntry *entry, bool gone);

/* The thread of an entry, whose reference it takes. */
void *gw_registry_watch(void *entry);
