/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unix sockets. A sockaddr_un holds 107 bytes and a runtime directory may be deeper than that: the socket is
 * addressed through a descriptor of its directory, /proc/self/fd/N/NAME, which always fits. */
#include "unix-socket.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Fills `address`; returns the directory's descriptor, which has to stay open while the address is used. */
static int
address_of(const char *path, struct sockaddr_un *address, GError **error)
{
    g_autofree char *directory = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        gw_set_errno(error, errno == ENOENT ? GW_ERROR_NOT_FOUND : GW_ERROR_IO, errno, "%s", directory);
        return -1;
    }
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", fd, name);
    if (n >= (int)sizeof address->sun_path) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "%s: the socket's name is too long", path);
        close(fd);
        return -1;
    }
    return fd;
}

int
gw_unix_socket_connect(const char *path, GError **error)
{
    struct sockaddr_un address;
    int directory = address_of(path, &address, error);
    if (directory < 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int errnum = errno;
        GwError code = errnum == ENOENT         ? GW_ERROR_NOT_FOUND
                       : errnum == ECONNREFUSED ? GW_ERROR_PEER_LOST
                                                : GW_ERROR_IO;
        gw_set_errno(error, code, errnum, "connecting to %s", path);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    close(directory);
    return fd;
}

/* True if nobody answers at `path`, whose file, if there is one, is then gone. */
static bool
make_way(const char *path, GError **error)
{
    int fd = gw_unix_socket_connect(path, NULL);
    if (fd >= 0) {
        close(fd);
        g_set_error(error, GW_ERROR, GW_ERROR_EXISTS, "somebody listens on %s already", path);
        return false;
    }
    struct stat st;
    if (lstat(path, &st) < 0)
        return true; /* what is wrong with the directory, binding will tell */
    if (!S_ISSOCK(st.st_mode)) {
        g_set_error(error, GW_ERROR, GW_ERROR_EXISTS, "%s is there and is no socket", path);
        return false;
    }
    if (unlink(path) < 0 && errno != ENOENT)
        return gw_set_errno(error, GW_ERROR_IO, errno, "removing the old socket %s", path);
    return true;
}

int
gw_unix_socket_listen(const char *path, mode_t mode, GError **error)
{
    struct sockaddr_un address;
    if (!make_way(path, error))
        return -1;
    int directory = address_of(path, &address, error);
    if (directory < 0)
        return -1;

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The file takes the socket's own mode (fchmod before bind), so it is never open wider than asked, and
     * the process-wide umask stays alone. */
    bool ok = fd >= 0 && fchmod(fd, mode) == 0 &&
              bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
              chmod(address.sun_path, mode) == 0 && listen(fd, 128) == 0;
    if (!ok) {
        gw_set_errno(error, GW_ERROR_IO, errno, "listening on %s", path);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    close(directory);
    return fd;
}

ssize_t
gw_fdpass_receive(int socket, void *buffer, size_t size, int ret_fds[GW_FDPASS_MAX], unsigned *ret_n_fds,
                  int timeout_ms, GError **error)
{
    *ret_n_fds = 0;
    struct pollfd ready = {.fd = socket, .events = POLLIN};
    int n_ready;
    gint64 deadline_us = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
    do
        n_ready = poll(&ready, 1, (int)MAX(0, (deadline_us - g_get_monotonic_time()) / 1000));
    while (n_ready < 0 && errno == EINTR);
    if (n_ready == 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_TIMED_OUT, "no descriptors within %d ms", timeout_ms);
        return -1;
    }

    struct iovec io = {.iov_base = buffer, .iov_len = size};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * GW_FDPASS_MAX)];
    } control;
    struct msghdr message = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (n < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "receiving descriptors");
        return -1;
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        unsigned n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(ret_fds, CMSG_DATA(c), n_fds * sizeof(int));
        *ret_n_fds = n_fds;
    }
    return n;
}
