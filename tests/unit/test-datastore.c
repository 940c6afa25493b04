/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Datastores on real directories and mounts, and one whose storage never answers: a FUSE mount that nobody
 * serves. */
#include "datastore.h"

#include "census.h"
#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static char *root; /* a new directory, for each test */

static void
set_up(void)
{
    root = g_dir_make_tmp("gw-datastore-XXXXXX", NULL);
}

static void
tear_down(void)
{
    g_autofree char *file = g_build_filename(root, GW_DATASTORE_IDENTITY_FILE, NULL);
    g_unlink(file);
    g_assert_cmpint(g_rmdir(root), ==, 0); /* nothing else was left in it */
    g_clear_pointer(&root, g_free);
}

static GwDatastoreState
look(const char *path, bool is_mount_point)
{
    const GwHostDatastore datastore = {(char *)"ds", (char *)path, is_mount_point};
    return gw_datastore_look(&datastore);
}

static void
test_identity(void)
{
    struct stat file;
    struct statvfs facts;
    set_up();
    g_autofree char *path = g_build_filename(root, GW_DATASTORE_IDENTITY_FILE, NULL), *text = NULL;
    g_auto(GwDatastoreState) first = look(root, false), second = look(root, false);
    g_assert_cmpstr(first.error, ==, NULL);
    g_assert_false(first.is_read_only);
    g_assert_true(g_uuid_string_is_valid(first.identity));
    g_assert_cmpstr(second.identity, ==, first.identity);
    g_assert_cmpint(stat(path, &file), ==, 0);
    g_assert_cmpint(file.st_mode & 07777, ==, 0644);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(g_strchomp(text), ==, first.identity);
    g_assert_cmpint(statvfs(root, &facts), ==, 0);
    g_assert_cmpuint(first.capacity_bytes, ==, (uint64_t)facts.f_blocks * facts.f_frsize);
    g_assert_cmpuint(first.free_bytes, <=, first.capacity_bytes);
    g_assert_cmpuint(first.free_bytes, >, 0);
    tear_down();
}

/* Hosts that make the same storage's identity at once agree on one. */
static void *
identity_thread(void *data)
{
    g_auto(GwDatastoreState) state = look(data, false);
    g_assert_cmpstr(state.error, ==, NULL);
    return g_steal_pointer(&state.identity);
}

static void
test_identity_race(void)
{
    GThread *threads[8];
    for (int round = 0; round < 20; round++) {
        g_autofree char *agreed = NULL;
        set_up();
        for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
            threads[i] = g_thread_new("host", identity_thread, root);
        for (size_t i = 0; i < G_N_ELEMENTS(threads); i++) {
            g_autofree char *identity = g_thread_join(threads[i]);
            g_assert_nonnull(identity);
            if (!agreed)
                agreed = g_steal_pointer(&identity);
            else
                g_assert_cmpstr(identity, ==, agreed);
        }
        tear_down();
    }
}

static void
test_identity_broken(void)
{
    static const char *const texts[] = {"", "no uuid\n", "1b4e28ba-2fa1-11d2-883f-0016d3cca42\n"};
    set_up();
    g_autofree char *path = g_build_filename(root, GW_DATASTORE_IDENTITY_FILE, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_assert_true(g_file_set_contents(path, texts[i], -1, NULL));
        g_auto(GwDatastoreState) state = look(root, false);
        g_assert_nonnull(strstr(state.error, "/.godwit-datastore holds no UUID: remove it"));
        g_assert_cmpstr(state.identity, ==, NULL);
        g_assert_cmpuint(state.capacity_bytes, ==, 0);
    }
    /* nobody leads us elsewhere, or holds us up */
    g_unlink(path);
    g_assert_cmpint(symlink("/etc/machine-id", path), ==, 0);
    g_auto(GwDatastoreState) linked = look(root, false);
    g_assert_nonnull(linked.error);
    g_unlink(path);
    g_assert_cmpint(mkfifo(path, 0644), ==, 0);
    g_auto(GwDatastoreState) piped = look(root, false);
    g_assert_nonnull(piped.error);
    tear_down();
}

static void
test_unusable(void)
{
    set_up();
    g_autofree char *absent = g_build_filename(root, "absent", NULL),
                    *file = g_build_filename(root, "f", NULL);
    g_auto(GwDatastoreState) missing = look(absent, false);
    g_autofree char *expected = g_strdup_printf("there is no directory %s", absent);
    g_assert_cmpstr(missing.error, ==, expected);

    g_assert_true(g_file_set_contents(file, "", -1, NULL));
    g_auto(GwDatastoreState) plain = look(file, false);
    g_autofree char *not_directory = g_strdup_printf("%s: Not a directory", file);
    g_assert_cmpstr(plain.error, ==, not_directory);
    g_unlink(file);

    g_auto(GwDatastoreState) unmounted = look(root, true);
    g_autofree char *nothing = g_strdup_printf("nothing is mounted at %s", root);
    g_assert_cmpstr(unmounted.error, ==, nothing);
    g_assert_cmpuint(unmounted.capacity_bytes, ==, 0);
    tear_down();
}

/* Mounts of this process's own. False, with the reason, where we may not. */
static bool
enter_mounts(void)
{
    if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
        return true;
    g_autofree char *why = g_strdup_printf("a mount namespace: %s", g_strerror(errno));
    g_test_skip(why);
    return false;
}

