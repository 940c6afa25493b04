/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a VM is whose motion could not be followed to its end: decided by both ends' answers, never guessed.
 * Pure; docs/design/cluster.md, "Settling", has the table.
 *
 * What it rests on: a supervisor's word about itself is backed by its journal. A source whose guest runs (or
 * is paused) with no motion under way owns the VM; one that is `moved` will never run it again; a destination
 * runs only what was given to it. An agent that answers "not found" has no supervisor of that VM. Anything
 * else, errors and supervisors that are just being replaced among it, is no answer. */
#pragma once

#include "host-client.h"

typedef enum {
    GW_PLACE_UNKNOWN, /* no answer, or a supervisor that does not live */
    GW_PLACE_ABSENT,
    GW_PLACE_OFF,
    GW_PLACE_CRASHED,
    GW_PLACE_STARTING,
    GW_PLACE_INCOMING,
    GW_PLACE_RUNNING,
    GW_PLACE_PAUSED,
    GW_PLACE_MOVED,
    GW_N_PLACES,
} GwPlace;

/* The motion of a certain session at one end. */
typedef enum {
    GW_END_MOTION_NONE, /* none, or another one that has ended */
    GW_END_MOTION_UNDER_WAY,
    GW_END_MOTION_UNRESOLVED,
    GW_END_MOTION_COMPLETED,
    GW_END_MOTION_FAILED, /* or cancelled */
    GW_N_END_MOTIONS,
} GwEndMotion;

typedef struct {
    GwPlace place;
    GwEndMotion motion;
} GwEnd;

typedef enum {
    GW_SETTLED_NOT_YET,
    GW_SETTLED_STAYED, /* at the source, running or paused */
    GW_SETTLED_LEFT,   /* for the destination */
    GW_SETTLED_ENDED,  /* at the source, with its QEMU or its host: it runs nowhere */
    GW_N_SETTLED,
} GwSettled;

/* `is_withdrawn`: this center has removed the destination's while it was incoming, so that it never ran there
 * and never will. `ret_waits_for` (a literal, may be NULL): whom the answer is wanted from: "source",
 * "destination", or "both" when the supervisors have to decide it. */
GwSettled gw_settle(GwEnd source, GwEnd destination, bool is_withdrawn, const char **ret_waits_for);

/* The state of a VM by what its host tells of it and of its motion (NULL: none). A source whose motion has
 * completed is "moved" from then on, although its supervisor says so only when QEMU has ended: on a busy
 * host, where that has the lowest priority, seconds later. Borrowed; NULL if it tells none. */
const char *gw_vm_state_told(JsonObject *status, JsonObject *motion);

GwPlace gw_place_from_state(const char *state); /* as a supervisor names it; UNKNOWN for anything else */
const char *gw_place_name(GwPlace place);
GwEndMotion gw_end_motion_from_json(JsonObject *motion, const char *session);

/* Asks a host's agent (blocking): what its supervisor says of itself and of the motion of that session (NULL:
 * of any). What is no clear answer is GW_PLACE_UNKNOWN. */
GwEnd gw_end_ask(GwHostClient *client, const char *vm, const char *session);
