/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: what is typed or pasted at `godwit-host join`: a center's address, and behind a line end a
 * token. */
#include "error.h"
#include "join.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_center(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *host = NULL;
    unsigned port = 0;
    if (!gw_join_parse_center(text, &host, &port, &error)) {
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
        g_assert_null(host);
        return;
    }
    g_assert_true(*host && !strpbrk(host, "/@?#"));
    g_assert_true(port >= 1 && port <= 65535);
}

/* A refusal must not tell the secret. */
static void
check_token(const char *token)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *fingerprint = gw_join_parse_fingerprint(token, &error);
    if (fingerprint) {
        g_assert_cmpuint(strlen(fingerprint), ==, 64);
        g_assert_cmpuint(strspn(fingerprint, "0123456789abcdef"), ==, 64);
        g_assert_cmpuint(strlen(token), >, 65);
        return;
    }
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT);
    g_assert_true(strlen(token) < 32 || !strstr(error->message, token));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) lines = g_strsplit(text, "\n", 2);
    check_center(lines[0] ? lines[0] : "");
    check_token(lines[0] && lines[1] ? lines[1] : "");
    return 0;
}
