/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hosts, join tokens and VMs in the store. */
#include "store-rig.h"

#include <string.h>

/* What a careless statement would take for SQL. */
#define EVIL "x'); DROP TABLE vms; --\"%s$1?1"

static void
assert_host(const GwHostRecord *host, const char *name, const char *address, unsigned port,
            bool in_maintenance)
{
    g_assert_cmpstr(host->name, ==, name);
    g_assert_cmpstr(host->cluster, ==, "default");
    g_assert_cmpstr(host->address, ==, address);
    g_assert_cmpuint(host->port, ==, port);
    g_assert_cmpint(host->in_maintenance, ==, in_maintenance);
    g_assert_cmpint(host->joined_us, ==, 5);
}

static void
test_hosts(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    gw_store_rig_add_host(rig, "host2");
    gw_store_rig_add_host(rig, "host1");
    g_assert_true(gw_store_set_maintenance(rig->store, "host2", true, &error));
    /* joins again from elsewhere: everything else stays */
    GwHostRecord again = {.name = (char *)"host2",
                          .cluster = (char *)"other",
                          .address = (char *)"fd00::2",
                          .port = 1,
                          .joined_us = 99};
    g_assert_true(gw_store_add_host(rig->store, &again, &error));
    gw_store_rig_close(rig);
    gw_store_rig_open(rig);
    g_autoptr(GArray) hosts = gw_store_hosts(rig->store, &error);
    g_assert_cmpuint(hosts->len, ==, 2);
    assert_host(&g_array_index(hosts, GwHostRecord, 0), "host1", "10.70.0.1", 7441, false);
    assert_host(&g_array_index(hosts, GwHostRecord, 1), "host2", "fd00::2", 1, true);
    g_assert_true(gw_store_set_maintenance(rig->store, "host2", false, &error));
    g_assert_true(gw_store_remove_host(rig->store, "host1", &error));
    g_autoptr(GArray) left = gw_store_hosts(rig->store, &error);
    g_assert_cmpuint(left->len, ==, 1);
    assert_host(&g_array_index(left, GwHostRecord, 0), "host2", "fd00::2", 1, false);
    g_assert_no_error(error);
}

