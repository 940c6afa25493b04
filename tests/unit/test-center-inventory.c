/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a center believes of hosts and VMs, and what it does about what it hears, with agents that are played:
 * states, homes, reconciliation, orders. */
#include "center-rig.h"

#include <string.h>

static void
assert_error(GError **error, GwError code, const char *words)
{
    g_assert_error(*error, GW_ERROR, (int)code);
    if (!strstr((*error)->message, words))
        g_error("'%s' does not say '%s'", (*error)->message, words);
    g_clear_error(error);
}

static void
test_states(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    fake_set_vm(rig->agents, "host1", "web1", "paused");
    center_rig_await_vm(rig, "web1", "state", "paused");
    fake_set_away(rig->agents, "host1", true);
    center_rig_await_vm(rig, "web1", "state", "unknown");
    center_rig_await_host(rig, "host1", "unreachable");
    g_autoptr(JsonObject) host = gw_inventory_host_json(rig->inventory, "host1", NULL);
    g_assert_nonnull(gw_json_get_string(host, "error"));
    g_assert_nonnull(gw_json_get_object(host, "facts")); /* the last that were known */
    g_assert_cmpint(json_object_get_int_member(host, "n_vms"), ==, 1);
    fake_set_away(rig->agents, "host1", false);
    center_rig_await_vm(rig, "web1", "state", "paused");
    fake_remove_vm(rig->agents, "host1", "web1");
    center_rig_await_vm(rig, "web1", "state", "off");
    g_assert_cmpuint(center_rig_n_events(rig, "host.unreachable", NULL), ==, 1);
    g_assert_cmpuint(center_rig_n_events(rig, "host.up", NULL), ==, 3);
    g_assert_cmpuint(center_rig_n_events(rig, "vm.state", "web1"), >=, 4);
    g_assert_cmpuint(center_rig_n_events(rig, "vm.unknown", NULL), <=, 1); /* before it was adopted */
}

static void
tell_status(CenterRig *rig, const char *state, const char *events)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) vm = gw_inventory_vm_json(rig->inventory, "web1", &error);
    g_assert_no_error(error);
    g_autofree char *text = g_strdup_printf(
        "{\"vm\": \"web1\", \"status\": {\"name\": \"web1\", \"uuid\": \"%s\", \"state\": \"%s\"%s}}",
        gw_json_get_string(vm, "uuid"), state, events);
    g_autoptr(JsonObject) data = gw_json_parse_object(text, -1, &error);
    g_assert_no_error(error);
    gw_inventory_host_event(rig->inventory, "host1", "vm.status", data);
}

static void
assert_vm_state(CenterRig *rig, const char *state)
{
    g_autoptr(JsonObject) vm = gw_inventory_vm_json(rig->inventory, "web1", NULL);
    g_assert_cmpstr(gw_json_get_string(vm, "state"), ==, state);
}

/* Who has ordered something looks himself; the host's stream may be behind that, or ahead of it. */
static void
test_older_status_is_dropped(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(1);
    center_rig_add_vm(rig, "web1", "host1");
    tell_status(rig, "paused", ", \"events\": {\"last_id\": 20}");
    assert_vm_state(rig, "paused");
    tell_status(rig, "running", ", \"events\": {\"last_id\": 10}");
    assert_vm_state(rig, "paused");
    tell_status(rig, "running", ", \"events\": {\"last_id\": 21}");
    assert_vm_state(rig, "running");
    tell_status(rig, "unsupervised", ""); /* the next supervisor's clock may be another */
    assert_vm_state(rig, "unsupervised");
    tell_status(rig, "running", ", \"events\": {\"last_id\": 3}");
    assert_vm_state(rig, "running");
}

static void
test_moved_by_hand(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    fake_set_vm(rig->agents, "host1", "web1", "moved");
    fake_add_vm(rig->agents, "host2", "web1", "running");
    center_rig_await_vm(rig, "web1", "host", "host2");
    center_rig_await_place(rig, "host1", "web1", "absent");
    center_rig_assert_at(rig, "web1", "host2", "running");
    g_assert_cmpuint(center_rig_n_events(rig, "vm.home-changed", "web1"), ==, 1);
}

