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

void
gw_image_free(GwImage *self)
{
    if (!self)
        return;
    close(self->fd);
    g_free(self);
}
