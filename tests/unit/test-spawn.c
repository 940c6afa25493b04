/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting a program: what it inherits and what not, who it is, the record that it leaves before it runs, and
 * every way to fail. The program is this one, told to report about itself. */
#include "spawn.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

/* --- the program that is started ---------------------------------------------------------------------- */

static void
report_fds(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
    g_autofree char *itself = g_strdup_printf("/proc/%d/fd", getpid());
    for (const char *name; (name = g_dir_read_name(dir));) {
        g_autofree char *path = g_build_filename("/proc/self/fd", name, NULL);
        g_autofree char *link = g_file_read_link(path, NULL);
        if (g_strcmp0(link, itself) != 0)
            printf("fd%s=%s\n", name, link);
    }
}

/* Lines of NAME=VALUE on stdout; `record_fd` is read if it is open. */
static int
report(int record_fd)
{
    g_autofree char *status = NULL;
    char record[512];
    ssize_t n = pread(record_fd, record, sizeof record - 1, 0);
    report_fds();
    printf("record=%.*s\n", (int)MAX(n, 0), record);
    printf("pid=%d\nsid=%d\npgid=%d\n", getpid(), getsid(0), getpgid(0));
    printf("uids=%d %d\ngids=%d %d\n", getuid(), geteuid(), getgid(), getegid());
    printf("environment=%s\n", g_getenv("GODWIT_TEST"));
    printf("home=%s\n", g_getenv("HOME"));
    printf("stdin=%d\n", (int)read(STDIN_FILENO, record, 1));
    g_assert_true(g_file_get_contents("/proc/self/status", &status, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(status, "\n", -1);
    for (char **line = lines; *line; line++) {
        char *colon = strchr(*line, ':');
        if (colon) {
            *colon = '\0';
            printf("%s=%s\n", *line, g_strstrip(colon + 1));
        }
    }
    return 7;
}

/* --- helpers ------------------------------------------------------------------------------------------ */

typedef struct {
    int self_fd, output_fd; /* this program; what the started one says */
    char *self_path, *self_argument;
    char *argv[4];
    const char *envp[3];
    int keep[2];
    GwSpawn spawn;
    GHashTable *reported;
} Fixture;

static void
set_up(Fixture *f)
{
    *f = (Fixture){0};
    /* By descriptor, since another user may not reach the folder in which it lies. */
    f->self_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    f->output_fd = memfd_create("output", MFD_CLOEXEC);
    g_assert_cmpint(f->output_fd, >, f->self_fd);
    g_assert_cmpint(f->self_fd, >, STDERR_FILENO);
    f->self_path = g_strdup_printf("/proc/self/fd/%d", f->self_fd);
    f->argv[0] = f->self_path;
    f->argv[1] = (char *)"report";
    f->argv[2] = f->self_argument = g_strdup("-1");
    f->envp[0] = "GODWIT_TEST=a b";
    f->envp[1] = "ASAN_OPTIONS=detect_leaks=0"; /* its tracer does not run beside prctl and a lone session */
    f->keep[0] = f->self_fd;
    f->spawn = (GwSpawn){
        .argv = f->argv,
        .envp = (char *const *)(uintptr_t)f->envp,
        .keep_fds = f->keep,
        .n_keep_fds = 1,
        .stderr_fd = f->output_fd,
        .record_fd = -1,
    };
}

static void
tear_down(Fixture *f)
{
    g_clear_pointer(&f->reported, g_hash_table_unref);
    g_free(f->self_path);
    g_free(f->self_argument);
    close(f->self_fd);
    close(f->output_fd);
}

static void
assert_no_child(void)
{
    g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1);
    g_assert_cmpint(errno, ==, ECHILD);
}

/* Runs the program to its end and reads its report. */
static pid_t
run(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwProcess) process = GW_PROCESS_NONE;
    gw_spawn(&f->spawn, &process, &error);
    g_assert_no_error(error);
    g_assert_true(gw_process_wait(&process, -1));
    g_autofree char *how = gw_process_reap(&process);
    g_autofree char *text = g_malloc0(65536);
    g_assert_cmpint((int)pread(f->output_fd, text, 65535, 0), >=, 0);
    if (strcmp(how, "exit status 7") != 0)
        g_error("%s: %s", how, text);
    f->reported = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) pair = g_strsplit(*line, "=", 2);
        if (pair[0] && pair[1])
            g_hash_table_insert(f->reported, g_strdup(pair[0]), g_strdup(pair[1]));
    }
    assert_no_child();
    return process.pid;
}