/* Two run it: nobody is touched, every order is refused, until one of them no longer does. */
static void
test_duplicate(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    fake_add_vm(rig->agents, "host2", "web1", "running");
    center_rig_await_vm(rig, "web1", "trouble", "duplicate");
    g_assert_false(gw_order_power(rig->tasks, "web1", "pause", &error));
    assert_error(&error, GW_ERROR_WRONG_STATE, "two hosts");
    GwMigrateRequest request = {.vm = "web1", .destination = "host2", .user = "alice"};
    g_assert_null(gw_tasks_migrate(rig->tasks, &request, &error));
    assert_error(&error, GW_ERROR_WRONG_STATE, "two hosts");
    center_rig_assert_at(rig, "web1", "host1", "running");
    center_rig_await_place(rig, "host2", "web1", "running");
    g_assert_cmpuint(center_rig_n_events(rig, "vm.duplicate", "web1"), ==, 1);

    fake_set_vm(rig->agents, "host2", "web1", "off");
    center_rig_await_vm(rig, "web1", "trouble", NULL);
    center_rig_await_place(rig, "host2", "web1", "absent");
    center_rig_assert_at(rig, "web1", "host1", "running");
}

/* One that is not its home runs it, and the home cannot be asked: nothing is concluded until it can. */
static void
test_unsure(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    fake_set_away(rig->agents, "host1", true);
    center_rig_await_host(rig, "host1", "unreachable");
    fake_add_vm(rig->agents, "host2", "web1", "running");
    center_rig_await_vm(rig, "web1", "trouble", "unsure");
    center_rig_assert_at(rig, "web1", "host1", "running");
    g_assert_false(gw_order_power(rig->tasks, "web1", "start", &error));
    assert_error(&error, GW_ERROR_WRONG_STATE, "host1");
    fake_set_vm(rig->agents, "host1", "web1", "moved");
    fake_set_away(rig->agents, "host1", false);
    center_rig_await_vm(rig, "web1", "host", "host2");
    center_rig_await_vm(rig, "web1", "trouble", NULL);
    g_assert_cmpuint(center_rig_n_events(rig, "vm.unsure", "web1"), ==, 1);
    g_assert_cmpuint(center_rig_n_events(rig, "vm.duplicate", "web1"), ==, 0);
}

/* It moved by hand to a host that is silent now: here nothing is removed and nothing started. */
static void
test_moved_nobody_knows_where(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(3);
    center_rig_add_vm(rig, "web1", "host1");
    fake_set_vm(rig->agents, "host1", "web1", "moved");
    center_rig_await_vm(rig, "web1", "state", "moved");
    /* A pass over everything is certainly through when another VM's rest is gone. */
    center_rig_add_vm(rig, "web2", "host2");
    fake_add_vm(rig->agents, "host3", "web2", "incoming");
    center_rig_await_place(rig, "host3", "web2", "absent");
    center_rig_assert_at(rig, "web1", "host1", "moved");
}

static void
test_rests(void)
{
    static const char *const states[] = {"incoming", "moved", "off", "crashed"};
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    for (size_t i = 0; i < G_N_ELEMENTS(states); i++) {
        fake_add_vm(rig->agents, "host2", "web1", states[i]);
        center_rig_await_place(rig, "host2", "web1", "absent");
        center_rig_assert_at(rig, "web1", "host1", "running");
    }
    g_assert_cmpuint(center_rig_n_events(rig, "vm.home-changed", NULL), ==, 0);
}

/* Somebody has made another VM by hand that has the name of one of ours. */
static void
test_namesake(void)
{
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    fake_set_away(rig->agents, "host2", true);
    center_rig_await_host(rig, "host2", "unreachable");
    fake_add_vm(rig->agents, "host2", "web1", "off");
    fake_set_vm_uuid(rig->agents, "host2", "web1", "00000000-0000-4000-8000-000000000001");
    fake_set_away(rig->agents, "host2", false);
    for (unsigned i = 0; i < 1000 && center_rig_n_events(rig, "vm.unknown", "web1") < 1; i++)
        g_usleep(5000);
    g_assert_cmpuint(center_rig_n_events(rig, "vm.unknown", "web1"), ==, 1);
    fake_set_vm(rig->agents, "host2", "web1", "running");
    fake_remove_vm(rig->agents, "host1", "web1"); /* ours is off now, and has not moved there */
    center_rig_await_vm(rig, "web1", "state", "off");
    center_rig_await_vm(rig, "web1", "host", "host1");
    center_rig_await_place(rig, "host2", "web1", "running");
    g_assert_cmpuint(center_rig_n_events(rig, "vm.home-changed", NULL), ==, 0);
    g_assert_cmpuint(center_rig_n_events(rig, "vm.duplicate", NULL), ==, 0);
}

