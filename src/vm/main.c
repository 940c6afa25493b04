/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-vm: the supervisor of one VM, and a small client for the supervisors of a host. */
#include "commands.h"
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
    {"run", gw_cmd_run, "start a VM and supervise it"},
    {"adopt", gw_cmd_adopt, "take over a VM whose supervisor has died"},
    {"list", gw_cmd_list, "the VMs on this host"},
    {"status", gw_cmd_status, "one VM"},
    {"power", gw_cmd_power, "start, shutdown, stop, reset, pause, resume"},
    {"console", gw_cmd_console, "what the guest wrote to its serial port"},
    {"events", gw_cmd_events, "follow what happens to a VM"},
    {"receive", gw_cmd_receive, "open the door for a VM that is to come"},
    {"send", gw_cmd_send, "move a VM to another host"},
    {"motion", gw_cmd_motion, "a VM's motion: show, cancel, resolve"},
    {"rm", gw_cmd_rm, "remove a VM that is off"},
    {"check-config", gw_cmd_check_config, "check a VM's configuration"},
    {"check-host", gw_cmd_check_host, "check what godwit needs of this host"},
};

static void
print_help(FILE *out)
{
    fprintf(out, "godwit-vm %s: runs a VM whose memory belongs to godwit, not to QEMU.\n\n", GW_VERSION);
    fprintf(
        out,
        "Usage: godwit-vm COMMAND [OPTION…] [ARGUMENT…]\n\nCommands ('godwit-vm COMMAND --help' explains):\n");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        fprintf(out, "  %-13s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\nSee godwit-vm(8).\n");
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
        printf("godwit-vm %s\n", GW_VERSION);
        return 0;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "godwit-vm: there is no command '%s' ('godwit-vm --help' lists them)\n", argv[1]);
    return 2;
}
