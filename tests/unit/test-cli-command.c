/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tree of commands: options, help, suggestions, completion, exit statuses. */
#include "command.h"
#include "complete.h"
#include "completion.h"
#include "error.h"
#include "exit-status.h"
#include "options.h"
#include "text.h"

#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

static const GwOption options[] = {{"to", GW_OPTION_TEXT, "HOST", "where"},
                                   {"priority", GW_OPTION_TEXT, "normal|high", "how soon"},
                                   {"override", GW_OPTION_LIST, "ID", "all the same"},
                                   {"streams", GW_OPTION_NUMBER, "N", "how many", 1, 8},
                                   {"json", GW_OPTION_FLAG, NULL, "JSON"},
                                   {NULL}};

static GwArgs *
parse(const char *line, GError **error)
{
    static char **words; /* what is parsed borrows them */
    g_strfreev(words);
    words = g_strsplit(line, " ", -1);
    int n = *line ? (int)g_strv_length(words) : 0;
    return gw_args_parse(options, "VM [ON]", n, words, error);
}

static void
test_options(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwArgs) args =
        parse("--to host2 web1 --override a --streams=4 --override=b --json --priority high -- -x", &error);
    g_assert_no_error(error);
    int64_t streams = 0, none = 77;
    g_assert_cmpstr(gw_args_positional(args, 0), ==, "web1");
    g_assert_cmpstr(gw_args_positional(args, 1), ==, "-x");
    g_assert_null(gw_args_positional(args, 2));
    g_assert_cmpstr(gw_args_text(args, "to"), ==, "host2");
    g_assert_cmpstr(gw_args_text(args, "priority"), ==, "high");
    g_assert_true(gw_args_flag(args, "json"));
    g_assert_true(gw_args_number(args, "streams", &streams) && streams == 4);
    g_assert_false(gw_args_number(args, "absent", &none));
    g_assert_cmpint(none, ==, 77);
    const char *const *overrides = gw_args_list(args, "override");
    g_assert_cmpstr(overrides[0], ==, "a");
    g_assert_cmpstr(overrides[1], ==, "b");
    g_assert_null(overrides[2]);
    g_assert_null(gw_args_list(args, "none"));
}

static void
test_options_refused(void)
{
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"", "VM is missing"},
        {"a b c", "'c' is one argument too many"},
        {"web1 --tow host2", "did you mean --to?"},
        {"web1 --frobnicate", "there is no option --frobnicate"},
        {"web1 -t host2", "there is no option -t"},
        {"web1 --to", "--to needs a value: HOST"},
        {"web1 --to=", "--to: the value is empty"},
        {"web1 --to a --to b", "--to is given twice"},
        {"web1 --json=1", "--json takes no value"},
        {"web1 --priority urgent", "--priority: got 'urgent', expected normal|high"},
        {"web1 --streams 9", "expected a whole number from 1 to 8"},
        {"web1 --streams 2x", "got '2x'"},
        {"web1 --streams -1", "got '-1'"},
        {"..", "'..' is no VM"},
        {".", "'.' is no VM"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GwArgs) args = parse(cases[i].line, &error);
        g_assert_null(args);
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
        if (!strstr(error->message, cases[i].says))
            g_error("'%s': '%s' lacks '%s'", cases[i].line, error->message, cases[i].says);
    }
    g_autoptr(GwArgs) help = parse("--to --help --nonsense", NULL);
    g_assert_null(help); /* it is the value of --to */
    g_autoptr(GwArgs) really = parse("--help --nonsense", NULL);
    g_assert_true(gw_args_wants_help(really));
}

