/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mappings of a file in other processes, by both ways of asking the kernel, against processes that have them.
 */
#include "file-mappings.h"

#include "error.h"
#include "kernel-abi.h"
#include "mapping-process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE ((size_t)GW_PAGE_SIZE)

static const GwFileMappingsWay ways[] = {GW_FILE_MAPPINGS_BEST, GW_FILE_MAPPINGS_BY_QUERY,
                                         GW_FILE_MAPPINGS_BY_TEXT};

/* What we may not see of this machine, whoever we are: on some even root is kept from process 1. */
static unsigned hidden;

/* False where the kernel has no such query; then every process goes unseen, and it is said so. */
static bool
find(GwFileMappingsWay way, int fd, GwFileMappings *ret_found)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(gw_file_mappings_find_by(way, fd, ret_found, &error));
    g_assert_no_error(error);
    if (way == GW_FILE_MAPPINGS_BY_QUERY && ret_found->n_unseen > hidden) {
        g_test_message("no PROCMAP_QUERY in this kernel");
        gw_file_mappings_clear(ret_found);
        return false;
    }
    return true;
}

/* Of one process, in order of address. */
static GArray *
mappings_of(const GwFileMappings *found, pid_t pid)
{
    GArray *own = g_array_new(FALSE, FALSE, sizeof(GwFileMapping));
    for (guint i = 0; i < found->mappings->len; i++)
        if (g_array_index(found->mappings, GwFileMapping, i).pid == pid)
            g_array_append_val(own, g_array_index(found->mappings, GwFileMapping, i));
    return own;
}

static void
assert_mapping(const GArray *mappings, const MappingProcess *process, unsigned wanted_index,
               const WantedMapping *wanted, const char *name)
{
    for (guint i = 0; i < mappings->len; i++) {
        const GwFileMapping *mapping = &g_array_index(mappings, GwFileMapping, i);
        if (mapping->region.vmm_addr != process->addresses[wanted_index])
            continue;
        g_assert_cmpint(mapping->pid, ==, process->pid);
        g_assert_cmpstr(mapping->command, ==, name);
        g_assert_cmpuint(mapping->region.mem_off, ==, wanted->mem_off);
        g_assert_cmpuint(mapping->region.size_bytes, ==, wanted->size_bytes);
        g_assert_cmpint(mapping->writable, ==, (wanted->protection & PROT_WRITE) != 0);
        return;
    }
    g_assert_not_reached();
}

static void
test_find(void)
{
    g_autoptr(GError) error = NULL;
    /* the same name; only the inode tells them apart */
    g_autoptr(GwImage) image = gw_image_new("x", 64 * PAGE, &error),
                       other = gw_image_new("x", 64 * PAGE, NULL);
    static const WantedMapping first[] = {{0, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED},
                                          {16 * PAGE, PAGE, PROT_READ, MAP_SHARED},
                                          {32 * PAGE, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE},
                                          {4 * PAGE, 2 * PAGE, PROT_NONE, MAP_SHARED}};
    static const WantedMapping second[] = {{63 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED}, {0}};
    MappingProcess a, b, c;
    mapping_process_start(&a, "first", gw_image_fd(image), first);
    mapping_process_start(&b, "sec\x1b[1m\nond", gw_image_fd(image), second);
    mapping_process_start(&c, "other", gw_image_fd(other), second);

    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_auto(GwFileMappings) found = {0};
        if (!find(ways[i], gw_image_fd(image), &found))
            continue;
        g_autoptr(GArray) of_a = mappings_of(&found, a.pid), of_b = mappings_of(&found, b.pid);
        g_assert_cmpuint(found.mappings->len, ==, 4);
        g_assert_cmpuint(of_a->len, ==, 3); /* not the private one */
        assert_mapping(of_a, &a, 0, &first[0], "first");
        assert_mapping(of_a, &a, 1, &first[1], "first");
        assert_mapping(of_a, &a, 3, &first[3], "first");
        assert_mapping(of_b, &b, 0, &second[0], "sec?[1m");
    }
    mapping_process_end(&a);
    mapping_process_end(&b);
    mapping_process_end(&c);
    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_auto(GwFileMappings) found = {0};
        if (find(ways[i], gw_image_fd(image), &found))
            g_assert_cmpuint(found.mappings->len, ==, 0);
    }
}

/* More mappings than the buffer for the text holds: a line is cut at its end, wherever that is. */
static void
test_long_text(void)
{
    const unsigned n = 3000;
    g_autoptr(GwImage) image = gw_image_new("long", PAGE, NULL);
    char *base = mmap(NULL, 2 * n * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < n; i++)
        g_assert_true(mmap(base + 2 * i * PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, gw_image_fd(image),
                           0) != MAP_FAILED);
    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_auto(GwFileMappings) found = {0};
        if (!find(ways[i], gw_image_fd(image), &found))
            continue;
        g_assert_cmpuint(found.mappings->len, ==, n);
        for (unsigned j = 0; j < n; j++)
            g_assert_cmpuint(g_array_index(found.mappings, GwFileMapping, j).region.vmm_addr, ==,
                             (uintptr_t)base + 2 * j * PAGE);
    }
    munmap(base, 2 * n * PAGE);
}

