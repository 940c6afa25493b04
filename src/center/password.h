/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passwords: yescrypt by crypt(5) (libxcrypt). Hashing takes tens of milliseconds and 16 MiB, which is its
 * purpose: never in the main thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define GW_PASSWORD_MIN_BYTES 8
#define GW_PASSWORD_MAX_BYTES 511 /* what crypt(3) takes */

bool gw_password_check(const char *password, GError **error); /* long enough, and not too long */
char *gw_password_hash(const char *password, GError **error); /* with a salt of its own */
/* False also for a hash that is none. A password that is too long costs as much as another. */
bool gw_password_matches(const char *password, const char *hash);
