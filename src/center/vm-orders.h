/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What people order of VMs besides motions: create, power, remove, adopt, resolve. Blocking; any thread.
 *
 * Every order is refused (GW_ERROR_WRONG_STATE) while a task of the VM is open, except stop and resolve, and
 * while two hosts say that they run it. A motion does not begin while an order is under way. */
#pragma once

#include "task.h"

/* Checks the document, keeps the VM with `host` as its home, and starts it if asked. What could not be
 * started is not kept. */
bool gw_order_create(GwTasks *tasks, JsonObject *config, const char *host, bool start, GError **error);

/* `action` as the supervisor's POST /v1/power, or "suspend" for "pause". A start without a supervisor makes
 * one, from the configuration that the inventory keeps. */
bool gw_order_power(GwTasks *tasks, const char *vm, const char *action, GError **error);

/* The VM has to be off. Its disks stay. */
bool gw_order_remove(GwTasks *tasks, const char *vm, GError **error);

/* Takes a VM that is on `host` and not in the inventory. */
bool gw_order_adopt(GwTasks *tasks, const char *vm, const char *host, GError **error);

/* Decides a motion whose other end will not come back: "run" or "discard" what is at `host`. */
bool gw_order_resolve(GwTasks *tasks, const char *vm, const char *host, const char *outcome, GError **error);