static void
assert_reported(const Fixture *f, const char *name, const char *expected)
{
    const char *value = g_hash_table_lookup(f->reported, name);
    if (g_strcmp0(value, expected) != 0)
        g_error("the program says %s=%s, expected %s", name, value, expected);
}

/* The descriptors that the program has, in the order of `expected`: as many, with these numbers. */
static void
assert_fds(const Fixture *f, const int *expected, unsigned n)
{
    GHashTableIter iter;
    void *name, *link;
    unsigned n_found = 0;
    g_hash_table_iter_init(&iter, f->reported);
    while (g_hash_table_iter_next(&iter, &name, &link)) {
        if (!g_str_has_prefix(name, "fd"))
            continue;
        bool known = false;
        for (unsigned i = 0; i < n; i++)
            known |= atoi((char *)name + 2) == expected[i];
        if (!known)
            g_error("the program has descriptor %s, which is %s", (char *)name + 2, (char *)link);
        n_found++;
    }
    g_assert_cmpuint(n_found, ==, n);
}

static bool
skip_unless_root(void)
{
    if (geteuid() == 0)
        return false;
    g_test_skip("only root can become another user");
    return true;
}

/* --- what it inherits --------------------------------------------------------------------------------- */

static void
test_descriptors(void)
{
    Fixture f;
    set_up(&f);
    int closed = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    int kept = open("/dev/full", O_WRONLY | O_CLOEXEC);
    f.keep[1] = kept;
    f.spawn.n_keep_fds = 2;
    run(&f);
    assert_fds(&f, (const int[]){0, 1, 2, f.self_fd, kept}, 5);
    assert_reported(&f, "fd0", "/dev/null");
    assert_reported(&f, "fd1", "/memfd:output (deleted)");
    assert_reported(&f, "fd2", "/memfd:output (deleted)");
    assert_reported(&f, "stdin", "0"); /* end of file */
    g_autofree char *name = g_strdup_printf("fd%d", kept);
    assert_reported(&f, name, "/dev/full");
    /* ours are as they were */
    g_assert_cmpint(fcntl(kept, F_GETFD), ==, FD_CLOEXEC);
    g_assert_cmpint(fcntl(closed, F_GETFD), ==, FD_CLOEXEC);
    close(closed);
    close(kept);
    tear_down(&f);
}

/* What we were given ourselves, by a shell perhaps, is not QEMU's either. */
static void
test_foreign_descriptors(void)
{
    Fixture f;
    set_up(&f);
    int foreign = open("/dev/zero", O_RDONLY); /* without close-on-exec */
    run(&f);
    assert_fds(&f, (const int[]){0, 1, 2, f.self_fd}, 4);
    close(foreign);
    tear_down(&f);
}

/* In a process whose standard descriptors are closed, new ones get their numbers. */
static void
test_without_standard_descriptors(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        Fixture f;
        set_up(&f);
        for (int fd = 0; fd <= 2; fd++)
            close(fd);
        run(&f);
        const char *stdin_link = g_hash_table_lookup(f.reported, "fd0");
        const char *stdout_link = g_hash_table_lookup(f.reported, "fd1");
        _exit(g_strcmp0(stdin_link, "/dev/null") == 0 &&
                      g_strcmp0(stdout_link, "/memfd:output (deleted)") == 0
                  ? 0
                  : 1);
    }
    int status = -1;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
}

static void
test_signals(void)
{
    Fixture f;
    set_up(&f);
    sigset_t some, old;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    sigaddset(&some, SIGTERM);
    sigaddset(&some, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &some, &old);
    void (*old_pipe)(int) = signal(SIGPIPE, SIG_IGN);
    void (*old_hangup)(int) = signal(SIGHUP, SIG_IGN);
    run(&f);
    assert_reported(&f, "SigBlk", "0000000000000000");
    assert_reported(&f, "SigIgn", "0000000000000000");
    signal(SIGPIPE, old_pipe);
    signal(SIGHUP, old_hangup);
    sigprocmask(SIG_SETMASK, &old, NULL);
    tear_down(&f);
}