static void
test_host_errors(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    GwHostRecord nameless = {.name = (char *)"x", .address = (char *)"::1", .port = 1};
    g_assert_false(gw_store_add_host(rig->store, &nameless, &error));
    gw_assert_error_says(&error, GW_ERROR_INVALID_ARGUMENT, "cluster");
    g_assert_false(gw_store_remove_host(rig->store, "host1", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "host 'host1'");
    g_assert_false(gw_store_set_maintenance(rig->store, "host1", true, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "host 'host1'");
    gw_store_rig_add_host(rig, "host1");
    gw_store_rig_add_vm(rig, "web1", "host1");
    g_assert_false(gw_store_remove_host(rig->store, "host1", &error));
    gw_assert_error_says(&error, GW_ERROR_WRONG_STATE, "host 'host1' is the home of 1 VM");
    g_assert_true(gw_store_remove_vm(rig->store, "web1", &error));
    g_assert_true(gw_store_remove_host(rig->store, "host1", &error));
}

static void
test_join_tokens(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(gw_store_add_join_token(rig->store, "aa", "admin", 1000, &error));
    g_assert_false(gw_store_add_join_token(rig->store, "aa", "admin", 1000, &error));
    gw_assert_error_says(&error, GW_ERROR_EXISTS, "join_tokens");
    g_assert_true(gw_store_add_join_token(rig->store, "bb", "admin", 1000, &error));
    g_assert_false(gw_store_use_join_token(rig->store, "cc", "host1", 1, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_PERMITTED, "no such join token");
    g_assert_false(gw_store_use_join_token(rig->store, "aa", "host1", 1000, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_PERMITTED, "expired");
    g_assert_true(gw_store_use_join_token(rig->store, "aa", "host1", 999, &error));
    g_assert_false(gw_store_use_join_token(rig->store, "aa", "host2", 999, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_PERMITTED, "used already, by host 'host1'");
    g_assert_true(gw_store_remove_expired(rig->store, 999, &error));
    g_assert_true(gw_store_use_join_token(rig->store, "bb", "host2", 999, &error));
    g_assert_true(gw_store_remove_expired(rig->store, 1000, &error));
    g_assert_false(gw_store_use_join_token(rig->store, "bb", "host2", 999, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_PERMITTED, "no such join token");
}

static void
test_join_token_for_a_host(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *host = NULL, *any = NULL, *none = NULL;
    g_assert_true(gw_store_add_join_token_for(rig->store, "aa", "host1", "admin", 1000, &error));
    g_assert_true(gw_store_add_join_token(rig->store, "bb", "admin", 1000, &error));
    g_assert_true(gw_store_join_token_host(rig->store, "aa", &host, &error));
    g_assert_cmpstr(host, ==, "host1");
    g_assert_true(gw_store_join_token_host(rig->store, "bb", &any, &error));
    g_assert_null(any);
    g_assert_true(gw_store_join_token_host(rig->store, "cc", &none, &error));
    g_assert_null(none);
    g_assert_false(gw_store_use_join_token(rig->store, "aa", "host2", 1, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_PERMITTED, "for host 'host1', not for 'host2'");
    g_assert_true(gw_store_use_join_token(rig->store, "aa", "host1", 1, &error));
    g_assert_false(gw_store_use_join_token(rig->store, "aa", "host1", 1, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_PERMITTED, "used already");
}

static void
test_vms(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwVmRecord) vm = {0};
    gw_store_rig_add_host(rig, "host1");
    gw_store_rig_add_host(rig, "host2");
    gw_store_rig_add_vm(rig, "web2", "host1");
    gw_store_rig_add_vm(rig, "web1", "host1");
    g_assert_true(gw_store_set_vm_host(rig->store, "web1", "host2", &error));
    g_assert_true(gw_store_get_vm(rig->store, "web1", &vm, &error));
    g_assert_cmpstr(vm.name, ==, "web1");
    g_assert_cmpstr(vm.uuid, ==, "web1");
    g_assert_cmpstr(vm.host, ==, "host2");
    g_assert_cmpstr(vm.config, ==, "{}");
    g_assert_cmpint(vm.created_us, ==, 7);
    g_autoptr(GArray) vms = gw_store_vms(rig->store, &error);
    g_assert_cmpuint(vms->len, ==, 2);
    g_assert_cmpstr(g_array_index(vms, GwVmRecord, 0).name, ==, "web1");
    g_assert_cmpstr(g_array_index(vms, GwVmRecord, 1).name, ==, "web2");
    g_assert_cmpstr(g_array_index(vms, GwVmRecord, 1).host, ==, "host1");
    g_assert_true(gw_store_remove_vm(rig->store, "web2", &error));
    g_autoptr(GArray) left = gw_store_vms(rig->store, &error);
    g_assert_cmpuint(left->len, ==, 1);
    g_assert_no_error(error);
}

static void
assert_not_added(GwStoreRig *rig, const char *name, const char *uuid, const char *host, GwError code,
                 const char *words)
{
    g_autoptr(GError) error = NULL;
    GwVmRecord vm = {
        .name = (char *)name, .uuid = (char *)uuid, .host = (char *)host, .config = (char *)"{}"};
    g_assert_false(gw_store_add_vm(rig->store, &vm, &error));
    gw_assert_error_says(&error, code, words);
}

static void
test_vm_errors(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwVmRecord) vm = {0};
    gw_store_rig_add_host(rig, "host1");
    gw_store_rig_add_vm(rig, "web1", "host1");
    assert_not_added(rig, "web1", "other", "host1", GW_ERROR_EXISTS, "VM 'web1'");
    assert_not_added(rig, "web2", "web1", "host1", GW_ERROR_EXISTS, "uuid web1");
    assert_not_added(rig, "web2", "web2", "host9", GW_ERROR_NOT_FOUND, "host 'host9'");
    assert_not_added(rig, "web2", NULL, "host1", GW_ERROR_INVALID_ARGUMENT, "uuid");
    g_assert_false(gw_store_get_vm(rig->store, "web2", &vm, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "VM 'web2'");
    g_assert_null(vm.name);
    g_assert_false(gw_store_remove_vm(rig->store, "web2", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "VM 'web2'");
    g_assert_false(gw_store_set_vm_host(rig->store, "web2", "host1", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "VM 'web2'");
    g_assert_false(gw_store_set_vm_host(rig->store, "web1", "host9", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "host 'host9'");
    g_assert_true(gw_store_get_vm(rig->store, "web1", &vm, &error));
    g_assert_cmpstr(vm.host, ==, "host1");
}

static void
test_evil_names(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwVmRecord) vm = {0};
    gw_store_rig_add_host(rig, EVIL);
    gw_store_rig_add_vm(rig, EVIL, EVIL);
    g_assert_true(gw_store_get_vm(rig->store, EVIL, &vm, &error));
    g_assert_cmpstr(vm.name, ==, EVIL);
    g_assert_cmpstr(vm.host, ==, EVIL);
    gw_vm_record_clear(&vm);
    g_assert_false(gw_store_get_vm(rig->store, "x", &vm, &error));
    g_clear_error(&error);
    g_assert_true(gw_store_remove_vm(rig->store, EVIL, &error));
    g_assert_true(gw_store_remove_host(rig->store, EVIL, &error));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    GW_STORE_RIG_ADD("/store-inventory/hosts", test_hosts);
    GW_STORE_RIG_ADD("/store-inventory/host-errors", test_host_errors);
    GW_STORE_RIG_ADD("/store-inventory/join-tokens", test_join_tokens);
    GW_STORE_RIG_ADD("/store-inventory/join-token-for-a-host", test_join_token_for_a_host);
    GW_STORE_RIG_ADD("/store-inventory/vms", test_vms);
    GW_STORE_RIG_ADD("/store-inventory/vm-errors", test_vm_errors);
    GW_STORE_RIG_ADD("/store-inventory/evil-names", test_evil_names);
    return g_test_run();
}