/* Every verb of every noun explains itself, at any width, and no line is longer than the terminal. */
static void
test_help(void)
{
    g_autofree char *all = gw_help_all();
    for (const GwNoun *noun = gw_nouns; noun->name; noun++) {
        g_autofree char *of_noun = gw_help_noun(noun);
        for (const GwCommand *command = noun->commands; command->name; command++) {
            g_autofree char *help = gw_help_command(noun, command, 80),
                            *usage = g_strdup_printf("Usage: godwit %s%s%s", noun->name,
                                                     *noun->name ? " " : "", command->name);
            g_assert_true(g_str_has_prefix(help, usage));
            g_assert_true(strstr(help, "\nOptions:\n") && strstr(help, "\nExit status:\n"));
            g_assert_nonnull(command->examples);
            g_assert_true(strstr(help, "\nExamples:\n  "));
            g_assert_true(strstr(command->examples, "godwit "));
            g_assert_true(strstr(all, command->summary) && strstr(of_noun, command->summary));
            g_assert_nonnull(command->run);
            for (const GwOption *option = command->options; option->name; option++) {
                g_assert_nonnull(strstr(help, option->name));
                g_assert_true((option->kind == GW_OPTION_FLAG) == (option->value == NULL));
                g_assert_true(option->kind != GW_OPTION_NUMBER || option->min < option->max);
            }
            g_auto(GStrv) lines = g_strsplit(strstr(help, "Options:"), "\n", -1);
            for (char **line = lines; *line && !g_str_has_prefix(*line, "Examples"); line++)
                g_assert_cmpuint(gw_text_width(*line), <=, 80);
        }
    }
}

/* As troff has it: hyphens that are typed are "\\-". */
static char *
troff(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, "-", -1);
    return g_strjoinv("\\-", parts);
}

/* The manual page has each command and each option; those that all share once. */
static void
test_manual(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(g_getenv("G_TEST_SRCDIR"), "..", "..", "docs", "man", "godwit.1",
                                             NULL),
                    *page = NULL;
    g_file_get_contents(path, &page, NULL, &error);
    g_assert_no_error(error);
    for (const GwNoun *noun = gw_nouns; noun->name; noun++)
        for (const GwCommand *command = noun->commands; command->name; command++) {
            g_autofree char *name = troff(command->name);
            g_autofree char *title =
                g_strdup_printf("\n.B godwit %s%s%s", noun->name, *noun->name ? " " : "", name);
            const char *section = strstr(strstr(page, ".SH COMMANDS"), title);
            if (!section)
                g_error("godwit(1) lacks%s", title);
            const char *next = strstr(section + strlen(title), "\n.B godwit ");
            g_autofree char *text = next ? g_strndup(section, (gsize)(next - section)) : g_strdup(section);
            for (const GwOption *option = command->options; option->name; option++) {
                g_autofree char *dashed = troff(option->name);
                g_autofree char *tag = g_strdup_printf("\\-\\-%s", dashed);
                if (!strstr(text, tag) && !strstr(page, tag))
                    g_error("godwit(1) lacks --%s of%s", option->name, title);
                bool is_common = strcmp(option->name, "json") == 0 || strcmp(option->name, "yes") == 0 ||
                                 strcmp(option->name, "reason") == 0;
                if (!is_common && !strstr(text, tag))
                    g_error("godwit(1) lacks --%s of%s", option->name, title);
            }
        }
    for (int status = 0; status <= 9; status++) {
        g_autofree char *tag = g_strdup_printf("\n.TP\n.B %d\n", status);
        g_assert_nonnull(strstr(page, tag));
    }
}

/* A program that reads JSON is served by each command that has something to say. */
static void
test_json_everywhere(void)
{
    for (const GwNoun *noun = gw_nouns; noun->name; noun++)
        for (const GwCommand *command = noun->commands; command->name; command++) {
            bool found = strcmp(command->name, "completion") == 0 || strcmp(command->name, "console") == 0;
            for (const GwOption *option = command->options; option->name; option++)
                found = found || strcmp(option->name, "json") == 0;
            if (!found)
                g_error("godwit %s %s has no --json", noun->name, command->name);
        }
}

