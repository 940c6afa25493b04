/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The story of one motion. docs/design/cluster.md, "A motion", is its table.
 *
 * Two halves. Until the source's engine is told to send, this thread does everything, and what it has done it
 * undoes. From then on the two supervisors have the motion, and here one only looks on: whatever is cut off,
 * dies or is cancelled, what happened is asked of them (settle.h) and never concluded from an error.
 *
 * The center may die anywhere. Each step is in the store before it is taken, so the next center knows which
 * half it is in: in the first it begins anew (what may have been prepared goes first), in the second it looks
 * on. The secret of the ticket is nowhere but in this process and in the two supervisors; a motion that was
 * prepared and not told to go when the center died is therefore prepared once more. */
#include "error.h"
#include "motion-internal.h"

#include <string.h>

#define LOOK_MS 200  /* between two looks at an engine that has not decided yet */
#define ASK_MS  1000 /* between two questions to hosts of which one does not answer */

/* What is left at the destination and cannot be removed for so long is left to reconciliation. */
#define REMOVAL_TRIES 30

/* The end of the first half. */
typedef enum { SENT, NOT_SENT, STOPPED } Begun;

static bool
is_at(const GwMotionStory *self, const char *step)
{
    return strcmp(self->task->record.step, step) == 0;
}

static bool
step(GwMotionStory *self, const char *name, GError **error)
{
    gw_motion_note_step(self, name);
    return gw_task_step(self->task, name, error);
}

static void
note_why(GwMotionStory *self, GError *error)
{
    if (self->why || !error)
        g_clear_error(&error);
    else
        self->why = error;
}

/* check, reserve, prepare, connect: each fails with everything as it was. */
static Begun
begin(GwMotionStory *self)
{
    GError *error = NULL;
    bool is_sent = gw_motion_connect_agents(self, true, &error) &&                 //
                   step(self, "check", &error) && gw_motion_check(self, &error) && //
                   step(self, "reserve", &error) && /* admission counts it while the task runs */
                   step(self, "prepare", &error) && gw_motion_prepare(self, &error) && //
                   step(self, "connect", &error) && gw_motion_send(self, &error);
    if (gw_task_is_stopping(self->task)) {
        g_clear_error(&error);
        return STOPPED;
    }
    if (is_sent)
        return SENT;
    bool may_have_arrived = is_at(self, "connect");
    if (error)
        g_prefix_error(&error, "%s: ", self->task->record.step);
    note_why(self, error);
    return may_have_arrived ? SENT : NOT_SENT;
}

/* The engine's states are the task's steps. What the store does not take does not hold up an engine. */
static void
follow_step(GwMotionStory *self)
{
    const char *state = gw_json_get_string(self->engine, "state"), *name = NULL;
    if (g_strcmp0(state, "first-round") == 0 || g_strcmp0(state, "pre-copy") == 0)
        name = "copy";
    else if (g_strcmp0(state, "switchover") == 0 || g_strcmp0(state, "handing-over") == 0 ||
             g_strcmp0(state, "unresolved") == 0)
        name = "switchover";
    g_autoptr(GError) error = NULL;
    if (name && !is_at(self, name) && !step(self, name, &error) && !gw_task_is_stopping(self->task))
        g_warning("%s: %s, ignoring", self->task->record.id, error->message);
}

static void
wait_for_hosts(GwMotionStory *self, GwEnd source, GwEnd destination, const char *whom)
{
    g_autofree char *text = NULL;
    if (strcmp(whom, "source") == 0)
        text = g_strdup_printf("%s to answer", self->from);
    else if (strcmp(whom, "destination") == 0)
        text = g_strdup_printf("%s to answer", self->to);
    else if (source.motion == GW_END_MOTION_UNRESOLVED)
        text = g_strdup_printf("%s to learn from %s whether the VM runs there; if one of them will not come "
                               "back: godwit vm resolve",
                               self->from, self->to);
    else if (source.motion != GW_END_MOTION_UNDER_WAY)
        text = g_strdup_printf("one of %s and %s to end its copy: both say that they run the VM", self->from,
                               self->to);
    gw_task_set_waits_for(self->task, text);
    gw_task_wait(self->task, ASK_MS);
}

/* Somebody wants it given up. The source decides that; if it cannot be asked, a destination that only waits
 * is withdrawn: its supervisor says no for ever, and so the VM is nowhere but at the source. */
static void
cancel(GwMotionStory *self, GwEnd destination, bool source_answers)
{
    if (source_answers) {
        g_autoptr(JsonObject) reply =
            gw_host_client_vm(self->source, "DELETE", self->vm, "/motion", NULL, NULL);
    } else if (destination.place == GW_PLACE_INCOMING && gw_motion_remove_destination(self)) {
        self->is_withdrawn = true;
    }
}

