/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-vm is run with --detach: it forks, the parent waits until the VM is up and exits with the status.
 * Until then the child's words go to our pipe; that the pipe ends tells that both have let go of it. The
 * configuration is handed over as standard input, a memory file, so that it lies nowhere. */
#include "supervisor.h"

#include "error.h"
#include "http-client.h"
#include "vm-dir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS_LIMIT   (64 * 1024) /* of what it writes: more is read and forgotten */
#define LAST_CHANCE_S 10

static bool
is_log_line(const char *line)
{
    /* "2026-11-22T10:15:30.123Z godwit-vm[812] …": see common/log.h */
    return g_ascii_isdigit(line[0]) && strstr(line, " godwit-vm[");
}

char *
gw_supervisor_words(const char *output)
{
    g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
    g_autoptr(GString) words = NULL;
    bool inside = false;
    for (char **line = lines; *line; line++) {
        if (g_str_has_prefix(*line, "godwit-vm: ")) {
            if (words)
                g_string_free(g_steal_pointer(&words), TRUE);
            words = g_string_new(*line + strlen("godwit-vm: "));
            inside = true;
        } else if (is_log_line(*line)) {
            inside = false;
        } else if (inside && **line) {
            g_string_append_printf(words, "\n%s", *line);
        }
    }
    return words ? g_string_free(g_steal_pointer(&words), FALSE) : NULL;
}

/* -1 with an error. */
static int
memory_file(const char *text, GError **error)
{
    int fd = memfd_create("godwit-vm-config", MFD_CLOEXEC);
    size_t length = strlen(text);
    if (fd < 0 || write(fd, text, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET) != 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "a memory file of %zu bytes", length);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

/* In the child: what ends our session does not end its, and its guest is no background work as we are. */
static void
leave_session(void *user_data)
{
    setsid();
    setpriority(PRIO_PROCESS, 0, 0);
}

/* `input` -1: none. -1 with an error. */
static pid_t
spawn(const GPtrArray *argv, int input, int output, GError **error)
{
    GPid pid = -1;
    g_autoptr(GError) cause = NULL;
    if (g_spawn_async_with_pipes_and_fds(
            "/", (const char *const *)argv->pdata, NULL,
            G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, leave_session, NULL,
            input, -1, output, NULL, NULL, 0, &pid, NULL, NULL, NULL, &cause))
        return pid;
    g_set_error(error, GW_ERROR, GW_ERROR_NOT_FOUND, "%s ([host] vm-program of the configuration)",
                cause->message);
    return -1;
}

/* Until the pipe ends. False: the time is over. */
static bool
read_words(int fd, GString *words, unsigned timeout_s)
{
    gint64 deadline = g_get_monotonic_time() + timeout_s * G_TIME_SPAN_SECOND;
    for (;;) {
        gint64 left_ms = (deadline - g_get_monotonic_time()) / 1000;
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int n_ready = left_ms > 0 ? poll(&ready, 1, (int)left_ms) : 0;
        if (n_ready == 0)
            return false;
        if (n_ready < 0)
            continue;
        char piece[4096];
        ssize_t n = read(fd, piece, sizeof piece);
        if (n == 0 || (n < 0 && errno != EINTR))
            return true;
        if (n > 0)
            g_string_append_len(words, piece, n);
        if (words->len > WORDS_LIMIT)
            g_string_erase(words, 0, (gssize)(words->len - WORDS_LIMIT / 2));
    }
}

/* A supervisor that does not come up is most likely waiting for QEMU: that is ended, then it removes itself.
 */
static void
stop_qemu(const char *runtime_dir, const char *name)
{
    g_autofree char *path = gw_vm_dir_path(runtime_dir, name, "control.sock");
    g_autoptr(GwHttpClient) client = gw_http_client_new_unix(path, LAST_CHANCE_S, NULL);
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "action", "stop");
    if (!client) {
        json_object_unref(body);
        return;
    }
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) reply = gw_http_call(client, "POST", "/v1/power", body, &error);
    if (!reply)
        g_debug("%s: %s, ignoring", name, error->message);
}

