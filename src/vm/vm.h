/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One VM's life: off, started, paused, running, ended; its journal, its QEMU, its trace.
 *
 * Threads. Everything that takes time (starting, pausing, tracing …) runs in one worker thread, in the order
 * in which it was submitted; the answer comes back in the main context. QEMU's events arrive in the QMP
 * reader's thread and touch only what `lock` guards. The main thread watches for QEMU's end and never waits.
 * Killing is the exception to the order: it is done at once, so that it ends whatever waits for QEMU. */
#pragma once

#include "console.h"
#include "event-log.h"
#include "vm-config.h"
#include "vm-dir.h"
#include "vm-setup.h"

#include <json-glib/json-glib.h>

/* off: no QEMU. starting: QEMU is there, the guest has not run yet. crashed: QEMU ended and nobody had asked
 * for it. incoming: QEMU waits for a motion to bring the guest. moved: the guest runs elsewhere, and never
 * again here. Only running and paused VMs can be moved. */
typedef enum {
    GW_VM_OFF,
    GW_VM_STARTING,
    GW_VM_RUNNING,
    GW_VM_PAUSED,
    GW_VM_CRASHED,
    GW_VM_INCOMING,
    GW_VM_MOVED,
    GW_VM_N_STATES
} GwVmState;

typedef enum {
    GW_VM_OP_START, /* "paused": true leaves it before its first instruction; "incoming": true: it waits for a
                       motion */
    GW_VM_OP_ADOPT, /* takes over what the journal tells of */
    GW_VM_OP_PAUSE,
    GW_VM_OP_RESUME,
    GW_VM_OP_RESET,
    GW_VM_OP_SHUTDOWN, /* presses the power button; answers when that is done, not when the guest is off */
    GW_VM_OP_KILL,     /* ends QEMU; answers when it has ended */
    GW_VM_OP_TRACE_ARM,
    GW_VM_OP_TRACE_SCAN, /* "limit": the most runs to list (default 65,536) */
    GW_VM_OP_TRACE_DISARM,
    GW_VM_OP_MOTION,       /* begins to send or to receive: what POST /v1/motion says */
    GW_VM_OP_MOTION_CHECK, /* what "send" would find: {"findings": […]} */
    GW_VM_OP_MOTION_ENDED, /* our own: it has been decided where the guest runs */
    GW_VM_OP_SETTLE,       /* nothing: answers when all that was under way or waited is done */
    GW_VM_N_OPS,
} GwVmOp;

typedef struct GwVm GwVm;

/* In the main context. `result` (owned by the caller) or `error` (likewise) is set. */
typedef void (*GwVmDone)(JsonObject *result, const GError *error, void *user_data);

/* The VM whose directory and lock is `dir`, off. Takes dir, setup and config, on failure too; `events` is
 * borrowed. In the main thread. */
GwVm *gw_vm_new(GwVmDir *dir, GwVmSetup *setup, GwVmConfig *config, GwEventLog *events, GError **error);

/* Any thread; `arguments` (borrowed) may be NULL; so may `done`. */
void gw_vm_submit(GwVm *self, GwVmOp op, JsonObject *arguments, GwVmDone done, void *user_data);

GwVmState gw_vm_state(GwVm *self);
const char *gw_vm_state_name(GwVmState state);

/* Everything that is known of it now, as GET /v1/status shows it (docs/godwit-vm-api.md). Never waits for
 * QEMU. */
JsonObject *gw_vm_status(GwVm *self);

const GwVmConfig *gw_vm_config(const GwVm *self);

/* The motion under way, or the last one; NULL if there never was one. Never waits. */
JsonObject *gw_vm_motion(GwVm *self);

/* Gives a motion up; GW_ERROR_WRONG_STATE if there is none, or its handover has begun. Main thread. */
bool gw_vm_motion_cancel(GwVm *self, GError **error);

/* A person decides what an unresolved motion cannot find out. Main thread. */
bool gw_vm_motion_resolve(GwVm *self, bool run, GError **error);

/* The supervisor is to end: a motion is cancelled, or, if its handover has begun, left for an adopter. Main
 * thread. */
void gw_vm_motion_leave(GwVm *self);

/* Whether a VM that was to come never came, and nobody has to be told any more. Main thread. */
bool gw_vm_never_came(GwVm *self);

/* NULL if the VM has no such port. Main thread. */
GwConsole *gw_vm_console(GwVm *self, unsigned port);

/* Called in the main thread with a console's output as it comes. */
void gw_vm_set_console_follower(GwVm *self,
                                void (*follower)(unsigned port, const char *data, size_t length, void *),
                                void *user_data);

/* Called in the main thread whenever an operation has been answered or QEMU's end been dealt with, and
 * nothing else is under way: the moment to decide by gw_vm_state(). */
void gw_vm_set_settled_callback(GwVm *self, void (*settled)(GwVm *self, void *), void *user_data);

/* Whether an operation is under way or waits. Main thread. */
bool gw_vm_is_busy(GwVm *self);

/* Removes the directory and all in it. GW_ERROR_WRONG_STATE unless the VM is off or crashed, and not busy.
 * Main thread. */
bool gw_vm_remove(GwVm *self, GError **error);

/* Lets go: a guest that runs runs on, to be adopted. Waits for the operation under way. */
void gw_vm_free(GwVm *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwVm, gw_vm_free)
