/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fork and exec with care.
 *
 * Between fork and exec of a process with threads only async-signal-safe calls are allowed: everything is
 * prepared before, the child makes system calls only (the raw ones for credentials, since glibc's would
 * signal the other threads). What goes wrong there comes back as {step, errno} through a close-on-exec pipe;
 * end of file means that exec succeeded. GSubprocess and posix_spawn can neither change the user nor write
 * the record, which is what lets a new supervisor find a QEMU that was started in the very moment in which
 * the old one was killed. */
#include "spawn.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

typedef enum {
    STEP_SESSION,
    STEP_STDIO,
    STEP_FDS,
    STEP_RECORD,
    STEP_CGROUP,
    STEP_USER,
    STEP_EXEC,
    N_STEPS
} Step;

static const char *const step_names[] = {
    [STEP_SESSION] = "starting a session",
    [STEP_STDIO] = "standard descriptors",
    [STEP_FDS] = "inheriting descriptors",
    [STEP_RECORD] = "writing the journal",
    [STEP_CGROUP] = "entering the cgroup",
    [STEP_USER] = "becoming the user",
    [STEP_EXEC] = "executing",
};
G_STATIC_ASSERT(G_N_ELEMENTS(step_names) == N_STEPS);

typedef struct {
    Step step;
    int errnum;
} Failure;

bool
gw_user_look_up(const char *name, GwUser *ret_user, GError **error)
{
    struct passwd entry, *found = NULL;
    char buffer[16384];
    getpwnam_r(name, &entry, buffer, sizeof buffer, &found);
    if (!found) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND,
                    "there is no user '%s' (QEMU runs as a user of its own; 'useradd --system %s' makes it)",
                    name, name);
        return false;
    }
    ret_user->uid = entry.pw_uid;
    ret_user->gid = entry.pw_gid;
    ret_user->n_groups = G_N_ELEMENTS(ret_user->groups);
    if (getgrouplist(name, entry.pw_gid, ret_user->groups, &ret_user->n_groups) < 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED, "user '%s' is in more than %zu groups", name,
                    G_N_ELEMENTS(ret_user->groups));
        return false;
    }
    ret_user->name = g_strdup(name);
    return true;
}

void
gw_user_clear(GwUser *self)
{
    g_clear_pointer(&self->name, g_free);
}

/* In the child: 0 or -1 with errno. */
static int
become(const GwUser *user)
{
    if (geteuid() == user->uid && geteuid() != 0)
        return 0;
    if (syscall(SYS_setgroups, user->n_groups, user->groups) < 0 ||
        syscall(SYS_setresgid, user->gid, user->gid, user->gid) < 0)
        return -1;
    return (int)syscall(SYS_setresuid, user->uid, user->uid, user->uid);
}

bool
gw_user_can_open(const GwUser *user, const char *path)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(become(user) < 0 || open(path, O_RDWR | O_CLOEXEC) < 0 ? 1 : 0);
    int status = 1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void
fail(int failure_fd, Step step)
{
    Failure failure = {step, errno};
    ssize_t n = write(failure_fd, &failure, sizeof failure);
    _exit(n == sizeof failure ? 127 : 126);
}

/* Writes before, the pid in decimal and after as one piece, so that the journal never holds a part of it. */
static int
write_record(const GwSpawn *spawn)
{
    char line[512], digits[16];
    size_t before = strlen(spawn->record_before), after = strlen(spawn->record_after), n_digits = 0;
    for (pid_t pid = getpid(); pid > 0; pid /= 10)
        digits[n_digits++] = (char)('0' + pid % 10);
    if (before + n_digits + after > sizeof line) {
        errno = EMSGSIZE;
        return -1;
    }
    memcpy(line, spawn->record_before, before);
    for (size_t i = 0; i < n_digits; i++)
        line[before + i] = digits[n_digits - 1 - i];
    memcpy(line + before + n_digits, spawn->record_after, after);
    size_t length = before + n_digits + after;
    return write(spawn->record_fd, line, length) == (ssize_t)length ? 0 : -1;
}

