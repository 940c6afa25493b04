/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest memory: its size is sealed, it takes no memory until written, and nothing else is taken for it. */
#include "image.h"

#include "error.h"
#include "kernel-abi.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
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

static void
test_free(void)
{
    gw_image_free(NULL);
    GwImage *image = image_new("web1");
    int fd = gw_image_fd(image);
    gw_image_free(image);
    g_assert_false(is_open(fd));
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
    g_test_add_func("/image/free", test_free);
    return g_test_run();
}
