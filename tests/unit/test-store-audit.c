/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Audit records of what is being done, and join tokens for one host. */
#include "store-rig.h"

static int64_t
begin(GwStoreRig *rig, const char *user)
{
    g_autoptr(GError) error = NULL;
    GwAuditRecord record = {.at_us = 7,
                            .user = (char *)user,
                            .address = (char *)"10.0.0.1",
                            .action = (char *)"vm.migrate",
                            .object = (char *)"vm/web1",
                            .details = (char *)"{\"to\":\"host2\"}",
                            .reason = (char *)"maintenance"};
    int64_t id = 0;
    gw_store_begin_audit(rig->store, &record, &id, &error);
    g_assert_no_error(error);
    g_assert_cmpint(id, >, 0);
    return id;
}

static GArray *
log_of(GwStoreRig *rig)
{
    g_autoptr(GError) error = NULL;
    GArray *records = gw_store_audit(rig->store, 0, 0, &error);
    g_assert_no_error(error);
    return records;
}

static void
test_begin_end(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    int64_t first = begin(rig, "alice"), second = begin(rig, "bob");
    g_autoptr(GArray) none = log_of(rig);
    g_assert_cmpuint(none->len, ==, 0);

    g_assert_true(gw_store_end_audit(rig->store, second, "accepted", NULL, &error));
    g_assert_true(gw_store_end_audit(rig->store, first, "wrong-state", "the VM is off", &error));
    g_autoptr(GArray) both = log_of(rig);
    g_assert_cmpuint(both->len, ==, 2);
    const GwAuditRecord *newest = &g_array_index(both, GwAuditRecord, 0);
    g_assert_cmpstr(newest->user, ==, "alice");
    g_assert_cmpint(newest->at_us, ==, 7);
    g_assert_cmpstr(newest->address, ==, "10.0.0.1");
    g_assert_cmpstr(newest->action, ==, "vm.migrate");
    g_assert_cmpstr(newest->object, ==, "vm/web1");
    g_assert_cmpstr(newest->details, ==, "{\"to\":\"host2\"}");
    g_assert_cmpstr(newest->reason, ==, "maintenance");
    g_assert_cmpstr(newest->result, ==, "wrong-state");
    g_assert_cmpstr(newest->message, ==, "the VM is off");
    const GwAuditRecord *older = &g_array_index(both, GwAuditRecord, 1);
    g_assert_cmpstr(older->user, ==, "bob");
    g_assert_cmpstr(older->result, ==, "accepted");
    g_assert_null(older->message);

    /* Once it has a result, it has no other. */
    g_assert_false(gw_store_end_audit(rig->store, first, "done", NULL, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "no open audit record");
    g_autoptr(GArray) still = log_of(rig);
    g_assert_cmpuint(still->len, ==, 2);
}

/* What was being done when the center died is in the log after its next start, once. */
static void
test_died_meanwhile(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    begin(rig, "alice");
    gw_store_rig_close(rig);
    gw_store_rig_open(rig);
    for (unsigned i = 0; i < 2; i++)
        g_assert_true(gw_store_end_open_audits(rig->store, &error));
    g_autoptr(GArray) records = log_of(rig);
    g_assert_cmpuint(records->len, ==, 1);
    const GwAuditRecord *record = &g_array_index(records, GwAuditRecord, 0);
    g_assert_cmpstr(record->user, ==, "alice");
    g_assert_cmpstr(record->result, ==, "unknown");
    g_assert_nonnull(record->message);
}

static void
test_token_for_host(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *host = NULL, *any = NULL, *nobody = NULL;
    g_assert_true(gw_store_add_join_token_for(rig->store, "aa", "host1", "admin", 1000, &error));
    g_assert_true(gw_store_add_join_token_for(rig->store, "bb", NULL, "admin", 1000, &error));
    g_assert_true(gw_store_join_token_host(rig->store, "aa", &host, &error));
    g_assert_cmpstr(host, ==, "host1");
    g_assert_true(gw_store_join_token_host(rig->store, "bb", &any, &error));
    g_assert_null(any);
    g_assert_true(gw_store_join_token_host(rig->store, "cc", &nobody, &error));
    g_assert_null(nobody);

    g_assert_false(gw_store_use_join_token(rig->store, "aa", "host2", 1, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_PERMITTED, "is for host 'host1', not for 'host2'");
    g_assert_true(gw_store_use_join_token(rig->store, "aa", "host1", 1, &error));
    g_assert_true(gw_store_use_join_token(rig->store, "bb", "host2", 1, &error));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    GW_STORE_RIG_ADD("/store-audit/begin-end", test_begin_end);
    GW_STORE_RIG_ADD("/store-audit/died-meanwhile", test_died_meanwhile);
    GW_STORE_RIG_ADD("/store-audit/token-for-host", test_token_for_host);
    return g_test_run();
}
