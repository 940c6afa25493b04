/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a command is, and the tree of them: nouns with verbs. Help and completion are read from it. */
#pragma once

#include "options.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct GwCli GwCli;

typedef struct {
    const char *name;        /* the verb; NULL ends a table */
    const char *arguments;   /* as for gw_args_parse() */
    const GwOption *options; /* NULL: --json alone is missing too */
    const char *summary;     /* a line */
    const char *description; /* paragraphs, separated by line ends */
    const char *examples;    /* command lines, each with its line end */
    /* False with an error. What is no error but no success either is put into cli->status. */
    bool (*run)(GwCli *cli, GError **error);
} GwCommand;

typedef struct {
    const char *name; /* "" for verbs without a noun */
    const char *summary;
    const GwCommand *commands;
} GwNoun;

#define GW_JSON_OPTION                                                                                       \
    {                                                                                                        \
        "json", GW_OPTION_FLAG, NULL, "print JSON for programs, and nothing else"                            \
    }
#define GW_REASON_OPTION                                                                                     \
    {                                                                                                        \
        "reason", GW_OPTION_TEXT, "TEXT", "why; it is kept in the audit trail"                               \
    }
#define GW_YES_OPTION                                                                                        \
    {                                                                                                        \
        "yes", GW_OPTION_FLAG, NULL, "do not ask"                                                            \
    }

extern const GwCommand gw_session_commands[], gw_host_commands[], gw_vm_commands[], gw_network_commands[],
    gw_datastore_commands[], gw_task_commands[], gw_event_commands[], gw_audit_commands[], gw_user_commands[];

/* All nouns; the last has no name. */
extern const GwNoun gw_nouns[];

const GwNoun *gw_noun_find(const char *name); /* NULL: there is none */
const GwCommand *gw_command_find(const GwNoun *noun, const char *verb);

/* Help texts, owned: of everything, of a noun, of a command. */
char *gw_help_all(void);
char *gw_help_noun(const GwNoun *noun);
char *gw_help_command(const GwNoun *noun, const GwCommand *command, unsigned width);

/* "there is no …", with the nearest that there is. */
void gw_command_unknown(const GwNoun *noun, const char *word, GError **error);
