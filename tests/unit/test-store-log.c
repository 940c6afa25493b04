/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events and audit in the store. */
#include "store-rig.h"

#include <sqlite3.h>
#include <string.h>

static int64_t
add(GwStoreRig *rig, const char *type)
{
    g_autoptr(GError) error = NULL;
    GwEventRecord event = {.type = (char *)type, .at_us = 9};
    gw_store_add_event(rig->store, &event, &error);
    g_assert_no_error(error);
    return event.id;
}

/* `expected`: ids from..to, oldest first. */
static void
assert_events(GwStoreRig *rig, int64_t after, unsigned limit, int64_t from, int64_t to)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) events = gw_store_events(rig->store, after, limit, &error);
    g_assert_no_error(error);
    g_assert_cmpint(events->len, ==, to - from + 1);
    for (guint i = 0; i < events->len; i++)
        g_assert_cmpint(g_array_index(events, GwEventRecord, i).id, ==, from + i);
}

static void
test_events(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    GwEventRecord full = {.type = (char *)"vm.state",
                          .at_us = 7,
                          .host = (char *)"h",
                          .vm = (char *)"v",
                          .task = (char *)"t",
                          .data = (char *)"{\"a\":\"'\"}"};
    g_assert_true(gw_store_add_event(rig->store, &full, &error));
    g_assert_cmpint(full.id, ==, 1);
    for (int i = 2; i <= 120; i++)
        g_assert_cmpint(add(rig, "x"), ==, i);
    g_autoptr(GArray) first = gw_store_events(rig->store, 0, 2, &error);
    GwEventRecord *event = &g_array_index(first, GwEventRecord, 0);
    g_assert_cmpstr(event->type, ==, "vm.state");
    g_assert_cmpint(event->at_us, ==, 7);
    g_assert_cmpstr(event->host, ==, "h");
    g_assert_cmpstr(event->vm, ==, "v");
    g_assert_cmpstr(event->task, ==, "t");
    g_assert_cmpstr(event->data, ==, "{\"a\":\"'\"}");
    g_assert_null(g_array_index(first, GwEventRecord, 1).host);
    g_assert_null(g_array_index(first, GwEventRecord, 1).data);
    assert_events(rig, 0, 0, 1, 100); /* default limit */
    assert_events(rig, 100, 0, 101, 120);
    assert_events(rig, 5, 3, 6, 8);
    assert_events(rig, 120, 3, 121, 120);
    assert_events(rig, -1, 3, 118, 120);
    assert_events(rig, -1, 0, 21, 120);
    GwEventRecord untyped = {.at_us = 1};
    g_assert_false(gw_store_add_event(rig->store, &untyped, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    g_assert_cmpint(add(rig, "x"), ==, 121);
}

/* Ids jump ahead, as if all those between had been told: the last hundred thousand stay. */
static void
test_events_pruned(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    for (int i = 0; i < 5; i++)
        add(rig, "x");
    gw_store_rig_close(rig);
    gw_store_rig_execute(rig, "INSERT INTO events (id, at_us, type) VALUES (999, 1, 'x'), (1000, 1, 'x'),"
                              " (1001, 1, 'x'), (100998, 1, 'x')");
    gw_store_rig_open(rig);
    g_assert_cmpint(add(rig, "x"), ==, 100999);
    assert_events(rig, 0, 5, 1, 5);
    g_assert_cmpint(add(rig, "x"), ==, 101000);
    g_autoptr(GArray) left = gw_store_events(rig->store, 0, 10, &error);
    g_assert_cmpuint(left->len, ==, 4);
    g_assert_cmpint(g_array_index(left, GwEventRecord, 0).id, ==, 1001);
    /* not even if all are gone is an id used again */
    gw_store_rig_close(rig);
    gw_store_rig_execute(rig, "DELETE FROM events");
    gw_store_rig_open(rig);
    g_assert_cmpint(add(rig, "x"), ==, 101001);
}

static void
test_audit(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    GwAuditRecord full = {.at_us = 1,
                          .user = (char *)"anna",
                          .address = (char *)"10.0.0.1",
                          .action = (char *)"vm.migrate",
                          .object = (char *)"vm/web1",
                          .details = (char *)"{}",
                          .reason = (char *)"it's time",
                          .result = (char *)"check-failed",
                          .message = (char *)"m"};
    GwAuditRecord small = {
        .at_us = 2, .user = (char *)"root@local", .action = (char *)"x", .result = (char *)"done"};
    g_assert_true(gw_store_add_audit(rig->store, &full, &error));
    g_assert_true(gw_store_add_audit(rig->store, &small, &error));
    g_assert_true(gw_store_add_audit(rig->store, &small, &error));
    g_autoptr(GArray) all = gw_store_audit(rig->store, 0, 0, &error);
    g_assert_cmpuint(all->len, ==, 3);
    GwAuditRecord *first = &g_array_index(all, GwAuditRecord, 2),
                  *last = &g_array_index(all, GwAuditRecord, 0);
    g_assert_cmpint(first->id, ==, 1);
    g_assert_cmpint(first->at_us, ==, 1);
    g_assert_cmpstr(first->user, ==, "anna");
    g_assert_cmpstr(first->address, ==, "10.0.0.1");
    g_assert_cmpstr(first->action, ==, "vm.migrate");
    g_assert_cmpstr(first->object, ==, "vm/web1");
    g_assert_cmpstr(first->details, ==, "{}");
    g_assert_cmpstr(first->reason, ==, "it's time");
    g_assert_cmpstr(first->result, ==, "check-failed");
    g_assert_cmpstr(first->message, ==, "m");
    g_assert_cmpint(last->id, ==, 3);
    g_assert_cmpstr(last->address, ==, "");
    g_assert_null(last->object);
    g_autoptr(GArray) page = gw_store_audit(rig->store, 3, 1, &error);
    g_assert_cmpuint(page->len, ==, 1);
    g_assert_cmpint(g_array_index(page, GwAuditRecord, 0).id, ==, 2);
    GwAuditRecord anonymous = {.action = (char *)"x", .result = (char *)"done"};
    g_assert_false(gw_store_add_audit(rig->store, &anonymous, &error));
    gw_assert_error_says(&error, GW_ERROR_INVALID_ARGUMENT, "user_name");
}

/* The database itself refuses, whoever asks. */
static void
test_audit_stays(GwStoreRig *rig, const void *data)
{
    static const char *const attempts[] = {"DELETE FROM audit", "UPDATE audit SET user_name = 'x'",
                                           "REPLACE INTO audit SELECT * FROM audit",
                                           "UPDATE audit SET id = 7"};
    g_autoptr(GError) error = NULL;
    GwAuditRecord record = {
        .at_us = 2, .user = (char *)"root@local", .action = (char *)"x", .result = (char *)"done"};
    g_assert_true(gw_store_add_audit(rig->store, &record, &error));
    gw_store_rig_close(rig);
    sqlite3 *db = NULL;
    g_assert_cmpint(sqlite3_open(rig->path, &db), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(db, "PRAGMA recursive_triggers = ON", NULL, NULL, NULL), ==, SQLITE_OK);
    for (size_t i = 0; i < G_N_ELEMENTS(attempts); i++) {
        g_assert_cmpint(sqlite3_exec(db, attempts[i], NULL, NULL, NULL), ==, SQLITE_CONSTRAINT);
        g_assert_nonnull(strstr(sqlite3_errmsg(db), "audit log"));
    }
    g_assert_cmpint(sqlite3_close(db), ==, SQLITE_OK);
    gw_store_rig_open(rig);
    g_autoptr(GArray) all = gw_store_audit(rig->store, 0, 0, &error);
    g_assert_cmpuint(all->len, ==, 1);
    g_assert_cmpstr(g_array_index(all, GwAuditRecord, 0).user, ==, "root@local");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    GW_STORE_RIG_ADD("/store-log/events", test_events);
    GW_STORE_RIG_ADD("/store-log/events-pruned", test_events_pruned);
    GW_STORE_RIG_ADD("/store-log/audit", test_audit);
    GW_STORE_RIG_ADD("/store-log/audit-stays", test_audit_stays);
    return g_test_run();
}
