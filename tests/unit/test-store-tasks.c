/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tasks in the store, and the transaction that ends a motion. */
#include "store-rig.h"

#include <string.h>

#define T(text) ((char *)(text))

static const GwTaskRecord full = {
    .id = T("t1"),
    .kind = T("vm.migrate"),
    .vm = T("web1"),
    .source = T("host1"),
    .destination = T("host2"),
    .state = T("failed"),
    .step = T("copy"),
    .user = T("admin"),
    .reason = T("it's \"time\""),
    .request = T("{\"to\":\"host2\"}"),
    .session = T("0123"),
    .result = T("{}"),
    .error_code = T("peer-lost"),
    .error_message = T("größer"),
    .created_us = 1,
    .started_us = 2,
    .ended_us = G_MAXINT64,
};

static void
assert_same(const GwTaskRecord *a, const GwTaskRecord *b)
{
    g_assert_cmpstr(a->id, ==, b->id);
    g_assert_cmpstr(a->kind, ==, b->kind);
    g_assert_cmpstr(a->vm, ==, b->vm);
    g_assert_cmpstr(a->source, ==, b->source);
    g_assert_cmpstr(a->destination, ==, b->destination);
    g_assert_cmpstr(a->state, ==, b->state);
    g_assert_cmpstr(a->step, ==, b->step);
    g_assert_cmpstr(a->user, ==, b->user);
    g_assert_cmpstr(a->reason, ==, b->reason);
    g_assert_cmpstr(a->request, ==, b->request);
    g_assert_cmpstr(a->session, ==, b->session);
    g_assert_cmpstr(a->result, ==, b->result);
    g_assert_cmpstr(a->error_code, ==, b->error_code);
    g_assert_cmpstr(a->error_message, ==, b->error_message);
    g_assert_cmpint(a->created_us, ==, b->created_us);
    g_assert_cmpint(a->started_us, ==, b->started_us);
    g_assert_cmpint(a->ended_us, ==, b->ended_us);
}

static void
assert_kept(GwStoreRig *rig, const GwTaskRecord *task)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwTaskRecord) got = {0};
    gw_store_put_task(rig->store, task, &error);
    g_assert_no_error(error);
    gw_store_get_task(rig->store, task->id, &got, &error);
    g_assert_no_error(error);
    assert_same(task, &got);
}

static void
test_put(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    GwTaskRecord small = {.id = T("t1"), .kind = T("vm.start"), .state = T("queued")};
    assert_kept(rig, &full);
    assert_kept(rig, &small); /* replaces all of it */
    assert_kept(rig, &full);
    g_auto(GwTaskRecord) copy = {0};
    gw_task_record_copy(&full, &copy);
    assert_same(&full, &copy);
    g_assert_true(copy.id != full.id);
    GwTaskFilter all = {0};
    g_autoptr(GArray) tasks = gw_store_tasks(rig->store, &all, &error);
    g_assert_cmpuint(tasks->len, ==, 1);
    assert_same(&g_array_index(tasks, GwTaskRecord, 0), &full);
}

static void
test_errors(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwTaskRecord) task = {0};
    g_assert_false(gw_store_get_task(rig->store, "t9", &task, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "task 't9'");
    GwTaskRecord odd = {.id = T("t1"), .kind = T("vm.start"), .state = T("sleeping")};
    g_assert_false(gw_store_put_task(rig->store, &odd, &error));
    gw_assert_error_says(&error, GW_ERROR_INVALID_ARGUMENT, "state");
}

static void
put(GwStoreRig *rig, const char *id, const char *vm, const char *source, const char *destination,
    const char *state, int64_t created_us)
{
    g_autoptr(GError) error = NULL;
    GwTaskRecord task = {.id = T(id),
                         .kind = T("vm.migrate"),
                         .vm = T(vm),
                         .source = T(source),
                         .destination = T(destination),
                         .state = T(state),
                         .created_us = created_us};
    gw_store_put_task(rig->store, &task, &error);
    g_assert_no_error(error);
}

