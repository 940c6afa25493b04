/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Motions under a center, from order to end, with agents that are played: what happens when all goes well,
 * and what is told. */
#include "center-rig.h"

#include <string.h>

static void
assert_steps(JsonObject *motion)
{
    static const char *const expected[] = {"check", "reserve",    "prepare", "connect",
                                           "copy",  "switchover", "record",  "clean-up"};
    JsonArray *steps = gw_json_get_array(motion, "steps");
    g_assert_cmpuint(json_array_get_length(steps), ==, G_N_ELEMENTS(expected));
    for (guint i = 0; i < G_N_ELEMENTS(expected); i++) {
        JsonObject *step = gw_json_array_object(steps, i);
        g_assert_cmpstr(gw_json_get_string(step, "step"), ==, expected[i]);
        g_assert_cmpfloat(json_object_get_double_member(step, "ms"), >=, 0);
    }
}

static void
test_whole(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    g_autofree char *id = center_rig_migrate(rig, "web1", "host2");
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "completed");
    center_rig_assert_at(rig, "web1", "host2", "running");
    center_rig_await_place(rig, "host1", "web1", "absent");
    center_rig_await_vm(rig, "web1", "state", "running");

    g_assert_cmpstr(gw_json_get_string(task, "source"), ==, "host1");
    g_assert_cmpstr(gw_json_get_string(task, "destination"), ==, "host2");
    g_assert_cmpstr(gw_json_get_string(task, "user"), ==, "alice");
    g_assert_cmpstr(gw_json_get_string(task, "reason"), ==, "why not");
    g_assert_true(json_object_get_null_member(task, "error"));
    JsonObject *motion = gw_json_get_object(task, "motion");
    g_assert_nonnull(motion);
    g_assert_cmpfloat(json_object_get_double_member(motion, "downtime_ms"), ==, 4.25);
    g_assert_cmpint(json_object_get_int_member(motion, "pages_zero"), ==, 99);
    JsonArray *rounds = gw_json_get_array(motion, "rounds");
    g_assert_cmpuint(json_array_get_length(rounds), ==, 2);
    g_assert_cmpint(json_object_get_int_member(gw_json_array_object(rounds, 1), "dirty_pages"), ==, 7);
    JsonObject *path = gw_json_array_object(gw_json_get_array(motion, "paths"), 0);
    g_assert_cmpstr(gw_json_get_string(path, "source_address"), ==, "10.71.0.1");
    g_assert_cmpstr(gw_json_get_string(path, "destination_address"), ==, "10.71.0.2");
    assert_steps(motion);
    g_assert_cmpuint(center_rig_n_events(rig, "vm.home-changed", "web1"), ==, 1);
    g_assert_cmpuint(center_rig_n_events(rig, "task.created", "web1"), ==, 1);
    g_assert_cmpuint(center_rig_n_events(rig, "vm.duplicate", NULL), ==, 0);
    g_assert_cmpuint(center_rig_n_events(rig, "vm.unsure", NULL), ==, 0);
}

/* The secret is nowhere in what is kept. */
static void
test_secret(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    g_autoptr(GError) error = NULL;
    center_rig_add_vm(rig, "web1", "host1");
    g_autofree char *id = center_rig_migrate(rig, "web1", "host2");
    g_autoptr(JsonObject) task G_GNUC_UNUSED = center_rig_await_end(rig, id);
    g_autofree char *secret = fake_secret(rig->agents);
    center_rig_end(rig);
    static const char *const files[] = {"center.db", "center.db-wal"};
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *path = g_build_filename(rig->directory, files[i], NULL), *text = NULL;
        size_t length = 0;
        if (g_file_get_contents(path, &text, &length, NULL))
            g_assert_null(memmem(text, length, secret, strlen(secret)));
        else
            g_assert_cmpuint(i, ==, 1);
    }
    center_rig_begin(rig);
}

