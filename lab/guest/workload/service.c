/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Goes to the background in a way that lets init wait until the work is really under way. */
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int
gw_service_detach(void)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -errno;
    }
    pid_t pid = fork();
    if (pid < 0) {
        return -errno;
    }
    if (pid > 0) {
        char byte;
        close(fds[1]);
        ssize_t n;
        do {
            n = read(fds[0], &byte, 1);
        } while (n < 0 && errno == EINTR);
        _exit(n == 1 ? 0 : 1);
    }
    close(fds[0]);
    setsid();
    return fds[1];
}

void
gw_service_ready(int ready_fd)
{
    ssize_t n = write(ready_fd, "r", 1);
    (void)n; /* nobody waits any more: nobody to tell */
    close(ready_fd);
}
