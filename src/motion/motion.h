/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What both ends of a motion are given by who runs them, and how a motion can end. */
#pragma once

#include "handover.h"
#include "image.h"
#include "progress.h"
#include "ticket.h"
#include "vmm.h"

/* What the engine asks of the supervisor beyond memory and VMM. In the motion's thread. */
typedef struct {
    /* Puts one of the GW_HANDOVER_ACT_JOURNAL_… onto stable storage. What is not written is not done. */
    bool (*journal)(GwHandoverAction what, void *user_data, GError **error);
    /* Destination: memory and state are here, and the source is about to be told so: from then on it may ask
     * for this VM. To the journal; false: not written. */
    bool (*ready)(void *user_data, GError **error);
    /* The guest has been let go at the destination: announce it to the network. May be NULL; must be quick.
     */
    void (*resumed)(void *user_data);
    /* Destination: ends the VMM and returns when it has ended. It was told to let the guest run, and that
     * failed: before the source hears that it never will, this must be sure. */
    void (*end_vmm)(void *user_data);
    /* Somebody was refused at the door, or what the peer sent. In any thread. May be NULL. */
    void (*refused)(const char *who, const char *why, void *user_data);
    /* A named step is reached: tests hold the motion there. May be NULL. */
    void (*hold)(const char *step, void *user_data);
    void *user_data;
} GwMotionHooks;

typedef enum {
    GW_OUTCOME_STAYS,   /* source: the guest is here and as it was; the motion failed or was cancelled */
    GW_OUTCOME_LEFT,    /* source: it runs there; what is left here is to be ended */
    GW_OUTCOME_ARRIVED, /* destination: it is here, running, or paused as it was */
    GW_OUTCOME_REFUSED, /* destination: it never runs here; what is there of it is to be ended */
    GW_OUTCOME_OPEN,    /* this supervisor ends before it is known; the journal has it, an adopter goes on */
} GwOutcome;

static inline void
gw_motion_hold(const GwMotionHooks *hooks, const char *step)
{
    if (hooks->hold)
        hooks->hold(step, hooks->user_data);
}
