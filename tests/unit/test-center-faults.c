/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each call of a motion that is answered with an error, or cut off before or behind its effect: where the VM
 * is afterwards, what is left at the other end, what the task says, and that it can be tried again. */
#include "center-rig.h"

#include <string.h>

typedef struct {
    const char *name;
    const char *host, *method, *path_end;
    const char *step; /* that the error has to name */
} CallRow;

/* Everything that is called before the engine knows of the motion. */
static const CallRow calls[] = {
    {"facts-source", "host1", "GET", "/v1/host", "check"},
    {"findings", "host1", "GET", "/motion/check", "check"},
    {"probe", "host1", "POST", "/v1/probe", "check"},
    {"listen", "host2", "POST", "/v1/probe/listen", "check"},
    {"start", "host2", "POST", "/v1/vms", "prepare"},
    {"receive", "host2", "POST", "/motion", "prepare"},
    {"send", "host1", "POST", "/motion", "connect"},
};

typedef struct {
    const CallRow *call;
    FakeFault fault;
} FaultCase;

static void
assert_says(JsonObject *task, const char *words)
{
    JsonObject *error = gw_json_get_object(task, "error");
    const char *message = error ? gw_json_get_string(error, "message") : NULL;
    if (!message || !strstr(message, words))
        g_error("'%s' does not say '%s'", message ? message : "(nothing)", words);
}

/* The VM runs on, nothing is left, the task says so; or the motion took place all the same, where the fault
 * only hid that the source had been told. */
static void
test_fault(const void *data)
{
    const FaultCase *fault = data;
    const CallRow *call = fault->call;
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    fake_fault(rig->agents, call->host, call->method, call->path_end, fault->fault, GW_ERROR_IO);
    g_autofree char *id = center_rig_migrate(rig, "web1", "host2");
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    g_assert_true(fake_fault_was_met(rig->agents));
    if (fault->fault == FAKE_CUT_BEHIND && strcmp(call->step, "connect") == 0) {
        center_rig_assert_state(task, "completed");
        center_rig_assert_at(rig, "web1", "host2", "running");
        center_rig_await_place(rig, "host1", "web1", "absent");
        return;
    }
    center_rig_assert_state(task, "failed");
    assert_says(task, call->step);
    assert_says(task, call->host);
    center_rig_assert_at(rig, "web1", "host1", "running");
    center_rig_await_place(rig, "host2", "web1", "absent");
    /* And it can be tried again. */
    fake_no_faults(rig->agents);
    center_rig_await_vm(rig, "web1", "state", "running");
    g_autofree char *again = center_rig_migrate(rig, "web1", "host2");
    g_autoptr(JsonObject) second = center_rig_await_end(rig, again);
    center_rig_assert_state(second, "completed");
}

static void
add_faults(void)
{
    static FaultCase cases[G_N_ELEMENTS(calls) * 3];
    static const char *const ways[] = {"error", "cut-before", "cut-behind"};
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
        for (int way = FAKE_ANSWERS_ERROR; way <= FAKE_CUT_BEHIND; way++) {
            FaultCase *each = &cases[i * 3 + (size_t)way];
            *each = (FaultCase){&calls[i], way};
            g_autofree char *path = g_strdup_printf("/center-faults/%s/%s", calls[i].name, ways[way]);
            g_test_add_data_func(path, each, test_fault);
        }
}

int
main(int argc, char **argv)
{
    center_rig_init();
    g_test_init(&argc, &argv, NULL);
    add_faults();
    return g_test_run();
}