static bool
judge(int status, const GString *words, GError **error)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    g_autofree char *said = gw_supervisor_words(words->str);
    GwError code = WIFEXITED(status) && WEXITSTATUS(status) == 2 ? GW_ERROR_INVALID_CONFIG : GW_ERROR_FAILED;
    if (said)
        g_set_error_literal(error, GW_ERROR, code, said);
    else if (WIFEXITED(status))
        g_set_error(error, GW_ERROR, code, "godwit-vm ended with exit status %d and said nothing",
                    WEXITSTATUS(status));
    else
        g_set_error(error, GW_ERROR, code, "godwit-vm was killed by signal %d (%s)", WTERMSIG(status),
                    strsignal(WTERMSIG(status)));
    return false;
}

/* Runs godwit-vm to its end. `input` is taken, -1: none. */
static bool
run(GPtrArray *argv, int input, const char *runtime_dir, const char *name, bool starts, GError **error)
{
    int ends[2], status = 0;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        if (input >= 0)
            close(input);
        return gw_set_errno(error, GW_ERROR_IO, errno, "a pipe to godwit-vm");
    }
    g_autoptr(GString) words = g_string_new(NULL);
    pid_t pid = spawn(argv, input, ends[1], error);
    close(ends[1]);
    if (input >= 0)
        close(input);
    bool in_time = pid >= 0 && read_words(ends[0], words, GW_SUPERVISOR_TIMEOUT_S);
    if (pid >= 0 && !in_time) {
        if (starts)
            stop_qemu(runtime_dir, name);
        if (!read_words(ends[0], words, LAST_CHANCE_S))
            kill(pid, SIGKILL); /* the one that waits; the supervisor itself is its child */
    }
    close(ends[0]);
    while (pid >= 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0)
        return false;
    if (in_time)
        return judge(status, words, error);
    g_set_error(error, GW_ERROR, GW_ERROR_TIMED_OUT, "the supervisor of '%s' was not up after %d s", name,
                GW_SUPERVISOR_TIMEOUT_S);
    return false;
}

static void
add(GPtrArray *argv, const char *option, const char *value)
{
    if (!value)
        return;
    g_ptr_array_add(argv, g_strdup(option));
    g_ptr_array_add(argv, g_strdup(value));
}

static void
add_resources(GPtrArray *argv, const GwHostConfig *host)
{
    for (guint i = 0; i < host->datastores->len; i++) {
        const GwHostDatastore *datastore = &g_array_index(host->datastores, GwHostDatastore, i);
        g_autofree char *assignment = g_strdup_printf("%s=%s", datastore->name, datastore->path);
        add(argv, "--datastore", assignment);
    }
    for (guint i = 0; i < host->port_groups->len; i++) {
        const GwHostPortGroup *group = &g_array_index(host->port_groups, GwHostPortGroup, i);
        const GwHostSwitch *of = gw_host_config_switch(host, group->switch_name);
        g_autofree char *assignment = of ? g_strdup_printf("%s=%s", group->name, of->bridge) : NULL;
        add(argv, "--port-group", assignment);
    }
}

bool
gw_supervisor_start(const GwHostConfig *host, const char *name, const char *vm_config, GwSupervisorMode mode,
                    GError **error)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    int input = memory_file(vm_config, error);
    if (input < 0)
        return false;
    add(argv, host->vm_program, "run");
    g_ptr_array_add(argv, g_strdup("--detach"));
    if (mode != GW_SUPERVISOR_RUN)
        g_ptr_array_add(argv, g_strdup(mode == GW_SUPERVISOR_PAUSED ? "--paused" : "--incoming"));
    add(argv, "--runtime-dir", host->runtime_dir);
    add(argv, "--tls-dir", host->tls_dir);
    add(argv, "--qemu", host->qemu_binary);
    add(argv, "--qemu-user", host->qemu_user);
    add(argv, "--uefi-code", host->uefi_code);
    add(argv, "--uffd-library", host->uffd_library);
    add(argv, "--log-level", host->log_level);
    add_resources(argv, host);
    g_ptr_array_add(argv, g_strdup("/dev/stdin"));
    g_ptr_array_add(argv, NULL);
    return run(argv, input, host->runtime_dir, name, true, error);
}

bool
gw_supervisor_adopt(const char *vm_program, const char *runtime_dir, const char *log_level, const char *name,
                    GError **error)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    add(argv, vm_program, "adopt");
    add(argv, "--detach", "--runtime-dir");
    g_ptr_array_add(argv, g_strdup(runtime_dir));
    add(argv, "--log-level", log_level);
    g_ptr_array_add(argv, g_strdup(name));
    g_ptr_array_add(argv, NULL);
    return run(argv, -1, runtime_dir, name, false, error);
}
