/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The center's ears: a thread for each host follows its agent's events and writes the inventory; one more
 * reconciles (reconcile.h) what the hosts say with what the center has kept. */
#pragma once

#include "task.h"

typedef struct GwHostLinks GwHostLinks;

/* Links to every host of the inventory, and to those that join later. All borrowed: freed before tasks and
 * inventory. Their order at the start: inventory, tasks, links, gw_tasks_resume(). */
GwHostLinks *gw_host_links_new(GwInventory *inventory, GwTasks *tasks, GwEventHub *hub);
void gw_host_links_free(GwHostLinks *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwHostLinks, gw_host_links_free)
