/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What to do about a VM that a host speaks of, given what the center has kept. Pure; docs/design/cluster.md,
 * "Hosts under the center", has the table. Nothing here ever ends a guest that runs. */
#pragma once

#include "settle.h"

typedef struct {
    bool is_known;        /* the inventory has this VM */
    bool is_home;         /* and has this host as its home */
    bool in_motion;       /* a running task names this host as its source or destination */
    GwPlace here;         /* as this host says */
    GwPlace home;         /* as its home says; of no interest if is_home */
    bool home_has_motion; /* and a motion is under way or unresolved there */
} GwReconcileCase;

typedef enum {
    GW_RECONCILE_NOTHING,
    GW_RECONCILE_TELL_UNKNOWN,
    GW_RECONCILE_TELL_UNSURE,
    GW_RECONCILE_TELL_DUPLICATE,
    GW_RECONCILE_TAKE_HOME, /* this host becomes its home */
    GW_RECONCILE_REMOVE,    /* what is left of it here goes */
    GW_N_RECONCILE,
} GwReconcileAction;

GwReconcileAction gw_reconcile_decide(const GwReconcileCase *what);
