/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest memory: its size is sealed, it takes no memory until written, nothing else is taken for it, and what
 * it holds is found, read, written and given back exactly. */
#include "image.h"

#include "error.h"
#include "kernel-abi.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE (16 * (uint64_t)GW_PAGE_SIZE)

static GwImage *
image_new(const char *name)
{
    g_autoptr(GError) error = NULL;
    GwImage *image = gw_image_new(name, SIZE, &error);
    g_assert_no_error(error);
    return image;
}

static bool
is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void
test_new(void)
{
    g_autoptr(GwImage) image = image_new("web1");
    int fd = gw_image_fd(image);
    struct stat st;
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpuint(gw_image_size(image), ==, SIZE);
    g_assert_cmpuint((guint64)st.st_size, ==, SIZE);
    g_assert_cmpuint(gw_image_inode(image), ==, st.st_ino);
    g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);

    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autofree char *link = g_file_read_link(path, NULL);
    g_autofree char *expected = gw_image_proc_link("web1");
    g_assert_cmpstr(link, ==, expected);
    g_assert_cmpstr(link, ==, "/memfd:godwit-web1 (deleted)");
}

static void
test_size_is_sealed(void)
{
    g_autoptr(GwImage) image = image_new("web1");
    int fd = gw_image_fd(image);
    for (int pages = 0; pages <= 17; pages++) {
        bool same = pages * (uint64_t)GW_PAGE_SIZE == SIZE;
        g_assert_cmpint(ftruncate(fd, (off_t)(pages * GW_PAGE_SIZE)), ==, same ? 0 : -1);
        if (!same)
            g_assert_cmpint(errno, ==, EPERM);
    }
    g_assert_cmpint((int)pwrite(fd, "x", 1, (off_t)SIZE), ==, -1);
    g_assert_cmpint(errno, ==, EPERM);
    g_assert_cmpint(fallocate(fd, 0, (off_t)SIZE, GW_PAGE_SIZE), ==, -1);
    g_assert_cmpint(errno, ==, EPERM);
    /* what is left to do: a later seal, and holes */
    g_assert_cmpint(fcntl(fd, F_ADD_SEALS, 0), ==, 0);
    g_assert_cmpint(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, GW_PAGE_SIZE), ==, 0);
}

static void
test_resident(void)
{
    g_autoptr(GwImage) image = image_new("web1");
    int fd = gw_image_fd(image);
    g_assert_cmpuint(gw_image_resident(image), ==, 0);
    g_assert_cmpint((int)pwrite(fd, "x", 1, 3 * GW_PAGE_SIZE), ==, 1);
    g_assert_cmpuint(gw_image_resident(image), ==, GW_PAGE_SIZE);
    g_assert_cmpint((int)pwrite(fd, "x", 1, 3 * GW_PAGE_SIZE + 17), ==, 1);
    g_assert_cmpuint(gw_image_resident(image), ==, GW_PAGE_SIZE);

    volatile char *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert_true(map != MAP_FAILED);
    map[0] = 1;
    map[15 * GW_PAGE_SIZE] = 1;
    g_assert_cmpuint(gw_image_resident(image), ==, 3 * GW_PAGE_SIZE);
    munmap((void *)map, SIZE);

    g_assert_cmpint(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)SIZE), ==, 0);
    g_assert_cmpuint(gw_image_resident(image), ==, 0);
}

