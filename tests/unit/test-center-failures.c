/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a center does when an engine fails, somebody cancels, or an agent, a QEMU or a host is gone: where the
 * VM is afterwards, what is left at the other end, and what the task says. */
#include "center-rig.h"

#include <string.h>

static void
assert_says(JsonObject *task, const char *words)
{
    JsonObject *error = gw_json_get_object(task, "error");
    const char *message = error ? gw_json_get_string(error, "message") : NULL;
    if (!message || !strstr(message, words))
        g_error("'%s' does not say '%s'", message ? message : "(nothing)", words);
}

/* web1 is on its way from host1 to host2, and its engine stands still there. */
static CenterRig *
under_way(const char *engine_state, const char *step, char **ret_id)
{
    CenterRig *rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    fake_stop_engines_at(rig->agents, engine_state);
    *ret_id = center_rig_migrate(rig, "web1", "host2");
    center_rig_await_task(rig, *ret_id, "step", step);
    return rig;
}

static void
test_engine_fails(const void *data)
{
    const char *state = data;
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    fake_fail_engine_at(rig->agents, state, GW_ERROR_NOT_CONVERGING);
    g_autofree char *id = center_rig_migrate(rig, "web1", "host2");
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "failed");
    assert_says(task, "the engine's own words");
    assert_says(task, "--switchover-goal");
    g_assert_cmpstr(gw_json_get_string(gw_json_get_object(task, "error"), "code"), ==, "not-converging");
    center_rig_assert_at(rig, "web1", "host1", "running");
    center_rig_await_place(rig, "host2", "web1", "absent");
}

static void
test_cancel(const void *data)
{
    const char *step = data;
    bool is_too_late = strcmp(step, "record") == 0 || strcmp(step, "clean-up") == 0;
    g_autoptr(GError) error = NULL;
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    if (!is_too_late)
        fake_stop_engines_at(rig->agents, "switchover"); /* until then there is time */
    center_rig_hold_at(rig, step);
    g_autofree char *id = center_rig_migrate(rig, "web1", "host2");
    center_rig_await_hold(rig);
    bool is_taken = gw_tasks_cancel(rig->tasks, id, "bob", &error);
    g_assert_true(is_taken != is_too_late);
    center_rig_hold_at(rig, NULL);
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, is_too_late ? "completed" : "cancelled");
    center_rig_assert_at(rig, "web1", is_too_late ? "host2" : "host1", "running");
    center_rig_await_place(rig, is_too_late ? "host1" : "host2", "web1", "absent");
    if (is_too_late)
        g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    g_clear_error(&error);
    g_assert_false(gw_tasks_cancel(rig->tasks, id, "bob", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
}

/* The engine says that it is too late: the user hears that, and the motion goes on. */
static void
test_cancel_in_handover(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *id = NULL;
    g_autoptr(CenterRig) rig = under_way("handing-over", "switchover", &id);
    g_assert_false(gw_tasks_cancel(rig->tasks, id, "bob", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    fake_stop_engines_at(rig->agents, NULL);
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "completed");
}

/* The source's agent goes, its supervisor does not: the destination's word is enough. */
static void
test_source_agent_away(void)
{
    g_autofree char *id = NULL;
    g_autoptr(CenterRig) rig = under_way("pre-copy", "copy", &id);
    fake_set_away(rig->agents, "host1", true);
    center_rig_await_task(rig, id, "waits_for", "host1 to answer");
    fake_complete_engine(rig->agents, "web1");
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "completed");
    center_rig_assert_at(rig, "web1", "host2", "running");
    /* What is left is removed when it can be asked again. */
    g_autofree char *left = fake_state(rig->agents, "host1", "web1");
    g_assert_cmpstr(left, ==, "moved");
    fake_set_away(rig->agents, "host1", false);
    center_rig_await_place(rig, "host1", "web1", "absent");
    center_rig_assert_at(rig, "web1", "host2", "running");
}

/* The same, and the engine fails meanwhile: nothing is concluded before the source has been asked. */
static void
test_source_agent_comes_back(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    fake_stop_engines_at(rig->agents, "pre-copy");
    fake_fail_engine_at(rig->agents, "pre-copy", GW_ERROR_PEER_LOST);
    g_autofree char *id = center_rig_migrate(rig, "web1", "host2");
    center_rig_await_task(rig, id, "step", "copy");
    fake_set_away(rig->agents, "host1", true);
    center_rig_await_task(rig, id, "waits_for", "host1 to answer");
    fake_stop_engines_at(rig->agents, NULL);
    fake_set_away(rig->agents, "host1", false);
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "failed");
    center_rig_assert_at(rig, "web1", "host1", "running");
    center_rig_await_place(rig, "host2", "web1", "absent");
}