static G_NORETURN void
run_child(const GwSpawn *spawn, int failure_fd, int null_fd)
{
    /* The system call itself: glibc keeps two signals to itself, which somebody above us may have ignored.
     * All zero is SIG_DFL, without flags or mask, in the kernel's layout (handler, flags, restorer, mask). */
    static const unsigned long by_default[4] = {0};
    for (int n = 1; n < NSIG; n++)
        syscall(SYS_rt_sigaction, n, by_default, NULL, sizeof by_default[0]);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    if (setsid() < 0)
        fail(failure_fd, STEP_SESSION);
    /* Also what we ourselves were given open: a shell's lock, somebody's pipe. */
    if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
        fail(failure_fd, STEP_FDS);
    if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(spawn->stderr_fd, STDOUT_FILENO) < 0 ||
        dup2(spawn->stderr_fd, STDERR_FILENO) < 0)
        fail(failure_fd, STEP_STDIO);
    for (unsigned i = 0; i < spawn->n_keep_fds; i++)
        if (fcntl(spawn->keep_fds[i], F_SETFD, 0) < 0)
            fail(failure_fd, STEP_FDS);
    if (spawn->record_fd >= 0 && write_record(spawn) < 0)
        fail(failure_fd, STEP_RECORD);
    for (unsigned i = 0; i < spawn->n_cgroup_fds; i++)
        if (write(spawn->cgroup_fds[i], "0", 1) != 1)
            fail(failure_fd, STEP_CGROUP);
    if (spawn->user && become(spawn->user) < 0)
        fail(failure_fd, STEP_USER);
    execve(spawn->argv[0], spawn->argv, spawn->envp);
    fail(failure_fd, STEP_EXEC);
    _exit(126);
}

/* True once the child has become the program. */
static bool
await_exec(int failure_fd, const GwSpawn *spawn, GError **error)
{
    Failure failure;
    ssize_t n;
    do
        n = read(failure_fd, &failure, sizeof failure);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return true;
    if (n != sizeof failure || (unsigned)failure.step >= N_STEPS)
        g_set_error(error, GW_ERROR, GW_ERROR_FAILED, "starting %s failed", spawn->argv[0]);
    else
        gw_set_errno(error, failure.errnum == ENOENT ? GW_ERROR_NOT_FOUND : GW_ERROR_FAILED, failure.errnum,
                     "starting %s: %s", spawn->argv[0], step_names[failure.step]);
    return false;
}

/* Moves a descriptor out of the way of standard input, output and error, which the child makes anew; -1 stays
 * -1. */
static int
above_standard(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int errnum = errno;
    close(fd);
    errno = errnum;
    return moved;
}

bool
gw_spawn(const GwSpawn *spawn, GwProcess *ret_process, GError **error)
{
    int failure_pipe[2] = {-1, -1};
    int null_fd = above_standard(open("/dev/null", O_RDONLY | O_CLOEXEC));
    bool piped = null_fd >= 0 && pipe2(failure_pipe, O_CLOEXEC) == 0;
    if (piped)
        failure_pipe[1] = above_standard(failure_pipe[1]);
    if (!piped || failure_pipe[1] < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "preparing to start %s", spawn->argv[0]);
        if (null_fd >= 0)
            close(null_fd);
        if (piped)
            close(failure_pipe[0]);
        return false;
    }

    pid_t pid = fork();
    if (pid == 0)
        run_child(spawn, failure_pipe[1], null_fd);
    int fork_errno = errno;
    close(failure_pipe[1]);
    close(null_fd);

    bool ok = false;
    g_auto(GwProcess) process = GW_PROCESS_NONE;
    if (pid < 0) {
        gw_set_errno(error, GW_ERROR_FAILED, fork_errno, "fork");
    } else if (!gw_process_open(pid, &process, error)) {
        /* Without a pidfd it could not be watched: it must not come to run. */
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    } else if (!await_exec(failure_pipe[0], spawn, error)) {
        gw_process_wait(&process, -1);
        g_free(gw_process_reap(&process));
    } else {
        *ret_process = process;
        process = GW_PROCESS_NONE;
        ok = true;
    }
    close(failure_pipe[0]);
    return ok;
}
