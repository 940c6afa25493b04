/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a program's certificates are, in PEM. */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct {
    const char *authority;   /* who is trusted */
    const char *certificate; /* one's own; NULL: none is shown */
    const char *key;         /* its key, readable by its owner alone */
} GwTlsFiles;

/* A file's text; gw_secret_free() a key's. GW_ERROR_NOT_FOUND, GW_ERROR_INVALID_CONFIG if it is no text of
 * sensible length, GW_ERROR_NOT_PERMITTED if `is_secret` and others than the owner may read it. */
char *gw_tls_file_read(const char *path, bool is_secret, GError **error);
