/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Directories and privileges. */
#include "center-setup.h"

#include "error.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

static bool
become(const char *user, uid_t uid, gid_t gid, GError **error)
{
    if ((user ? initgroups(user, gid) : setgroups(0, NULL)) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
        return gw_set_errno(error, GW_ERROR_NOT_PERMITTED, errno, "becoming user %s", user ? user : "");
    return true;
}

/* A directory that is not there is made with `mode`, and is `user`'s (NULL: ours). */
static bool
make_directory(const char *path, mode_t mode, const struct passwd *user, GError **error)
{
    if (g_file_test(path, G_FILE_TEST_IS_DIR))
        return true;
    if (g_mkdir_with_parents(path, 0755) < 0 || chmod(path, mode) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "making %s", path);
    if (user && chown(path, user->pw_uid, user->pw_gid) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "giving %s to user %s", path, user->pw_name);
    return true;
}

bool
gw_center_set_up(const GwCenterConfig *config, GError **error)
{
    const struct passwd *user = NULL;
    if (config->user && geteuid() == 0) {
        user = getpwnam(config->user);
        if (!user) {
            g_set_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG,
                        "[center] user: there is no user '%s' on this machine", config->user);
            return false;
        }
    }
    g_autofree char *socket_dir = g_path_get_dirname(config->socket);
    umask(077);
    if (!make_directory(config->data_dir, 0700, user, error) ||
        !make_directory(socket_dir, 0755, user, error))
        return false;
    return !user || become(user->pw_name, user->pw_uid, user->pw_gid, error);
}

bool
gw_center_become_owner(const GwCenterConfig *config, GError **error)
{
    struct stat status;
    umask(077);
    if (stat(config->data_dir, &status) < 0)
        return gw_set_errno(error, GW_ERROR_NOT_FOUND, errno, "%s", config->data_dir);
    return geteuid() != 0 || status.st_uid == 0 || become(NULL, status.st_uid, status.st_gid, error);
}

char *
gw_center_initial_password_file(const GwCenterConfig *config)
{
    return g_build_filename(config->data_dir, "initial-password", NULL);
}
