/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a center is. */
#include "center-url.h"

#include "error.h"

#include <string.h>

void
gw_center_url_free(GwCenterUrl *self)
{
    if (!self)
        return;
    g_free(self->host);
    g_free(self->socket);
    g_free(self->text);
    g_free(self);
}

static GwCenterUrl *
parse_https(const char *text)
{
    g_autofree char *full = strstr(text, "://") ? g_strdup(text) : g_strconcat("https://", text, NULL);
    g_autofree char *scheme = NULL, *user = NULL, *host = NULL, *path = NULL, *query = NULL;
    int port = 0;
    if (!g_uri_split(full, G_URI_FLAGS_NONE, &scheme, &user, &host, &port, &path, &query, NULL, NULL) ||
        strcmp(scheme, "https") != 0 || user || !host || !*host || query || (*path && strcmp(path, "/") != 0))
        return NULL;
    GwCenterUrl *self = g_new0(GwCenterUrl, 1);
    self->host = g_ascii_strdown(host, -1);
    self->port = port > 0 ? (unsigned)port : GW_CENTER_PORT;
    self->text =
        g_strdup_printf(strchr(host, ':') ? "https://[%s]:%u" : "https://%s:%u", self->host, self->port);
    return self;
}

GwCenterUrl *
gw_center_url_parse(const char *text, GError **error)
{
    GwCenterUrl *self = NULL;
    if (g_str_has_prefix(text, "unix:") && text[5]) {
        self = g_new0(GwCenterUrl, 1);
        self->socket = g_canonicalize_filename(text + 5, NULL);
        self->text = g_strconcat("unix:", self->socket, NULL);
    } else if (!g_str_has_prefix(text, "unix:")) {
        self = parse_https(text);
    }
    if (!self)
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT,
                    "'%s' is no center: expected https://HOST:PORT or unix:PATH", text);
    return self;
}
