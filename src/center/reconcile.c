/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What to do about a VM that a host speaks of. */
#include "reconcile.h"

/* A guest is there, or about to be. */
static GwReconcileAction
decide_alive(const GwReconcileCase *what)
{
    if (what->is_home)
        return GW_RECONCILE_NOTHING;
    if (what->home == GW_PLACE_UNKNOWN || what->home_has_motion)
        return GW_RECONCILE_TELL_UNSURE;
    switch (what->home) {
    case GW_PLACE_RUNNING:
    case GW_PLACE_PAUSED:
    case GW_PLACE_STARTING:
        return GW_RECONCILE_TELL_DUPLICATE;
    default:
        return GW_RECONCILE_TAKE_HOME;
    }
}

static GwReconcileAction
decide_at_rest(const GwReconcileCase *what)
{
    if (what->is_home || what->home == GW_PLACE_UNKNOWN || what->home_has_motion)
        return GW_RECONCILE_NOTHING;
    return what->home == GW_PLACE_MOVED ? GW_RECONCILE_TAKE_HOME : GW_RECONCILE_REMOVE;
}

GwReconcileAction
gw_reconcile_decide(const GwReconcileCase *what)
{
    if (what->in_motion || what->here == GW_PLACE_ABSENT)
        return GW_RECONCILE_NOTHING;
    if (!what->is_known)
        return GW_RECONCILE_TELL_UNKNOWN;
    switch (what->here) {
    case GW_PLACE_STARTING:
    case GW_PLACE_RUNNING:
    case GW_PLACE_PAUSED:
        return decide_alive(what);
    case GW_PLACE_INCOMING:
        return GW_RECONCILE_REMOVE;
    case GW_PLACE_MOVED:
        /* At home it is the last sign that the VM runs where nobody can be asked now: without it the VM could
         * be started here a second time. */
        return what->is_home ? GW_RECONCILE_NOTHING : GW_RECONCILE_REMOVE;
    case GW_PLACE_OFF:
    case GW_PLACE_CRASHED:
        return decide_at_rest(what);
    default:
        return GW_RECONCILE_NOTHING;
    }
}
