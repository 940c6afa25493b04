/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passwords, hashed and compared. */
#include "password.h"

#include "error.h"

#include <crypt.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define YESCRYPT "$y$"

bool
gw_password_check(const char *password, GError **error)
{
    size_t length = password ? strlen(password) : 0;
    if (length >= GW_PASSWORD_MIN_BYTES && length <= GW_PASSWORD_MAX_BYTES)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "a password has %d to %d bytes, this one has %zu",
                GW_PASSWORD_MIN_BYTES, GW_PASSWORD_MAX_BYTES, length);
    return false;
}

/* NULL with errno. crypt(3)'s working memory knows the password: it is wiped. */
static char *
hash_with(const char *password, const char *setting)
{
    void *data = NULL;
    int size = 0;
    errno = 0;
    char *hash = g_strdup(crypt_ra(password, setting, &data, &size));
    int errnum = errno;
    if (data)
        explicit_bzero(data, (size_t)size);
    free(data);
    if (!hash)
        errno = errnum;
    return hash;
}

char *
gw_password_hash(const char *password, GError **error)
{
    if (!gw_password_check(password, error))
        return NULL;
    char *setting = crypt_gensalt_ra(YESCRYPT, 0, NULL, 0);
    char *hash = setting ? hash_with(password, setting) : NULL;
    if (!hash)
        gw_set_errno(error, GW_ERROR_FAILED, errno, "hashing a password with yescrypt");
    free(setting);
    return hash;
}

/* Looks at every byte, wherever the first difference is. */
static bool
same(const char *a, const char *b)
{
    size_t length = strlen(a);
    if (strlen(b) != length)
        return false;
    unsigned char difference = 0;
    for (size_t i = 0; i < length; i++)
        difference |= (unsigned char)(a[i] ^ b[i]);
    return difference == 0;
}

bool
gw_password_matches(const char *password, const char *hash)
{
    char cut[GW_PASSWORD_MAX_BYTES + 1];
    bool fits = g_strlcpy(cut, password ? password : "", sizeof cut) < sizeof cut;
    g_autofree char *got = hash ? hash_with(cut, hash) : NULL;
    explicit_bzero(cut, sizeof cut);
    return got && fits && password && same(got, hash);
}
