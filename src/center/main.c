/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-center: the cluster's manager. */
#include "api.h"
#include "center.h"
#include "certificate.h"
#include "error.h"
#include "log.h"
#include "program.h"

#include <stdio.h>
#include <string.h>

static int
fail(const GError *error)
{
    fprintf(stderr, "godwit-center: %s\n", error->message);
    return g_error_matches(error, GW_ERROR, GW_ERROR_INVALID_CONFIG) ||
                   g_error_matches(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT)
               ? 2
               : 1;
}

typedef struct {
    char *file;
    gboolean show_password;
} Options;

static void
options_clear(Options *self)
{
    g_free(self->file);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

/* The options of a command, exactly `n_arguments` behind them, and the configuration file. */
static GwCenterConfig *
begin(int *argc, char ***argv, Options *options, const char *usage, int n_arguments, const char *summary,
      GError **error)
{
    bool runs = strcmp((*argv)[0], "run") == 0;
    const GOptionEntry entries[] = {{"config", 'c', 0, G_OPTION_ARG_FILENAME, &options->file,
                                     "the configuration (" GW_CENTER_CONFIG_FILE ")", "FILE"},
                                    {"show-password", 0, runs ? 0 : G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE,
                                     &options->show_password,
                                     "print the administrator's first password, terminal or not", NULL},
                                    {NULL}};
    g_autoptr(GOptionContext) context = g_option_context_new(usage);
    g_autofree char *program = g_strdup_printf("godwit-center %s", (*argv)[0]);
    g_set_prgname(program);
    g_option_context_set_summary(context, summary);
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, argc, argv, error)) {
        (*error)->domain = GW_ERROR;
        (*error)->code = GW_ERROR_INVALID_ARGUMENT;
        return NULL;
    }
    if (*argc - 1 != n_arguments) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "usage: %s [--config=FILE] %s", program,
                    usage ? usage : "");
        return NULL;
    }
    return gw_center_config_read(options->file ? options->file : GW_CENTER_CONFIG_FILE, !options->file,
                                 error);
}

static int
cmd_run(int argc, char **argv)
{
    g_auto(Options) options = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(GwCenterConfig) config =
        begin(&argc, &argv, &options, NULL, 0, "Runs the center until it is told to end (SIGTERM).", &error);
    if (!config || !gw_log_init("godwit-center", config->log_level, &error) ||
        !gw_center_run(config, options.show_password, &error))
        return fail(error);
    return 0;
}

static int
cmd_check_config(int argc, char **argv)
{
    g_auto(Options) options = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(GwCenterConfig) config =
        begin(&argc, &argv, &options, NULL, 0, "Checks the configuration and names every error.", &error);
    if (!config)
        return fail(error);
    printf("%s: correct\n", options.file ? options.file : GW_CENTER_CONFIG_FILE);
    return 0;
}

static int
cmd_reset_password(int argc, char **argv)
{
    g_auto(Options) options = {0};
    g_autoptr(GError) error = NULL;
    g_autoptr(GwCenterConfig) config =
        begin(&argc, &argv, &options, "USER", 1,
              "Gives a user a new password and prints it, whether the center runs or not.", &error);
    if (!config)
        return fail(error);
    char *password = gw_center_reset_password(config, argv[1], &error);
    if (!password)
        return fail(error);
    printf("%s\n", password);
    gw_secret_free(password);
    return fflush(stdout) == 0 ? 0 : 1;
}

/* For the test that holds docs/openapi.yaml to the server. */
static int
cmd_routes(int argc, char **argv)
{
    gw_api_print_routes(stdout);
    return 0;
}

static const GwCommand commands[] = {
    {"run", cmd_run, "run the center"},
    {"check-config", cmd_check_config, "check the configuration"},
    {"reset-password", cmd_reset_password, "give a user a new password"},
    {"routes", cmd_routes, NULL},
};

int
main(int argc, char **argv)
{
    static const GwProgram program = {
        .name = "godwit-center",
        .summary = "knows the hosts and VMs of a cluster, and moves VMs",
        .man_page = "godwit-center(8)",
        .commands = commands,
        .n_commands = G_N_ELEMENTS(commands),
    };
    return gw_program_main(&program, argc, argv);
}