/* A file with a name, on a device with minor and major. */
static void
test_named_file(void)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("a file with   spaces XXXXXX", &path, NULL);
    g_assert_cmpint(ftruncate(fd, 2 * PAGE), ==, 0);
    static const WantedMapping wanted[] = {{PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED}, {0}};
    MappingProcess process;
    mapping_process_start(&process, "named", fd, wanted);
    unlink(path);
    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_auto(GwFileMappings) found = {0};
        if (!find(ways[i], fd, &found))
            continue;
        g_assert_cmpuint(found.mappings->len, ==, 1);
        assert_mapping(found.mappings, &process, 0, &wanted[0], "named");
    }
    mapping_process_end(&process);
    close(fd);
}

/* Somebody without rights sees that there are processes that it does not see. */
static void
test_unseen(void)
{
    if (geteuid() != 0) {
        g_test_skip("needs root, to be somebody else");
        return;
    }
    g_autoptr(GwImage) image = gw_image_new("unseen", PAGE, NULL);
    static const WantedMapping wanted[] = {{0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED}, {0}};
    MappingProcess process;
    mapping_process_start(&process, "root's", gw_image_fd(image), wanted);
    pid_t pid = fork();
    if (pid == 0) {
        g_auto(GwFileMappings) found = {0};
        if (setgid(65534) < 0 || setuid(65534) < 0 ||
            !gw_file_mappings_find(gw_image_fd(image), &found, NULL))
            _exit(1);
        _exit(found.mappings->len == 0 && found.n_unseen > hidden && found.an_unseen > 0 ? 0 : 2);
    }
    int status;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
    mapping_process_end(&process);
}

/* Processes that end while they are looked at are no trouble. */
static void
test_while_processes_come_and_go(void)
{
    g_autoptr(GwImage) image = gw_image_new("busy", PAGE, NULL);
    pid_t breeder = fork();
    if (breeder == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            pid_t pid = fork();
            if (pid == 0)
                _exit(0);
            waitpid(pid, NULL, 0);
        }
    }
    for (unsigned i = 0; i < 30; i++)
        for (size_t j = 0; j < G_N_ELEMENTS(ways); j++) {
            g_auto(GwFileMappings) found = {0};
            if (find(ways[j], gw_image_fd(image), &found))
                g_assert_cmpuint(found.n_unseen, ==, hidden);
        }
    kill(breeder, SIGKILL);
    waitpid(breeder, NULL, 0);
}

static void
test_no_file(void)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwFileMappings) found = {0};
    g_assert_false(gw_file_mappings_find(-1, &found, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_assert_null(found.mappings);
}

/* The bound leaves room for a slow machine; what it took is told. */
static void
test_cost(void)
{
    enum { N = 200 };
    g_autoptr(GwImage) image = gw_image_new("cost", PAGE, NULL);
    static const WantedMapping none[] = {{0}};
    static MappingProcess processes[N];
    for (unsigned i = 0; i < N; i++)
        mapping_process_start(&processes[i], "many", gw_image_fd(image), none);
    gint64 least_us = G_MAXINT64;
    for (unsigned i = 0; i < 5; i++) {
        g_auto(GwFileMappings) found = {0};
        gint64 start_us = g_get_monotonic_time();
        find(GW_FILE_MAPPINGS_BEST, gw_image_fd(image), &found);
        least_us = MIN(least_us, g_get_monotonic_time() - start_us);
    }
    g_test_minimized_result((double)least_us / 1e6, "%d processes and what runs here: %.1f ms", N,
                            (double)least_us / 1e3);
    g_assert_cmpint(least_us, <, 50000);
    for (unsigned i = 0; i < N; i++)
        mapping_process_end(&processes[i]);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    GwFileMappings found;
    g_assert_true(gw_file_mappings_find_by(GW_FILE_MAPPINGS_BY_TEXT, STDIN_FILENO, &found, NULL));
    hidden = found.n_unseen;
    gw_file_mappings_clear(&found);
    g_test_add_func("/file-mappings/find", test_find);
    g_test_add_func("/file-mappings/long-text", test_long_text);
    g_test_add_func("/file-mappings/named-file", test_named_file);
    g_test_add_func("/file-mappings/unseen", test_unseen);
    g_test_add_func("/file-mappings/while-processes-come-and-go", test_while_processes_come_and_go);
    g_test_add_func("/file-mappings/no-file", test_no_file);
    g_test_add_func("/file-mappings/cost", test_cost);
    return g_test_run();
}
