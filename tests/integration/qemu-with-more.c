/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A QEMU with something that no VM of godwit has: for tests of what its supervisor then finds.
 *
 * Beside this program, in a file of its name with ".args", stands the QEMU to run and, on lines of their own,
 * options that go behind those that it was given; "@memory" in them becomes the guest memory's path. Linked
 * statically, so that the supervisor's preloaded library acts in QEMU alone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_ARGS   512
#define PATH_BYTES 64

static const char memory_path[] = "\"mem-path\":\"";

/* The path in "{…,"mem-path":"/proc/self/fd/7",…}"; empty if there is none, as when QEMU is asked what it can
 * run. */
static void
find_memory(char **argv, char path[PATH_BYTES])
{
    for (; *argv; argv++) {
        const char *found = strstr(*argv, memory_path);
        if (found)
            snprintf(path, PATH_BYTES, "%.*s", (int)strcspn(found + strlen(memory_path), "\""),
                     found + strlen(memory_path));
    }
}

static char *
with_memory(const char *line, const char *path)
{
    char *text = NULL;
    const char *at = strstr(line, "@memory");
    int n = at ? asprintf(&text, "%.*s%s%s", (int)(at - line), line, path, at + strlen("@memory"))
               : asprintf(&text, "%s", line);
    return n < 0 ? NULL : text;
}

int
main(int argc, char **argv)
{
    static char *args[MAX_ARGS];
    char path[4096], line[4096], memory[PATH_BYTES] = "";
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - sizeof ".args");
    if (n < 0 || argc + 1 > MAX_ARGS)
        return 1;
    memcpy(path + n, ".args", sizeof ".args");
    FILE *file = fopen(path, "re");
    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    find_memory(argv, memory);
    memcpy(args, argv, (size_t)argc * sizeof *args);
    for (int i = -1; fgets(line, sizeof line, file) && argc + 1 < MAX_ARGS; i++) {
        line[strcspn(line, "\n")] = '\0';
        if (i < 0)
            args[0] = strdup(line);
        else if (*memory) /* a guest is to run */
            args[argc++] = with_memory(line, memory);
    }
    fclose(file);
    execv(args[0], args);
    fprintf(stderr, "%s: %s\n", args[0], strerror(errno));
    return 1;
}
