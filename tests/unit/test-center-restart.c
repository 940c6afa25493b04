/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A center that ends at each step of a motion, and the next one on the same store. */
#include "center-rig.h"

#include <string.h>

/* Ends the center before `step`; what happens meanwhile is up to the test. */
static char *
end_at(CenterRig *rig, const char *step)
{
    center_rig_add_vm(rig, "web1", "host1");
    center_rig_hold_at(rig, step);
    char *id = center_rig_migrate(rig, "web1", "host2");
    center_rig_await_hold(rig);
    center_rig_end(rig);
    center_rig_hold_at(rig, NULL);
    return id;
}

static void
assert_arrived(CenterRig *rig, const char *id)
{
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "completed");
    center_rig_assert_at(rig, "web1", "host2", "running");
    center_rig_await_place(rig, "host1", "web1", "absent");
    center_rig_await_vm(rig, "web1", "state", "running");
    g_assert_cmpstr(gw_json_get_string(task, "user"), ==, "alice");
    g_assert_cmpuint(center_rig_n_events(rig, "vm.duplicate", NULL), ==, 0);
}

static void
test_goes_on(const void *data)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    g_autofree char *id = end_at(rig, data);
    center_rig_begin(rig);
    assert_arrived(rig, id);
}

/* The motion came to its end while there was no center. */
static void
test_completed_meanwhile(const void *data)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    fake_stop_engines_at(rig->agents, "handing-over");
    g_autofree char *id = end_at(rig, data);
    fake_complete_engine(rig->agents, "web1");
    center_rig_begin(rig);
    assert_arrived(rig, id);
    g_autoptr(JsonObject) task = gw_tasks_json(rig->tasks, id, NULL);
    JsonObject *motion = gw_json_get_object(task, "motion");
    g_assert_cmpfloat(json_object_get_double_member(motion, "downtime_ms"), ==, 4.25);
}

/* And the source cannot be asked, nor what it knows be removed. */
static void
test_completed_and_source_gone(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    fake_stop_engines_at(rig->agents, "handing-over");
    g_autofree char *id = end_at(rig, "switchover");
    fake_complete_engine(rig->agents, "web1");
    fake_set_away(rig->agents, "host1", true);
    center_rig_begin(rig);
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "completed");
    center_rig_assert_at(rig, "web1", "host2", "running");
}

/* Neither host answers the new center at first. */
static void
test_hosts_come_later(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    g_autofree char *id = end_at(rig, "copy");
    fake_set_away(rig->agents, "host1", true);
    fake_set_away(rig->agents, "host2", true);
    center_rig_begin(rig);
    center_rig_await_task(rig, id, "waits_for", "host1 to answer");
    fake_set_away(rig->agents, "host1", false);
    fake_set_away(rig->agents, "host2", false);
    assert_arrived(rig, id);
}

static void
test_qemu_died_meanwhile(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    g_autofree char *id = end_at(rig, "copy");
    fake_set_vm(rig->agents, "host1", "web1", "crashed");
    center_rig_begin(rig);
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "failed");
    center_rig_assert_at(rig, "web1", "host1", "crashed");
    center_rig_await_place(rig, "host2", "web1", "absent");
}

/* Those that waited wait again, those that ran are counted. */
static void
test_queue(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    char *ids[5];
    fake_stop_engines_at(rig->agents, "pre-copy");
    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
        g_autofree char *vm = g_strdup_printf("web%u", i);
        center_rig_add_vm(rig, vm, "host1");
        ids[i] = center_rig_migrate(rig, vm, "host2");
    }
    for (unsigned i = 0; i < 4; i++)
        center_rig_await_task(rig, ids[i], "step", "copy");
    center_rig_end(rig);
    center_rig_begin(rig);
    center_rig_await_host(rig, "host1", "up");
    center_rig_await_task(rig, ids[4], "waits_for", "4 of 4");
    fake_stop_engines_at(rig->agents, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
        g_autoptr(JsonObject) task = center_rig_await_end(rig, ids[i]);
        center_rig_assert_state(task, "completed");
        g_free(ids[i]);
    }
}

static void
add_each(const char *what, const char *const *names, GTestDataFunc test)
{
    for (; *names; names++) {
        g_autofree char *path = g_strdup_printf("/center-restart/%s/%s", what, *names);
        g_test_add_data_func(path, *names, test);
    }
}

int
main(int argc, char **argv)
{
    static const char *const steps[] = {"check",      "reserve", "prepare",  "connect", "copy",
                                        "switchover", "record",  "clean-up", NULL};
    static const char *const sent[] = {"copy", "switchover", NULL};
    center_rig_init();
    g_test_init(&argc, &argv, NULL);
    add_each("goes-on", steps, test_goes_on);
    add_each("completed-meanwhile", sent, test_completed_meanwhile);
    g_test_add_func("/center-restart/completed-and-source-gone", test_completed_and_source_gone);
    g_test_add_func("/center-restart/hosts-come-later", test_hosts_come_later);
    g_test_add_func("/center-restart/qemu-died-meanwhile", test_qemu_died_meanwhile);
    g_test_add_func("/center-restart/queue", test_queue);
    return g_test_run();
}
