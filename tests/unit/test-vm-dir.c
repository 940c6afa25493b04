/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VM's runtime directory: its lock across supervisors and their children, its files, its removal. */
#include "vm-dir.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    char *top, *runtime;
} Fixture;

static void
set_up(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    f->top = g_dir_make_tmp("godwit-vm-dir-XXXXXX", &error);
    g_assert_no_error(error);
    f->runtime = g_build_filename(f->top, "run", "godwit", NULL); /* to be made on the way */
}

/* Everything of the VMs is gone: only the directories above are left. */
static void
tear_down(Fixture *f)
{
    g_autofree char *vms = g_build_filename(f->runtime, "vms", NULL);
    g_autofree char *run = g_path_get_dirname(f->runtime);
    g_rmdir(vms);
    g_rmdir(f->runtime);
    g_rmdir(run);
    g_assert_cmpint(g_rmdir(f->top), ==, 0);
    g_free(f->runtime);
    g_free(f->top);
}

static GwVmDir *
create(const Fixture *f, const char *name)
{
    g_autoptr(GError) error = NULL;
    GwVmDir *dir = gw_vm_dir_create(f->runtime, name, &error);
    g_assert_no_error(error);
    return dir;
}

static void
remove_dir(GwVmDir *dir)
{
    g_autoptr(GError) error = NULL;
    gw_vm_dir_remove(dir, &error);
    g_assert_no_error(error);
    g_assert_false(g_file_test(dir->path, G_FILE_TEST_EXISTS));
    gw_vm_dir_free(dir);
}

/* Whether somebody holds the lock, by a look of our own. */
static bool
is_locked(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    bool locked = flock(fd, LOCK_EX | LOCK_NB) < 0;
    close(fd);
    return locked;
}

/* --- names and files ---------------------------------------------------------------------------------- */

