/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program itself against a center that refuses, fails, restarts: login, vm migrate, Ctrl-C. */
#include "cli-runner.h"

#include "certificate.h"
#include "json.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *home; /* the configuration of who runs it */

static void
run(FakeCenter *center, const char *const *words, Outcome *outcome)
{
    g_autoptr(GSubprocess) process = cli_start(center, home, true, words);
    cli_finish(process, NULL, outcome);
}

#define MIGRATE "vm", "migrate", "web1", "--to", "host2"

static bool
was_cancelled(FakeCenter *center)
{
    g_mutex_lock(&center->lock);
    bool cancelled = center->cancelled;
    g_mutex_unlock(&center->lock);
    return cancelled;
}

static void
test_completes(void)
{
    g_autoptr(FakeCenter) center = fake_center_new(FAKE_COMPLETES);
    g_auto(Outcome) outcome = {0};
    const char *const words[] = {MIGRATE,      "--priority", "high",   "--override", "a.b",
                                 "--override", "c",          "--goal", "50",         "--reason",
                                 "new memory", "--no-tls",   NULL};
    run(center, words, &outcome);
    g_assert_cmpint(outcome.status, ==, 0);
    g_assert_cmpstr(
        outcome.out, ==,
        "web1: moved from host1 to host2 in 1.23 s, stood still for 9.8 ms; 152 MB on the wire, 1 round\n");
    g_assert_cmpstr(outcome.err, ==,
                    "web1: waits: host1 has 8 of 8 motions\n"
                    "web1: checks whether it can move\n"
                    "warning: \\x1b]0;owned\\x07 slow (motion.path.slow)\n"
                    "web1: prepares host2\n"
                    "web1: round 2\n");
    g_autoptr(JsonObject) request = gw_json_parse_object(center->request, -1, NULL);
    int64_t goal = 0;
    bool tls = true;
    g_assert_cmpstr(gw_json_get_string(request, "to"), ==, "host2");
    g_assert_cmpstr(gw_json_get_string(request, "priority"), ==, "high");
    g_assert_cmpstr(gw_json_get_string(request, "reason"), ==, "new memory");
    g_assert_true(gw_json_get_int(request, "switchover_goal_ms", &goal) && goal == 50);
    g_assert_true(gw_json_get_bool(request, "tls", &tls) && !tls);
    g_assert_cmpuint(json_array_get_length(gw_json_get_array(request, "overrides")), ==, 2);
    g_assert_false(json_object_has_member(request, "streams"));
}

/* The center is away for longer than an ask: nobody notices but by a message. */
static void
test_restart(void)
{
    g_autoptr(FakeCenter) center = fake_center_new(FAKE_COMPLETES);
    g_auto(Outcome) outcome = {0};
    const char *const words[] = {MIGRATE, "--json", NULL};
    g_autoptr(GSubprocess) process = cli_start(center, home, true, words);
    fake_center_await_asked(center, 2);
    fake_center_leave(center);
    g_autoptr(GDataInputStream) said = g_data_input_stream_new(g_subprocess_get_stderr_pipe(process));
    for (;;) {
        g_autofree char *line = g_data_input_stream_read_line(said, NULL, NULL, NULL);
        g_assert_nonnull(line);
        if (strstr(line, "the center does not answer, trying again"))
            break;
    }
    fake_center_return(center);
    cli_finish(process, NULL, &outcome);
    g_assert_cmpint(outcome.status, ==, 0);
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) result = gw_json_parse_object(outcome.out, -1, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(gw_json_get_string(result, "task"), ==, "t-7");
    g_assert_cmpstr(gw_json_get_string(result, "state"), ==, "completed");
    g_assert_cmpfloat(json_object_get_double_member(result, "downtime_ms"), ==, 9.84);
}

static void
test_fails(void)
{
    g_autoptr(FakeCenter) center = fake_center_new(FAKE_FAILS);
    g_auto(Outcome) outcome = {0}, json = {0};
    const char *const words[] = {MIGRATE, NULL}, *const with_json[] = {MIGRATE, "--json", NULL};
    run(center, words, &outcome);
    g_assert_cmpint(outcome.status, ==, 6);
    g_assert_cmpstr(outcome.out, ==, "");
    assert_says(outcome.err,
                "web1: the motion to host2 failed in step copy: the destination was lost\\x1b[2J\n");
    assert_says(outcome.err, "web1 is running on host1.\n");
    assert_says(outcome.err, "See what became of the hosts");
    run(center, with_json, &json);
    g_assert_cmpint(json.status, ==, 6);
    g_autoptr(JsonObject) result = gw_json_parse_object(json.out, -1, NULL);
    g_assert_cmpstr(gw_json_get_string(gw_json_get_object(result, "error"), "code"), ==, "peer-lost");
    g_assert_true(json_object_get_null_member(result, "downtime_ms"));
}