/* The source is gone for good while the destination only waits: a cancelled task does not wait for ever. */
static void
test_withdraw(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *id = NULL;
    g_autoptr(CenterRig) rig = under_way("pre-copy", "copy", &id);
    fake_set_away(rig->agents, "host1", true);
    center_rig_await_task(rig, id, "waits_for", "host1 to answer");
    g_assert_true(gw_tasks_cancel(rig->tasks, id, "bob", &error));
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "cancelled");
    assert_says(task, "host1 cannot be asked");
    center_rig_await_place(rig, "host2", "web1", "absent");
    g_autofree char *home = gw_inventory_vm_home(rig->inventory, "web1", &error);
    g_assert_cmpstr(home, ==, "host1");
}

static void
test_destination_agent_away(void)
{
    g_autofree char *id = NULL;
    g_autoptr(CenterRig) rig = under_way("pre-copy", "copy", &id);
    fake_set_away(rig->agents, "host2", true);
    center_rig_await_host(rig, "host2", "unreachable");
    fake_stop_engines_at(rig->agents, NULL);
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "completed");
    fake_set_away(rig->agents, "host2", false);
    center_rig_await_vm(rig, "web1", "state", "running");
    center_rig_assert_at(rig, "web1", "host2", "running");
}

/* The destination's agent is gone when what was prepared has to go: it goes when the agent is back. */
static void
test_undo_later(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    center_rig_hold_at(rig, "connect");
    fake_fault(rig->agents, "host1", "POST", "/motion", FAKE_ANSWERS_ERROR, GW_ERROR_NOT_SUPPORTED);
    g_autofree char *id = center_rig_migrate(rig, "web1", "host2");
    center_rig_await_hold(rig);
    fake_set_away(rig->agents, "host2", true);
    center_rig_hold_at(rig, NULL);
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "failed");
    assert_says(task, "host2 does not answer");
    fake_set_away(rig->agents, "host2", false);
    center_rig_await_place(rig, "host2", "web1", "absent");
    center_rig_assert_at(rig, "web1", "host1", "running");
}

static void
test_source_qemu_dies(void)
{
    g_autofree char *id = NULL;
    g_autoptr(CenterRig) rig = under_way("pre-copy", "copy", &id);
    fake_set_vm(rig->agents, "host1", "web1", "crashed");
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "failed");
    assert_says(task, "godwit vm start web1");
    center_rig_assert_at(rig, "web1", "host1", "crashed");
    center_rig_await_place(rig, "host2", "web1", "absent");
}

/* The host of the source goes down with all that is on it, and comes back empty. */
static void
test_source_host_dies(void)
{
    g_autofree char *id = NULL;
    g_autoptr(CenterRig) rig = under_way("pre-copy", "copy", &id);
    fake_set_away(rig->agents, "host1", true);
    fake_remove_vm(rig->agents, "host1", "web1");
    center_rig_await_task(rig, id, "waits_for", "host1 to answer");
    fake_set_away(rig->agents, "host1", false);
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "failed");
    center_rig_assert_at(rig, "web1", "host1", "absent");
    center_rig_await_place(rig, "host2", "web1", "absent");
    center_rig_await_vm(rig, "web1", "state", "off");
}

/* The source cannot learn whether its VM runs at the destination; the center sees that it does, and tells. */
static void
test_unresolved(void)
{
    g_autofree char *id = NULL;
    g_autoptr(CenterRig) rig = under_way("handing-over", "switchover", &id);
    fake_unresolve_engine(rig->agents, "web1");
    center_rig_await_task(rig, id, "waits_for", "godwit vm resolve");
    fake_set_vm(rig->agents, "host2", "web1", "running");
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "completed");
    center_rig_assert_at(rig, "web1", "host2", "running");
    center_rig_await_place(rig, "host1", "web1", "absent");
}

static void
test_resolved_by_hand(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *id = NULL;
    g_autoptr(CenterRig) rig = under_way("handing-over", "switchover", &id);
    fake_unresolve_engine(rig->agents, "web1");
    fake_set_away(rig->agents, "host2", true);
    center_rig_await_task(rig, id, "waits_for", "godwit vm resolve");
    g_assert_true(gw_order_resolve(rig->tasks, "web1", "host1", "run", &error));
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "failed");
    fake_set_away(rig->agents, "host2", false);
    center_rig_await_place(rig, "host2", "web1", "absent");
    center_rig_assert_at(rig, "web1", "host1", "running");
}

