/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest memory as a sealed memfd. */
#include "image.h"

#include "error.h"
#include "kernel-abi.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Not F_SEAL_SEAL: a later version may have to add one. Holes may still be punched (ballooning, free page
 * reports). */
#define IMAGE_SEALS (F_SEAL_GROW | F_SEAL_SHRINK)

struct GwImage {
    int fd;
    uint64_t size_bytes;
    ino_t inode;
    uint8_t *map; /* NULL: not mapped */
};

static GwImage *
image_from_fd(int fd, GError **error)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "guest memory");
        close(fd);
        return NULL;
    }
    GwImage *self = g_new0(GwImage, 1);
    self->fd = fd;
    self->size_bytes = (uint64_t)st.st_size;
    self->inode = st.st_ino;
    return self;
}

GwImage *
gw_image_new(const char *name, uint64_t size_bytes, GError **error)
{
    g_return_val_if_fail(size_bytes > 0 && size_bytes % GW_PAGE_SIZE == 0, NULL);
    g_autofree char *memfd_name = g_strconcat("godwit-", name, NULL);
    int fd = memfd_create(memfd_name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)size_bytes) < 0 || fcntl(fd, F_ADD_SEALS, IMAGE_SEALS) < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "making guest memory of %" G_GUINT64_FORMAT " bytes",
                     size_bytes);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    return image_from_fd(fd, error);
}

char *
gw_image_proc_link(const char *name)
{
    return g_strdup_printf("/memfd:godwit-%s (deleted)", name);
}

GwImage *
gw_image_adopt(int fd, const char *name, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autofree char *link = g_file_read_link(path, NULL);
    g_autofree char *expected = gw_image_proc_link(name);
    if (g_strcmp0(link, expected) != 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "no guest memory of %s: got %s, expected %s",
                    name, link ? link : "nothing", expected);
        close(fd);
        return NULL;
    }
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & IMAGE_SEALS) != IMAGE_SEALS) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "the guest memory of %s is not sealed", name);
        close(fd);
        return NULL;
    }
    return image_from_fd(fd, error);
}

int
gw_image_fd(const GwImage *self)
{
    return self->fd;
}

uint64_t
gw_image_size(const GwImage *self)
{
    return self->size_bytes;
}

ino_t
gw_image_inode(const GwImage *self)
{
    return self->inode;
}

uint64_t
gw_image_resident(const GwImage *self)
{
    struct stat st;
    return fstat(self->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

const uint8_t *
gw_image_map(GwImage *self, GError **error)
{
    if (self->map)
        return self->map;
    void *map = mmap(NULL, self->size_bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, self->fd, 0);
    if (map == MAP_FAILED) {
        gw_set_errno(error, GW_ERROR_IO, errno, "mapping guest memory");
        return NULL;
    }
    self->map = map;
    return self->map;
}

/* Each seek names its place: that threads share the file's position does not matter. To look for data costs
 * nothing, however long the hole is; to look for its end, a visit to each of its pages. */
static uint64_t
find_data(const GwImage *self, uint64_t mem_off)
{
    off_t data = lseek(self->fd, (off_t)mem_off, SEEK_DATA);
    return data < 0 ? UINT64_MAX : (uint64_t)data & ~(uint64_t)(GW_PAGE_SIZE - 1);
}

static uint64_t
find_hole(const GwImage *self, uint64_t mem_off)
{
    off_t hole = lseek(self->fd, (off_t)mem_off, SEEK_HOLE);
    return hole < 0 ? self->size_bytes : (uint64_t)hole;
}

static void
set_hint(GwDataHint *hint, uint64_t start, uint64_t stop)
{
    g_mutex_lock(&hint->lock);
    hint->start = start;
    hint->stop = stop;
    g_mutex_unlock(&hint->lock);
}

static bool
is_in_hint(GwDataHint *hint, uint64_t mem_off, uint64_t *ret_stop)
{
    g_mutex_lock(&hint->lock);
    bool in = mem_off >= hint->start && mem_off < hint->stop;
    *ret_stop = hint->stop;
    g_mutex_unlock(&hint->lock);
    return in;
}

bool
gw_image_next_data(const GwImage *self, GwDataHint *hint, uint64_t *mem_off, uint64_t *ret_run_end,
                   uint64_t end)
{
    uint64_t stop;
    if (!hint || !is_in_hint(hint, *mem_off, &stop)) {
        uint64_t start = find_data(self, *mem_off);
        if (start >= end)
            return false;
        *mem_off = start;
        stop = find_hole(self, start);
        if (hint)
            set_hint(hint, start, stop);
    }
    *ret_run_end = MIN(stop, end);
    return *mem_off < end;
}

int
gw_image_read(const GwImage *self, uint64_t mem_off, void *ret_bytes, size_t size)
{
    char *to = ret_bytes;
    while (size > 0) {
        ssize_t n = pread(self->fd, to, size, (off_t)mem_off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        to += n;
        mem_off += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

int
gw_image_write(const GwImage *self, uint64_t mem_off, const void *bytes, size_t size)
{
    const char *from = bytes;
    while (size > 0) {
        ssize_t n = pwrite(self->fd, from, size, (off_t)mem_off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        from += n;
        mem_off += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

int
gw_image_punch(const GwImage *self, uint64_t mem_off, uint64_t size_bytes)
{
    int failed;
    do
        failed = fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)mem_off,
                           (off_t)size_bytes);
    while (failed && errno == EINTR);
    return failed ? -errno : 0;
}

void
gw_image_free(GwImage *self)
{
    if (!self)
        return;
    if (self->map)
        munmap(self->map, self->size_bytes);
    close(self->fd);
    g_free(self);
}
