/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The subcommands of godwit-vm. Each parses its own arguments (argv[0] is the command) and returns an exit
 * status: 0 done, 1 failed, 2 wrong usage or configuration. */
#pragma once

int gw_cmd_run(int argc, char **argv);
int gw_cmd_adopt(int argc, char **argv);
int gw_cmd_check_config(int argc, char **argv);
int gw_cmd_check_host(int argc, char **argv);

int gw_cmd_list(int argc, char **argv);
int gw_cmd_status(int argc, char **argv);
int gw_cmd_power(int argc, char **argv);
int gw_cmd_console(int argc, char **argv);
int gw_cmd_events(int argc, char **argv);
int gw_cmd_rm(int argc, char **argv);

int gw_cmd_receive(int argc, char **argv);
int gw_cmd_send(int argc, char **argv);
int gw_cmd_motion(int argc, char **argv);
