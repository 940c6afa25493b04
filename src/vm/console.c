/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A serial port's output in a file that is cut in half whenever it has grown to twice what is kept. */
#include "console.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct GwConsole {
    char *path;
    int file;     /* owned, O_APPEND */
    guint64 base; /* position of the file's first byte */
    size_t size;  /* of the file */
    int socket;   /* owned; -1: not attached */
    guint watch;
    GwConsoleFollower follower;
    void *user_data;
};

GwConsole *
gw_console_new(const char *path, GwConsoleFollower follower, void *user_data, GError **error)
{
    int file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "opening %s", path);
        return NULL;
    }
    GwConsole *self = g_new0(GwConsole, 1);
    self->path = g_strdup(path);
    self->file = file;
    self->size = (size_t)lseek(file, 0, SEEK_END);
    self->socket = -1;
    self->follower = follower;
    self->user_data = user_data;
    return self;
}

/* The watch itself goes by the return value of its own function, or is removed here. */
static void
detach(GwConsole *self)
{
    if (self->socket < 0)
        return;
    g_clear_handle_id(&self->watch, g_source_remove);
    close(self->socket);
    self->socket = -1;
}

/* Keeps the newer half. */
static void
cut(GwConsole *self)
{
    g_autofree char *half = g_malloc(GW_CONSOLE_KEPT);
    ssize_t n = pread(self->file, half, GW_CONSOLE_KEPT, (off_t)(self->size - GW_CONSOLE_KEPT));
    if (n != GW_CONSOLE_KEPT || ftruncate(self->file, 0) < 0 || write(self->file, half, (size_t)n) != n)
        g_warning("%s: cutting the console's log: %s", self->path, g_strerror(errno));
    self->base += self->size - GW_CONSOLE_KEPT;
    self->size = (size_t)lseek(self->file, 0, SEEK_END);
}

static gboolean
on_output(gint fd, GIOCondition condition, gpointer data)
{
    GwConsole *self = data;
    char output[65536];
    ssize_t n = recv(fd, output, sizeof output, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    if (n <= 0) {
        self->watch = 0;
        detach(self); /* QEMU has ended */
        return G_SOURCE_REMOVE;
    }
    ssize_t written = write(self->file, output, (size_t)n);
    if (written > 0)
        self->size += (size_t)written;
    if (self->size >= 2 * GW_CONSOLE_KEPT)
        cut(self);
    if (self->follower)
        self->follower(output, (size_t)n, self->user_data);
    return G_SOURCE_CONTINUE;
}

void
gw_console_attach(GwConsole *self, int fd)
{
    detach(self);
    self->socket = fd;
    self->watch = g_unix_fd_add(fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_output, self);
}

GBytes *
gw_console_read(GwConsole *self, guint64 *from, GError **error)
{
    *from = CLAMP(*from, self->base, self->base + self->size);
    size_t length = (size_t)(self->base + self->size - *from);
    g_autofree char *data = g_malloc(length + 1);
    ssize_t n = pread(self->file, data, length, (off_t)(*from - self->base));
    if (n < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "reading %s", self->path);
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&data), (gsize)n);
}

bool
gw_console_write(GwConsole *self, const void *data, size_t length, GError **error)
{
    if (self->socket < 0) {
        g_set_error_literal(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                            "the VM is off: nobody reads this console");
        return false;
    }
    ssize_t n = send(self->socket, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n == (ssize_t)length)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_WRONG_STATE,
                "the guest took %zd of %zu bytes: it does not read its console", MAX(n, 0), length);
    return false;
}

void
gw_console_free(GwConsole *self)
{
    if (!self)
        return;
    detach(self);
    close(self->file);
    g_free(self->path);
    g_free(self);
}
