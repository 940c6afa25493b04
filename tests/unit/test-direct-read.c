/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads with O_DIRECT under a trace that scans as fast as it can: by the raw system call, to see that pages
 * go stale here at all, and by the functions that the preloaded library puts in their place, where none may.
 *
 * The reader is this program, run as QEMU is: with the library preloaded, and the image mapped. The test is
 * the motion: what the trace reports it copies, and in the end the copy has to be the image. */
#include "error.h"
#include "process.h"
#include "trace.h"
#include "unix-socket.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE            4096
#define IMAGE_PAGES     32
#define FILE_PAGES      64
#define FILE_TAIL       1536 /* the last read of all is a short one */
#define TMPFS_MAGIC_NUM 0x01021994
#define N_ROUNDS        400

/* The reader's side: argv is the test, "--reader", how, memory fd, file fd, status fd. */

typedef enum { BY_SYSCALL, BY_PREAD, BY_PREADV, BY_PREADV2, N_WAYS } Way;

/* Page i of the file is full of i + 1; each read puts other values at another place. Buffers start in the
 * middle of a page and end in the middle of one, as a guest's requests do. */
static void
read_once(Way way, int file, char *map, unsigned n)
{
    char *at = map + n % (IMAGE_PAGES - 2) * PAGE;
    bool at_end = n % 16 == 15;
    off_t offset = (off_t)(at_end ? FILE_PAGES : n * 7 % (FILE_PAGES - 2)) * PAGE;
    struct iovec parts[] = {{at + 512, PAGE}, {at + PAGE + 1024, 512}, {at + 2 * PAGE, 2048}};
    size_t total = PAGE + 512 + 2048;
    ssize_t n_read = -1, expected = at_end ? FILE_TAIL : (ssize_t)total;
    switch (way) {
    case BY_SYSCALL:
        n_read = syscall(SYS_preadv, file, parts, G_N_ELEMENTS(parts), offset, 0L);
        break;
    case BY_PREAD:
        n_read = pread(file, at + 512, total, offset);
        break;
    case BY_PREADV:
        n_read = preadv(file, parts, G_N_ELEMENTS(parts), offset);
        break;
    case BY_PREADV2:
        n_read = preadv2(file, parts, G_N_ELEMENTS(parts), offset, 0);
        break;
    case N_WAYS:
        break;
    }
    if (n_read != expected)
        g_error("read %zd of %zd bytes: %s", n_read, expected, g_strerror(errno));
}

/* A byte says that it is ready, or has read; each byte that comes asks for one more read. */
static int
run_reader(char **argv)
{
    int memory = atoi(argv[3]), file = atoi(argv[4]), status = atoi(argv[5]);
    char *map = mmap(NULL, IMAGE_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (map == MAP_FAILED)
        g_error("mmap: %s", g_strerror(errno));
    char byte = 'r';
    for (unsigned n = 0; write(status, &byte, 1) == 1 && read(status, &byte, 1) == 1; n++)
        read_once((Way)atoi(argv[2]), file, map, n);
    return 0;
}

/* The test's side. */

typedef struct {
    GwImage *image;
    char *map, *copy;
    int file, status, uffd;
    pid_t pid;
    GwTrace *trace;
    unsigned n_scans;
} Motion;

/* A file on a real file system, opened with O_DIRECT and gone from its directory; -1 with the reason. */
static int
open_direct(const char **ret_why)
{
    const char *directories[] = {"/var/tmp", "."};
    *ret_why = "no directory for a test file";
    for (size_t i = 0; i < G_N_ELEMENTS(directories); i++) {
        struct statfs fs;
        if (statfs(directories[i], &fs) < 0)
            continue;
        *ret_why = "only tmpfs, which reads through its page cache, to make a test file on";
        if (fs.f_type == TMPFS_MAGIC_NUM)
            continue;
        g_autofree char *path = g_strdup_printf("%s/godwit-direct-%d", directories[i], getpid());
        g_autofree char *content = g_malloc(FILE_PAGES * PAGE + FILE_TAIL);
        for (int p = 0; p <= FILE_PAGES; p++)
            memset(content + p * PAGE, p + 1, p < FILE_PAGES ? PAGE : FILE_TAIL);
        if (!g_file_set_contents(path, content, FILE_PAGES * PAGE + FILE_TAIL, NULL))
            continue;
        int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
        g_unlink(path);
        if (fd >= 0)
            return fd;
        *ret_why = "the file system does not do O_DIRECT";
    }
    return -1;
}

static void
exec_reader(const Motion *self, Way way, int device, int uffd_socket, int status)
{
    int kept[] = {gw_image_fd(self->image), self->file, device, uffd_socket, status};
    for (size_t i = 0; i < G_N_ELEMENTS(kept); i++)
        fcntl(kept[i], F_SETFD, 0);
    char how[16], memory[16], file[16], status_fd[16], number[16];
    g_snprintf(how, sizeof how, "%d", (int)way);
    g_snprintf(memory, sizeof memory, "%d", gw_image_fd(self->image));
    g_snprintf(file, sizeof file, "%d", self->file);
    g_snprintf(status_fd, sizeof status_fd, "%d", status);
    g_snprintf(number, sizeof number, "%d", device);
    setenv("GODWIT_UFFD_DEVICE", number, 1);
    g_snprintf(number, sizeof number, "%d", uffd_socket);
    setenv("GODWIT_UFFD_SOCKET", number, 1);
    setenv("LD_PRELOAD", g_getenv("GODWIT_UFFD_LIBRARY"), 1);
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1); /* it wants to be the first, and is not here */
    execl("/proc/self/exe", "reader", "--reader", how, memory, file, status_fd, NULL);
    _exit(127);
}

