/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The secrets that the center makes: from the kernel's random numbers, known to their owner alone; what the
 * center keeps of one is its SHA-256, which is enough where a secret is too long to be guessed. What is
 * returned goes to gw_secret_free() (certificate.h). */
#pragma once

#include <glib.h>

char *gw_secret_new_token(const char *prefix); /* 256 bits in base64url behind the prefix */
char *gw_secret_new_hex(void);                 /* 128 bits in 32 hexadecimal digits */
char *gw_secret_new_password(void); /* 20 letters and digits that nobody takes for another: 115 bits */

char *gw_secret_hash(const char *secret); /* 64 hexadecimal digits; no secret, owned */
