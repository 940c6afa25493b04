/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* godwit-vm: the supervisor of one VM, and a small client for the supervisors of a host. */
#include "commands.h"
#include "program.h"

#include <glib.h>

static const GwCommand commands[] = {
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

int
main(int argc, char **argv)
{
    static const GwProgram program = {
        .name = "godwit-vm",
        .summary = "runs a VM whose memory belongs to godwit, not to QEMU",
        .man_page = "godwit-vm(8)",
        .commands = commands,
        .n_commands = G_N_ELEMENTS(commands),
    };
    return gw_program_main(&program, argc, argv);
}
