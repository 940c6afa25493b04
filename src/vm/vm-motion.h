/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's motion, from the supervisor's side: puts the engine together with this VM's memory, QEMU, journal
 * and host, and carries out what it decides. The engine's story runs in a thread of the motion's own. */
#pragma once

#include "motion-json.h"
#include "vm-internal.h"

/* Worker. Begins what a request asks for; the answer for the client. */
JsonObject *gw_vm_motion_begin(GwVm *self, JsonObject *request, GError **error);

/* Worker. Whether the trace would see all that is written to this guest's memory; GW_ERROR_NOT_SUPPORTED with
 * every reason and its repair if not. `ret_may_punch`: see GwSourceOptions. */
bool gw_vm_motion_check(GwVm *self, bool *ret_may_punch, GError **error);

/* Worker. The same findings for who asks before: {"findings": [{"id", "severity", "text", "repair"}, …]}. */
JsonObject *gw_vm_motion_findings(GwVm *self, GError **error);

/* Worker. The engine has decided: the state follows, QEMU is ended where the guest does not run. */
void gw_vm_motion_conclude(GwVm *self);

/* Worker, before an order: an end that can be seen already is concluded, so that whoever saw it is not told
 * that a motion is under way. */
void gw_vm_motion_catch_up(GwVm *self);

/* Worker, at adoption: what is to be done for a motion that the dead supervisor had under way. QEMU may be
 * gone. */
bool gw_vm_motion_adopt(GwVm *self, GwJournalMotion *before, GError **error);

/* Worker. QEMU has ended, or is about to be: ends a motion that is under way and waits for it. False if its
 * handover has begun: then what becomes of it is not QEMU's to say. */
bool gw_vm_motion_abort(GwVm *self, const char *why);

/* Whether one is under way and undecided. Any thread. */
bool gw_vm_motion_is_active(GwVm *self);
/* Whether its handover has begun and its end is not known. Any thread. */
bool gw_vm_motion_is_handing(GwVm *self);

/* Waits for the motion's thread, which was told to leave. */
void gw_vm_motion_join(GwVm *self);

/* Ends its thread and frees it; the worker's, or once there is no worker. NULL is allowed. */
void gw_vm_motion_free(GwVmMotion *motion);
