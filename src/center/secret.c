/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Random tokens and passwords. */
#include "secret.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#define TOKEN_BYTES       32
#define HEX_BYTES         16
#define PASSWORD_LENGTH   20
#define PASSWORD_ALPHABET "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789" /* no i l o I O 0 1 */

/* getrandom(2) fails only where it is not allowed at all: nothing may go on without it. */
static void
fill(void *to, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t n = getrandom((char *)to + done, length - done, 0);
        if (n < 0 && errno != EINTR)
            g_error("no random numbers from the kernel: %s", g_strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
}

char *
gw_secret_new_token(const char *prefix)
{
    uint8_t bytes[TOKEN_BYTES];
    fill(bytes, sizeof bytes);
    g_autofree char *text = g_base64_encode(bytes, sizeof bytes);
    g_strdelimit(text, "+", '-');
    g_strdelimit(text, "/", '_');
    text[strcspn(text, "=")] = 0;
    char *token = g_strconcat(prefix, text, NULL);
    explicit_bzero(bytes, sizeof bytes);
    explicit_bzero(text, strlen(text));
    return token;
}

char *
gw_secret_new_hex(void)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[HEX_BYTES];
    fill(bytes, sizeof bytes);
    char *text = g_malloc0(2 * sizeof bytes + 1);
    for (size_t i = 0; i < sizeof bytes; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    explicit_bzero(bytes, sizeof bytes);
    return text;
}

/* A byte beyond the last whole alphabet is thrown away: the first letters would be likelier otherwise. */
static char
letter(void)
{
    const unsigned n = sizeof PASSWORD_ALPHABET - 1;
    uint8_t byte;
    do
        fill(&byte, 1);
    while (byte >= 256 - 256 % n);
    return PASSWORD_ALPHABET[byte % n];
}

char *
gw_secret_new_password(void)
{
    char *password = g_malloc0(PASSWORD_LENGTH + 1);
    for (int i = 0; i < PASSWORD_LENGTH; i++)
        password[i] = letter();
    return password;
}

char *
gw_secret_hash(const char *secret)
{
    return g_compute_checksum_for_string(G_CHECKSUM_SHA256, secret, -1);
}
