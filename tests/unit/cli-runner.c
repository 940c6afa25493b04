/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs the program `godwit`. */
#include "cli-runner.h"

#include <string.h>

void
outcome_clear(Outcome *self)
{
    g_free(self->out);
    g_free(self->err);
}

GSubprocess *
cli_start(FakeCenter *center, const char *home, bool logged_in, const char *const *words)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(
        G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE);
    g_subprocess_launcher_setenv(launcher, "XDG_CONFIG_HOME", home, TRUE);
    g_subprocess_launcher_unsetenv(launcher, "GODWIT_CENTER");
    g_subprocess_launcher_unsetenv(launcher, "GODWIT_TOKEN");
    g_subprocess_launcher_unsetenv(launcher, "GODWIT_CA");
    if (logged_in) {
        g_subprocess_launcher_setenv(launcher, "GODWIT_CENTER", center->url, TRUE);
        g_subprocess_launcher_setenv(launcher, "GODWIT_TOKEN", FAKE_TOKEN, TRUE);
        g_subprocess_launcher_setenv(launcher, "GODWIT_CA", center->trust->authority_path, TRUE);
    }
    g_ptr_array_add(argv, (char *)g_getenv("GODWIT_CLI"));
    for (size_t i = 0; words[i]; i++)
        g_ptr_array_add(argv, (char *)words[i]);
    g_ptr_array_add(argv, NULL);
    GSubprocess *process = g_subprocess_launcher_spawnv(launcher, (const char *const *)argv->pdata, &error);
    g_assert_no_error(error);
    return process;
}

void
cli_finish(GSubprocess *process, const char *input, Outcome *outcome)
{
    g_autoptr(GError) error = NULL;
    g_subprocess_communicate_utf8(process, input, NULL, &outcome->out, &outcome->err, &error);
    g_assert_no_error(error);
    g_assert_true(g_subprocess_get_if_exited(process));
    outcome->status = g_subprocess_get_exit_status(process);
    g_assert_null(strchr(outcome->out, '\033'));
    g_assert_null(strchr(outcome->err, '\033'));
    g_test_message("exit %d\n--- out\n%s--- err\n%s", outcome->status, outcome->out, outcome->err);
}

void
assert_says(const char *text, const char *part)
{
    if (!strstr(text, part))
        g_error("'%s' does not say '%s'", text, part);
}
