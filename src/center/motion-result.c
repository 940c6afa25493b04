/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is told of a motion when it is over: its figures, and the words of its failure. */
#include "error.h"
#include "json.h"
#include "motion-internal.h"

#include <string.h>

void
gw_motion_note_step(GwMotionStory *self, const char *step)
{
    gint64 now_us = g_get_monotonic_time();
    guint n = json_array_get_length(self->steps);
    if (self->step_us && n > 0)
        json_object_set_double_member(json_array_get_object_element(self->steps, n - 1), "ms",
                                      (double)(now_us - self->step_us) / 1000);
    self->step_us = step ? now_us : 0;
    if (!step)
        return;
    JsonObject *each = json_object_new();
    json_object_set_string_member(each, "step", step);
    json_object_set_null_member(each, "ms");
    json_array_add_object_element(self->steps, each);
}

static void
copy_member(JsonObject *from, JsonObject *to, const char *member)
{
    JsonNode *node = from ? json_object_get_member(from, member) : NULL;
    json_object_set_member(to, member, node ? json_node_copy(node) : json_node_new(JSON_NODE_NULL));
}

static JsonArray *
rounds(JsonObject *engine)
{
    JsonArray *from = engine ? gw_json_get_array(engine, "rounds") : NULL, *to = json_array_new();
    for (guint i = 0; from && i < json_array_get_length(from); i++) {
        JsonObject *round = gw_json_array_object(from, i);
        JsonObject *each = json_object_new();
        if (round && json_object_has_member(round, "found_pages"))
            json_object_set_member(each, "dirty_pages",
                                   json_node_copy(json_object_get_member(round, "found_pages")));
        copy_member(round, each, "sent_bytes");
        copy_member(round, each, "ms");
        json_array_add_object_element(to, each);
    }
    return to;
}

static JsonArray *
paths(const GArray *used)
{
    JsonArray *array = json_array_new();
    for (guint i = 0; used && i < used->len; i++) {
        const GwPath *path = &g_array_index(used, GwPath, i);
        JsonObject *each = json_object_new();
        json_object_set_string_member(each, "source_address", path->source_address);
        json_object_set_string_member(each, "destination_address", path->destination_address);
        json_array_add_object_element(array, each);
    }
    return array;
}

/* A copy: json-glib's arrays are not to be in two trees. */
static JsonArray *
steps(const GwMotionStory *self)
{
    JsonArray *array = json_array_new();
    for (guint i = 0; i < json_array_get_length(self->steps); i++) {
        JsonObject *each = json_object_new();
        copy_member(json_array_get_object_element(self->steps, i), each, "step");
        copy_member(json_array_get_object_element(self->steps, i), each, "ms");
        json_array_add_object_element(array, each);
    }
    return array;
}

void
gw_motion_note_result(GwMotionStory *self)
{
    static const char *const members[] = {
        "downtime_ms",  "total_ms",
        "precopy_ms",   "bytes_on_wire",
        "pages_sent",   "pages_zero",
        "pages_resent", "streams",
        "encrypted",    "cipher",
        "rtt_us",       "link_bytes_per_s",
        "timeline",     "stopped_monotonic_us",
    };
    if (!self->engine && self->task->motion)
        return; /* the last center had seen more */
    JsonObject *motion = json_object_new();
    json_object_set_string_member(motion, "session",
                                  self->task->record.session ? self->task->record.session : "");
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
        copy_member(self->engine, motion, members[i]);
    json_object_set_array_member(motion, "rounds", rounds(self->engine));
    json_object_set_array_member(motion, "paths", paths(self->paths));
    json_object_set_array_member(motion, "steps", steps(self));
    json_object_set_null_member(motion, "client");
    gw_task_set_motion(self->task, motion);
}

static const char *
advice(GwError code)
{
    switch (code) {
    case GW_ERROR_PEER_LOST:
    case GW_ERROR_TIMED_OUT:
        return "See with 'godwit host ls' and 'godwit host probe' that both hosts answer and reach each "
               "other, then migrate again.";
    case GW_ERROR_NOT_CONVERGING:
        return "Migrate again when the guest writes less, with more motion interfaces, or with a longer pause "
               "allowed (--switchover-goal).";
    case GW_ERROR_VMM_FAILED:
        return "What QEMU said is in the log of godwit-vm on the host named; 'godwit vm check' finds what "
               "differs between the hosts.";
    case GW_ERROR_EXISTS:
        return "Find out which of the two is right ('godwit vm show', 'godwit event ls'), and end the other.";
    case GW_ERROR_WRONG_STATE:
        return "See what the VM does ('godwit vm show'), then migrate again.";
    default:
        return "The hosts' logs say more; then migrate again.";
    }
}

/* Ours if this end failed, else the engine's. */
static void
read_why(const GwMotionStory *self, GwError *ret_code, char **ret_text)
{
    JsonObject *error = self->engine ? gw_json_get_object(self->engine, "error") : NULL;
    const char *message = error ? gw_json_get_string(error, "message") : NULL;
    *ret_code = GW_ERROR_PEER_LOST;
    if (self->why) {
        *ret_code = self->why->code;
        *ret_text = g_strdup(self->why->message);
    } else if (message) {
        *ret_code = gw_error_code_from_name(gw_json_get_string(error, "code"));
        *ret_text = g_strdup_printf("%s: %s", self->task->record.step, message);
    } else {
        *ret_text = g_strdup_printf("%s: the motion was cut off, and no host knows why any more",
                                    self->task->record.step);
    }
}

GError *
gw_motion_error_stayed(GwMotionStory *self)
{
    GwError code;
    g_autofree char *why = NULL;
    read_why(self, &code, &why);
    g_autofree char *there =
        self->is_out_of_reach
            ? g_strdup_printf("%s does not answer; what may be left there is removed when it does", self->to)
            : g_strdup_printf("nothing is left on %s", self->to);
    g_autofree char *here =
        self->is_withdrawn
            ? g_strdup_printf("%s is not on %s; %s cannot be asked", self->vm, self->to, self->from)
            : g_strdup_printf("%s is on %s as before", self->vm, self->from);
    if (code == GW_ERROR_CHECK_FAILED || code == GW_ERROR_INVALID_ARGUMENT)
        return g_error_new_literal(GW_ERROR, (int)code, why);
    if (code == GW_ERROR_CANCELLED || gw_task_cancel_wanted(self->task))
        return g_error_new(GW_ERROR, GW_ERROR_CANCELLED, "cancelled at its step %s. %s, %s.",
                           self->task->record.step, here, there);
    return g_error_new(GW_ERROR, (int)code, "%s. %s, %s. %s", why, here, there, advice(code));
}

GError *
gw_motion_error_ended(GwMotionStory *self)
{
    GwError code;
    g_autofree char *why = NULL;
    read_why(self, &code, &why);
    return g_error_new(
        GW_ERROR, GW_ERROR_VMM_FAILED,
        "%s. The guest of %s ended on %s while it was being moved, not by the motion: its QEMU "
        "or its host died. It runs nowhere. 'godwit vm start %s' starts it on %s",
        why, self->vm, self->from, self->vm, self->from);
}
