/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The beginning of every program with commands. */
#include "program.h"

#include "autogroup.h"
#include "version.h"

#include <fcntl.h>
#include <glib.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Started with standard descriptors closed, we would get these numbers for files of our own. */
static void
take_standard_descriptors(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0 && fd <= STDERR_FILENO)
        ;
    if (fd >= 0)
        close(fd);
}

static void
print_help(const GwProgram *self, FILE *out)
{
    size_t width = 0;
    for (size_t i = 0; i < self->n_commands; i++)
        if (self->commands[i].summary && strlen(self->commands[i].name) > width)
            width = strlen(self->commands[i].name);
    fprintf(out, "%s %s: %s.\n\n", self->name, GW_VERSION, self->summary);
    fprintf(out,
            self->has_default ? "Usage: %s [COMMAND] [OPTION…] [ARGUMENT…]\n\n"
                              : "Usage: %s COMMAND [OPTION…] [ARGUMENT…]\n\n",
            self->name);
    fprintf(out, "Commands ('%s COMMAND --help' explains):\n", self->name);
    for (size_t i = 0; i < self->n_commands; i++)
        if (self->commands[i].summary)
            fprintf(out, "  %-*s  %s\n", (int)width, self->commands[i].name, self->commands[i].summary);
    fprintf(out, "\nSee %s.\n", self->man_page);
}

static int
run_default(const GwProgram *self, int argc, char **argv)
{
    g_autofree char **words = g_new0(char *, (size_t)MAX(argc, 1) + 1);
    for (int i = 1; i < argc; i++)
        words[i] = argv[i];
    g_autofree char *name = words[0] = g_strdup(self->commands[0].name);
    return self->commands[0].run(MAX(argc, 1), words);
}

void
gw_program_step_back(void)
{
    if (getpriority(PRIO_PROCESS, 0) < GW_MANAGEMENT_NICE)
        setpriority(PRIO_PROCESS, 0, GW_MANAGEMENT_NICE);
    if (getsid(0) == getpid()) /* else it is somebody's terminal as well */
        gw_autogroup_set_nice(getpid(), GW_MANAGEMENT_NICE);
}

int
gw_program_main(const GwProgram *self, int argc, char **argv)
{
    setlocale(LC_ALL, "");
    take_standard_descriptors();
    const char *word = argc > 1 ? argv[1] : NULL;
    if (!word && !self->has_default) {
        print_help(self, stderr);
        return 2;
    }
    if (word && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
        print_help(self, stdout);
        return 0;
    }
    if (word && strcmp(word, "--version") == 0) {
        printf("%s %s\n", self->name, GW_VERSION);
        return 0;
    }
    for (size_t i = 0; word && i < self->n_commands; i++)
        if (strcmp(word, self->commands[i].name) == 0)
            return self->commands[i].run(argc - 1, argv + 1);
    if (self->has_default && (!word || word[0] == '-'))
        return run_default(self, argc, argv);
    fprintf(stderr, "%s: there is no command '%s' ('%s --help' lists them)\n", self->name, word, self->name);
    return 2;
}