static void
start_reader(Motion *self, Way way)
{
    g_autoptr(GError) error = NULL;
    int uffd_pair[2], status_pair[2], device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, uffd_pair), ==, 0);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, status_pair), ==, 0);
    self->status = status_pair[0];
    self->pid = fork();
    if (self->pid == 0)
        exec_reader(self, way, device, uffd_pair[1], status_pair[1]);
    close(device);
    close(uffd_pair[1]);
    close(status_pair[1]);
    char byte;
    unsigned n_received = 0;
    int received[GW_FDPASS_MAX];
    gw_fdpass_receive(uffd_pair[0], &byte, 1, received, &n_received, 5000, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(n_received, ==, 1);
    self->uffd = received[0];
    close(uffd_pair[0]);
    g_assert_cmpint(read(self->status, &byte, 1), ==, 1);

    g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(GwMemRegion));
    g_autofree char *link = gw_image_proc_link("direct-read");
    gw_process_find_mappings(self->pid, gw_image_inode(self->image), link, regions, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(regions->len, ==, 1);
    g_assert_true(gw_trace_negotiate(self->uffd, &error));
    self->trace =
        gw_trace_arm(self->uffd, self->pid, (GwMemRegion *)(void *)regions->data, regions->len, &error);
    g_assert_no_error(error);
}

/* Copies what was written since the last time. */
static void
carry_over(Motion *self)
{
    uint64_t at = 0;
    while (at < IMAGE_PAGES * PAGE) {
        GwTraceRun runs[IMAGE_PAGES];
        int n = gw_trace_scan(self->trace, &at, IMAGE_PAGES * PAGE, runs, G_N_ELEMENTS(runs));
        g_assert_cmpint(n, >=, 0);
        for (int i = 0; i < n; i++)
            memcpy(self->copy + runs[i].mem_off, self->map + runs[i].mem_off, runs[i].size_bytes);
    }
    self->n_scans++;
}

/* How many pages of the copy were not those of the image when a read had returned, in all rounds. */
static unsigned
count_stale_pages(Way way, int file)
{
    g_autoptr(GError) error = NULL;
    Motion m = {.file = file};
    unsigned n_stale = 0;
    m.image = gw_image_new("direct-read", IMAGE_PAGES * PAGE, &error);
    g_assert_no_error(error);
    m.map = mmap(NULL, IMAGE_PAGES * PAGE, PROT_READ, MAP_SHARED, gw_image_fd(m.image), 0);
    m.copy = g_malloc0(IMAGE_PAGES * PAGE);
    start_reader(&m, way);
    for (int round = 0; round < N_ROUNDS; round++) {
        char byte = 'g';
        g_assert_cmpint(write(m.status, &byte, 1), ==, 1);
        while (recv(m.status, &byte, 1, MSG_DONTWAIT) != 1)
            carry_over(&m);
        carry_over(&m);
        for (unsigned p = 0; p < IMAGE_PAGES; p++) {
            if (memcmp(m.copy + p * PAGE, m.map + p * PAGE, PAGE) == 0)
                continue;
            n_stale++;
            memcpy(m.copy + p * PAGE, m.map + p * PAGE, PAGE); /* counted once */
        }
    }

    close(m.status);
    int status;
    g_assert_cmpint(waitpid(m.pid, &status, 0), ==, m.pid);
    g_assert_cmpint(status, ==, 0);
    gw_trace_free(m.trace);
    close(m.uffd);
    munmap(m.map, IMAGE_PAGES * PAGE);
    g_free(m.copy);
    gw_image_free(m.image);
    g_test_message("way %d: %u stale pages in %u reads and %u scans", (int)way, n_stale, N_ROUNDS, m.n_scans);
    return n_stale;
}

static void
test_no_page_goes_stale(void)
{
    const char *why = NULL;
    if (access("/dev/userfaultfd", R_OK | W_OK) != 0) {
        g_test_skip("/dev/userfaultfd does not open: needs Linux 6.7 and root");
        return;
    }
    int file = open_direct(&why);
    if (file < 0) {
        g_test_skip(why);
        return;
    }
    if (count_stale_pages(BY_SYSCALL, file) == 0) {
        g_test_skip("no page went stale without the library either: nothing to prove on this file system");
        close(file);
        return;
    }
    for (Way way = BY_PREAD; way < N_WAYS; way++)
        g_assert_cmpuint(count_stale_pages(way, file), ==, 0);
    close(file);
}

int
main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "--reader") == 0)
        return run_reader(argv);
    g_test_init(&argc, &argv, NULL);
    signal(SIGPIPE, SIG_IGN);
    g_test_add_func("/direct-read/no-page-goes-stale", test_no_page_goes_stale);
    return g_test_run();
}
