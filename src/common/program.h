/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program of several commands: which of them is meant, --help, --version. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *name;
    /* Parses its own arguments; argv[0] is its name. Returns an exit status: 2 for wrong usage. */
    int (*run)(int argc, char **argv);
    const char *summary; /* NULL: not for people */
} GwCommand;

typedef struct {
    const char *name;     /* "godwit-vm" */
    const char *summary;  /* "runs a VM whose memory belongs to godwit, not to QEMU" */
    const char *man_page; /* "godwit-vm(8)" */
    bool has_default;     /* the first command is meant where none is named */
    const GwCommand *commands;
    size_t n_commands;
} GwProgram;

/* For programs that manage hosts on which guests run: this thread, and those that it starts, get out of the
 * guests' way when both want a CPU. A guest that has just arrived starts with cold caches, and just then
 * agents and center have most to do. Children that are to be like others set their nice value back. */
#define GW_MANAGEMENT_NICE 10
void gw_program_step_back(void);

/* For main(): sets the locale, sees to the standard descriptors, runs a command. Returns the exit status. */
int gw_program_main(const GwProgram *self, int argc, char **argv);