static void
test_session_and_user(void)
{
    Fixture f;
    set_up(&f);
    g_autofree char *pid = g_strdup_printf("%d", run(&f));
    assert_reported(&f, "pid", pid);
    assert_reported(&f, "sid", pid);
    assert_reported(&f, "pgid", pid);
    g_autofree char *parent = g_strdup_printf("%d", getpid());
    assert_reported(&f, "PPid", parent);
    /* and without another user it is ours */
    g_autofree char *uids = g_strdup_printf("%d %d", getuid(), geteuid());
    g_autofree char *gids = g_strdup_printf("%d %d", getgid(), getegid());
    assert_reported(&f, "uids", uids);
    assert_reported(&f, "gids", gids);
    tear_down(&f);
}

static void
test_environment(void)
{
    Fixture f;
    set_up(&f);
    g_setenv("GODWIT_TEST", "ours", TRUE);
    run(&f);
    assert_reported(&f, "environment", "a b");
    assert_reported(&f, "home", "(null)");
    g_unsetenv("GODWIT_TEST");
    tear_down(&f);
}

/* --- who it is ---------------------------------------------------------------------------------------- */

static void
test_other_user(void)
{
    Fixture f;
    GwUser user = {.uid = NOBODY, .gid = 4321, .groups = {4321, 1234, 108}, .n_groups = 3};
    if (skip_unless_root())
        return;
    set_up(&f);
    f.spawn.user = &user;
    run(&f);
    assert_reported(&f, "Uid", "65534\t65534\t65534\t65534");
    assert_reported(&f, "Gid", "4321\t4321\t4321\t4321");
    assert_reported(&f, "Groups", "108 1234 4321");
    assert_reported(&f, "CapPrm", "0000000000000000");
    assert_reported(&f, "CapEff", "0000000000000000");
    assert_reported(&f, "CapAmb", "0000000000000000");
    g_assert_cmpint(geteuid(), ==, 0);
    tear_down(&f);
}