static void
test_check_fails(void)
{
    g_autoptr(FakeCenter) center = fake_center_new(FAKE_CHECK_FAILS);
    g_auto(Outcome) outcome = {0};
    const char *const words[] = {MIGRATE, NULL};
    run(center, words, &outcome);
    g_assert_cmpint(outcome.status, ==, 5);
    assert_says(
        outcome.err,
        "motion.interface.missing: host2 has no motion interface\n    repair: add one to host.conf\n");
}

static void
test_order_lost(void)
{
    g_autoptr(FakeCenter) center = fake_center_new(FAKE_COMPLETES);
    g_auto(Outcome) outcome = {0};
    const char *const words[] = {MIGRATE, NULL};
    center->loses_order = true;
    run(center, words, &outcome);
    g_assert_cmpint(outcome.status, ==, 0);
    assert_says(outcome.err, "the center was lost while it answered, but it has the task\n");
}

static void
test_refused(void)
{
    g_autoptr(FakeCenter) center = fake_center_new(FAKE_COMPLETES);
    g_autoptr(FakeCenter) other = fake_center_new(FAKE_COMPLETES);
    g_auto(Outcome) unknown = {0}, gone = {0}, stranger = {0}, usage = {0};
    const char *const words[] = {MIGRATE, NULL}, *const no_host[] = {"vm", "migrate", "web1", NULL};
    run(center, no_host, &usage);
    g_assert_cmpint(usage.status, ==, 2);

    g_autofree char *real = g_strdup(center->trust->authority_path);
    g_free(center->trust->authority_path);
    center->trust->authority_path = g_strdup(other->trust->authority_path);
    run(center, words, &stranger);
    g_assert_cmpint(stranger.status, ==, 3);
    assert_says(stranger.err, "it is not of the authority in GODWIT_CA, ");
    g_free(center->trust->authority_path);
    center->trust->authority_path = g_steal_pointer(&real);

    const char *const watch[] = {"vm", "show", "web1", NULL};
    fake_center_leave(center);
    run(center, watch, &gone);
    g_assert_cmpint(gone.status, ==, 8);
    assert_says(gone.err, center->url);
    g_assert_false(center->ordered);
}

static void
test_interrupted(void)
{
    g_autoptr(FakeCenter) center = fake_center_new(FAKE_HANGS);
    g_auto(Outcome) outcome = {0};
    const char *const words[] = {MIGRATE, NULL};
    g_autoptr(GSubprocess) process = cli_start(center, home, true, words);
    fake_center_await_asked(center, 3);
    g_subprocess_send_signal(process, SIGINT);
    cli_finish(process, NULL, &outcome);
    g_assert_cmpint(outcome.status, ==, 130);
    assert_says(outcome.err, "'godwit task watch t-7'");
    g_assert_false(was_cancelled(center));
}

/* On a terminal of its own. Returns the terminal's end and the child. */
static int
start_on_terminal(FakeCenter *center, pid_t *child)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    int terminal = -1;
    const char *program = g_getenv("GODWIT_CLI");
    g_assert_nonnull(program);
    *child = forkpty(&terminal, NULL, NULL, &size);
    g_assert_cmpint(*child, >=, 0);
    if (*child == 0) {
        setenv("XDG_CONFIG_HOME", home, 1);
        setenv("GODWIT_CENTER", center->url, 1);
        setenv("GODWIT_TOKEN", FAKE_TOKEN, 1);
        setenv("GODWIT_CA", center->trust->authority_path, 1);
        execl(program, program, MIGRATE, (char *)NULL);
        _exit(99);
    }
    return terminal;
}

/* Reads until it says so, or, with NULL, until it hangs up. */
static void
read_until(int terminal, GString *seen, const char *part)
{
    char piece[1024];
    while (!part || !strstr(seen->str, part)) {
        ssize_t n = read(terminal, piece, sizeof piece);
        if (n <= 0)
            break;
        g_string_append_len(seen, piece, n);
    }
    if (part)
        assert_says(seen->str, part);
}

