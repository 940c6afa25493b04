/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading PEM files. */
#include "tls-files.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A chain of certificates in PEM is some kilobytes. */
#define MAX_FILE_BYTES (1024 * 1024)

static bool
check(const char *path, const struct stat *st, bool is_secret, GError **error)
{
    if (!S_ISREG(st->st_mode) || st->st_size > MAX_FILE_BYTES) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG, "%s is no file of PEM text", path);
        return false;
    }
    if (is_secret && (st->st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
                    "%s has mode %04o, so others than its owner have access: chmod 600 it", path,
                    (unsigned)(st->st_mode & 07777));
        return false;
    }
    return true;
}

char *
gw_tls_file_read(const char *path, bool is_secret, GError **error)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        int errnum = errno;
        GwError code = errnum == ENOENT || errnum == ENOTDIR ? GW_ERROR_NOT_FOUND
                       : errnum == EACCES                    ? GW_ERROR_NOT_PERMITTED
                                                             : GW_ERROR_IO;
        gw_set_errno(error, code, errnum, "%s", path);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    char *text = NULL;
    if (check(path, &st, is_secret, error)) {
        text = g_malloc0((size_t)st.st_size + 1);
        if (read(fd, text, (size_t)st.st_size) != st.st_size) {
            gw_set_errno(error, GW_ERROR_IO, errno, "reading %s", path);
            g_clear_pointer(&text, g_free);
        }
    }
    close(fd);
    return text;
}