static void
test_new_fails(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *name = g_strnfill(300, 'x'); /* memfd_create(2) takes 249 */
    g_assert_null(gw_image_new(name, SIZE, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_assert_cmpstr(error->message, ==, "making guest memory of 65536 bytes: Invalid argument");
}

static void
test_adopt(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwImage) made = image_new("web1");
    g_assert_cmpint((int)pwrite(gw_image_fd(made), "x", 1, 0), ==, 1);
    int copy = fcntl(gw_image_fd(made), F_DUPFD_CLOEXEC, 0);
    g_autoptr(GwImage) adopted = gw_image_adopt(copy, "web1", &error);
    g_assert_no_error(error);
    g_assert_cmpint(gw_image_fd(adopted), ==, copy);
    g_assert_cmpuint(gw_image_size(adopted), ==, SIZE);
    g_assert_cmpuint(gw_image_inode(adopted), ==, gw_image_inode(made));
    g_assert_cmpuint(gw_image_resident(adopted), ==, GW_PAGE_SIZE);

    /* each has a descriptor of its own */
    g_clear_pointer(&made, gw_image_free);
    g_assert_cmpuint(gw_image_resident(adopted), ==, GW_PAGE_SIZE);
    g_clear_pointer(&adopted, gw_image_free);
    g_assert_false(is_open(copy));
}

/* Refused, and the descriptor is gone. */
static void
assert_not_adopted(int fd, const char *name, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(fd, >=, 0);
    g_assert_null(gw_image_adopt(fd, name, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    g_assert_cmpstr(error->message, ==, message);
    g_assert_false(is_open(fd));
}

static void
test_adopt_refuses_other_names(void)
{
    g_autoptr(GwImage) image = image_new("web10");
    assert_not_adopted(fcntl(gw_image_fd(image), F_DUPFD_CLOEXEC, 0), "web1",
                       "no guest memory of web1: got /memfd:godwit-web10 (deleted), expected "
                       "/memfd:godwit-web1 (deleted)");
    assert_not_adopted(fcntl(gw_image_fd(image), F_DUPFD_CLOEXEC, 0), "web100",
                       "no guest memory of web100: got /memfd:godwit-web10 (deleted), expected "
                       "/memfd:godwit-web100 (deleted)");
    assert_not_adopted(open("/dev/null", O_RDWR | O_CLOEXEC), "web1",
                       "no guest memory of web1: got /dev/null, expected /memfd:godwit-web1 (deleted)");
    assert_not_adopted(memfd_create("web1", MFD_CLOEXEC | MFD_ALLOW_SEALING), "web1",
                       "no guest memory of web1: got /memfd:web1 (deleted), expected "
                       "/memfd:godwit-web1 (deleted)");
}

static void
test_adopt_refuses_closed(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(gw_image_adopt(-1, "web1", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    g_assert_cmpstr(error->message, ==,
                    "no guest memory of web1: got nothing, expected /memfd:godwit-web1 (deleted)");
}

static int
named_memfd(unsigned flags, int seals)
{
    int fd = memfd_create("godwit-web1", MFD_CLOEXEC | flags);
    g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
    if (seals)
        g_assert_cmpint(fcntl(fd, F_ADD_SEALS, seals), ==, 0);
    return fd;
}

static void
test_adopt_refuses_unsealed(void)
{
    static const char *const message = "the guest memory of web1 is not sealed";
    assert_not_adopted(named_memfd(0, 0), "web1", message);
    assert_not_adopted(named_memfd(MFD_ALLOW_SEALING, 0), "web1", message);
    assert_not_adopted(named_memfd(MFD_ALLOW_SEALING, F_SEAL_GROW), "web1", message);
    assert_not_adopted(named_memfd(MFD_ALLOW_SEALING, F_SEAL_SHRINK), "web1", message);

    /* A later version may seal more. */
    g_autoptr(GError) error = NULL;
    int fd = named_memfd(MFD_ALLOW_SEALING, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    g_autoptr(GwImage) image = gw_image_adopt(fd, "web1", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(gw_image_size(image), ==, SIZE);
}

/* --- content ------------------------------------------------------------------------------------------ */

static void
write_page(GwImage *image, unsigned pfn, char byte)
{
    char page[GW_PAGE_SIZE];
    memset(page, byte, sizeof page);
    g_assert_cmpint(gw_image_write(image, pfn * (uint64_t)GW_PAGE_SIZE, page, sizeof page), ==, 0);
}

static void
test_map(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwImage) image = image_new("web1");
    write_page(image, 3, 'a');
    const uint8_t *map = gw_image_map(image, &error);
    g_assert_no_error(error);
    g_assert_true(gw_image_map(image, NULL) == map); /* once is enough */
    g_assert_cmpuint(gw_image_resident(image), ==, GW_PAGE_SIZE);
    g_assert_cmpuint(map[3 * GW_PAGE_SIZE], ==, 'a');
    g_assert_cmpuint(map[4 * GW_PAGE_SIZE - 1], ==, 'a');

    /* It is the memory itself, not a copy of it. */
    write_page(image, 15, 'b');
    g_assert_cmpuint(map[SIZE - 1], ==, 'b');
    g_assert_cmpint(gw_image_punch(image, 3 * GW_PAGE_SIZE, GW_PAGE_SIZE), ==, 0);
    g_assert_cmpuint(map[3 * GW_PAGE_SIZE], ==, 0);
}

static void
test_map_fails(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwImage) image = image_new("web1");
    struct rlimit before, none = {0};
#ifdef __SANITIZE_ADDRESS__
    g_test_skip("AddressSanitizer needs address space of its own meanwhile");
    return;
#endif
    g_assert_cmpint(getrlimit(RLIMIT_AS, &before), ==, 0);
    none.rlim_max = before.rlim_max;
    if (setrlimit(RLIMIT_AS, &none) < 0) {
        g_test_skip("the address space cannot be limited here");
        return;
    }
    const uint8_t *map = gw_image_map(image, &error);
    setrlimit(RLIMIT_AS, &before);
    g_assert_null(map);
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_assert_cmpstr(error->message, ==, "mapping guest memory: Cannot allocate memory");
    g_assert_nonnull(gw_image_map(image, NULL)); /* and may be tried again */
}

/* The runs of data in [from, end) pages, as "first-last" behind each other; ends are exclusive. */
static char *
runs_of(const GwImage *image, unsigned from, unsigned end)
{
    g_autoptr(GString) text = g_string_new("");
    uint64_t at = from * (uint64_t)GW_PAGE_SIZE, run_end = 0, limit = end * (uint64_t)GW_PAGE_SIZE;
    for (; gw_image_next_data(image, NULL, &at, &run_end, limit); at = run_end) {
        g_assert_cmpuint(at % GW_PAGE_SIZE + run_end % GW_PAGE_SIZE, ==, 0);
        g_string_append_printf(text, "%s%u-%u", text->len ? " " : "", (unsigned)(at / GW_PAGE_SIZE),
                               (unsigned)(run_end / GW_PAGE_SIZE));
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void
assert_runs(const GwImage *image, unsigned from, unsigned end, const char *expected)
{
    g_autofree char *runs = runs_of(image, from, end);
    g_assert_cmpstr(runs, ==, expected);
}

static void
test_next_data(void)
{
    g_autoptr(GwImage) image = image_new("web1");
    assert_runs(image, 0, 16, "");
    static const unsigned written[] = {0, 3, 4, 5, 9, 15};
    for (unsigned i = 0; i < G_N_ELEMENTS(written); i++)
        write_page(image, written[i], 'x');
    assert_runs(image, 0, 16, "0-1 3-6 9-10 15-16");
    /* cut at both ends, also inside a run, and empty where only holes are */
    assert_runs(image, 1, 16, "3-6 9-10 15-16");
    assert_runs(image, 4, 9, "4-6");
    assert_runs(image, 0, 4, "0-1 3-4");
    assert_runs(image, 4, 5, "4-5");
    assert_runs(image, 6, 9, "");
    assert_runs(image, 1, 3, "");
    assert_runs(image, 5, 5, "");
    assert_runs(image, 16, 16, "");
    /* a page of zeros that was written is data; one that was only read through a mapping is a hole or data,
     * as the kernel likes, and so not looked at here */
    write_page(image, 7, 0);
    assert_runs(image, 6, 9, "7-8");
    g_assert_cmpint(gw_image_punch(image, 4 * GW_PAGE_SIZE, GW_PAGE_SIZE), ==, 0);
    assert_runs(image, 0, 16, "0-1 3-4 5-6 7-8 9-10 15-16");
    g_assert_cmpint(gw_image_punch(image, 0, SIZE), ==, 0);
    assert_runs(image, 0, 16, "");
}

/* Every set of the first eight pages, looked at through every window. */
static void
test_next_data_every_set(void)
{
    g_autoptr(GwImage) image = image_new("web1");
    for (unsigned set = 0; set < 256; set++) {
        g_assert_cmpint(gw_image_punch(image, 0, SIZE), ==, 0);
        for (unsigned pfn = 0; pfn < 8; pfn++)
            if (set >> pfn & 1)
                write_page(image, pfn, 1);
        for (unsigned from = 0; from <= 8; from++) {
            unsigned seen = 0;
            uint64_t at = from * (uint64_t)GW_PAGE_SIZE, run_end = 0;
            for (; gw_image_next_data(image, NULL, &at, &run_end, SIZE); at = run_end)
                for (uint64_t off = at; off < run_end; off += GW_PAGE_SIZE)
                    seen |= 1u << off / GW_PAGE_SIZE;
            g_assert_cmpuint(seen, ==, set & ~((1u << from) - 1));
        }
    }
}

static void
test_write(void)
{
    g_autoptr(GwImage) image = image_new("web1");
    const uint8_t *map = gw_image_map(image, NULL);
    static const char text[] = "over the boundary of a page";
    uint64_t at = 5 * GW_PAGE_SIZE - 9;
    g_assert_cmpint(gw_image_write(image, at, text, sizeof text), ==, 0);
    g_assert_cmpmem(map + at, sizeof text, text, sizeof text);
    g_assert_cmpuint(map[at - 1], ==, 0);
    g_assert_cmpuint(map[at + sizeof text], ==, 0);
    g_assert_cmpuint(gw_image_resident(image), ==, 2 * GW_PAGE_SIZE);
    g_assert_cmpint(gw_image_write(image, 0, text, 0), ==, 0);

    /* The size is sealed: what lies behind the end is not written, and nothing grows. */
    g_assert_cmpint(gw_image_write(image, SIZE, text, 1), ==, -EPERM);
    g_assert_cmpint(gw_image_write(image, SIZE - 4, text, 8), <, 0);
    g_assert_cmpuint(gw_image_size(image), ==, SIZE);
}

/* Unlike a read through the mapping, it makes no page of a hole. */
static void
test_read(void)
{
    g_autoptr(GwImage) image = image_new("web1");
    g_autofree char *bytes = g_malloc(SIZE);
    memset(bytes, 'x', SIZE);
    write_page(image, 2, 'a');
    write_page(image, 15, 'b');
    g_assert_cmpint(gw_image_read(image, 0, bytes, SIZE), ==, 0);
    for (size_t i = 0; i < SIZE; i++)
        g_assert_cmpint(bytes[i], ==, i / GW_PAGE_SIZE == 2 ? 'a' : i / GW_PAGE_SIZE == 15 ? 'b' : 0);
    g_assert_cmpuint(gw_image_resident(image), ==, 2 * GW_PAGE_SIZE);
    assert_runs(image, 0, 16, "2-3 15-16");

    g_assert_cmpint(gw_image_read(image, 3 * GW_PAGE_SIZE - 1, bytes, 2), ==, 0);
    g_assert_cmpint(bytes[0], ==, 'a');
    g_assert_cmpint(bytes[1], ==, 0);
    g_assert_cmpint(gw_image_read(image, SIZE - 4, bytes, 8), ==, -EIO);
}

static void
test_punch(void)
{
    g_autoptr(GwImage) image = image_new("web1");
    const uint8_t *map = gw_image_map(image, NULL);
    for (unsigned pfn = 0; pfn < 16; pfn++)
        write_page(image, pfn, (char)(pfn + 1));
    g_assert_cmpint(gw_image_punch(image, 4 * GW_PAGE_SIZE, 3 * GW_PAGE_SIZE), ==, 0);
    assert_runs(image, 0, 16, "0-4 7-16");
    for (unsigned pfn = 0; pfn < 16; pfn++)
        g_assert_cmpuint(map[pfn * GW_PAGE_SIZE], ==, pfn >= 4 && pfn < 7 ? 0 : pfn + 1);
    g_assert_cmpint(gw_image_punch(image, 4 * GW_PAGE_SIZE, 3 * GW_PAGE_SIZE), ==,
                    0); /* again: nothing to do */
    g_assert_cmpint(gw_image_punch(image, 0, 0), ==, -EINVAL);
    g_assert_cmpuint(gw_image_size(image), ==, SIZE);
}

typedef struct {
    GwImage *image;
    unsigned first, step;
} PageWriter;

static void *
write_pages(void *data)
{
    PageWriter *self = data;
    for (unsigned round = 0; round < 200; round++)
        for (unsigned pfn = self->first; pfn < 16; pfn += self->step) {
            write_page(self->image, pfn, (char)(self->first + 1));
            if (round % 3 == 0)
                g_assert_cmpint(gw_image_punch(self->image, pfn * (uint64_t)GW_PAGE_SIZE, GW_PAGE_SIZE), ==,
                                0);
        }
    return NULL;
}

/* Several threads at different places at once. */
static void
test_threads(void)
{
    g_autoptr(GwImage) image = image_new("web1");
    const uint8_t *map = gw_image_map(image, NULL);
    PageWriter writers[4];
    GThread *threads[4];
    for (unsigned i = 0; i < 4; i++) {
        writers[i] = (PageWriter){image, i, 4};
        threads[i] = g_thread_new("writer", write_pages, &writers[i]);
    }
    for (unsigned i = 0; i < 4; i++)
        g_thread_join(threads[i]);
    for (unsigned at = 0; at < SIZE; at++)
        if (map[at] != at / GW_PAGE_SIZE % 4 + 1)
            g_error("byte %u is %u", at, map[at]);
}

static void
test_free(void)
{
    gw_image_free(NULL);
    GwImage *image = image_new("web1");
    int fd = gw_image_fd(image);
    g_assert_nonnull(gw_image_map(image, NULL));
    gw_image_free(image);
    g_assert_false(is_open(fd));
    g_autofree char *maps = NULL;
    g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    g_assert_null(strstr(maps, "/memfd:godwit-web1"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/image/new", test_new);
    g_test_add_func("/image/new/fails", test_new_fails);
    g_test_add_func("/image/size-is-sealed", test_size_is_sealed);
    g_test_add_func("/image/resident", test_resident);
    g_test_add_func("/image/adopt", test_adopt);
    g_test_add_func("/image/adopt/other-names", test_adopt_refuses_other_names);
    g_test_add_func("/image/adopt/closed", test_adopt_refuses_closed);
    g_test_add_func("/image/adopt/unsealed", test_adopt_refuses_unsealed);
    g_test_add_func("/image/map", test_map);
    g_test_add_func("/image/map/fails", test_map_fails);
    g_test_add_func("/image/next-data", test_next_data);
    g_test_add_func("/image/next-data/every-set", test_next_data_every_set);
    g_test_add_func("/image/write", test_write);
    g_test_add_func("/image/read", test_read);
    g_test_add_func("/image/punch", test_punch);
    g_test_add_func("/image/threads", test_threads);
    g_test_add_func("/image/free", test_free);
    return g_test_run();
}