static void
test_client_gap(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    g_autoptr(GError) error = NULL;
    center_rig_add_vm(rig, "web1", "host1");
    g_autofree char *id = center_rig_migrate(rig, "web1", "host2");
    g_autoptr(JsonObject) before G_GNUC_UNUSED = center_rig_await_end(rig, id);
    g_assert_true(gw_tasks_set_client_gap(rig->tasks, id, 12.5, "prober", &error));
    g_autoptr(JsonObject) task = gw_tasks_json(rig->tasks, id, &error);
    JsonObject *client = gw_json_get_object(gw_json_get_object(task, "motion"), "client");
    g_assert_cmpfloat(json_object_get_double_member(client, "gap_ms"), ==, 12.5);
    g_assert_false(gw_tasks_set_client_gap(rig->tasks, "task-none", 1, "prober", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
}

static void
assert_refused(CenterRig *rig, const GwMigrateRequest *request, GwError code)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *id = gw_tasks_migrate(rig->tasks, request, &error);
    g_assert_null(id);
    g_assert_error(error, GW_ERROR, (int)code);
}

static void
test_refused(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    assert_refused(rig, &(GwMigrateRequest){.vm = "web1", .destination = "host1"}, GW_ERROR_WRONG_STATE);
    assert_refused(rig, &(GwMigrateRequest){.vm = "web9", .destination = "host2"}, GW_ERROR_NOT_FOUND);
    assert_refused(rig, &(GwMigrateRequest){.vm = "web1", .destination = "host9"}, GW_ERROR_NOT_FOUND);
    assert_refused(rig, &(GwMigrateRequest){.vm = "web1", .destination = "host2", .streams = 9},
                   GW_ERROR_INVALID_ARGUMENT);
    assert_refused(rig, &(GwMigrateRequest){.vm = "web1", .destination = "host2", .switchover_goal_ms = 9},
                   GW_ERROR_INVALID_ARGUMENT);

    fake_stop_engines_at(rig->agents, "pre-copy");
    g_autofree char *id = center_rig_migrate(rig, "web1", "host2");
    center_rig_await_task(rig, id, "step", "copy");
    assert_refused(rig, &(GwMigrateRequest){.vm = "web1", .destination = "host2"}, GW_ERROR_WRONG_STATE);
    g_autoptr(GError) error = NULL;
    g_assert_false(gw_order_power(rig->tasks, "web1", "pause", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    g_clear_error(&error);
    g_assert_false(gw_order_remove(rig->tasks, "web1", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
    fake_stop_engines_at(rig->agents, NULL);
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "completed");

    g_clear_error(&error);
    g_assert_true(gw_order_power(rig->tasks, "web1", "stop", &error));
    assert_refused(rig, &(GwMigrateRequest){.vm = "web1", .destination = "host1"}, GW_ERROR_WRONG_STATE);
    fake_set_away(rig->agents, "host2", true);
    center_rig_await_host(rig, "host2", "unreachable");
    assert_refused(rig, &(GwMigrateRequest){.vm = "web1", .destination = "host1"}, GW_ERROR_PEER_LOST);
}

/* The four of a network at 1 Gbit/s, and a fifth that waits and says for what. */
static void
test_budget(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    char *ids[6];
    fake_stop_engines_at(rig->agents, "pre-copy");
    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
        g_autofree char *vm = g_strdup_printf("web%u", i);
        center_rig_add_vm(rig, vm, "host1");
        ids[i] = center_rig_migrate(rig, vm, "host2");
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
        if (i < 4)
            center_rig_await_task(rig, ids[i], "step", "copy");
        else
            center_rig_await_task(rig, ids[i], "waits_for", "4 of 4");
    }
    /* One that waits is cancelled at once. */
    g_autoptr(GError) error = NULL;
    g_assert_true(gw_tasks_cancel(rig->tasks, ids[4], "bob", &error));
    g_autoptr(JsonObject) cancelled = center_rig_await_end(rig, ids[4]);
    center_rig_assert_state(cancelled, "cancelled");
    center_rig_assert_at(rig, "web4", "host1", "running");

    fake_stop_engines_at(rig->agents, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
        g_autoptr(JsonObject) task = center_rig_await_end(rig, ids[i]);
        center_rig_assert_state(task, i == 4 ? "cancelled" : "completed");
        g_free(ids[i]);
    }
    center_rig_assert_at(rig, "web5", "host2", "running");
}

static void
test_high_priority(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    g_autoptr(GError) error = NULL;
    fake_stop_engines_at(rig->agents, "pre-copy");
    center_rig_add_vm(rig, "web1", "host1");
    g_autoptr(JsonObject) load =
        gw_json_parse_object("{\"cpu_percent\": 99, \"memory_available_bytes\": 1073741824}", -1, NULL);
    gw_inventory_host_event(rig->inventory, "host2", "host.load", load); /* of its eight CPUs 0.08 are idle */
    GwMigrateRequest request = {
        .vm = "web1", .destination = "host2", .user = "alice", .priority = GW_PRIORITY_HIGH};
    g_autofree char *id = gw_tasks_migrate(rig->tasks, &request, &error);
    g_assert_no_error(error);
    g_autoptr(JsonObject) task = center_rig_await_end(rig, id);
    center_rig_assert_state(task, "failed");
    JsonObject *why = gw_json_get_object(task, "error");
    g_assert_cmpstr(gw_json_get_string(why, "code"), ==, "busy");
    g_assert_nonnull(strstr(gw_json_get_string(why, "message"), "0.08 of its 8 CPUs idle"));
    g_assert_cmpuint(fake_n_calls(rig->agents, "host2", "POST", "/v1/vms"), ==, 0);
    center_rig_assert_at(rig, "web1", "host1", "running");
}

int
main(int argc, char **argv)
{
    center_rig_init();
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/center-motion/whole", test_whole);
    g_test_add_func("/center-motion/secret", test_secret);
    g_test_add_func("/center-motion/client-gap", test_client_gap);
    g_test_add_func("/center-motion/refused", test_refused);
    g_test_add_func("/center-motion/budget", test_budget);
    g_test_add_func("/center-motion/high-priority", test_high_priority);
    return g_test_run();
}