/* A VM of that name comes up at the destination behind the check: the motion fails and does not touch it.
 * `uuid` NULL: it says that it is ours. */
static CenterRig *
meet_another(const char *state, const char *uuid)
{
    CenterRig *rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    center_rig_hold_at(rig, "prepare");
    g_autofree char *id = center_rig_migrate(rig, "web1", "host2");
    center_rig_await_hold(rig);
    fake_add_vm(rig->agents, "host2", "web1", state);
    if (uuid)
        fake_set_vm_uuid(rig->agents, "host2", "web1", uuid);
    center_rig_hold_at(rig, NULL);
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "failed");
    g_assert_cmpstr(gw_json_get_string(gw_json_get_object(task, "error"), "code"), ==, "exists");
    g_autofree char *there = fake_state(rig->agents, "host2", "web1");
    g_assert_cmpstr(there, ==, state);
    center_rig_assert_at(rig, "web1", "host1", "running");
    return rig;
}

static void
test_occupied(void)
{
    g_autoptr(CenterRig) rig = meet_another("running", NULL);
    center_rig_await_vm(rig, "web1", "trouble", "duplicate");
}

/* It is not ours to remove, be it off. */
static void
test_namesake(void)
{
    g_autoptr(CenterRig) rig = meet_another("off", "00000000-0000-4000-8000-000000000001");
}

/* Where the guest has left, QEMU may still be ending when the task is over: no second copy, but a rest. */
static void
test_slow_to_end(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    center_rig_hold_at(rig, "clean-up");
    g_autofree char *id = center_rig_migrate(rig, "web1", "host2");
    center_rig_await_hold(rig);
    fake_set_vm(rig->agents, "host1", "web1", "paused");
    fake_fault(rig->agents, "host1", "DELETE", "/v1/vms/web1", FAKE_ANSWERS_ERROR, GW_ERROR_TIMED_OUT);
    center_rig_hold_at(rig, NULL);
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "completed");
    for (unsigned i = 0; i < 2000 && fake_n_calls(rig->agents, "host1", "DELETE", "/v1/vms/web1") < 2; i++)
        g_usleep(5000); /* reconciliation, which is refused so far */
    g_assert_cmpuint(fake_n_calls(rig->agents, "host1", "DELETE", "/v1/vms/web1"), >=, 2);
    center_rig_await_vm(rig, "web1", "trouble", NULL);
    fake_set_vm(rig->agents, "host1", "web1", "moved");
    center_rig_await_place(rig, "host1", "web1", "absent");
    center_rig_assert_at(rig, "web1", "host2", "running");
    g_assert_true(fake_fault_was_met(rig->agents));
    g_assert_cmpuint(center_rig_n_events(rig, "vm.duplicate", NULL), ==, 0);
}

static void
add_each(const char *what, const char *const *names, GTestDataFunc test)
{
    for (; *names; names++) {
        g_autofree char *path = g_strdup_printf("/center-failures/%s/%s", what, *names);
        g_test_add_data_func(path, *names, test);
    }
}

int
main(int argc, char **argv)
{
    static const char *const steps[] = {"check",      "reserve", "prepare",  "connect", "copy",
                                        "switchover", "record",  "clean-up", NULL};
    static const char *const states[] = {"connecting", "first-round", "pre-copy", "switchover", NULL};
    center_rig_init();
    g_test_init(&argc, &argv, NULL);
    add_each("engine", states, test_engine_fails);
    add_each("cancel", steps, test_cancel);
    g_test_add_func("/center-failures/cancel-in-handover", test_cancel_in_handover);
    g_test_add_func("/center-failures/slow-to-end", test_slow_to_end);
    g_test_add_func("/center-failures/source-agent-away", test_source_agent_away);
    g_test_add_func("/center-failures/source-agent-comes-back", test_source_agent_comes_back);
    g_test_add_func("/center-failures/withdraw", test_withdraw);
    g_test_add_func("/center-failures/destination-agent-away", test_destination_agent_away);
    g_test_add_func("/center-failures/undo-later", test_undo_later);
    g_test_add_func("/center-failures/source-qemu-dies", test_source_qemu_dies);
    g_test_add_func("/center-failures/source-host-dies", test_source_host_dies);
    g_test_add_func("/center-failures/unresolved", test_unresolved);
    g_test_add_func("/center-failures/resolved-by-hand", test_resolved_by_hand);
    g_test_add_func("/center-failures/occupied", test_occupied);
    g_test_add_func("/center-failures/namesake", test_namesake);
    return g_test_run();
}
