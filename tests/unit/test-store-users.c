/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Users and sessions in the store. */
#include "store-rig.h"

#include <string.h>

static bool
add(GwStoreRig *rig, const char *name, const char *role, GError **error)
{
    GwUserRecord user = {
        .name = (char *)name, .role = (char *)role, .password_hash = (char *)"$y$", .created_us = 3};
    return gw_store_add_user(rig->store, &user, error);
}

static void
assert_session(GwStoreRig *rig, const char *hash, int64_t now_us, const char *user, const char *role)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwUserRecord) got = {0};
    gw_store_find_session(rig->store, hash, now_us, &got, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(got.name, ==, user);
    g_assert_cmpstr(got.role, ==, role);
}

static void
assert_no_session(GwStoreRig *rig, const char *hash, int64_t now_us, const char *words)
{
    g_autoptr(GError) error = NULL;
    GwUserRecord got;
    g_assert_false(gw_store_find_session(rig->store, hash, now_us, &got, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_AUTHENTICATED, words);
    g_assert_null(got.name);
}

static void
test_users(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwUserRecord) user = {0};
    g_assert_true(add(rig, "berta", "operator", &error));
    g_assert_true(add(rig, "anna", "administrator", &error));
    g_assert_false(add(rig, "anna", "operator", &error));
    gw_assert_error_says(&error, GW_ERROR_EXISTS, "user 'anna'");
    g_assert_false(add(rig, "carla", "queen", &error));
    gw_assert_error_says(&error, GW_ERROR_INVALID_ARGUMENT, "role");
    g_assert_true(gw_store_set_password(rig->store, "berta", "$y$new", &error));
    g_assert_true(gw_store_set_role(rig->store, "berta", "read-only", &error));
    g_assert_true(gw_store_get_user(rig->store, "berta", &user, &error));
    g_assert_cmpstr(user.name, ==, "berta");
    g_assert_cmpstr(user.role, ==, "read-only");
    g_assert_cmpstr(user.password_hash, ==, "$y$new");
    g_assert_cmpint(user.created_us, ==, 3);
    g_autoptr(GArray) users = gw_store_users(rig->store, &error);
    g_assert_cmpuint(users->len, ==, 2);
    g_assert_cmpstr(g_array_index(users, GwUserRecord, 0).name, ==, "anna");
    g_assert_cmpstr(g_array_index(users, GwUserRecord, 0).role, ==, "administrator");
    g_assert_true(gw_store_remove_user(rig->store, "berta", &error));
    gw_user_record_clear(&user);
    g_assert_false(gw_store_get_user(rig->store, "berta", &user, &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "user 'berta'");
}

static void
test_no_such_user(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(gw_store_set_password(rig->store, "x", "$y$", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "user 'x'");
    g_assert_false(gw_store_set_role(rig->store, "x", "operator", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "user 'x'");
    g_assert_false(gw_store_remove_user(rig->store, "x", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "user 'x'");
    g_assert_false(gw_store_add_session(rig->store, "h", "x", "", 10, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_WRONG_STATE);
}

static void
test_last_administrator(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwUserRecord) user = {0};
    g_assert_true(add(rig, "anna", "administrator", &error));
    g_assert_true(add(rig, "berta", "operator", &error));
    g_assert_true(gw_store_add_session(rig->store, "h", "anna", "", 10, &error));
    g_assert_false(gw_store_remove_user(rig->store, "anna", &error));
    gw_assert_error_says(&error, GW_ERROR_WRONG_STATE, "'anna' is the last administrator");
    g_assert_false(gw_store_set_role(rig->store, "anna", "operator", &error));
    gw_assert_error_says(&error, GW_ERROR_WRONG_STATE, "'anna' is the last administrator");
    assert_session(rig, "h", 1, "anna", "administrator");             /* nothing of it happened */
    g_assert_true(gw_store_remove_user(rig->store, "berta", &error)); /* which takes no administrator away */
    g_assert_true(add(rig, "carla", "administrator", &error));
    g_assert_true(gw_store_set_role(rig->store, "anna", "operator", &error));
    g_assert_true(gw_store_remove_user(rig->store, "anna", &error));
    g_assert_false(gw_store_remove_user(rig->store, "carla", &error));
    gw_assert_error_says(&error, GW_ERROR_WRONG_STATE, "last administrator");
}

static void
test_sessions(GwStoreRig *rig, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(add(rig, "boss", "administrator", &error));
    g_assert_true(add(rig, "anna", "operator", &error));
    g_assert_true(gw_store_add_session(rig->store, "h1", "anna", "10.0.0.1", 10, &error));
    g_assert_true(gw_store_add_session(rig->store, "h2", "anna", NULL, 20, &error));
    g_assert_true(gw_store_add_session(rig->store, "h3", "boss", "", 20, &error));
    assert_session(rig, "h1", 9, "anna", "operator");
    assert_no_session(rig, "h1", 10, "expired");
    assert_no_session(rig, "h9", 1, "no such session");
    g_assert_true(gw_store_remove_expired(rig->store, 10, &error));
    assert_no_session(rig, "h1", 9, "no such session");
    assert_session(rig, "h2", 10, "anna", "operator");
    g_assert_true(gw_store_set_role(rig->store, "anna", "read-only", &error));
    assert_session(rig, "h2", 10, "anna", "read-only");
    g_assert_true(gw_store_set_password(rig->store, "anna", "$y$2", &error));
    assert_no_session(rig, "h2", 10, "no such session");
    assert_session(rig, "h3", 10, "boss", "administrator"); /* not somebody else's */
    g_assert_true(gw_store_add_session(rig->store, "h4", "anna", "", 20, &error));
    g_assert_true(gw_store_remove_user(rig->store, "anna", &error));
    assert_no_session(rig, "h4", 10, "no such session");
    g_assert_true(add(rig, "anna", "administrator", &error)); /* another one of that name has none */
    assert_no_session(rig, "h4", 10, "no such session");
    g_assert_true(gw_store_remove_session(rig->store, "h3", &error));
    assert_no_session(rig, "h3", 10, "no such session");
    g_assert_false(gw_store_remove_session(rig->store, "h3", &error));
    gw_assert_error_says(&error, GW_ERROR_NOT_FOUND, "session");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    GW_STORE_RIG_ADD("/store-users/users", test_users);
    GW_STORE_RIG_ADD("/store-users/no-such-user", test_no_such_user);
    GW_STORE_RIG_ADD("/store-users/last-administrator", test_last_administrator);
    GW_STORE_RIG_ADD("/store-users/sessions", test_sessions);
    return g_test_run();
}
