/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The thread that reconciles (reconcile.h): whenever a host has come back, a VM has changed or a motion has
 * ended it compares what all hosts say with what the center has kept, and asks anew before it acts. */
#pragma once

#include "task.h"

typedef struct GwReconciler GwReconciler;

GwReconciler *gw_reconciler_new(GwInventory *inventory, GwTasks *tasks); /* both borrowed */
void gw_reconciler_free(GwReconciler *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwReconciler, gw_reconciler_free)
