/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-host: the agent of a host, and a small client of it. */
#include "host-commands.h"
#include "program.h"

static const GwCommand commands[] = {
    {"run", gw_host_cmd_run, "run the agent (also without a command)"},
    {"join", gw_host_cmd_join, "take this host into a center"},
    {"status", gw_host_cmd_status, "the agent and the VMs of this host"},
    {"reload", gw_host_cmd_reload, "read configuration and certificates again"},
    {"check", gw_host_cmd_check, "check what godwit needs of this host"},
    {"clean", gw_host_cmd_clean, "remove the bridges that the agent made"},
};

int
main(int argc, char **argv)
{
    static const GwProgram program = {
        .name = "godwit-host",
        .summary = "the agent of a host, which starts its VMs' supervisors and answers to the center",
        .man_page = "godwit-host(8)",
        .has_default = true,
        .commands = commands,
        .n_commands = G_N_ELEMENTS(commands),
    };
    return gw_program_main(&program, argc, argv);
}
