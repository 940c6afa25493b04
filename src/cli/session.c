/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sessions.
 *
 * The authority's certificate is kept in the session's file, so that the two cannot come apart. The client
 * wants a file's name: it gets that of a memory file (memfd), which needs no place and leaves nothing. */
#include "session.h"

#include "center-url.h"
#include "error.h"
#include "json-text.h"
#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_LIMIT (256 * 1024)

GwSession *
gw_session_new(const char *center)
{
    GwSession *self = g_new0(GwSession, 1);
    self->center = g_strdup(center);
    return self;
}

void
gw_session_free(GwSession *self)
{
    if (!self)
        return;
    if (self->token)
        explicit_bzero(self->token, strlen(self->token));
    g_free(self->token);
    g_free(self->center);
    g_free(self->ca);
    g_free(self->user);
    g_free(self->role);
    g_free(self->expires);
    g_free(self);
}

char *
gw_session_path(void)
{
    return g_build_filename(g_get_user_config_dir(), "godwit", "session.json", NULL);
}

/* The whole file, if nobody else can have read or written it. */
static char *
read_private(const char *path, size_t *length, GError **error)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        gw_set_errno(error, errno == ENOENT ? GW_ERROR_NOT_FOUND : GW_ERROR_IO, errno, "%s", path);
        return NULL;
    }
    g_autofree char *text = g_malloc(FILE_LIMIT);
    gssize n = fstat(fd, &status) == 0 ? 0 : -1;
    bool is_private =
        n == 0 && S_ISREG(status.st_mode) && !(status.st_mode & 077) && status.st_uid == geteuid();
    if (is_private)
        n = read(fd, text, FILE_LIMIT);
    if (n < 0)
        gw_set_errno(error, GW_ERROR_IO, errno, "%s", path);
    else if (!is_private)
        g_set_error(error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
                    "%s holds a session and is open to other users: 'chmod 600' it if nobody read it, else "
                    "remove it and 'godwit login' anew",
                    path);
    close(fd);
    *length = (size_t)MAX(n, 0);
    return n >= 0 && is_private ? g_steal_pointer(&text) : NULL;
}

GwSession *
gw_session_load(const char *path, GError **error)
{
    size_t length = 0;
    g_autoptr(GError) cause = NULL;
    g_autofree char *text = read_private(path, &length, &cause);
    if (!text) {
        g_propagate_error(error, g_steal_pointer(&cause));
        return NULL;
    }
    g_autoptr(JsonObject) object = gw_json_parse_object(text, (gssize)length, NULL);
    const char *center = object ? gw_json_get_string(object, "center") : NULL;
    g_autoptr(GwCenterUrl) url = center ? gw_center_url_parse(center, NULL) : NULL;
    explicit_bzero(text, length);
    if (!url) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "%s is damaged: 'godwit login' writes a new one", path);
        return NULL;
    }
    GwSession *self = gw_session_new(url->text);
    self->ca = g_strdup(gw_json_get_string(object, "ca"));
    self->token = g_strdup(gw_json_get_string(object, "token"));
    self->user = g_strdup(gw_json_get_string(object, "user"));
    self->role = g_strdup(gw_json_get_string(object, "role"));
    self->expires = g_strdup(gw_json_get_string(object, "expires"));
    return self;
}

bool
gw_session_save(const GwSession *self, const char *path, GError **error)
{
    g_autoptr(JsonObject) object = json_object_new();
    json_object_set_string_member(object, "center", self->center);
    json_object_set_string_member(object, "ca", self->ca);
    json_object_set_string_member(object, "token", self->token);
    json_object_set_string_member(object, "user", self->user);
    json_object_set_string_member(object, "role", self->role);
    json_object_set_string_member(object, "expires", self->expires);
    g_autofree char *text = gw_json_object_text(object, true);
    g_autofree char *directory = g_path_get_dirname(path);
    if (g_mkdir_with_parents(directory, 0700) != 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "%s", directory);
    bool done =
        g_file_set_contents_full(path, text, (gssize)strlen(text),
                                 G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, error);
    explicit_bzero(text, strlen(text));
    return done;
}

