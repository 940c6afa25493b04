/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes by pidfd: alive or not, how they ended, what they hold; a recycled pid is never taken for one. */
#include "process.h"

#include "error.h"
#include "kernel-abi.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that lives until it is told, or until we are gone: it waits for the end of a pipe. */
typedef struct {
    GwProcess process;
    int hold;
} Child;

static G_NORETURN void
child_main(const int *ends, int exit_status)
{
    char byte;
    close(ends[1]);
    _exit(read(ends[0], &byte, 1) == 0 ? exit_status : 99);
}

static void
child_start(Child *self, int exit_status)
{
    g_autoptr(GError) error = NULL;
    int ends[2];
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    pid_t pid = fork();
    if (pid == 0)
        child_main(ends, exit_status);
    close(ends[0]);
    self->hold = ends[1];
    self->process = GW_PROCESS_NONE;
    gw_process_open(pid, &self->process, &error);
    g_assert_no_error(error);
    g_assert_cmpint(self->process.pid, ==, pid);
}

/* Lets it end and waits for that; it is still to be reaped. */
static void
child_end(Child *self)
{
    close(g_steal_fd(&self->hold));
    g_assert_true(gw_process_wait(&self->process, -1));
}

static void
child_clear(Child *self)
{
    if (self->hold >= 0)
        close(self->hold);
    waitpid(self->process.pid, NULL, 0);
    gw_process_clear(&self->process);
}

static pid_t
dead_pid(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    return pid;
}

/* --- life and death ----------------------------------------------------------------------------------- */

