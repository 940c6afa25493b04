/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Control groups: found in mount tables of every kind, values in the kernel's units, groups made in a tree of
 * plain files (version 2) and in the running kernel's own (version 1, as root). */
#include "cgroup.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- mount tables ------------------------------------------------------------------------------------- */

#define ROOT     "/dev/sda1 / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n"
#define V1_OTHER "cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n"
#define V1_CPU   "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,relatime,cpu,cpuacct 0 0\n"
#define V1_NAMED "cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,xattr,name=systemd 0 0\n"
#define V2       "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0\n"
#define UNIFIED  "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n"

static void
assert_found(const char *mounts, const char *controllers, GwCgroupVersion version, const char *root)
{
    g_auto(GwCgroupHost) host = gw_cgroup_find(mounts, controllers);
    g_test_message("%s (%s)", mounts, controllers ? controllers : "unreadable");
    g_assert_cmpint(host.version, ==, version);
    g_assert_cmpstr(host.root, ==, root);
}

static void
test_find(void)
{
    static const char all[] = "cpuset cpu io memory hugetlb pids rdma misc\n";
    static const struct {
        const char *mounts, *controllers;
        GwCgroupVersion version;
        const char *root;
    } cases[] = {
        {"", all, GW_CGROUP_NONE, NULL},
        {ROOT, all, GW_CGROUP_NONE, NULL},
        {"nonsense\n\ncgroup2\ncgroup cpu\n", all, GW_CGROUP_NONE, NULL},
        /* version 1 */
        {ROOT V1_OTHER V1_NAMED V1_CPU, NULL, GW_CGROUP_V1, "/sys/fs/cgroup/cpu,cpuacct"},
        {"cgroup /c cgroup rw,cpu 0 0", NULL, GW_CGROUP_V1, "/c"},
        {"cgroup /c cgroup cpu 0 0", NULL, GW_CGROUP_V1, "/c"},
        {"cgroup /c cgroup rw,cpu 0 0\ncgroup /d cgroup rw,cpu 0 0\n", NULL, GW_CGROUP_V1, "/c"},
        {ROOT V1_OTHER V1_NAMED, all, GW_CGROUP_NONE, NULL},
        {"cgroup /c cgroup rw,cpuset 0 0\ncgroup /d cgroup rw,cpuacct 0 0\n", NULL, GW_CGROUP_NONE, NULL},
        {"cgroup /cpu tmpfs rw,cpu 0 0\n", NULL, GW_CGROUP_NONE, NULL},
        /* version 2 */
        {ROOT V2, all, GW_CGROUP_V2, "/sys/fs/cgroup"},
        {V2, "cpu\n", GW_CGROUP_V2, "/sys/fs/cgroup"},
        {V2, "io cpu\n", GW_CGROUP_V2, "/sys/fs/cgroup"},
        {V2, "io memory pids\n", GW_CGROUP_NONE, NULL},
        {V2, "", GW_CGROUP_NONE, NULL},
        {V2, NULL, GW_CGROUP_NONE, NULL},
        {V2 "cgroup2 /elsewhere cgroup2 rw 0 0\n", all, GW_CGROUP_V2, "/sys/fs/cgroup"},
        /* hybrid: a controller is in one of them only */
        {ROOT V1_CPU V1_OTHER UNIFIED, NULL, GW_CGROUP_V1, "/sys/fs/cgroup/cpu,cpuacct"},
        {UNIFIED V1_OTHER V1_CPU, all, GW_CGROUP_V1, "/sys/fs/cgroup/cpu,cpuacct"},
        {V1_CPU UNIFIED, all, GW_CGROUP_V1, "/sys/fs/cgroup/cpu,cpuacct"},
        {UNIFIED V1_OTHER, "cpu", GW_CGROUP_V2, "/sys/fs/cgroup/unified"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_found(cases[i].mounts, cases[i].controllers, cases[i].version, cases[i].root);
}

static void
test_find_whole_names(void)
{
    assert_found(V2, "cpuset io memory\n", GW_CGROUP_NONE, NULL);
}

/* proc(5): space, tab, line feed and backslash are octal in /proc/self/mounts. */
static void
test_find_escaped(void)
{
    assert_found("cgroup /my\\040groups cgroup rw,cpu 0 0\n", NULL, GW_CGROUP_V1, "/my groups");
}

static void
test_values(void)
{
    static const struct {
        unsigned shares, v1, v2;
    } cases[] = {{100, 102, 10}, {1000, 1024, 100},       {2000, 2048, 200}, {999, 1022, 99},
                 {500, 512, 50}, {100000, 102400, 10000}, {1, 2, 1},         {0, 2, 1}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_cmpuint(gw_cgroup_cpu_value(GW_CGROUP_V1, cases[i].shares), ==, cases[i].v1);
        g_assert_cmpuint(gw_cgroup_cpu_value(GW_CGROUP_V2, cases[i].shares), ==, cases[i].v2);
    }
}

/* --- version 2, in plain files ------------------------------------------------------------------------ */

#define UUID "6f1c2d3e-0000-4000-8000-00000000c9a0"

typedef struct {
    char *top;
    GwCgroupHost host;
} Fixture;

static char *
file_in(const Fixture *f, const char *path)
{
    return g_build_filename(f->top, path, NULL);
}

static void
make_file(const Fixture *f, const char *path)
{
    g_autofree char *full = file_in(f, path);
    g_autofree char *directory = g_path_get_dirname(full);
    g_assert_cmpint(g_mkdir_with_parents(directory, 0700), ==, 0);
    g_assert_true(g_file_set_contents(full, "", 0, NULL));
}

static void
assert_content(const Fixture *f, const char *path, const char *expected)
{
    g_autofree char *full = file_in(f, path);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(full, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, expected);
}

/* What the kernel would put into new groups is there before. */
static void
set_up(Fixture *f)
{
    static const char *const files[] = {"cgroup.subtree_control", "godwit/cgroup.subtree_control",
                                        "godwit/" UUID "/cgroup.procs", "godwit/" UUID "/cpu.weight",
                                        "godwit/" UUID "/cpu.max"};
    g_autoptr(GError) error = NULL;
    f->top = g_dir_make_tmp("godwit-cgroup-XXXXXX", &error);
    g_assert_no_error(error);
    f->host = (GwCgroupHost){GW_CGROUP_V2, f->top};
    for (size_t i = 0; i < G_N_ELEMENTS(files); i++)
        make_file(f, files[i]);
}

static void
remove_tree(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        g_autofree char *entry = g_build_filename(path, name, NULL);
        remove_tree(entry);
    }
    g_remove(path);
}

static void
tear_down(Fixture *f)
{
    remove_tree(f->top);
    g_assert_false(g_file_test(f->top, G_FILE_TEST_EXISTS));
    g_free(f->top);
}

static void
test_make_v2(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    set_up(&f);
    int fd = gw_cgroup_make(&f.host, UUID, 2500, 150, &error);
    g_assert_no_error(error);
    assert_content(&f, "cgroup.subtree_control", "+cpu");
    assert_content(&f, "godwit/cgroup.subtree_control", "+cpu");
    assert_content(&f, "godwit/" UUID "/cpu.weight", "250");
    assert_content(&f, "godwit/" UUID "/cpu.max", "150000 100000");
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
    g_assert_cmpint((int)write(fd, "0", 1), ==, 1);
    assert_content(&f, "godwit/" UUID "/cgroup.procs", "0");
    close(fd);
    tear_down(&f);
}

static void
test_make_v2_without_limit(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    set_up(&f);
    int fd = gw_cgroup_make(&f.host, UUID, 100, 0, &error);
    g_assert_no_error(error);
    assert_content(&f, "godwit/" UUID "/cpu.weight", "10");
    assert_content(&f, "godwit/" UUID "/cpu.max", "max");
    close(fd);
    tear_down(&f);
}

static void
test_make_fails(void)
{
    static const char *const needed[] = {"cgroup.subtree_control", "godwit/cgroup.subtree_control",
                                         "godwit/" UUID "/cpu.weight", "godwit/" UUID "/cpu.max",
                                         "godwit/" UUID "/cgroup.procs"};
    for (size_t i = 0; i < G_N_ELEMENTS(needed); i++) {
        g_autoptr(GError) error = NULL;
        Fixture f;
        set_up(&f);
        g_autofree char *absent = file_in(&f, needed[i]);
        g_assert_cmpint(g_unlink(absent), ==, 0);
        g_assert_cmpint(gw_cgroup_make(&f.host, UUID, 1000, 50, &error), ==, -1);
        g_assert_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED);
        g_assert_true(g_str_has_prefix(error->message, "CPU shares and limits: "));
        g_assert_nonnull(strstr(error->message, absent));
        g_assert_nonnull(strstr(error->message, "No such file or directory"));
        tear_down(&f);
    }

    g_autoptr(GError) error = NULL;
    GwCgroupHost none = {0}, nowhere = {GW_CGROUP_V1, (char *)(uintptr_t) "/proc/absent"};
    g_assert_cmpint(gw_cgroup_make(&none, UUID, 1000, 50, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED);
    g_assert_cmpstr(error->message, ==,
                    "CPU shares and limits: this host has no cgroup cpu controller mounted");
    g_clear_error(&error);
    g_assert_cmpint(gw_cgroup_make(&nowhere, UUID, 1000, 50, &error), ==, -1);
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED);
    gw_cgroup_remove(&none, UUID);
    gw_cgroup_remove(&nowhere, UUID);
}