/* The same at its home, which has started without it: no order is for that one. */
static void
test_namesake_at_home(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CenterRig) rig = center_rig_new(2);
    center_rig_add_vm(rig, "web1", "host1");
    fake_set_vm_uuid(rig->agents, "host1", "web1", "00000000-0000-4000-8000-000000000001");
    static const char *const actions[] = {"stop", "reset", "pause"};
    for (size_t i = 0; i < G_N_ELEMENTS(actions); i++) {
        g_assert_false(gw_order_power(rig->tasks, "web1", actions[i], &error));
        g_assert_nonnull(error);
        g_clear_error(&error);
    }
    g_assert_false(gw_order_power(rig->tasks, "web1", "start", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_EXISTS);
    fake_set_vm(rig->agents, "host1", "web1", "off");
    g_clear_error(&error);
    g_assert_true(gw_order_remove(rig->tasks, "web1", &error));
    g_autofree char *state = fake_state(rig->agents, "host1", "web1");
    g_assert_cmpstr(state, ==, "off");
}

static void
test_unknown(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CenterRig) rig = center_rig_new(2);
    fake_add_vm(rig->agents, "host2", "stray", "incoming");
    fake_add_vm(rig->agents, "host1", "stranger", "running");
    for (unsigned i = 0; i < 1000 && center_rig_n_events(rig, "vm.unknown", NULL) < 2; i++)
        g_usleep(5000);
    fake_set_vm(rig->agents, "host1", "stranger", "paused");
    g_assert_cmpuint(center_rig_n_events(rig, "vm.unknown", "stranger"), ==, 1);
    center_rig_await_place(rig, "host2", "stray", "incoming"); /* not ours to remove */

    g_autofree char *text = fake_vm_config("stranger");
    g_autoptr(JsonObject) config = gw_json_parse_object(text, -1, &error);
    g_assert_false(gw_order_create(rig->tasks, config, "host2", true, &error));
    assert_error(&error, GW_ERROR_EXISTS, "adopt");
    g_assert_true(gw_order_adopt(rig->tasks, "stranger", "host1", &error));
    center_rig_assert_at(rig, "stranger", "host1", "paused");
    g_assert_false(gw_order_adopt(rig->tasks, "stranger", "host1", &error));
    assert_error(&error, GW_ERROR_EXISTS, "already");
}

/* What a host with very many VMs says at once: well above 1 MiB. */
static void
test_many(void)
{
    const unsigned n = 6000;
    g_autoptr(CenterRig) rig = center_rig_new(1);
    fake_set_away(rig->agents, "host1", true);
    center_rig_await_host(rig, "host1", "unreachable");
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("stranger-with-a-long-name-%u", i);
        fake_add_vm(rig->agents, "host1", name, "running");
    }
    fake_set_away(rig->agents, "host1", false);
    center_rig_await_host(rig, "host1", "up");
    g_autoptr(GArray) sightings = gw_inventory_sightings(rig->inventory);
    g_assert_cmpuint(sightings->len, ==, n);
}