static int
exit_status_of(pid_t child)
{
    int status = 0;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
test_terminal_cancels(void)
{
    g_autoptr(FakeCenter) center = fake_center_new(FAKE_HANGS);
    g_autoptr(GString) seen = g_string_new(NULL);
    pid_t child = 0;
    int terminal = start_on_terminal(center, &child);
    read_until(terminal, seen, "web1: round 2, 118 MB/s");
    g_assert_cmpint(write(terminal, "\003", 1), ==, 1);
    read_until(terminal, seen, "cancel the motion? [y/N]");
    g_assert_cmpint(write(terminal, "y\n", 2), ==, 2);
    read_until(terminal, seen, NULL);
    g_assert_cmpint(exit_status_of(child), ==, 7);
    assert_says(seen->str, "was cancelled");
    g_assert_true(was_cancelled(center));
    g_assert_null(strstr(seen->str, "\033]0;owned"));
    close(terminal);
}

/* "n" goes on waiting; a second Ctrl-C at the question leaves. */
static void
test_terminal_leaves(void)
{
    g_autoptr(FakeCenter) center = fake_center_new(FAKE_HANGS);
    g_autoptr(GString) seen = g_string_new(NULL);
    pid_t child = 0;
    int terminal = start_on_terminal(center, &child);
    read_until(terminal, seen, "web1: round 2, 118 MB/s");
    g_assert_cmpint(write(terminal, "\003", 1), ==, 1);
    read_until(terminal, seen, "cancel the motion? [y/N]");
    g_assert_cmpint(write(terminal, "n\n", 2), ==, 2);
    g_string_truncate(seen, 0);
    read_until(terminal, seen, "web1: round 2, 118 MB/s");
    g_assert_cmpint(write(terminal, "\003", 1), ==, 1);
    read_until(terminal, seen, "cancel the motion? [y/N]");
    g_assert_cmpint(write(terminal, "\003", 1), ==, 1);
    read_until(terminal, seen, NULL);
    g_assert_cmpint(exit_status_of(child), ==, 130);
    assert_says(seen->str, "goes on in the background");
    g_assert_false(was_cancelled(center));
    close(terminal);
}

static void
login(FakeCenter *center, const char *option, const char *value, const char *password, Outcome *outcome)
{
    const char *const words[] = {"login", center->url, "--user", "ops", "--password-file",
                                 "-",     option,      value,    NULL};
    g_autoptr(GSubprocess) process = cli_start(center, home, false, words);
    cli_finish(process, password, outcome);
}

static void
test_login(void)
{
    g_autoptr(FakeCenter) center = fake_center_new(FAKE_COMPLETES);
    g_autoptr(FakeCenter) other = fake_center_new(FAKE_COMPLETES);
    g_autofree char *path = g_build_filename(home, "godwit", "session.json", NULL),
                    *directory = g_path_get_dirname(path);
    g_autofree char *fingerprint = gw_certificate_fingerprint(center->trust->authority, NULL),
                    *wrong = gw_certificate_fingerprint(other->trust->authority, NULL);
    g_auto(Outcome) untrusted = {0}, refused = {0}, denied = {0}, done = {0}, again = {0}, shown = {0},
                    out = {0};

    login(center, NULL, NULL, FAKE_PASSWORD "\n", &untrusted);
    g_assert_cmpint(untrusted.status, ==, 3);
    assert_says(untrusted.err, fingerprint);
    login(center, "--fingerprint", wrong, FAKE_PASSWORD "\n", &refused);
    g_assert_cmpint(refused.status, ==, 3);
    g_assert_cmpuint(center->n_logins, ==, 0); /* nothing secret was sent */

    login(center, "--fingerprint", fingerprint, "guess\n", &denied);
    g_assert_cmpint(denied.status, ==, 3);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));

    login(center, "--ca", center->trust->authority_path, FAKE_PASSWORD "\n", &done);
    g_assert_cmpint(done.status, ==, 0);
    assert_says(done.out, "as ops (operator) until ");
    g_assert_null(strstr(done.out, FAKE_TOKEN));
    struct stat status;
    g_assert_cmpint(g_stat(path, &status), ==, 0);
    g_assert_cmpint((int)(status.st_mode & 0777), ==, 0600);

    login(center, NULL, NULL, FAKE_PASSWORD "\n", &again); /* it is known now */
    g_assert_cmpint(again.status, ==, 0);
    const char *const show[] = {"vm", "show", "web1", NULL}, *const logout[] = {"logout", NULL};
    g_autoptr(GSubprocess) showing = cli_start(center, home, false, show);
    cli_finish(showing, NULL, &shown);
    g_assert_cmpint(shown.status, ==, 0);
    assert_says(shown.out, "web1 (3f0c9a52");
    g_autoptr(GSubprocess) leaving = cli_start(center, home, false, logout);
    cli_finish(leaving, NULL, &out);
    g_assert_cmpint(out.status, ==, 0);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    g_rmdir(directory);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_assert_nonnull(g_getenv("GODWIT_CLI"));
    home = g_dir_make_tmp("godwit-cli-XXXXXX", NULL);
    g_test_add_func("/cli-migrate/completes", test_completes);
    g_test_add_func("/cli-migrate/restart", test_restart);
    g_test_add_func("/cli-migrate/fails", test_fails);
    g_test_add_func("/cli-migrate/check-fails", test_check_fails);
    g_test_add_func("/cli-migrate/order-lost", test_order_lost);
    g_test_add_func("/cli-migrate/refused", test_refused);
    g_test_add_func("/cli-migrate/interrupted", test_interrupted);
    g_test_add_func("/cli-migrate/terminal-cancels", test_terminal_cancels);
    g_test_add_func("/cli-migrate/terminal-leaves", test_terminal_leaves);
    g_test_add_func("/cli-migrate/login", test_login);
    int failed = g_test_run();
    g_rmdir(home);
    g_free(home);
    return failed;
}