static void
test_open(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwProcess) process = GW_PROCESS_NONE;
    g_assert_true(gw_process_open(getpid(), &process, &error));
    g_assert_no_error(error);
    g_assert_cmpint(fcntl(process.pidfd, F_GETFD), ==, FD_CLOEXEC);
    g_assert_true(gw_process_is_alive(&process));
    gw_process_clear(&process);
    g_assert_cmpint(process.pidfd, ==, -1);
    g_assert_cmpint(process.pid, ==, 0);
    g_assert_false(gw_process_is_alive(&process));
    gw_process_signal(&process, SIGKILL); /* to nobody */
    gw_process_clear(&process);

    pid_t pid = dead_pid();
    g_autofree char *text = g_strdup_printf("process %d: No such process", pid);
    g_assert_false(gw_process_open(pid, &process, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_assert_cmpstr(error->message, ==, text);
    g_assert_cmpint(process.pidfd, ==, -1);
    g_clear_error(&error);
    g_assert_false(gw_process_open(-5, &process, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
}

static void
test_wait(void)
{
    Child child;
    child_start(&child, 0);
    g_assert_true(gw_process_is_alive(&child.process));
    g_assert_false(gw_process_wait(&child.process, 0));
    gint64 before_us = g_get_monotonic_time();
    g_assert_false(gw_process_wait(&child.process, 5));
    g_assert_cmpint(g_get_monotonic_time() - before_us, >=, 4900);
    child_end(&child);
    /* a process is over when it has ended, reaped or not */
    g_assert_false(gw_process_is_alive(&child.process));
    g_assert_true(gw_process_wait(&child.process, 0));
    g_assert_true(gw_process_wait(&child.process, 1000));
    g_autofree char *how = gw_process_reap(&child.process);
    g_assert_false(gw_process_is_alive(&child.process));
    g_assert_true(gw_process_wait(&child.process, -1));
    child_clear(&child);
}

static void
test_set_nice(void)
{
    Child child;
    child_start(&child, 0);
    pid_t pid = child.process.pid;
    int before = getpriority(PRIO_PROCESS, (id_t)pid);
    gw_process_set_nice(&child.process, before + 3);
    g_assert_cmpint(getpriority(PRIO_PROCESS, (id_t)pid), ==, MIN(before + 3, 19));
    g_assert_cmpint(getpriority(PRIO_PROCESS, 0), ==, before);
    child_end(&child);
    gw_process_set_nice(&child.process, 10); /* too late, and no harm */
    g_autofree char *how = gw_process_reap(&child.process);
    child_clear(&child);
}

static void
on_alarm(int signal_number)
{
}

/* A signal to us neither ends the waiting nor prolongs it. */
static void
test_wait_is_interrupted(void)
{
    Child child;
    struct sigaction action = {.sa_handler = on_alarm}, old;
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec each_ms = {{0, 1000000}, {0, 1000000}}, never = {0};
    child_start(&child, 0);
    sigaction(SIGALRM, &action, &old);
    g_assert_cmpint(timer_create(CLOCK_MONOTONIC, &event, &timer), ==, 0);
    timer_settime(timer, 0, &each_ms, NULL);
    gint64 before_us = g_get_monotonic_time();
    g_assert_false(gw_process_wait(&child.process, 30));
    gint64 waited_us = g_get_monotonic_time() - before_us;
    timer_settime(timer, 0, &never, NULL);
    timer_delete(timer);
    sigaction(SIGALRM, &old, NULL);
    g_assert_cmpint(waited_us, >=, 28000); /* the rest is counted in whole milliseconds */
    g_assert_cmpint(waited_us, <, 5000000);
    child_clear(&child);
}

static void
test_reap_exit_status(void)
{
    static const int statuses[] = {0, 1, 42, 255};
    for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
        Child child;
        child_start(&child, statuses[i]);
        child_end(&child);
        g_autofree char *how = gw_process_reap(&child.process);
        g_autofree char *expected = g_strdup_printf("exit status %d", statuses[i]);
        g_assert_cmpstr(how, ==, expected);
        g_assert_cmpint(waitpid(child.process.pid, NULL, WNOHANG), ==, -1);
        g_assert_cmpint(errno, ==, ECHILD);
        g_autofree char *again = gw_process_reap(&child.process);
        g_assert_cmpstr(again, ==, "ended");
        child_clear(&child);
    }
}

static void
test_reap_signal(void)
{
    static const struct {
        int number;
        const char *how;
    } cases[] = {
        {SIGKILL, "killed by SIGKILL"}, {SIGTERM, "killed by SIGTERM"}, {SIGHUP, "killed by SIGHUP"}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Child child;
        child_start(&child, 0);
        gw_process_signal(&child.process, cases[i].number);
        g_assert_true(gw_process_wait(&child.process, -1));
        gw_process_signal(&child.process, SIGTERM); /* too late, which is no error */
        g_autofree char *how = gw_process_reap(&child.process);
        g_assert_cmpstr(how, ==, cases[i].how);
        gw_process_signal(&child.process, SIGTERM);
        child_clear(&child);
    }
}

static void
test_reap_other_signal(void)
{
    Child child;
    child_start(&child, 0);
    gw_process_signal(&child.process, SIGRTMIN + 1);
    g_assert_true(gw_process_wait(&child.process, -1));
    g_autofree char *how = gw_process_reap(&child.process);
    g_assert_null(strstr(how, "null"));
    child_clear(&child);
}

/* How a process ended that is not our child is not for us to know. */
static void
test_reap_of_others(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwProcess) grandchild = GW_PROCESS_NONE;
    int hold[2], pids[2];
    g_assert_cmpint(pipe2(hold, O_CLOEXEC), ==, 0);
    g_assert_cmpint(pipe2(pids, O_CLOEXEC), ==, 0);
    pid_t child = fork();
    if (child == 0) {
        pid_t pid = fork();
        if (pid == 0)
            child_main(hold, 3);
        close(hold[0]);
        close(hold[1]);
        _exit(write(pids[1], &pid, sizeof pid) == sizeof pid && waitpid(pid, NULL, 0) == pid ? 0 : 1);
    }
    pid_t pid;
    g_assert_cmpint((int)read(pids[0], &pid, sizeof pid), ==, sizeof pid);
    g_assert_true(gw_process_open(pid, &grandchild, &error));
    close(hold[0]);
    close(hold[1]);
    g_assert_true(gw_process_wait(&grandchild, -1));
    g_autofree char *how = gw_process_reap(&grandchild);
    g_assert_cmpstr(how, ==, "ended");
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
    close(pids[0]);
    close(pids[1]);
}

/* --- what it holds ------------------------------------------------------------------------------------ */

static ino_t
inode_of(int fd)
{
    struct stat st;
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    return st.st_ino;
}

/* False, with the reason as the test's result, if descriptors of our own children cannot be taken. */
static bool
take(const GwProcess *process, int fd, int *ret_copy)
{
    g_autoptr(GError) error = NULL;
    *ret_copy = gw_process_take_fd(process, fd, &error);
    if (*ret_copy < 0 && (g_error_matches(error, GW_ERROR, GW_ERROR_NOT_PERMITTED))) {
        g_test_skip(error->message);
        return false;
    }
    g_assert_no_error(error);
    return true;
}

static void
test_take_fd(void)
{
    g_autoptr(GError) error = NULL;
    Child child;
    int copy;
    int memory = memfd_create("taken", 0);
    ino_t inode = inode_of(memory);
    child_start(&child, 0);
    close(memory); /* the child has it still, under this number */
    if (take(&child.process, memory, &copy)) {
        g_assert_cmpuint(inode_of(copy), ==, inode);
        g_assert_cmpint(fcntl(copy, F_GETFD), ==, FD_CLOEXEC);
        close(copy);

        g_autofree char *text =
            g_strdup_printf("taking descriptor 777 of process %d: Bad file descriptor", child.process.pid);
        g_assert_cmpint(gw_process_take_fd(&child.process, 777, &error), ==, -1);
        g_assert_error(error, GW_ERROR, GW_ERROR_IO);
        g_assert_cmpstr(error->message, ==, text);
    }
    child_clear(&child);
}

static void
test_take_fd_by_link(void)
{
    g_autoptr(GError) error = NULL;
    Child child;
    int copy;
    /* Three files of the same name, the highest number made first; "same" is not "samey". */
    int high = fcntl(memfd_create("same", MFD_CLOEXEC), F_DUPFD_CLOEXEC, 200);
    int middle = fcntl(memfd_create("same", MFD_CLOEXEC), F_DUPFD_CLOEXEC, 99);
    int low = fcntl(memfd_create("same", MFD_CLOEXEC), F_DUPFD_CLOEXEC, 60);
    int other = fcntl(memfd_create("samey", MFD_CLOEXEC), F_DUPFD_CLOEXEC, 50);
    for (int fd = 3; fd < 50; fd++) {
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
        g_autofree char *link = g_file_read_link(path, NULL);
        if (link && g_str_has_prefix(link, "/memfd:same"))
            close(fd);
    }
    ino_t expected = inode_of(low), second = inode_of(middle);
    child_start(&child, 0);
    if (take(&child.process, low, &copy)) {
        close(copy);
        copy = gw_process_take_fd_by_link(&child.process, "/memfd:same (deleted)", &error);
        g_assert_no_error(error);
        g_assert_cmpuint(inode_of(copy), ==, expected);
        g_assert_cmpuint(inode_of(copy), !=, second);
        g_assert_cmpint(fcntl(copy, F_GETFD), ==, FD_CLOEXEC);
        close(copy);

        g_assert_cmpint(gw_process_take_fd_by_link(&child.process, "/memfd:sam", &error), ==, -1);
        g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
        g_autofree char *text =
            g_strdup_printf("process %d has no descriptor of /memfd:sam", child.process.pid);
        g_assert_cmpstr(error->message, ==, text);
    }
    child_clear(&child);
    close(high);
    close(middle);
    close(low);
    close(other);
}

static void
test_take_from_the_dead(void)
{
    g_autoptr(GError) error = NULL;
    Child child;
    child_start(&child, 0);
    child_end(&child);
    for (unsigned reaped = 0; reaped <= 1; reaped++) {
        g_assert_cmpint(gw_process_take_fd(&child.process, 0, &error), ==, -1);
        g_assert_nonnull(error);
        g_clear_error(&error);
        g_assert_cmpint(gw_process_take_fd_by_link(&child.process, "/dev/null", &error), ==, -1);
        g_assert_nonnull(error);
        g_clear_error(&error);
        g_free(gw_process_reap(&child.process));
    }
    child_clear(&child);
}

/* A process with a pid of our choice, which is free; -1 if we may not choose. */
static pid_t
fork_as(pid_t pid)
{
    struct clone_args args = {
        .exit_signal = SIGCHLD, .set_tid = (uint64_t)(uintptr_t)&pid, .set_tid_size = 1};
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

static void
test_recycled_pid(void)
{
    g_autoptr(GError) error = NULL;
    Child old;
    int ends[2];
    child_start(&old, 0);
    child_end(&old);
    g_free(gw_process_reap(&old.process));
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    pid_t pid = fork_as(old.process.pid);
    if (pid == 0)
        child_main(ends, 5);
    close(ends[0]);
    if (pid < 0) {
        g_autofree char *why = g_strdup_printf("choosing a pid: %s", g_strerror(errno));
        g_test_skip(why);
    } else {
        g_auto(GwProcess) newer = GW_PROCESS_NONE;
        g_assert_cmpint(pid, ==, old.process.pid);
        g_assert_false(gw_process_is_alive(&old.process));
        gw_process_signal(&old.process, SIGKILL);
        g_assert_cmpint(gw_process_take_fd(&old.process, 0, &error), ==, -1);
        g_clear_error(&error);
        /* /proc/PID shows the newer one's, the pidfd keeps us from it */
        g_autofree char *link = g_file_read_link("/proc/self/fd/0", NULL);
        g_assert_cmpint(gw_process_take_fd_by_link(&old.process, link, &error), ==, -1);
        g_clear_error(&error);
        g_assert_true(gw_process_open(pid, &newer, &error));
        g_assert_true(gw_process_is_alive(&newer));
        close(g_steal_fd(&ends[1]));
        g_assert_true(gw_process_wait(&newer, -1));
        g_autofree char *how = gw_process_reap(&newer);
        g_assert_cmpstr(how, ==, "exit status 5");
    }
    if (ends[1] >= 0)
        close(ends[1]);
    child_clear(&old);
}

/* --- where it maps ------------------------------------------------------------------------------------ */

static void
test_find_mappings(void)
{
    const size_t page = GW_PAGE_SIZE;
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(GwMemRegion));
    g_autoptr(GwImage) image = gw_image_new("a b", 8 * page, &error), other = gw_image_new("a b", page, NULL);
    g_autofree char *link = gw_image_proc_link("a b");
    ino_t inode = gw_image_inode(image);
    g_assert_true(gw_process_find_mappings(getpid(), inode, link, regions, &error));
    g_assert_cmpuint(regions->len, ==, 0);

    /* two pieces with a gap, the second of the file first in memory; another file of the same name between */
    char *at = mmap(NULL, 16 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mmap(at + page, 3 * page, PROT_READ, MAP_SHARED | MAP_FIXED, gw_image_fd(image), (off_t)(5 * page));
    mmap(at + 6 * page, page, PROT_READ, MAP_SHARED | MAP_FIXED, gw_image_fd(other), 0);
    mmap(at + 9 * page, 5 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, gw_image_fd(image), 0);
    GwMemRegion before = {1, 2, 3};
    g_array_append_val(regions, before);
    g_assert_true(gw_process_find_mappings(getpid(), inode, link, regions, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(regions->len, ==, 3); /* appended */
    const GwMemRegion *found = &g_array_index(regions, GwMemRegion, 0);
    g_assert_cmpuint(found[0].vmm_addr, ==, 3);
    g_assert_cmpuint(found[1].mem_off, ==, 5 * page);
    g_assert_cmpuint(found[1].size_bytes, ==, 3 * page);
    g_assert_cmpuint(found[1].vmm_addr, ==, (uintptr_t)at + page);
    g_assert_cmpuint(found[2].mem_off, ==, 0);
    g_assert_cmpuint(found[2].size_bytes, ==, 5 * page);
    g_assert_cmpuint(found[2].vmm_addr, ==, (uintptr_t)at + 9 * page);

    g_array_set_size(regions, 0);
    g_assert_true(gw_process_find_mappings(getpid(), inode, "/memfd:godwit-a (deleted)", regions, &error));
    g_assert_true(gw_process_find_mappings(getpid(), inode + 4096, link, regions, &error));
    g_assert_cmpuint(regions->len, ==, 0);
    munmap(at, 16 * page);
}

static void
test_find_mappings_of_the_dead(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(GwMemRegion));
    g_assert_false(gw_process_find_mappings(dead_pid(), 1, "/memfd:x (deleted)", regions, &error));
    g_assert_nonnull(error);
    g_assert_cmpuint(regions->len, ==, 0);
}

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* Linux 6.5 */
#endif

/* Pages of the file that are in the host's cache and not on the disk. */
static uint64_t
dirty_pages(int fd)
{
    struct {
        uint64_t off, len;
    } all = {0, 0};
    struct {
        uint64_t n_cache, n_dirty, n_writeback, n_evicted, n_recently_evicted;
    } found = {0};
    if (syscall(SYS_cachestat, fd, &all, &found, 0) < 0)
        g_error("cachestat: %s", g_strerror(errno));
    return found.n_dirty + found.n_writeback;
}

/* A child that has the file open; what is in it was written by somebody, and the host holds it back. */
static uint64_t
dirty_pages_after_flush(int flags)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *bytes = g_malloc0(64 * GW_PAGE_SIZE);
    char path[] = "/var/tmp/test-process-XXXXXX";
    int fd = mkstemp(path);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, bytes, 64 * GW_PAGE_SIZE, 0), ==, 64 * GW_PAGE_SIZE);
    close(fd);
    fd = open(path, flags); /* what the child inherits */
    Child child;
    child_start(&child, 0);
    gw_process_flush_files(&child.process);
    uint64_t n_dirty = dirty_pages(fd);
    child_end(&child);
    child_clear(&child);
    close(fd);
    unlink(path);
    return n_dirty;
}