static void
test_suggestions(void)
{
    static const struct {
        const char *noun, *word, *says;
    } cases[] = {
        {"vm", "migate", "did you mean 'vm migrate'?"},
        {"vm", "list", "did you mean 'vm"}, /* near enough to something */
        {"", "vms", "did you mean 'vm'?"},
        {"", "logn", "did you mean 'login'?"},
        {"host", "frobnicate", "'godwit host --help' lists them"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        gw_command_unknown(gw_noun_find(cases[i].noun), cases[i].word, &error);
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
        if (i != 1)
            g_assert_nonnull(strstr(error->message, cases[i].says));
    }
}

static void
fake_names(const char *what, GPtrArray *candidates, void *user_data)
{
    if (strcmp(what, "VM") == 0)
        g_ptr_array_add(candidates, g_strdup("web1"));
    if (strcmp(what, "HOST") == 0)
        g_ptr_array_add(candidates, g_strdup("host1"));
}

static bool
completes(const char *line, const char *candidate)
{
    g_autofree char *behind = g_strconcat("godwit ", line, NULL);
    g_auto(GStrv) all = g_strsplit(behind, " ", -1);
    char **words = all + 1;
    g_autoptr(GPtrArray) candidates = gw_complete((int)g_strv_length(words), words, fake_names, NULL);
    return g_ptr_array_find_with_equal_func(candidates, candidate, g_str_equal, NULL);
}

static void
test_complete(void)
{
    g_assert_true(completes("", "vm") && completes("", "login") && completes("", "--version"));
    g_assert_false(completes("", ""));
    g_assert_true(completes("vm ", "migrate") && !completes("vm ", "login"));
    g_assert_true(completes("vm migrate ", "web1"));
    g_assert_true(completes("vm migrate web1 --", "--to") && completes("vm migrate web1 --", "--json"));
    g_assert_true(completes("vm migrate web1 --to ", "host1") && !completes("vm migrate web1 --to ", "web1"));
    g_assert_true(completes("vm migrate --to host1 ", "web1"));
    g_assert_true(completes("vm migrate --json ", "web1"));
    g_assert_true(completes("vm migrate web1 --priority ", "high"));
    g_assert_false(completes("vm migrate web1 ", "web1"));
    g_assert_true(completes("vm create ", ":files"));
    g_assert_true(completes("host maintenance host1 ", "on"));
    g_assert_true(completes("user role ops ", "operator"));
    g_assert_true(completes("completion ", "bash"));
    g_assert_false(completes("nonsense ", "migrate"));
}

/* bash itself takes the script, and the function finds what the program says. */
static void
test_completion_script(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *bash = g_find_program_in_path("bash");
    if (!bash) {
        g_test_skip("no bash here");
        return;
    }
    g_autofree char *directory = g_dir_make_tmp("godwit-completion-XXXXXX", &error);
    g_assert_no_error(error);
    g_autofree char *script = g_build_filename(directory, "script", NULL),
                    *program = g_build_filename(directory, "godwit", NULL);
    g_file_set_contents(script, GW_BASH_COMPLETION, -1, &error);
    g_assert_no_error(error);
    g_file_set_contents_full(program,
                             "#!/bin/sh\n[ \"$*\" = '__complete vm st' ] && printf 'start\\nstop\\nls\\n'\n",
                             -1, G_FILE_SET_CONTENTS_NONE, 0700, &error);
    g_assert_no_error(error);
    g_autofree char *use =
        g_strdup_printf("set -eu; PATH=%s:$PATH; . %s; COMP_WORDS=(godwit vm st); COMP_CWORD=2; "
                        "_godwit godwit st vm; echo \"${COMPREPLY[*]}\"",
                        directory, script);
    const char *syntax[] = {bash, "-n", script, NULL}, *call[] = {bash, "-c", use, NULL};
    g_autofree char *out = NULL;
    int status = 0;
    g_spawn_sync(NULL, (char **)syntax, NULL, 0, NULL, NULL, NULL, NULL, &status, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
    g_spawn_sync(NULL, (char **)call, NULL, 0, NULL, NULL, &out, NULL, &status, &error);
    g_assert_no_error(error);
    g_assert_cmpint(status, ==, 0);
    g_assert_cmpstr(out, ==, "start stop\n");
    remove(script);
    remove(program);
    remove(directory);
}

static void
test_exit_statuses(void)
{
    static const struct {
        int code, status;
    } cases[] = {
        {GW_ERROR_FAILED, 1},
        {GW_ERROR_IO, 1},
        {GW_ERROR_VMM_FAILED, 1},
        {GW_ERROR_NOT_SUPPORTED, 1},
        {GW_ERROR_PROTOCOL, 1},
        {GW_ERROR_INVALID_ARGUMENT, 2},
        {GW_ERROR_INVALID_CONFIG, 2},
        {GW_ERROR_NOT_PERMITTED, 3},
        {GW_ERROR_NOT_AUTHENTICATED, 3},
        {GW_ERROR_NOT_FOUND, 4},
        {GW_ERROR_CHECK_FAILED, 5},
        {GW_ERROR_NOT_CONVERGING, 6},
        {GW_ERROR_CANCELLED, 7},
        {GW_ERROR_PEER_LOST, 8},
        {GW_ERROR_TIMED_OUT, 8},
        {GW_ERROR_WRONG_STATE, 9},
        {GW_ERROR_EXISTS, 9},
        {GW_ERROR_BUSY, 9},
    };
    g_assert_cmpuint(G_N_ELEMENTS(cases), ==, GW_N_ERRORS);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = g_error_new_literal(GW_ERROR, cases[i].code, "x");
        g_assert_cmpint((int)gw_exit_of_error(error), ==, cases[i].status);
    }
    g_autoptr(GError) refused = g_error_new_literal(G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED, "x");
    g_autoptr(GError) unknown = g_error_new_literal(G_RESOLVER_ERROR, G_RESOLVER_ERROR_NOT_FOUND, "x");
    g_assert_cmpint((int)gw_exit_of_error(refused), ==, 8);
    g_assert_cmpint((int)gw_exit_of_error(unknown), ==, 8);
    g_assert_cmpint((int)gw_exit_of_task("completed", NULL), ==, 0);
    g_assert_cmpint((int)gw_exit_of_task("cancelled", "peer-lost"), ==, 7);
    g_assert_cmpint((int)gw_exit_of_task("failed", "check-failed"), ==, 5);
    g_assert_cmpint((int)gw_exit_of_task("failed", "peer-lost"), ==, 6);
    g_assert_cmpint((int)gw_exit_of_task(NULL, NULL), ==, 6);
    g_autofree char *text = gw_exit_text();
    for (int status = 0; status <= 9; status++) {
        g_autofree char *line = g_strdup_printf("  %3d  ", status);
        g_assert_nonnull(strstr(text, line));
    }
}

static void
test_passing(void)
{
    static const int final[] = {GW_ERROR_NOT_FOUND, GW_ERROR_NOT_AUTHENTICATED, GW_ERROR_NOT_PERMITTED,
                                GW_ERROR_INVALID_ARGUMENT};
    static const int passing[] = {GW_ERROR_PEER_LOST, GW_ERROR_TIMED_OUT, GW_ERROR_BUSY, GW_ERROR_FAILED,
                                  GW_ERROR_PROTOCOL};
    for (size_t i = 0; i < G_N_ELEMENTS(final); i++) {
        g_autoptr(GError) error = g_error_new_literal(GW_ERROR, final[i], "x");
        g_assert_false(gw_error_is_passing(error));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(passing); i++) {
        g_autoptr(GError) error = g_error_new_literal(GW_ERROR, passing[i], "x");
        g_assert_true(gw_error_is_passing(error));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli-command/options", test_options);
    g_test_add_func("/cli-command/options-refused", test_options_refused);
    g_test_add_func("/cli-command/help", test_help);
    g_test_add_func("/cli-command/manual", test_manual);
    g_test_add_func("/cli-command/json-everywhere", test_json_everywhere);
    g_test_add_func("/cli-command/suggestions", test_suggestions);
    g_test_add_func("/cli-command/complete", test_complete);
    g_test_add_func("/cli-command/completion-script", test_completion_script);
    g_test_add_func("/cli-command/exit-statuses", test_exit_statuses);
    g_test_add_func("/cli-command/passing", test_passing);
    return g_test_run();
}
