/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit: the command of those who run a cluster. */
#include "cli.h"
#include "command.h"
#include "complete.h"
#include "error.h"
#include "text.h"
#include "version.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int
fail(const GError *error, const char *hint)
{
    g_autofree char *plain = gw_text_plain(error->message);
    fprintf(stderr, "godwit: %s%s\n", plain, hint ? hint : "");
    return (int)gw_exit_of_error(error);
}

static int
run(const GwNoun *noun, const GwCommand *command, int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *hint = g_strdup_printf(" ('godwit %s%s%s --help' explains)", noun->name,
                                            *noun->name ? " " : "", command->name);
    g_autoptr(GwArgs) args = gw_args_parse(command->options, command->arguments, argc, argv, &error);
    if (!args)
        return fail(error, hint);
    GwCli cli;
    gw_cli_init(&cli, args);
    if (gw_args_wants_help(args)) {
        g_autofree char *help = gw_help_command(noun, command, cli.width > 0 ? cli.width : 80);
        fputs(help, stdout);
    } else if (!command->run(&cli, &error)) {
        cli.status = (GwExit)fail(error, NULL);
    }
    gw_cli_clear(&cli);
    return (int)cli.status;
}

/* Output that could not be written is a failure, unless nobody wanted the rest of it. */
static int
finish(int status)
{
    bool failed = fflush(stdout) != 0 || ferror(stdout);
    if (!failed || errno == EPIPE || status != 0)
        return status;
    fprintf(stderr, "godwit: standard output: %s\n", g_strerror(errno));
    return GW_EXIT_FAILED;
}

static int
print_and_free(char *text, FILE *out, int status)
{
    fputs(text, out);
    g_free(text);
    return status;
}

static int
dispatch(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    if (argc < 2)
        return print_and_free(gw_help_all(), stderr, GW_EXIT_USAGE);
    bool wants_help = strcmp(argv[argc - 1], "--help") == 0 || strcmp(argv[argc - 1], "-h") == 0;
    const GwNoun *noun = *argv[1] ? gw_noun_find(argv[1]) : NULL;
    if (strcmp(argv[1], "--version") == 0)
        return print_and_free(g_strdup_printf("godwit %s\n", GW_VERSION), stdout, 0);
    if (wants_help && argc == 2)
        return print_and_free(gw_help_all(), stdout, 0);
    if (strcmp(argv[1], "__complete") == 0)
        return gw_complete_main(argc - 2, argv + 2);
    if (noun && argc == 2)
        return print_and_free(gw_help_noun(noun), stderr, GW_EXIT_USAGE);
    if (noun && wants_help && argc == 3)
        return print_and_free(gw_help_noun(noun), stdout, 0);
    const GwNoun *owner = noun ? noun : gw_noun_find("");
    int at = noun ? 2 : 1;
    const GwCommand *command = gw_command_find(owner, argv[at]);
    if (command)
        return run(owner, command, argc - at - 1, argv + at + 1);
    gw_command_unknown(owner, argv[at], &error);
    return fail(error, NULL);
}

int
main(int argc, char **argv)
{
    setlocale(LC_CTYPE, ""); /* numbers keep their points: the texts are English */
    /* Started with standard descriptors closed, we would get these numbers for files of our own. */
    int fd;
    while ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && fd <= STDERR_FILENO)
        ;
    if (fd >= 0)
        close(fd);
    return finish(dispatch(argc, argv));
}