static void
test_flush_files(void)
{
    struct statfs fs;
    g_assert_cmpint(statfs("/var/tmp", &fs), ==, 0);
    if (fs.f_type == TMPFS_MAGIC) {
        g_test_skip("/var/tmp is a tmpfs: nothing there is ever written out");
        return;
    }
    g_assert_cmpuint(dirty_pages_after_flush(O_RDWR), ==, 0);
    g_assert_cmpuint(dirty_pages_after_flush(O_RDONLY), >, 0); /* nothing that it could have written */
    GwProcess dead = {.pid = dead_pid(), .pidfd = -1};
    gw_process_flush_files(&dead);
}

int
main(int argc, char **argv)
{
    /* Whoever runs the tests may ignore it, and children are to die of it from their first moment. */
    signal(SIGHUP, SIG_DFL);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/process/open", test_open);
    g_test_add_func("/process/wait", test_wait);
    g_test_add_func("/process/wait/interrupted", test_wait_is_interrupted);
    g_test_add_func("/process/reap/exit-status", test_reap_exit_status);
    g_test_add_func("/process/reap/signal", test_reap_signal);
    g_test_add_func("/process/reap/other-signal", test_reap_other_signal);
    g_test_add_func("/process/reap/others", test_reap_of_others);
    g_test_add_func("/process/take-fd", test_take_fd);
    g_test_add_func("/process/take-fd/by-link", test_take_fd_by_link);
    g_test_add_func("/process/take-fd/from-the-dead", test_take_from_the_dead);
    g_test_add_func("/process/recycled-pid", test_recycled_pid);
    g_test_add_func("/process/find-mappings", test_find_mappings);
    g_test_add_func("/process/find-mappings/of-the-dead", test_find_mappings_of_the_dead);
    g_test_add_func("/process/flush-files", test_flush_files);
    g_test_add_func("/process/set-nice", test_set_nice);
    return g_test_run();
}