/* `expected`: ids, as they come. */
static void
assert_list(GwStoreRig *rig, GwTaskFilter filter, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) tasks = gw_store_tasks(rig->store, &filter, &error);
    g_assert_no_error(error);
    g_autoptr(GString) ids = g_string_new(NULL);
    for (guint i = 0; i < tasks->len; i++)
        g_string_append_printf(ids, "%s%s", i > 0 ? " " : "", g_array_index(tasks, GwTaskRecord, i).id);
    g_assert_cmpstr(ids->str, ==, expected);
}

static void
test_filter(GwStoreRig *rig, const void *data)
{
    put(rig, "b", "web1", "host1", "host2", "completed", 20);
    put(rig, "a", "web1", "host2", "host3", "running", 30);
    put(rig, "c", "web2", NULL, "host1", "queued", 30); /* as old as a, put later */
    put(rig, "d", NULL, NULL, NULL, "failed", 10);
    assert_list(rig, (GwTaskFilter){0}, "c a b d");
    assert_list(rig, (GwTaskFilter){.vm = "web1"}, "a b");
    assert_list(rig, (GwTaskFilter){.host = "host1"}, "c b");
    assert_list(rig, (GwTaskFilter){.host = "host2", .vm = "web1"}, "a b");
    assert_list(rig, (GwTaskFilter){.state = "failed"}, "d");
    assert_list(rig, (GwTaskFilter){.open_only = true}, "c a");
    assert_list(rig, (GwTaskFilter){.open_only = true, .vm = "web1"}, "a");
    assert_list(rig, (GwTaskFilter){.open_only = true, .state = "completed"}, "");
    assert_list(rig, (GwTaskFilter){.before_us = 30}, "b d");
    assert_list(rig, (GwTaskFilter){.before_us = 11, .limit = 5}, "d");
    assert_list(rig, (GwTaskFilter){.limit = 2}, "c a");
    assert_list(rig, (GwTaskFilter){.vm = "' OR 1=1 --"}, "");
    put(rig, "a", "web1", "host2", "host3", "completed", 30);
    assert_list(rig, (GwTaskFilter){.open_only = true}, "c");
}

static void
test_default_limit(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    for (int i = 0; i < 103; i++) {
        g_autofree char *id = g_strdup_printf("t%d", i);
        put(rig, id, NULL, NULL, NULL, "queued", i);
    }
    g_autoptr(GArray) tasks = gw_store_tasks(rig->store, &(GwTaskFilter){0}, &error);
    g_assert_cmpuint(tasks->len, ==, 100);
    g_assert_cmpstr(g_array_index(tasks, GwTaskRecord, 99).id, ==, "t3");
}

static void
test_record_home(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwVmRecord) vm = {0};
    g_auto(GwTaskRecord) task = {0};
    gw_store_rig_add_host(rig, "host1");
    gw_store_rig_add_host(rig, "host2");
    gw_store_rig_add_vm(rig, "web1", "host1");
    put(rig, "t1", "web1", "host1", "host2", "running", 1);
    g_assert_false(gw_store_record_home(rig->store, &full, "web1", "host9", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "host 'host9'");
    g_assert_false(gw_store_record_home(rig->store, &full, "web9", "host2", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "VM 'web9'");
    g_assert_true(gw_store_get_task(rig->store, "t1", &task, &error));
    g_assert_cmpstr(task.state, ==, "running"); /* all or nothing */
    g_assert_true(gw_store_record_home(rig->store, &full, "web1", "host2", &error));
    gw_task_record_clear(&task);
    g_assert_true(gw_store_get_task(rig->store, "t1", &task, &error));
    assert_same(&task, &full);
    g_assert_true(gw_store_get_vm(rig->store, "web1", &vm, &error));
    g_assert_cmpstr(vm.host, ==, "host2");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    GW_STORE_RIG_ADD("/store-tasks/put", test_put);
    GW_STORE_RIG_ADD("/store-tasks/errors", test_errors);
    GW_STORE_RIG_ADD("/store-tasks/filter", test_filter);
    GW_STORE_RIG_ADD("/store-tasks/default-limit", test_default_limit);
    GW_STORE_RIG_ADD("/store-tasks/record-home", test_record_home);
    return g_test_run();
}