static void
test_names(void)
{
    static const char *const good[] = {"a", "7", "web1", "Web-1.example_2", "a.", "a..b", "a-"};
    static const char *const bad[] = {"",
                                      ".",
                                      "..",
                                      "-a",
                                      "_a",
                                      ".a",
                                      "a/b",
                                      "../a",
                                      "a b",
                                      "a\nb",
                                      "a\tb",
                                      "grün",
                                      "a\\b",
                                      "a\x7f"
                                      "b",
                                      "a*",
                                      "a\x01"};
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
        g_assert_true(gw_vm_name_is_valid(good[i]));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(gw_vm_name_is_valid(bad[i]));
    g_autofree char *longest = g_strnfill(63, 'a');
    g_autofree char *too_long = g_strnfill(64, 'a');
    g_assert_true(gw_vm_name_is_valid(longest));
    g_assert_false(gw_vm_name_is_valid(too_long));

    Fixture f;
    set_up(&f);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(gw_vm_dir_create(f.runtime, bad[i], &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
        g_clear_error(&error);
        g_assert_null(gw_vm_dir_take_over(f.runtime, bad[i], &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    }
    g_assert_false(g_file_test(f.runtime, G_FILE_TEST_EXISTS));
    tear_down(&f);
}

static void
test_paths(void)
{
    Fixture f;
    set_up(&f);
    GwVmDir *dir = create(&f, "web1");
    g_autofree char *expected = g_build_filename(f.runtime, "vms", "web1", NULL);
    g_autofree char *socket = g_build_filename(expected, "control.sock", NULL);
    g_autofree char *by_dir = gw_vm_dir_file(dir, "control.sock");
    g_autofree char *by_name = gw_vm_dir_path(f.runtime, "web1", "control.sock");
    g_assert_cmpstr(dir->path, ==, expected);
    g_assert_cmpstr(by_dir, ==, socket);
    g_assert_cmpstr(by_name, ==, socket);
    struct stat st;
    g_assert_cmpint(stat(dir->path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 0700);
    remove_dir(dir);
    tear_down(&f);
}

static void
test_write_and_read(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    struct stat st;
    set_up(&f);
    GwVmDir *dir = create(&f, "web1");
    g_assert_true(gw_vm_dir_write(dir, "config.json", "first, a long text", &error));
    g_autofree char *path = gw_vm_dir_file(dir, "config.json");
    int first = open(path, O_RDONLY | O_CLOEXEC);
    g_assert_true(gw_vm_dir_write(dir, "config.json", "second", &error));
    g_autofree char *text = gw_vm_dir_read(dir, "config.json", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, "second");
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 0600);

    /* Replaced in one piece: who reads the old one reads all of it. */
    char old[64] = "";
    g_assert_cmpint((int)read(first, old, sizeof old - 1), ==, 18);
    g_assert_cmpstr(old, ==, "first, a long text");
    close(first);

    g_assert_null(gw_vm_dir_read(dir, "absent", &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
    g_clear_error(&error);
    g_assert_false(gw_vm_dir_write(dir, "no/such/place", "x", &error));
    g_assert_nonnull(error);
    remove_dir(dir);
    tear_down(&f);
}

/* A file that cannot be replaced is left as it was, and no other remains. */
static void
test_write_fails(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    set_up(&f);
    GwVmDir *dir = create(&f, "web1");
    g_autofree char *in_the_way = gw_vm_dir_file(dir, "config.json");
    g_assert_cmpint(g_mkdir(in_the_way, 0700), ==, 0);
    g_assert_false(gw_vm_dir_write(dir, "config.json", "x", &error));
    g_assert_nonnull(error);
    g_assert_cmpint(g_rmdir(in_the_way), ==, 0);
    g_autoptr(GDir) entries = g_dir_open(dir->path, 0, NULL);
    g_assert_cmpstr(g_dir_read_name(entries), ==, "lock");
    g_assert_null(g_dir_read_name(entries));
    remove_dir(dir);
    tear_down(&f);
}

/* --- the lock ----------------------------------------------------------------------------------------- */

static void
test_create(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    set_up(&f);
    GwVmDir *dir = create(&f, "web1");
    g_autofree char *lock = gw_vm_dir_file(dir, "lock");
    g_assert_true(is_locked(lock));
    g_assert_cmpint(fcntl(dir->lock_fd, F_GETFD), ==, FD_CLOEXEC);
    g_assert_null(gw_vm_dir_create(f.runtime, "web1", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_EXISTS);
    g_assert_nonnull(strstr(error->message, "there is a VM 'web1' on this host already"));
    g_assert_nonnull(strstr(error->message, "'godwit-vm adopt web1' takes it over"));
    GwVmDir *other = create(&f, "web2"); /* no other VM is held up */

    /* Neither does a VM without a supervisor go by itself … */
    g_clear_error(&error);
    gw_vm_dir_write(dir, "config.json", "{}", &error);
    g_assert_no_error(error);
    gw_vm_dir_free(dir);
    g_assert_false(is_locked(lock));
    g_assert_null(gw_vm_dir_create(f.runtime, "web1", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_EXISTS);
    g_clear_error(&error);
    dir = gw_vm_dir_take_over(f.runtime, "web1", &error);
    g_assert_no_error(error);
    g_assert_true(is_locked(lock));
    remove_dir(dir);
    /* … but what never was a VM's is taken. */
    gw_vm_dir_free(other);
    other = create(&f, "web2");
    remove_dir(other);
    gw_vm_dir_free(NULL);
    tear_down(&f);
}

static void
test_take_over_fails(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    set_up(&f);
    g_assert_null(gw_vm_dir_take_over(f.runtime, "web1", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, "there is no VM 'web1' on this host"));
    g_clear_error(&error);

    /* While its supervisor lives, after the time that a child of it may take to become QEMU. */
    GwVmDir *dir = create(&f, "web1");
    g_autofree char *text = g_strdup_printf("%s: the VM's supervisor is alive", dir->path);
    gint64 before_us = g_get_monotonic_time();
    g_assert_null(gw_vm_dir_take_over(f.runtime, "web1", &error));
    g_assert_cmpint(g_get_monotonic_time() - before_us, >, G_USEC_PER_SEC);
    g_assert_error(error, GW_ERROR, GW_ERROR_EXISTS);
    g_assert_cmpstr(error->message, ==, text);
    remove_dir(dir);
    tear_down(&f);
}

static void *
take_over_main(void *data)
{
    g_autoptr(GError) error = NULL;
    const Fixture *f = data;
    GwVmDir *dir = gw_vm_dir_take_over(f->runtime, "web1", &error);
    g_assert_no_error(error);
    return dir;
}

/* A child of ours that has our descriptors until it is told to become another program; that one lives until
 * its standard input ends. */
static pid_t
fork_until_exec(int *ret_go, int *ret_hold)
{
    int go[2], hold[2];
    g_assert_cmpint(pipe2(go, O_CLOEXEC), ==, 0);
    g_assert_cmpint(pipe2(hold, O_CLOEXEC), ==, 0);
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        close(go[1]);
        if (read(go[0], &byte, 1) == 1 && dup2(hold[0], STDIN_FILENO) == STDIN_FILENO)
            execl("/proc/self/exe", "qemu", "live", NULL);
        _exit(1);
    }
    close(go[0]);
    close(hold[0]);
    *ret_go = go[1];
    *ret_hold = hold[1];
    return pid;
}

/* A supervisor dies between fork and exec: whoever takes over gets the lock when QEMU is there, not before.
 */
static void
test_child_holds_the_lock_until_exec(void)
{
    Fixture f;
    int go, hold, status = -1;
    set_up(&f);
    GwVmDir *dir = create(&f, "web1");
    g_autofree char *lock = gw_vm_dir_file(dir, "lock");
    pid_t pid = fork_until_exec(&go, &hold);
    gw_vm_dir_free(dir); /* as our death would */
    g_assert_true(is_locked(lock));

    GThread *thread = g_thread_new("successor", take_over_main, &f);
    g_assert_true(is_locked(lock));
    g_assert_cmpint((int)write(go, "x", 1), ==, 1);
    dir = g_thread_join(thread);
    g_assert_true(is_locked(lock));
    /* It was exec that let go of it: the program lives. */
    g_assert_cmpint(waitpid(pid, &status, WNOHANG), ==, 0);
    close(hold);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    close(go);
    remove_dir(dir);
    tear_down(&f);
}

/* --- its end ------------------------------------------------------------------------------------------ */

static void
test_remove(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    set_up(&f);
    GwVmDir *dir = create(&f, "web1");
    g_autofree char *fifo = gw_vm_dir_file(dir, "qmp.sock");
    g_autofree char *link = gw_vm_dir_file(dir, "link");
    g_autofree char *victim = g_build_filename(f.top, "victim", NULL);
    g_assert_true(g_file_set_contents(victim, "x", 1, NULL));
    g_assert_true(gw_vm_dir_write(dir, "config.json", "{}", &error));
    g_assert_true(gw_vm_dir_write(dir, ".hidden", "{}", &error));
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    g_assert_cmpint(symlink(victim, link), ==, 0);
    remove_dir(dir);
    g_assert_true(g_file_test(victim, G_FILE_TEST_EXISTS));
    g_unlink(victim);

    dir = create(&f, "web1"); /* the name is free again */
    remove_dir(dir);
    tear_down(&f);
}

/* A directory in it is not ours: it stays, and the lock with it. */
static void
test_remove_fails(void)
{
    g_autoptr(GError) error = NULL;
    Fixture f;
    set_up(&f);
    GwVmDir *dir = create(&f, "web1");
    g_autofree char *foreign = gw_vm_dir_file(dir, "foreign");
    g_autofree char *lock = gw_vm_dir_file(dir, "lock");
    g_assert_cmpint(g_mkdir(foreign, 0700), ==, 0);
    g_assert_false(gw_vm_dir_remove(dir, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_autofree char *start = g_strdup_printf("removing %s: ", foreign);
    g_assert_true(g_str_has_prefix(error->message, start));
    g_assert_true(is_locked(lock));
    g_assert_cmpint(g_rmdir(foreign), ==, 0);
    remove_dir(dir);
    tear_down(&f);
}

int
main(int argc, char **argv)
{
    char byte;
    if (argc == 2 && strcmp(argv[1], "live") == 0)
        return read(STDIN_FILENO, &byte, 1) == 0 ? 0 : 1;
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vm-dir/names", test_names);
    g_test_add_func("/vm-dir/paths", test_paths);
    g_test_add_func("/vm-dir/write-and-read", test_write_and_read);
    g_test_add_func("/vm-dir/write-fails", test_write_fails);
    g_test_add_func("/vm-dir/create", test_create);
    g_test_add_func("/vm-dir/take-over-fails", test_take_over_fails);
    g_test_add_func("/vm-dir/child-holds-the-lock-until-exec", test_child_holds_the_lock_until_exec);
    g_test_add_func("/vm-dir/remove", test_remove);
    g_test_add_func("/vm-dir/remove-fails", test_remove_fails);
    return g_test_run();
}
