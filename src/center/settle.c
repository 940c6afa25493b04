/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a VM is: the decision over both ends' answers, and how their JSON is read. */
#include "settle.h"

#include "json.h"

#include <string.h>

static const char *const place_names[] = {
    [GW_PLACE_UNKNOWN] = "unknown", [GW_PLACE_ABSENT] = "absent",     [GW_PLACE_OFF] = "off",
    [GW_PLACE_CRASHED] = "crashed", [GW_PLACE_STARTING] = "starting", [GW_PLACE_INCOMING] = "incoming",
    [GW_PLACE_RUNNING] = "running", [GW_PLACE_PAUSED] = "paused",     [GW_PLACE_MOVED] = "moved",
};
G_STATIC_ASSERT(G_N_ELEMENTS(place_names) == GW_N_PLACES);

const char *
gw_place_name(GwPlace place)
{
    return place_names[place];
}

GwPlace
gw_place_from_state(const char *state)
{
    for (int i = GW_PLACE_OFF; state && i < GW_N_PLACES; i++)
        if (strcmp(place_names[i], state) == 0)
            return i;
    return GW_PLACE_UNKNOWN;
}

const char *
gw_vm_state_told(JsonObject *status, JsonObject *motion)
{
    const char *state = gw_json_get_string(status, "state");
    bool has_guest = g_strcmp0(state, "running") == 0 || g_strcmp0(state, "paused") == 0;
    bool has_left = motion && g_strcmp0(gw_json_get_string(motion, "role"), "source") == 0 &&
                    g_strcmp0(gw_json_get_string(motion, "state"), "completed") == 0;
    return has_guest && has_left ? place_names[GW_PLACE_MOVED] : state;
}

GwEndMotion
gw_end_motion_from_json(JsonObject *motion, const char *session)
{
    const char *state = motion ? gw_json_get_string(motion, "state") : NULL;
    if (!motion)
        return GW_END_MOTION_NONE;
    if (g_strcmp0(state, "unresolved") == 0)
        return GW_END_MOTION_UNRESOLVED;
    bool has_completed = g_strcmp0(state, "completed") == 0;
    bool has_ended = has_completed || g_strcmp0(state, "failed") == 0 || g_strcmp0(state, "cancelled") == 0;
    if (!has_ended)
        return GW_END_MOTION_UNDER_WAY; /* states that this version does not know among them */
    if (!session || g_strcmp0(gw_json_get_string(motion, "session"), session) != 0)
        return GW_END_MOTION_NONE;
    return has_completed ? GW_END_MOTION_COMPLETED : GW_END_MOTION_FAILED;
}

static bool
is_alive(GwPlace place)
{
    return place == GW_PLACE_RUNNING || place == GW_PLACE_PAUSED;
}

static bool
is_at_rest(GwPlace place)
{
    return place == GW_PLACE_OFF || place == GW_PLACE_CRASHED;
}

/* Loaded and paused, but not handed over, or refused and about to be ended: whoever takes that for a guest
 * that has arrived lets go of the only one. */
static bool
is_only_loaded(GwEnd destination)
{
    return destination.place == GW_PLACE_PAUSED &&
           (destination.motion == GW_END_MOTION_UNDER_WAY || destination.motion == GW_END_MOTION_FAILED);
}

/* It runs there, or did and has ended since. */
static bool
has_arrived(GwEnd destination)
{
    return is_alive(destination.place) ||
           (is_at_rest(destination.place) && destination.motion == GW_END_MOTION_COMPLETED);
}

/* No supervisor at the source any more: its host went down, or somebody removed it. */
static GwSettled
settle_absent_source(GwEnd destination, const char **waits_for)
{
    *waits_for = "destination";
    if (destination.place == GW_PLACE_UNKNOWN || destination.place == GW_PLACE_STARTING)
        return GW_SETTLED_NOT_YET;
    if (is_at_rest(destination.place) && destination.motion == GW_END_MOTION_NONE)
        return GW_SETTLED_LEFT; /* its supervisor was replaced since, and the VM is there */
    return GW_SETTLED_ENDED;
}

static GwSettled
settle(GwEnd source, GwEnd destination, bool is_withdrawn, const char **waits_for)
{
    if (source.place == GW_PLACE_MOVED || source.motion == GW_END_MOTION_COMPLETED)
        return GW_SETTLED_LEFT;
    if (source.motion == GW_END_MOTION_UNDER_WAY)
        return GW_SETTLED_NOT_YET;
    if (is_only_loaded(destination)) {
        *waits_for = "destination";
        return GW_SETTLED_NOT_YET;
    }
    if (source.motion == GW_END_MOTION_UNRESOLVED)
        return has_arrived(destination) ? GW_SETTLED_LEFT : GW_SETTLED_NOT_YET;

    switch (source.place) {
    case GW_PLACE_RUNNING:
    case GW_PLACE_PAUSED:
        return is_alive(destination.place) ? GW_SETTLED_NOT_YET : GW_SETTLED_STAYED;
    case GW_PLACE_OFF:
    case GW_PLACE_CRASHED:
        if (is_alive(destination.place))
            return GW_SETTLED_LEFT;
        *waits_for = "destination";
        return destination.place == GW_PLACE_UNKNOWN ? GW_SETTLED_NOT_YET : GW_SETTLED_ENDED;
    case GW_PLACE_ABSENT:
        return has_arrived(destination) ? GW_SETTLED_LEFT : settle_absent_source(destination, waits_for);
    default:
        *waits_for = "source";
        if (has_arrived(destination))
            return GW_SETTLED_LEFT;
        return is_withdrawn ? GW_SETTLED_STAYED : GW_SETTLED_NOT_YET;
    }
}

GwSettled
gw_settle(GwEnd source, GwEnd destination, bool is_withdrawn, const char **ret_waits_for)
{
    const char *waits_for = "both";
    GwSettled settled = settle(source, destination, is_withdrawn, &waits_for);
    if (ret_waits_for)
        *ret_waits_for = waits_for;
    return settled;
}
