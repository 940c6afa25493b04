/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A host's datastores: directories, most often of shared storage, and whether they can be used now.
 *
 * Storage over a network can stop answering, and whoever asks it then sleeps in the kernel, out of reach of
 * any signal. So each look runs in a thread of its own that is waited for so long and no longer; while one
 * sleeps, its datastore is not asked again. */
#pragma once

#include "host-config.h"

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

/* The file in a datastore's root that says which storage it is: a UUID and a line end. Whoever sees the same
 * one sees the same storage, whatever it is called there. */
#define GW_DATASTORE_IDENTITY_FILE ".godwit-datastore"

typedef struct {
    char *error;    /* why it cannot be used; NULL: it can */
    char *identity; /* NULL: not known */
    bool is_read_only;
    uint64_t capacity_bytes, free_bytes; /* 0 with an error */
} GwDatastoreState;

void gw_datastore_state_clear(GwDatastoreState *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwDatastoreState, gw_datastore_state_clear)

/* Looks at once, in this thread; may sleep for as long as the storage does. Makes the identity file if there
 * is none and it can. */
GwDatastoreState gw_datastore_look(const GwHostDatastore *datastore);

typedef struct GwDatastoreWatch GwDatastoreWatch;

/* For any number of threads. */
GwDatastoreWatch *gw_datastore_watch_new(void);
/* Does not wait for threads that sleep; nobody may be inside the functions below. */
void gw_datastore_watch_free(GwDatastoreWatch *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwDatastoreWatch, gw_datastore_watch_free)

/* Looks, and after `timeout_ms` without an answer says so as the state's error. */
GwDatastoreState
gw_datastore_watch_look(GwDatastoreWatch *self, const GwHostDatastore *datastore, int timeout_ms);

/* "datastores" of GET /v1/host, and of the event host.load: names and free bytes of those that can be used.
 * All are asked at once; both return within some two seconds. */
JsonArray *gw_datastore_watch_facts(GwDatastoreWatch *self, const GwHostConfig *config);
JsonArray *gw_datastore_watch_load(GwDatastoreWatch *self, const GwHostConfig *config);
