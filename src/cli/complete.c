/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Completion, from the tables of the commands: a new option is completed without a word here. */
#include "complete.h"

#include "cli.h"
#include "command.h"

#include <stdio.h>
#include <string.h>

#define TIMEOUT_S 2 /* somebody waits with a finger on the key */

static void
add(GPtrArray *candidates, const char *text)
{
    g_ptr_array_add(candidates, g_strdup(text));
}

/* What a value or an argument may be, by what help calls it. */
static void
add_values(GPtrArray *candidates, const char *what, GwCompleteNames names, void *user_data)
{
    g_auto(GStrv) choices = strchr(what, '|') ? g_strsplit(what, "|", -1) : NULL;
    for (char **choice = choices; choice && *choice; choice++)
        add(candidates, *choice);
    if (strcmp(what, "FILE") == 0)
        add(candidates, ":files");
    else if (strcmp(what, "SHELL") == 0)
        add(candidates, "bash");
    else if (!choices)
        names(what, candidates, user_data);
}

static void
add_verbs(GPtrArray *candidates, const GwNoun *noun)
{
    for (const GwCommand *command = noun->commands; command->name; command++)
        add(candidates, command->name);
}

static const GwOption *
option_of_word(const GwCommand *command, const char *word)
{
    for (const GwOption *option = command->options; option && option->name; option++)
        if (g_str_has_prefix(word, "--") && strcmp(word + 2, option->name) == 0)
            return option;
    return NULL;
}

/* `argv` behind the verb. */
static void
add_of_command(GPtrArray *candidates, const GwCommand *command, int argc, char **argv, GwCompleteNames names,
               void *user_data)
{
    g_auto(GStrv) positional = g_strsplit(command->arguments ? command->arguments : "", " ", -1);
    unsigned n = 0;
    for (int i = 0; i < argc - 1; i++) {
        const GwOption *option = option_of_word(command, argv[i]);
        bool takes_next = option && option->kind != GW_OPTION_FLAG;
        if (takes_next && i == argc - 2) {
            add_values(candidates, option->value, names, user_data);
            return;
        }
        i += takes_next;
        n += !takes_next && argv[i][0] != '-';
    }
    if (argc > 0 && argv[argc - 1][0] == '-') {
        for (const GwOption *option = command->options; option && option->name; option++)
            g_ptr_array_add(candidates, g_strconcat("--", option->name, NULL));
        add(candidates, "--help");
    } else if (n < g_strv_length(positional)) {
        g_autofree char *what = g_strdup(positional[n]);
        g_strdelimit(what, "[]", ' ');
        add_values(candidates, g_strstrip(what), names, user_data);
    }
}

GPtrArray *
gw_complete(int argc, char **argv, GwCompleteNames names, void *user_data)
{
    GPtrArray *candidates = g_ptr_array_new_with_free_func(g_free);
    const GwNoun *top = gw_noun_find("");
    const GwNoun *noun = argc > 1 && *argv[0] ? gw_noun_find(argv[0]) : NULL;
    const GwNoun *owner = noun ? noun : top;
    int at = noun ? 1 : 0; /* where the verb stands */
    const GwCommand *command = argc > at + 1 ? gw_command_find(owner, argv[at]) : NULL;
    if (command) {
        add_of_command(candidates, command, argc - at - 1, argv + at + 1, names, user_data);
    } else if (argc == at + 1) {
        add_verbs(candidates, owner);
        for (const GwNoun *each = gw_nouns; !noun && each->name; each++)
            if (*each->name)
                add(candidates, each->name);
        add(candidates, "--help");
        if (!noun)
            add(candidates, "--version");
    }
    return candidates;
}

static void
names_of_center(const char *what, GPtrArray *candidates, void *user_data)
{
    static const struct {
        const char *what, *path, *list, *member;
    } sources[] = {
        {"VM", "/v1/vms", "vms", "name"},
        {"HOST", "/v1/hosts", "hosts", "name"},
        {"TASK", "/v1/tasks?open=1", "tasks", "id"},
        {"USER", "/v1/users", "users", "name"},
    };
    g_autoptr(GwSession) session = gw_session_find(NULL);
    g_autoptr(GwHttpClient) client = session ? gw_session_connect(session, TIMEOUT_S, NULL) : NULL;
    for (size_t i = 0; client && i < G_N_ELEMENTS(sources); i++) {
        if (strcmp(sources[i].what, what) != 0)
            continue;
        g_autoptr(JsonObject) reply = gw_http_call(client, "GET", sources[i].path, NULL, NULL);
        for (guint j = 0; j < gw_field_count(reply, sources[i].list); j++)
            add(candidates,
                gw_field_text(gw_field_element(reply, sources[i].list, j), sources[i].member, ""));
    }
}

/* Of a foreign name only what a shell takes as one word. */
static bool
is_word(const char *text)
{
    for (const char *at = text; *at; at++)
        if (!g_ascii_isalnum(*at) && !strchr("-_.:", *at))
            return false;
    return *text != '\0';
}

int
gw_complete_main(int argc, char **argv)
{
    g_autoptr(GPtrArray) candidates = gw_complete(argc, argv, names_of_center, NULL);
    for (guint i = 0; i < candidates->len; i++)
        if (is_word(candidates->pdata[i]))
            puts(candidates->pdata[i]);
    return 0;
}
