/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log on a plain stderr: form of its lines, levels, fields, lines of several threads. Each in a process
 * of its own, since the log is the process's. */
#include "log.h"

#include "error.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_THREADS 4
#define N_EACH    200

/* Everything that `program` says on stderr, and its pid. */
static char *
said_by(void (*program)(const char *argument), const char *argument, pid_t *ret_pid)
{
    int ends[2], status = -1;
    g_autoptr(GString) said = g_string_new(NULL);
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        g_log_set_always_fatal(G_LOG_FATAL_MASK); /* g_test_init() made warnings fatal */
        g_unsetenv("G_DEBUG");
        /* So did its own handler behind g_log(), which in newer GLib keeps warnings from the writer. */
        g_log_set_default_handler(g_log_default_handler, NULL);
        program(argument);
        _exit(0);
    }
    close(ends[1]);
    char buffer[4096];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
        g_string_append_len(said, buffer, n);
    close(ends[0]);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    if (status != 0)
        g_error("the program ended with %d: %s", status, said->str);
    if (ret_pid)
        *ret_pid = pid;
    return g_string_free(g_steal_pointer(&said), FALSE);
}

static void
init(const char *level)
{
    g_autoptr(GError) error = NULL;
    gw_log_init("godwit-test", level, &error);
    g_assert_no_error(error);
}

/* --- levels ------------------------------------------------------------------------------------------- */

static void
say_all(const char *level)
{
    init(level);
    g_critical("critical");
    g_warning("warning");
    g_message("message");
    g_info("info");
    g_debug("debug");
}

/* The lines without their stamps. */
static char *
without_stamps(const char *said, pid_t pid)
{
    g_autofree char *stamp =
        g_strdup_printf("\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z godwit-test\\[%d\\] ", pid);
    g_autoptr(GRegex) regex = g_regex_new(stamp, G_REGEX_MULTILINE, 0, NULL);
    return g_regex_replace_literal(regex, said, -1, 0, "", 0, NULL);
}

