/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of a VM's motion share: vm-motion.c (its life), vm-motion-begin.c (requests and adoption
 * become a motion), vm-motion-hooks.c (what the engine asks of the supervisor). */
#pragma once

#include "announce.h"
#include "sink.h"
#include "source.h"
#include "vm-motion.h"

struct GwVmMotion {
    /* set once */
    GwVm *vm;
    bool outgoing;
    GwJournalMotion
        before; /* picked up from a supervisor that died: what its journal says; else of no kind */
    bool tls;
    GwTicket *ticket;
    GwTlsIdentity *identity; /* NULL: without TLS */
    GwProgress *progress;
    GwTrace *trace;         /* source's */
    GwAnnouncer *announcer; /* destination's; freed when the motion is concluded */
    GwSource *source;
    GwSink *sink;
    GThread *thread;
    /* guarded by the VM's lock */
    bool decided;   /* the engine is done; outcome and error are set */
    bool concluded; /* and the VM has followed */
    bool answered;  /* nobody needs to be told any more; the thread has ended or is about to */
    GwOutcome outcome;
    GError *error;
};

/* The engine's hooks for this motion. */
GwMotionHooks gw_vm_motion_hooks(GwVmMotion *self);
/* For the progress of the motion: changes become events. `user_data` is the motion. */
void gw_vm_motion_on_changed(const char *step, void *user_data);

/* Worker. The motion becomes the VM's, the one before is freed, and its thread starts. */
void gw_vm_motion_start(GwVmMotion *self);