/* A new group that cannot be set up does not stay. */
static void
test_failure_leaves_no_group(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    set_up(&f);
    g_assert_cmpint(gw_cgroup_make(&f.host, "another-uuid", 1000, 50, &error), ==, -1);
    g_autofree char *group = file_in(&f, "godwit/another-uuid");
    g_assert_false(g_file_test(group, G_FILE_TEST_EXISTS));
    tear_down(&f);
}

/* --- version 1, the kernel's -------------------------------------------------------------------------- */

static void
assert_kernel_value(const char *group, const char *file, const char *expected)
{
    g_autofree char *path = g_build_filename(group, file, NULL);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(g_strchomp(text), ==, expected);
}

/* In a process of its own, so that a failed assertion leaves the tidying to its parent. */
static void
run_in_kernel(const GwCgroupHost *host, const char *uuid)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *group = g_build_filename(host->root, "godwit", uuid, NULL);
    int fd = gw_cgroup_make(host, uuid, 2000, 150, &error);
    g_assert_no_error(error);
    assert_kernel_value(group, "cpu.shares", "2048");
    assert_kernel_value(group, "cpu.cfs_quota_us", "150000");
    assert_kernel_value(group, "cpu.cfs_period_us", "100000");
    close(fd);
    /* once more with other values: the group is there already */
    fd = gw_cgroup_make(host, uuid, 500, 10, &error);
    g_assert_no_error(error);
    assert_kernel_value(group, "cpu.shares", "512");
    assert_kernel_value(group, "cpu.cfs_quota_us", "10000");

    /* a child enters by the descriptor; the group cannot go before it has */
    int hold[2];
    char byte;
    g_assert_cmpint(pipe2(hold, O_CLOEXEC), ==, 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(hold[1]);
        _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
    }
    g_autofree char *text = g_strdup_printf("%d", pid);
    g_assert_cmpint((int)write(fd, text, strlen(text)), ==, (int)strlen(text));
    assert_kernel_value(group, "cgroup.procs", text);
    gw_cgroup_remove(host, uuid);
    g_assert_true(g_file_test(group, G_FILE_TEST_IS_DIR));
    close(hold[1]);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    gw_cgroup_remove(host, uuid);
    g_assert_false(g_file_test(group, G_FILE_TEST_EXISTS));
    gw_cgroup_remove(host, uuid); /* that there is none is no error */
}

static void
test_kernel_v1(void)
{
    g_auto(GwCgroupHost) host = gw_cgroup_probe();
    if (host.version != GW_CGROUP_V1 || geteuid() != 0 || access(host.root, W_OK) < 0) {
        g_test_skip("needs root and a writable cgroup v1 cpu controller");
        return;
    }
    g_autofree char *uuid = g_strdup_printf("unit-test-%d", getpid());
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        run_in_kernel(&host, uuid);
        _exit(0);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    gw_cgroup_remove(&host, uuid);
    g_assert_cmpint(status, ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cgroup/find", test_find);
    g_test_add_func("/cgroup/find/whole-names", test_find_whole_names);
    g_test_add_func("/cgroup/find/escaped", test_find_escaped);
    g_test_add_func("/cgroup/values", test_values);
    g_test_add_func("/cgroup/make/v2", test_make_v2);
    g_test_add_func("/cgroup/make/v2-without-limit", test_make_v2_without_limit);
    g_test_add_func("/cgroup/make/fails", test_make_fails);
    g_test_add_func("/cgroup/make/failure-leaves-no-group", test_failure_leaves_no_group);
    g_test_add_func("/cgroup/make/kernel-v1", test_kernel_v1);
    return g_test_run();
}
