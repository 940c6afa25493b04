/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-host: the agent of a host, and a small client of it. */
#include "host-commands.h"
#include "version.h"

#include <fcntl.h>
#include <glib.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"run", gw_host_cmd_run, "run the agent (also without a command)"},
    {"join", gw_host_cmd_join, "take this host into a center"},
    {"status", gw_host_cmd_status, "the agent and the VMs of this host"},
    {"reload", gw_host_cmd_reload, "read configuration and certificates again"},
    {"check", gw_host_cmd_check, "check what godwit needs of this host"},
    {"clean", gw_host_cmd_clean, "remove the bridges that the agent made"},
};

static void
print_help(FILE *out)
{
    fprintf(out, "godwit-host %s: the agent of a host, which starts its VMs' supervisors and\n", GW_VERSION);
    fprintf(out, "answers to the center.\n\n");
    fprintf(out, "Usage: godwit-host [COMMAND] [OPTION…] [ARGUMENT…]\n\n");
    fprintf(out, "Commands ('godwit-host COMMAND --help' explains):\n");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\nSee godwit-host(8).\n");
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
    char run[] = "run";
    if (argc < 2) {
        char *words[] = {run, NULL};
        return gw_host_cmd_run(1, words);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("godwit-host %s\n", GW_VERSION);
        return 0;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (argv[1][0] == '-') {
        argv[0] = run; /* options of the default command */
        return gw_host_cmd_run(argc, argv);
    }
    fprintf(stderr, "godwit-host: there is no command '%s' ('godwit-host --help' lists them)\n", argv[1]);
    return 2;
}
