/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Nice values of sessions. */
#include "autogroup.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

void
gw_autogroup_set_nice(pid_t pid, int nice_value)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/autogroup", pid);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    dprintf(fd, "%d", nice_value);
    close(fd);
}