static void
test_look_up(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwUser) user = {0};
    g_assert_true(gw_user_look_up("root", &user, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(user.name, ==, "root");
    g_assert_cmpint((int)user.uid, ==, 0);
    g_assert_cmpint((int)user.gid, ==, 0);
    g_assert_cmpint(user.n_groups, >=, 1);
    gw_user_clear(&user);
    g_assert_null(user.name);

    g_assert_false(gw_user_look_up("no-such-user-here", &user, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_assert_cmpstr(error->message, ==,
                    "there is no user 'no-such-user-here' (QEMU runs as a user of its own; 'useradd --system "
                    "no-such-user-here' makes it)");
    g_assert_null(user.name);
}

static void
test_can_open(void)
{
    GwUser ourselves = {.uid = geteuid(), .gid = getegid(), .groups = {getegid()}, .n_groups = 1};
    g_assert_true(gw_user_can_open(&ourselves, "/dev/null"));
    g_assert_false(gw_user_can_open(&ourselves, "/proc/no-such-file"));
    g_assert_false(gw_user_can_open(&ourselves, "/proc")); /* not for writing */
    assert_no_child();
    if (skip_unless_root())
        return;

    g_autoptr(GError) error = NULL;
    GwUser nobody = {.uid = NOBODY, .gid = NOBODY, .groups = {NOBODY}, .n_groups = 1};
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("godwit-spawn-XXXXXX", &path, &error);
    g_assert_no_error(error);
    g_unlink(path); /* what is asked for is the descriptor's file */
    g_autofree char *link = g_strdup_printf("/proc/%d/fd/%d", getpid(), fd);
    g_autofree char *own_link = g_strdup_printf("/proc/self/fd/%d", fd);
    g_assert_cmpint(fchmod(fd, 0600), ==, 0);
    g_assert_true(gw_user_can_open(&ourselves, link));
    g_assert_false(gw_user_can_open(&nobody, own_link));
    g_assert_cmpint(fchmod(fd, 0660), ==, 0);
    g_assert_false(gw_user_can_open(&nobody, own_link));
    g_assert_cmpint(fchown(fd, 0, 1234), ==, 0);
    g_assert_false(gw_user_can_open(&nobody, own_link));
    nobody.groups[nobody.n_groups++] = 1234;
    g_assert_true(gw_user_can_open(&nobody, own_link));
    g_assert_cmpint(fchmod(fd, 0640), ==, 0); /* reading alone is not enough */
    g_assert_false(gw_user_can_open(&nobody, own_link));
    g_assert_cmpint(geteuid(), ==, 0);
    close(fd);
    assert_no_child();
}

/* --- its record --------------------------------------------------------------------------------------- */

static void
test_record(void)
{
    Fixture f;
    set_up(&f);
    int file = memfd_create("record", MFD_CLOEXEC);
    g_assert_cmpint((int)write(file, "earlier\n", 8), ==, 8);
    /* The program itself reads the file first: what it sees was written before it became the program. */
    f.keep[1] = file;
    f.spawn.n_keep_fds = 2;
    g_free(f.self_argument);
    f.argv[2] = f.self_argument = g_strdup_printf("%d", file);
    f.spawn.record_fd = file;
    f.spawn.record_before = "{\"step\":\"spawned\",\"pid\":";
    f.spawn.record_after = "}\n";
    pid_t pid = run(&f);
    g_autofree char *expected = g_strdup_printf("earlier\n{\"step\":\"spawned\",\"pid\":%d}\n", pid);
    g_autofree char *said = g_malloc0(65536);
    g_assert_cmpint((int)pread(f.output_fd, said, 65535, 0), >, 0);
    g_assert_nonnull(strstr(said, expected));
    char text[256] = "";
    g_assert_cmpint((int)pread(file, text, sizeof text - 1, 0), ==, (int)strlen(expected));
    g_assert_cmpstr(text, ==, expected);
    close(file);
    tear_down(&f);
}

/* A pipe keeps the borders of writes that fit: the record is one. */
static void
test_record_is_one_write(void)
{
    Fixture f;
    int ends[2];
    set_up(&f);
    g_assert_cmpint(pipe2(ends, O_CLOEXEC | O_DIRECT), ==, 0);
    f.spawn.record_fd = ends[1];
    f.spawn.record_before = "<";
    f.spawn.record_after = ">";
    pid_t pid = run(&f);
    g_autofree char *expected = g_strdup_printf("<%d>", pid);
    char text[256] = "";
    g_assert_cmpint((int)read(ends[0], text, sizeof text - 1), ==, (int)strlen(expected));
    g_assert_cmpstr(text, ==, expected);
    close(ends[0]);
    close(ends[1]);
    tear_down(&f);
}

/* --- failures ----------------------------------------------------------------------------------------- */

/* Consumes what `f->spawn` was made to. */
static void
assert_fails(Fixture *f, GwError code, const char *step_and_cause)
{
    g_autoptr(GError) error = NULL;
    GwProcess process = GW_PROCESS_NONE;
    g_autofree char *message = g_strdup_printf("starting %s: %s", f->argv[0], step_and_cause);
    g_assert_false(gw_spawn(&f->spawn, &process, &error));
    g_assert_error(error, GW_ERROR, (int)code);
    g_assert_cmpstr(error->message, ==, message);
    g_assert_cmpint(process.pidfd, ==, -1);
    assert_no_child();
    tear_down(f);
}

static void
test_exec_fails(void)
{
    static const struct {
        const char *path;
        GwError code;
        const char *message;
    } cases[] = {
        {"/no/such/program", GW_ERROR_NOT_FOUND, "executing: No such file or directory"},
        {"/dev/null", GW_ERROR_FAILED, "executing: Permission denied"},
        {"/", GW_ERROR_FAILED, "executing: Permission denied"},
        {"/dev/null/program", GW_ERROR_FAILED, "executing: Not a directory"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Fixture f;
        set_up(&f);
        f.argv[0] = (char *)(uintptr_t)cases[i].path;
        assert_fails(&f, cases[i].code, cases[i].message);
    }
}

static void
test_step_fails(void)
{
    Fixture f;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    int closed = fcntl(full, F_DUPFD_CLOEXEC, 500);
    close(closed);

    set_up(&f);
    f.spawn.stderr_fd = closed;
    assert_fails(&f, GW_ERROR_FAILED, "standard descriptors: Bad file descriptor");

    set_up(&f);
    f.keep[1] = closed;
    f.spawn.n_keep_fds = 2;
    assert_fails(&f, GW_ERROR_FAILED, "inheriting descriptors: Bad file descriptor");

    set_up(&f);
    f.spawn.record_fd = full;
    f.spawn.record_before = f.spawn.record_after = "x";
    assert_fails(&f, GW_ERROR_FAILED, "writing the journal: No space left on device");

    set_up(&f);
    g_autofree char *much = g_strnfill(600, 'x');
    f.spawn.record_fd = f.output_fd;
    f.spawn.record_before = much;
    f.spawn.record_after = "";
    assert_fails(&f, GW_ERROR_FAILED, "writing the journal: Message too long");

    set_up(&f);
    f.spawn.cgroup_fds = &full;
    f.spawn.n_cgroup_fds = 1;
    assert_fails(&f, GW_ERROR_FAILED, "entering the cgroup: No space left on device");
    close(full);
}

/* A failed start leaves no program behind, whichever step it was. */
static void
test_record_precedes_failure(void)
{
    Fixture f;
    set_up(&f);
    int file = memfd_create("record", MFD_CLOEXEC);
    f.argv[0] = (char *)(uintptr_t) "/no/such/program";
    f.spawn.record_fd = file;
    f.spawn.record_before = "pid ";
    f.spawn.record_after = "\n";
    assert_fails(&f, GW_ERROR_NOT_FOUND, "executing: No such file or directory");
    char text[64] = "";
    g_assert_cmpint((int)pread(file, text, sizeof text - 1, 0), >, 5);
    g_assert_true(g_regex_match_simple("^pid \\d+\n$", text, 0, 0));
    g_assert_cmpint(kill((pid_t)atoi(text + 4), 0), ==, -1);
    g_assert_cmpint(errno, ==, ESRCH);
    close(file);
}

/* In the place of the C library's: fails if it is told to, as when all descriptors are in use. */
static bool pidfd_open_fails;

int
pidfd_open(pid_t pid, unsigned flags)
{
    errno = EMFILE;
    return pidfd_open_fails ? -1 : (int)syscall(SYS_pidfd_open, pid, flags);
}

static void
test_no_pidfd(void)
{
    Fixture f;
    GwProcess process;
    set_up(&f);
    pidfd_open_fails = true;
    g_assert_false(gw_spawn(&f.spawn, &process, NULL));
    pidfd_open_fails = false;
    assert_no_child();
    tear_down(&f);
}

/* The cgroup is entered by the child itself: "0" means who writes. */
static void
test_cgroup_files(void)
{
    Fixture f;
    set_up(&f);
    int files[2] = {memfd_create("a", MFD_CLOEXEC), memfd_create("b", MFD_CLOEXEC)};
    f.spawn.cgroup_fds = files;
    f.spawn.n_cgroup_fds = 2;
    run(&f);
    for (unsigned i = 0; i < 2; i++) {
        char text[8] = "";
        g_assert_cmpint((int)pread(files[i], text, sizeof text, 0), ==, 1);
        g_assert_cmpstr(text, ==, "0");
        close(files[i]);
    }
    tear_down(&f);
}

int
main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "report") == 0)
        return report(atoi(argv[2]));
    /* What the one who started us left open is no part of these tests, but of one. */
    g_assert_cmpint(close_range(3, ~0u, CLOSE_RANGE_CLOEXEC), ==, 0);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/spawn/descriptors", test_descriptors);
    g_test_add_func("/spawn/descriptors/foreign", test_foreign_descriptors);
    g_test_add_func("/spawn/descriptors/no-standard-ones", test_without_standard_descriptors);
    g_test_add_func("/spawn/signals", test_signals);
    g_test_add_func("/spawn/session-and-user", test_session_and_user);
    g_test_add_func("/spawn/environment", test_environment);
    g_test_add_func("/spawn/user/other", test_other_user);
    g_test_add_func("/spawn/user/look-up", test_look_up);
    g_test_add_func("/spawn/user/can-open", test_can_open);
    g_test_add_func("/spawn/record", test_record);
    g_test_add_func("/spawn/record/one-write", test_record_is_one_write);
    g_test_add_func("/spawn/record/precedes-failure", test_record_precedes_failure);
    g_test_add_func("/spawn/cgroup-files", test_cgroup_files);
    g_test_add_func("/spawn/fails/exec", test_exec_fails);
    g_test_add_func("/spawn/fails/step", test_step_fails);
    g_test_add_func("/spawn/fails/no-pidfd", test_no_pidfd);
    return g_test_run();
}
