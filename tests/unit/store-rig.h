/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A store in a directory of its own, and what tests ask of one. */
#pragma once

#include "error.h"
#include "store.h"

typedef struct {
    char *directory, *path; /* owned */
    GwStore *store;         /* owned; NULL while closed */
} GwStoreRig;

void gw_store_rig_set_up(GwStoreRig *self, const void *data); /* with the store open */
void gw_store_rig_close(GwStoreRig *self);
void gw_store_rig_open(GwStoreRig *self);
void gw_store_rig_tear_down(GwStoreRig *self, const void *data); /* and removes everything */

/* A test with a store of its own. */
#define GW_STORE_RIG_ADD(path, function)                                                                     \
    g_test_add(path, GwStoreRig, NULL, gw_store_rig_set_up, function, gw_store_rig_tear_down)

/* As another program would, while the store is closed: executes SQL on the file. */
void gw_store_rig_execute(GwStoreRig *self, const char *sql);

/* An error of this code whose text has `words` in it; clears it. */
void gw_assert_error_says(GError **error, GwError code, const char *words);

void gw_store_rig_add_host(GwStoreRig *self, const char *name);
void gw_store_rig_add_vm(GwStoreRig *self, const char *name, const char *host); /* its uuid is its name */
