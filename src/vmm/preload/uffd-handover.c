/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Preloaded into QEMU: makes a userfaultfd of QEMU's address space and hands it to the supervisor.
 *
 * A userfaultfd acts on the address space in which it was made, whoever holds it, so this, and
 * the touch of what disks write (direct-read.c), is all that has to run inside QEMU. It is made from an
 * inherited descriptor of /dev/userfaultfd (QEMU has no rights of its own) and sent over an inherited socket;
 * both are closed then. QEMU keeps its copy of the userfaultfd open on purpose: were the supervisor's the
 * last, its death would close it, and in post-copy missing pages would then read as zeros. A supervisor that
 * adopts the guest takes it back from here.
 *
 * Runs once, before main() and so before QEMU's seccomp filter, allocates nothing, starts nothing. On failure
 * it says why on stderr and QEMU runs on; the supervisor sees the socket close without a descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

static int
inherited_fd(const char *variable)
{
    const char *text = getenv(variable);
    int fd = text ? atoi(text) : -1;
    unsetenv(variable);
    return fd;
}

static int
send_fd(int socket, int fd)
{
    char byte = 'u';
    struct iovec io = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof fd)];
    } control = {0};
    struct msghdr message = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    control.header =
        (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    return sendmsg(socket, &message, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

__attribute__((constructor)) static void
hand_over(void)
{
    unsetenv("LD_PRELOAD"); /* for QEMU alone, not for what it may start */
    int device = inherited_fd("GODWIT_UFFD_DEVICE");
    int socket = inherited_fd("GODWIT_UFFD_SOCKET");
    if (device < 0 || socket < 0)
        return;

    int uffd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    if (uffd < 0 || send_fd(socket, uffd) < 0)
        fprintf(stderr, "godwit: handing over the userfaultfd: %s\n", strerror(errno));
    close(device);
    close(socket);
}