static void
test_mounted(void)
{
    if (!enter_mounts())
        return;
    set_up();
    g_assert_cmpint(mount("ds", root, "tmpfs", 0, "size=8m"), ==, 0);
    g_auto(GwDatastoreState) mounted = look(root, true);
    g_assert_cmpstr(mounted.error, ==, NULL);
    g_assert_cmpuint(mounted.capacity_bytes, ==, 8 << 20);
    g_assert_nonnull(mounted.identity);

    g_assert_cmpint(mount(NULL, root, NULL, MS_REMOUNT | MS_RDONLY, NULL), ==, 0);
    g_auto(GwDatastoreState) read_only = look(root, true);
    g_assert_cmpstr(read_only.error, ==, NULL);
    g_assert_true(read_only.is_read_only);
    g_assert_cmpstr(read_only.identity, ==, mounted.identity);
    umount(root);

    g_assert_cmpint(mount("ds", root, "tmpfs", MS_RDONLY, NULL), ==, 0);
    g_auto(GwDatastoreState) empty = look(root, false);
    g_assert_cmpstr(empty.error, ==, NULL);
    g_assert_true(empty.is_read_only);
    g_assert_cmpstr(empty.identity, ==, NULL);
    umount(root);
    tear_down();
}

/* Mounts a file system at root whose server is us, and who never reads. -1, with the reason as the test's
 * result, where there is none. */
static int
mount_silent(void)
{
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    g_autofree char *options = g_strdup_printf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    if (fd >= 0 && mount("silent", root, "fuse", 0, options) == 0)
        return fd;
    g_autofree char *why = g_strdup_printf("FUSE: %s", g_strerror(errno));
    g_test_skip(why);
    if (fd >= 0)
        close(fd);
    return -1;
}

static void
test_silent(void)
{
    if (!enter_mounts())
        return;
    set_up();
    int fd = mount_silent();
    if (fd < 0) {
        tear_down();
        return;
    }
    Census before = census_take();
    g_autofree char *expected = g_strdup_printf("the storage at %s does not answer", root);
    const GwHostDatastore datastore = {(char *)"ds", root, false};
    GwDatastoreWatch *watch = gw_datastore_watch_new();
    gint64 begin_us = g_get_monotonic_time();
    g_auto(GwDatastoreState) first = gw_datastore_watch_look(watch, &datastore, 200);
    g_assert_cmpstr(first.error, ==, expected);
    g_assert_cmpint(g_get_monotonic_time() - begin_us, >=, 200000);
    /* those that come later do not wait again, nor is there a second thread that sleeps */
    begin_us = g_get_monotonic_time();
    for (int i = 0; i < 5; i++) {
        g_auto(GwDatastoreState) later = gw_datastore_watch_look(watch, &datastore, 5000);
        g_assert_cmpstr(later.error, ==, expected);
    }
    g_assert_cmpint(g_get_monotonic_time() - begin_us, <, 5 * G_TIME_SPAN_SECOND);
    g_assert_cmpuint(census_take().n_threads, ==, before.n_threads + 1);
    gw_datastore_watch_free(watch);

    close(fd); /* ends the file system: the thread wakes up with an error */
    before.n_fds--;
    census_check(&before);
    umount2(root, MNT_DETACH);
    tear_down();
}

static void
test_watch(void)
{
    g_autoptr(GError) error = NULL;
    Census before = census_take();
    set_up();
    g_autofree char *text = g_strdup_printf(
        "[host]\nname=a\nlisten=10.0.0.1\n[datastore good]\npath=%s\n[datastore bad]\npath=%s/no\n", root,
        root);
    g_autoptr(GwHostConfig) config = gw_host_config_parse(text, "host.conf", &error);
    g_assert_no_error(error);
    GwDatastoreWatch *watch = gw_datastore_watch_new();
    for (int i = 0; i < 3; i++) {
        g_autoptr(JsonArray) facts = gw_datastore_watch_facts(watch, config);
        JsonObject *good = gw_json_array_object(facts, 0), *bad = gw_json_array_object(facts, 1);
        g_assert_cmpuint(json_array_get_length(facts), ==, 2);
        g_assert_cmpstr(gw_json_get_string(good, "name"), ==, "good");
        g_assert_cmpstr(gw_json_get_string(good, "path"), ==, root);
        g_assert_cmpuint(strlen(gw_json_get_string(good, "identity")), ==, 36);
        g_assert_true(JSON_NODE_HOLDS_NULL(json_object_get_member(good, "error")));
        g_assert_nonnull(gw_json_get_string(bad, "error"));
        g_assert_true(JSON_NODE_HOLDS_NULL(json_object_get_member(bad, "identity")));

        g_autoptr(JsonArray) load = gw_datastore_watch_load(watch, config);
        g_assert_cmpuint(json_array_get_length(load), ==, 1);
        g_assert_cmpstr(gw_json_get_string(gw_json_array_object(load, 0), "name"), ==, "good");
        g_assert_cmpint(json_object_get_int_member(gw_json_array_object(load, 0), "free_bytes"), >, 0);
    }
    gw_datastore_watch_free(watch);
    gw_datastore_watch_free(NULL);
    tear_down();
    census_check(&before);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/datastore/identity", test_identity);
    g_test_add_func("/datastore/identity-race", test_identity_race);
    g_test_add_func("/datastore/identity-broken", test_identity_broken);
    g_test_add_func("/datastore/unusable", test_unusable);
    g_test_add_func("/datastore/watch", test_watch);
    g_test_add_func("/datastore/mounted", test_mounted);
    g_test_add_func("/datastore/silent", test_silent);
    return g_test_run();
}
