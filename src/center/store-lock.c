/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store's lock file. */
#include "store-lock.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

/* The pid in the file; 0 if it cannot be told (a disk too full to take it, somebody else's file). */
static long
holder(int fd)
{
    char text[24] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    return n > 0 ? strtol(text, NULL, 10) : 0;
}

static void
write_pid(int fd)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
        g_debug("the store's lock file does not tell our pid: %s", g_strerror(errno));
}

static void
set_held(const char *path, long pid, GError **error)
{
    g_autofree char *who = pid > 0 ? g_strdup_printf("process %ld", pid) : g_strdup("another process");
    g_set_error(error, GW_ERROR, GW_ERROR_EXISTS,
                "the store %s is open already, in %s: only one center may use it; stop that one first", path,
                who);
}

int
gw_store_lock(const char *path, GError **error)
{
    g_autofree char *lock = g_strconcat(path, "-lock", NULL);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        gw_set_errno(error, GW_ERROR_IO, errno, "opening the store's lock file %s", lock);
        return -1;
    }
    int result;
    do
        result = flock(fd, LOCK_EX | LOCK_NB);
    while (result < 0 && errno == EINTR);
    if (result == 0) {
        write_pid(fd);
        return fd;
    }
    if (errno == EWOULDBLOCK)
        set_held(path, holder(fd), error);
    else
        gw_set_errno(error, GW_ERROR_IO, errno, "locking %s", lock);
    close(fd);
    return -1;
}
