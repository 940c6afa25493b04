/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tree of commands, and its help texts. */
#include "command.h"

#include "error.h"
#include "exit-status.h"
#include "text.h"
#include "version.h"

#include <string.h>

#define HELP_COLUMN 26

const GwNoun gw_nouns[] = {
    {"", "sessions, and this program", gw_session_commands},
    {"vm", "virtual machines", gw_vm_commands},
    {"host", "hosts of the cluster", gw_host_commands},
    {"task", "what was asked for and takes time", gw_task_commands},
    {"network", "port groups", gw_network_commands},
    {"datastore", "places for disks", gw_datastore_commands},
    {"event", "what happens", gw_event_commands},
    {"audit", "who changed what, and why", gw_audit_commands},
    {"user", "who may log in", gw_user_commands},
    {NULL, NULL, NULL},
};

const GwNoun *
gw_noun_find(const char *name)
{
    for (const GwNoun *noun = gw_nouns; noun->name; noun++)
        if (strcmp(noun->name, name) == 0)
            return noun;
    return NULL;
}

const GwCommand *
gw_command_find(const GwNoun *noun, const char *verb)
{
    for (const GwCommand *command = noun->commands; command->name; command++)
        if (strcmp(command->name, verb) == 0)
            return command;
    return NULL;
}

/* "vm migrate", "login" */
static char *
full_name(const GwNoun *noun, const GwCommand *command)
{
    return g_strconcat(noun->name, *noun->name ? " " : "", command->name, NULL);
}

static void
append_entry(GString *out, const char *name, const char *help, unsigned width)
{
    g_autofree char *wrapped = gw_text_wrap(help, width, HELP_COLUMN);
    if (gw_text_width(name) + 4 > HELP_COLUMN)
        g_string_append_printf(out, "  %s\n%*s%s\n", name, HELP_COLUMN, "", wrapped);
    else
        g_string_append_printf(out, "  %-*s%s\n", HELP_COLUMN - 2, name, wrapped);
}

static void
append_commands(GString *out, const GwNoun *noun)
{
    for (const GwCommand *command = noun->commands; command->name; command++) {
        g_autofree char *name = full_name(noun, command);
        append_entry(out, name, command->summary, 0);
    }
}

char *
gw_help_all(void)
{
    GString *out = g_string_new(NULL);
    g_autofree char *statuses = gw_exit_text();
    g_string_append_printf(out, "godwit %s: moves running VMs between hosts.\n\n", GW_VERSION);
    g_string_append(out, "Usage: godwit [NOUN] VERB [ARGUMENT…] [OPTION…]\n");
    for (const GwNoun *noun = gw_nouns; noun->name; noun++) {
        g_string_append_printf(out, "\n%c%s:\n", g_ascii_toupper(noun->summary[0]), noun->summary + 1);
        append_commands(out, noun);
    }
    g_string_append_printf(out, "\nExit status:\n%s", statuses);
    g_string_append(out, "\n'godwit NOUN VERB --help' explains a command. See godwit(1).\n");
    return g_string_free(out, FALSE);
}

char *
gw_help_noun(const GwNoun *noun)
{
    GString *out = g_string_new(NULL);
    g_string_append_printf(out, "godwit %s: %s\n\nUsage: godwit %s VERB [ARGUMENT…] [OPTION…]\n\n",
                           noun->name, noun->summary, noun->name);
    append_commands(out, noun);
    g_string_append_printf(out, "\n'godwit %s VERB --help' explains a command.\n", noun->name);
    return g_string_free(out, FALSE);
}

char *
gw_help_command(const GwNoun *noun, const GwCommand *command, unsigned width)
{
    GString *out = g_string_new(NULL);
    g_autofree char *name = full_name(noun, command);
    g_autofree char *text = gw_text_wrap(command->description, width, 0);
    g_autofree char *statuses = gw_exit_text();
    g_string_append_printf(out, "Usage: godwit %s%s%s [OPTION…]\n\n%s\n\nOptions:\n", name,
                           command->arguments ? " " : "", command->arguments ? command->arguments : "", text);
    for (const GwOption *option = command->options; option && option->name; option++) {
        g_autofree char *title = g_strdup_printf("--%s%s%s", option->name, option->value ? " " : "",
                                                 option->value ? option->value : "");
        append_entry(out, title, option->help, width);
    }
    append_entry(out, "--help", "print this", width);
    if (command->examples) {
        g_auto(GStrv) lines = g_strsplit(command->examples, "\n", -1);
        g_string_append(out, "\nExamples:\n");
        for (char **line = lines; **line; line++)
            g_string_append_printf(out, "  %s\n", *line);
    }
    g_string_append_printf(out, "\nExit status:\n%s", statuses);
    return g_string_free(out, FALSE);
}

void
gw_command_unknown(const GwNoun *noun, const char *word, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (const GwCommand *command = noun->commands; command->name; command++)
        g_ptr_array_add(names, (char *)command->name);
    for (const GwNoun *each = gw_nouns; !*noun->name && each->name; each++)
        if (*each->name)
            g_ptr_array_add(names, (char *)each->name);
    g_ptr_array_add(names, NULL);
    const char *meant = gw_did_you_mean(word, (const char *const *)names->pdata);
    const char *space = *noun->name ? " " : "";
    if (meant)
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "there is no command 'godwit %s%s%s' (did you mean '%s%s%s'?)", noun->name, space, word,
                    noun->name, space, meant);
    else
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "there is no command 'godwit %s%s%s' ('godwit %s%s--help' lists them)", noun->name, space,
                    word, noun->name, space);
}