static void
test_orders(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CenterRig) rig = center_rig_new(2);
    g_autofree char *text = fake_vm_config("web1");
    g_autoptr(JsonObject) config = gw_json_parse_object(text, -1, &error);
    g_assert_true(gw_order_create(rig->tasks, config, "host1", false, &error));
    center_rig_assert_at(rig, "web1", "host1", "absent");
    g_assert_false(gw_order_power(rig->tasks, "web1", "pause", &error));
    assert_error(&error, GW_ERROR_WRONG_STATE, "off");
    g_assert_true(gw_order_power(rig->tasks, "web1", "start", &error));
    center_rig_assert_at(rig, "web1", "host1", "running");
    g_assert_true(gw_order_power(rig->tasks, "web1", "suspend", &error));
    center_rig_assert_at(rig, "web1", "host1", "paused");
    g_assert_false(gw_order_power(rig->tasks, "web1", "hop", &error));
    assert_error(&error, GW_ERROR_INVALID_ARGUMENT, "hop");
    g_assert_false(gw_order_remove(rig->tasks, "web1", &error));
    assert_error(&error, GW_ERROR_WRONG_STATE, "stop it first");
    g_assert_false(gw_inventory_remove_host(rig->inventory, "host1", &error));
    assert_error(&error, GW_ERROR_WRONG_STATE, "web1");
    g_assert_true(gw_order_power(rig->tasks, "web1", "stop", &error));
    g_autoptr(JsonObject) vm = gw_inventory_vm_json(rig->inventory, "web1", &error);
    g_assert_cmpstr(gw_json_get_string(vm, "state"), ==, "off"); /* at once, whenever the event comes */
    g_assert_true(gw_order_remove(rig->tasks, "web1", &error));
    g_assert_null(gw_inventory_vm_home(rig->inventory, "web1", &error));
    assert_error(&error, GW_ERROR_NOT_FOUND, "web1");
    center_rig_await_place(rig, "host1", "web1", "absent");
    g_assert_true(gw_order_create(rig->tasks, config, "host1", true, &error)); /* the name is free at once */
    g_assert_true(gw_order_power(rig->tasks, "web1", "stop", &error));
    g_assert_true(gw_order_remove(rig->tasks, "web1", &error));
    g_assert_true(gw_inventory_remove_host(rig->inventory, "host1", &error));
    g_assert_null(gw_inventory_host_json(rig->inventory, "host1", NULL));
}

/* What could not be started is not kept. */
static void
test_create_fails(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CenterRig) rig = center_rig_new(1);
    g_autofree char *text = fake_vm_config("web1");
    g_autoptr(JsonObject) config = gw_json_parse_object(text, -1, &error);
    fake_fault(rig->agents, "host1", "POST", "/v1/vms", FAKE_ANSWERS_ERROR, GW_ERROR_VMM_FAILED);
    g_assert_false(gw_order_create(rig->tasks, config, "host1", true, &error));
    assert_error(&error, GW_ERROR_VMM_FAILED, "host1");
    g_assert_null(gw_inventory_vm_home(rig->inventory, "web1", NULL));
    g_assert_true(gw_order_create(rig->tasks, config, "host1", true, &error));
    g_assert_false(gw_order_create(rig->tasks, config, "host1", true, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_EXISTS);
}

/* A host with the certificate of another is not taken for it. */
static void
test_wrong_certificate(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(CenterRig) rig = center_rig_new(1);
    GwHostRecord record = {.name = (char *)"host7",
                           .cluster = (char *)"default",
                           .address = (char *)"127.0.0.1",
                           .port = fake_cluster_add_host(rig->agents, 2),
                           .joined_us = 1};
    g_assert_true(gw_inventory_add_host(rig->inventory, &record, &error));
    center_rig_await_host(rig, "host7", "unreachable");
    g_autoptr(GwHostClient) client = gw_inventory_client(rig->inventory, "host7", 5, &error);
    g_assert_null(gw_host_client_call(client, "GET", "/v1/host", NULL, &error));
    assert_error(&error, GW_ERROR_NOT_PERMITTED, "host7");
}

int
main(int argc, char **argv)
{
    center_rig_init();
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/center-inventory/states", test_states);
    g_test_add_func("/center-inventory/older-status-is-dropped", test_older_status_is_dropped);
    g_test_add_func("/center-inventory/moved-by-hand", test_moved_by_hand);
    g_test_add_func("/center-inventory/duplicate", test_duplicate);
    g_test_add_func("/center-inventory/unsure", test_unsure);
    g_test_add_func("/center-inventory/moved-nobody-knows-where", test_moved_nobody_knows_where);
    g_test_add_func("/center-inventory/rests", test_rests);
    g_test_add_func("/center-inventory/namesake", test_namesake);
    g_test_add_func("/center-inventory/namesake-at-home", test_namesake_at_home);
    g_test_add_func("/center-inventory/unknown", test_unknown);
    g_test_add_func("/center-inventory/many", test_many);
    g_test_add_func("/center-inventory/orders", test_orders);
    g_test_add_func("/center-inventory/create-fails", test_create_fails);
    g_test_add_func("/center-inventory/wrong-certificate", test_wrong_certificate);
    return g_test_run();
}
