/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the engine asks of the supervisor: journal, network, log. In the motion's thread. */
#include "hold.h"
#include "vm-motion-internal.h"

#include <string.h>

static bool
on_journal(GwHandoverAction what, void *user_data, GError **error)
{
    static const char *const steps[] = {
        [GW_HANDOVER_ACT_JOURNAL_HANDED_OVER] = "handed-over", [GW_HANDOVER_ACT_JOURNAL_GO] = "go",
        [GW_HANDOVER_ACT_JOURNAL_REFUSED] = "refused",         [GW_HANDOVER_ACT_JOURNAL_OWNS] = "owns",
        [GW_HANDOVER_ACT_JOURNAL_RELEASED] = "released",
    };
    GwVmMotion *self = user_data;
    g_return_val_if_fail((size_t)what < G_N_ELEMENTS(steps) && steps[what], false);
    JsonObject *fields = NULL;
    if (what == GW_HANDOVER_ACT_JOURNAL_GO) {
        fields = json_object_new();
        json_object_set_boolean_member(fields, "runs", gw_sink_guest_runs(self->sink));
    }
    return gw_journal_write(self->vm->journal, steps[what], fields, error);
}

static bool
on_ready(void *user_data, GError **error)
{
    GwVmMotion *self = user_data;
    return gw_journal_write(self->vm->journal, "ready", NULL, error);
}

/* `qemu` stays while a motion is undecided, so that this thread may use it. */
static void
on_end_vmm(void *user_data)
{
    GwVmMotion *self = user_data;
    gw_qemu_kill(self->vm->qemu);
}

static void
on_resumed(void *user_data)
{
    GwVmMotion *self = user_data;
    int r = self->announcer ? gw_announcer_send(self->announcer) : 0;
    if (r < 0)
        g_warning("announcing the guest to its network: %s, ignoring: QEMU repeats it", g_strerror(-r));
}

static void
on_refused(const char *who, const char *why, void *user_data)
{
    GwVmMotion *self = user_data;
    g_warning("motion: refused %s: %s", who, why);
    JsonObject *data = json_object_new();
    json_object_set_string_member(data, "who", who);
    json_object_set_string_member(data, "why", why);
    gw_event_log_publish(self->vm->events, "motion.refused", data, 0);
}

static void
on_hold(const char *step, void *user_data)
{
    GwVmMotion *self = user_data;
    JsonObject *data = json_object_new();
    json_object_set_string_member(data, "step", step);
    gw_event_log_publish(self->vm->events, "motion.step", data, 0);
    gw_hold("GODWIT_MOTION", step, NULL, NULL);
}

void
gw_vm_motion_on_changed(const char *step, void *user_data)
{
    GwVmMotion *self = user_data;
    JsonObject *data = json_object_new();
    json_object_set_string_member(data, "state", step);
    json_object_set_string_member(data, "role", self->outgoing ? "source" : "destination");
    const char *type = "motion.state";
    if (strcmp(step, "round") == 0 || strcmp(step, "not-converging") == 0) {
        GwProgressData progress;
        gw_progress_get(self->progress, &progress);
        type = strcmp(step, "round") == 0 ? "motion.round" : "motion.not-converging";
        json_object_set_int_member(data, "round", progress.round);
        if (*progress.explanation)
            json_object_set_string_member(data, "explanation", progress.explanation);
    }
    gw_event_log_publish(self->vm->events, type, data, 0);
}

GwMotionHooks
gw_vm_motion_hooks(GwVmMotion *self)
{
    return (GwMotionHooks){
        .journal = on_journal,
        .ready = on_ready,
        .end_vmm = on_end_vmm,
        .resumed = on_resumed,
        .refused = on_refused,
        .hold = on_hold,
        .user_data = self,
    };
}
