/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-center: the cluster's manager. */
#include "api.h"
#include "center.h"
#include "certificate.h"
#include "error.h"
#include "log.h"
#include "version.h"

#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary; /* NULL: not for people */
} commands[] = {
    {"run", cmd_run, "run the center"},
    {"check-config", cmd_check_config, "check the configuration"},
    {"reset-password", cmd_reset_password, "give a user a new password"},
    {"routes", cmd_routes, NULL},
};

static void
print_help(FILE *out)
{
    fprintf(out, "godwit-center %s: knows the hosts and VMs of a cluster, and moves VMs.\n\n", GW_VERSION);
    fprintf(out, "Usage: godwit-center COMMAND [OPTION…] [ARGUMENT…]\n\n"
                 "Commands ('godwit-center COMMAND --help' explains):\n");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (commands[i].summary)
            fprintf(out, "  %-15s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\nSee godwit-center(8).\n");
}

int
main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    /* Started with standard descriptors closed, we would get these numbers for files of our own. */
    int fd;
    while ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && fd <= STDERR_FILENO)
        ;
    if (fd >= 0)
        close(fd);
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("godwit-center %s\n", GW_VERSION);
        return 0;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "godwit-center: there is no command '%s' ('godwit-center --help' lists them)\n", argv[1]);
    return 2;
}