/* copy, switchover: looks on until the two hosts' words say where the VM is. NOT_YET: the center ends. */
static GwSettled
look_on(GwMotionStory *self)
{
    GwTask *task = self->task;
    g_autoptr(GError) error = NULL;
    if (!gw_motion_connect_agents(self, false, &error))
        g_warning("%s: %s", task->record.id, error->message); /* the store has lost a host */
    while (self->source && !gw_task_is_stopping(task)) {
        bool is_this = gw_motion_look(self);
        GwEndMotion motion =
            is_this ? gw_end_motion_from_json(self->engine, task->record.session) : GW_END_MOTION_NONE;
        if (is_this)
            follow_step(self);
        if (motion == GW_END_MOTION_UNDER_WAY) {
            gw_task_set_waits_for(task, NULL);
            if (gw_task_cancel_wanted(task))
                cancel(self, (GwEnd){0}, true);
            gw_task_wait(task, LOOK_MS);
            continue;
        }
        const char *whom = NULL;
        GwEnd source = gw_motion_ask(self, self->source);
        GwEnd destination = gw_motion_ask(self, self->destination);
        if (source.place == GW_PLACE_UNKNOWN && gw_task_cancel_wanted(task))
            cancel(self, destination, false);
        GwSettled settled = gw_settle(source, destination, self->is_withdrawn, &whom);
        if (settled != GW_SETTLED_NOT_YET)
            return settled;
        wait_for_hosts(self, source, destination, whom);
    }
    return GW_SETTLED_NOT_YET;
}

/* Where nothing has left the source nothing may stay at the destination: whoever is let in late finds nobody.
 * A destination that has a guest after all is asked about once more. */
static GwSettled
decide(GwMotionStory *self)
{
    for (unsigned tries = 0;; tries++) {
        GwSettled settled = look_on(self);
        if (settled == GW_SETTLED_NOT_YET || settled == GW_SETTLED_LEFT)
            return settled;
        if (gw_motion_remove_destination(self) || self->is_out_of_reach || tries == REMOVAL_TRIES)
            return settled;
        gw_task_wait(self->task, ASK_MS);
    }
}

static void
end(GwMotionStory *self, const char *state, GError *error)
{
    gw_motion_note_step(self, NULL);
    gw_motion_note_result(self);
    gw_task_end(g_steal_pointer(&self->task), state, error);
    g_clear_error(&error);
}

static void
end_failed(GwMotionStory *self, GError *error)
{
    end(self, error->code == GW_ERROR_CANCELLED ? "cancelled" : "failed", error);
}

/* An engine may be through before anybody has looked: the account of its steps is the same. */
static bool
walk_to_record(GwMotionStory *self, GError **error)
{
    if (is_at(self, "connect") && !step(self, "copy", error))
        return false;
    if (is_at(self, "copy") && !step(self, "switchover", error))
        return false;
    return step(self, "record", error);
}

/* record, clean-up: the VM is at its destination, and nothing can fail any more. */
static void
finish(GwMotionStory *self)
{
    gw_motion_look(self); /* the engine's figures, once more before they are removed */
    gw_motion_note_result(self);
    g_autoptr(GError) error = NULL;
    if (!is_at(self, "clean-up")) {
        if (!walk_to_record(self, &error) && !gw_task_is_stopping(self->task))
            g_warning("%s: %s, ignoring", self->task->record.id, error->message);
        if (!gw_task_record_home(self->task))
            return;
    }
    gw_motion_note_step(self, "clean-up");
    gw_task_hold(self->task);
    gw_motion_clean_source(self);
    if (!gw_task_is_stopping(self->task))
        end(self, "completed", NULL);
}

/* `is_sent`: the source's engine knows of it. */
static void
tell(GwMotionStory *self, bool is_sent)
{
    Begun begun = is_sent ? SENT : begin(self);
    if (begun == STOPPED)
        return;
    if (begun == NOT_SENT) {
        if (self->may_be_there)
            gw_motion_remove_destination(self);
        end_failed(self, gw_motion_error_stayed(self));
        return;
    }
    gw_task_set_sent(self->task, true);
    GwSettled settled = is_at(self, "clean-up") ? GW_SETTLED_LEFT : decide(self);
    switch (settled) {
    case GW_SETTLED_LEFT:
        finish(self);
        break;
    case GW_SETTLED_ENDED:
        end_failed(self, gw_motion_error_ended(self));
        break;
    case GW_SETTLED_STAYED:
        if (is_sent && is_at(self, "connect") && !self->engine && !gw_task_cancel_wanted(self->task)) {
            gw_task_set_sent(self->task, false); /* the last center died before it told the source */
            tell(self, false);
        } else {
            end_failed(self, gw_motion_error_stayed(self));
        }
        break;
    default: /* the center ends; the next one goes on */
        break;
    }
}

static void
clear(GwMotionStory *self)
{
    gw_motion_drop_agents(self);
    g_clear_pointer(&self->paths, g_array_unref);
    g_clear_pointer(&self->ticket, json_object_unref);
    g_clear_pointer(&self->engine, json_object_unref);
    g_clear_error(&self->why);
    json_array_unref(self->steps);
}

void
gw_motion_run(GwTask *task)
{
    GwMotionStory self = {.task = task,
                          .vm = task->record.vm,
                          .from = task->record.source,
                          .to = task->record.destination,
                          .may_be_there = task->is_taken_up,
                          .steps = json_array_new()};
    bool is_sent = task->is_taken_up && !is_at(&self, "queued") && !is_at(&self, "check") &&
                   !is_at(&self, "reserve") && !is_at(&self, "prepare");
    tell(&self, is_sent);
    clear(&self);
}
