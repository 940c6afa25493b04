/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a program's certificates are, in PEM. */
#pragma once

typedef struct {
    const char *authority;   /* who is trusted */
    const char *certificate; /* one's own; NULL: none is shown */
    const char *key;         /* its key, readable by its owner alone */
} GwTlsFiles;
