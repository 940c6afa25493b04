/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine of agents that are played: states, and what becomes of the VMs at both ends. */
#include "fake-agent-internal.h"

#include <string.h>

static const char *const engine_states[] = {"connecting", "first-round",  "pre-copy",
                                            "switchover", "handing-over", "completed"};
#define N_ENGINE_STATES G_N_ELEMENTS(engine_states)

FakeAgent *
fake_destination_of(FakeCluster *self, const FakeVm *source)
{
    for (guint i = 0; i < self->agents->len; i++) {
        FakeAgent *agent = self->agents->pdata[i];
        const FakeVm *vm = g_hash_table_lookup(agent->vms, source->name);
        if (vm && vm != source && g_strcmp0(vm->session, source->session) == 0)
            return agent;
    }
    return NULL;
}

void
fake_end_destination_locked(FakeCluster *self, const FakeVm *source)
{
    FakeAgent *there = fake_destination_of(self, source);
    if (!there)
        return;
    g_hash_table_remove(there->vms, source->name);
    fake_tell_status_locked(there, source->name);
}

void
fake_complete_locked(FakeAgent *here, FakeVm *source)
{
    FakeAgent *there = fake_destination_of(here->cluster, source);
    if (!there) { /* the door is gone */
        fake_set_text(&source->motion, "failed");
        fake_set_text(&source->error_code, "peer-lost");
        fake_set_text(&source->state, "running");
        return;
    }
    FakeVm *vm = g_hash_table_lookup(there->vms, source->name);
    fake_set_text(&source->motion, "completed");
    fake_set_text(&source->state, "moved");
    fake_set_text(&vm->motion, "completed");
    fake_set_text(&vm->state, "running");
    fake_tell_status_locked(there, source->name);
    fake_tell_status_locked(here, source->name);
}

void
fake_advance_locked(FakeAgent *here, FakeVm *vm)
{
    FakeCluster *self = here->cluster;
    if (!vm->is_source || !vm->motion || g_strcmp0(vm->motion, self->stop_at) == 0)
        return;
    for (size_t i = 0; i + 1 < N_ENGINE_STATES; i++) {
        if (strcmp(vm->motion, engine_states[i]) != 0)
            continue;
        if (g_strcmp0(vm->motion, self->fail_at) == 0) {
            fake_set_text(&vm->motion, "failed");
            fake_set_text(&vm->error_code, gw_error_code_name(self->fail_code));
            g_clear_pointer(&self->fail_at, g_free);
            fake_end_destination_locked(self, vm);
        } else if (i + 2 == N_ENGINE_STATES) {
            fake_complete_locked(here, vm);
        } else {
            fake_set_text(&vm->motion, engine_states[i + 1]);
        }
        fake_tell_motion(here, vm->name);
        return;
    }
}