bool
gw_session_remove(const char *path, GError **error)
{
    return unlink(path) == 0 || errno == ENOENT || gw_set_errno(error, GW_ERROR_IO, errno, "%s", path);
}

static const char *
environment(const char *name)
{
    const char *value = g_getenv(name);
    return value && *value ? value : NULL;
}

/* The login's file, or what stands in for it. A damaged file is only in the way if it is needed. */
static GwSession *
base_session(GError **error)
{
    g_autofree char *path = gw_session_path();
    g_autoptr(GError) cause = NULL;
    const char *center = environment("GODWIT_CENTER");
    g_autoptr(GwCenterUrl) url = center ? gw_center_url_parse(center, error) : NULL;
    if (center && !url)
        return NULL;
    g_autoptr(GwSession) stored = gw_session_load(path, &cause);
    if (stored && (!url || strcmp(url->text, stored->center) == 0))
        return g_steal_pointer(&stored);
    if (url)
        return gw_session_new(url->text);
    if (!g_error_matches(cause, GW_ERROR, GW_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&cause));
        return NULL;
    }
    if (access(GW_CENTER_SOCKET, R_OK | W_OK) == 0)
        return gw_session_new("unix:" GW_CENTER_SOCKET);
    g_set_error_literal(error, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED,
                        "not logged in: 'godwit login https://CENTER:7440' opens a session");
    return NULL;
}

GwSession *
gw_session_find(GError **error)
{
    g_autoptr(GwSession) self = base_session(error);
    if (!self)
        return NULL;
    const char *token = environment("GODWIT_TOKEN"), *ca = environment("GODWIT_CA");
    if (token) {
        g_free(self->token);
        self->token = g_strdup(token);
        g_clear_pointer(&self->user, g_free);
        g_clear_pointer(&self->role, g_free);
        g_clear_pointer(&self->expires, g_free);
    }
    if (ca) {
        g_clear_pointer(&self->ca, g_free);
        if (!g_file_get_contents(ca, &self->ca, NULL, error)) {
            g_prefix_error(error, "GODWIT_CA: ");
            return NULL;
        }
    }
    return g_steal_pointer(&self);
}

static int
memory_file(const char *text, GError **error)
{
    int fd = memfd_create("godwit-ca", MFD_CLOEXEC);
    size_t length = strlen(text);
    if (fd >= 0 && write(fd, text, length) == (ssize_t)length)
        return fd;
    gw_set_errno(error, GW_ERROR_IO, errno, "memfd_create");
    if (fd >= 0)
        close(fd);
    return -1;
}

static GwHttpClient *
connect_tls(const GwSession *self, const GwCenterUrl *url, unsigned timeout_s, GError **error)
{
    if (!self->ca) {
        g_set_error(
            error, GW_ERROR, GW_ERROR_NOT_AUTHENTICATED,
            "nothing says by whom %s is trusted: set GODWIT_CA to the certificate of its authority, or "
            "'godwit login %s'",
            self->center, self->center);
        return NULL;
    }
    int fd = memory_file(self->ca, error);
    if (fd < 0)
        return NULL;
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    GwTlsFiles files = {.authority = path};
    GwHttpClient *client = gw_http_client_new_tls(url->host, url->port, &files, NULL, timeout_s, error);
    close(fd);
    return client;
}

GwHttpClient *
gw_session_connect(const GwSession *self, unsigned timeout_s, GError **error)
{
    g_autoptr(GwCenterUrl) url = gw_center_url_parse(self->center, error);
    if (!url)
        return NULL;
    GwHttpClient *client = url->socket ? gw_http_client_new_unix(url->socket, timeout_s, error)
                                       : connect_tls(self, url, timeout_s, error);
    if (client && self->token)
        gw_http_client_set_bearer(client, self->token);
    return client;
}