static void
test_levels(void)
{
    static const struct {
        const char *level, *said;
    } cases[] = {
        {"error", "error: critical\n"},
        {"warning", "error: critical\nwarning: warning\n"},
        {"info", "error: critical\nwarning: warning\ninfo: message\ninfo: info\n"},
        {"debug", "error: critical\nwarning: warning\ninfo: message\ninfo: info\ndebug: debug\n"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        pid_t pid;
        g_autofree char *said = said_by(say_all, cases[i].level, &pid);
        g_autofree char *lines = without_stamps(said, pid);
        g_assert_cmpstr(lines, ==, cases[i].said);
    }
}

static void
test_unknown_level(void)
{
    static const char *const levels[] = {"", "Info", "critical", "verbose", "debug "};
    for (size_t i = 0; i < G_N_ELEMENTS(levels); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text =
            g_strdup_printf("log level '%s' is none of error, warning, info, debug", levels[i]);
        g_assert_false(gw_log_init("godwit-test", levels[i], &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
        g_assert_cmpstr(error->message, ==, text);
    }
}

/* --- lines -------------------------------------------------------------------------------------------- */

static void
say_now(const char *argument)
{
    init("info");
    g_message("%s", argument);
}

static void
test_stamp(void)
{
    g_autoptr(GDateTime) before = g_date_time_new_now_utc();
    g_autofree char *said = said_by(say_now, "grüße", NULL);
    g_autoptr(GDateTime) after = g_date_time_new_now_utc();
    g_assert_true(g_str_has_suffix(said, ": grüße\n"));
    *strchr(said, ' ') = '\0';
    g_autoptr(GDateTime) stamp = g_date_time_new_from_iso8601(said, NULL);
    g_assert_nonnull(stamp);
    g_assert_cmpint(g_date_time_difference(stamp, before), >, -1000); /* whole milliseconds */
    g_assert_cmpint(g_date_time_difference(after, stamp), >=, 0);
}

static void
say_with_fields(const char *argument)
{
    init("info");
    g_message("none yet");
    gw_log_set_field("vm", "web1");
    g_message("one");
    g_autofree char *value = g_strdup("of the moment");
    gw_log_set_field("motion", value);
    memset(value, 'x', strlen(value)); /* it was copied */
    g_message("two");
    g_debug("not at all");
}

static void
test_fields(void)
{
    pid_t pid;
    g_autofree char *said = said_by(say_with_fields, NULL, &pid);
    g_autofree char *lines = without_stamps(said, pid);
    g_assert_cmpstr(lines, ==,
                    "info: none yet\n"
                    "info: one vm=web1\n"
                    "info: two vm=web1 motion=of the moment\n");
}

static void *
talker_main(void *data)
{
    for (int i = 0; i < N_EACH; i++)
        g_message("thread %d line %d", GPOINTER_TO_INT(data), i);
    return NULL;
}

static void
say_in_threads(const char *argument)
{
    GThread *threads[N_THREADS];
    init("info");
    gw_log_set_field("vm", "web1");
    for (int i = 0; i < N_THREADS; i++)
        threads[i] = g_thread_new("talker", talker_main, GINT_TO_POINTER(i));
    for (int i = 0; i < N_THREADS; i++)
        g_thread_join(threads[i]);
}

/* Lines of several threads do not mix, and none is lost. */
static void
test_threads(void)
{
    pid_t pid;
    int next[N_THREADS] = {0};
    g_autofree char *said = said_by(say_in_threads, NULL, &pid);
    g_autofree char *stripped = without_stamps(said, pid);
    g_auto(GStrv) lines = g_strsplit(stripped, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, N_THREADS * N_EACH + 1);
    for (unsigned i = 0; i < N_THREADS * N_EACH; i++) {
        int thread = -1, line = -1, end = 0;
        sscanf(lines[i], "info: thread %d line %d vm=web1%n", &thread, &line, &end);
        g_assert_cmpint(end, ==, (int)strlen(lines[i]));
        g_assert_cmpint(thread, <, N_THREADS);
        g_assert_cmpint(line, ==, next[thread]++);
    }
}

/* A log that cannot be written stops nothing. */
static void
say_to_nobody(const char *argument)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    init("info");
    dup2(full, STDERR_FILENO);
    g_warning("lost");
    close(STDERR_FILENO);
    g_warning("lost");
}

static void
test_unwritable(void)
{
    g_autofree char *said = said_by(say_to_nobody, NULL, NULL);
    g_assert_cmpstr(said, ==, "");
}

/* g_log() of libraries comes through here as well. */
static void
say_by_library(const char *argument)
{
    init("info");
    g_log("Foreign", G_LOG_LEVEL_WARNING, "from %s", "elsewhere");
    g_log_structured("Foreign", G_LOG_LEVEL_INFO, "CODE", "7", "MESSAGE", "structured");
}

static void
test_libraries(void)
{
    pid_t pid;
    g_autofree char *said = said_by(say_by_library, NULL, &pid);
    g_autofree char *lines = without_stamps(said, pid);
    g_assert_cmpstr(lines, ==, "warning: from elsewhere\ninfo: structured\n");
}

/* The style guide's "fatal-criticals on" has to hold for programs with this log too. */
static void
say_fatal_critical(const char *argument)
{
    g_setenv("G_DEBUG", "fatal-criticals", TRUE);
    init("info");
    if (fork() == 0) {
        g_critical("fatal");
        _exit(0);
    }
    int status = 0;
    wait(&status);
    _exit(WIFSIGNALED(status) ? 0 : 1);
}

static void
test_fatal_criticals(void)
{
    g_free(said_by(say_fatal_critical, NULL, NULL));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/log/levels", test_levels);
    g_test_add_func("/log/levels/unknown", test_unknown_level);
    g_test_add_func("/log/stamp", test_stamp);
    g_test_add_func("/log/fields", test_fields);
    g_test_add_func("/log/threads", test_threads);
    g_test_add_func("/log/unwritable", test_unwritable);
    g_test_add_func("/log/libraries", test_libraries);
    g_test_add_func("/log/fatal-criticals", test_fatal_criticals);
    return g_test_run();
}
