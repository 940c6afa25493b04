/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Questions to the person at the terminal. */
#include "prompt.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define PASSWORD_LIMIT 1024
#define CTRL_C         3
#define CTRL_D         4
#define BACKSPACE      8
#define CTRL_U         21
#define DELETE         127

bool
gw_prompt_is_possible(void)
{
    return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

bool
gw_prompt_yes(const char *question)
{
    char line[64] = "";
    fprintf(stderr, "%s [y/N] ", question);
    fflush(stderr);
    for (size_t n = 0; n + 1 < sizeof line && read(STDIN_FILENO, line + n, 1) == 1; n++)
        if (line[n] == '\n')
            break;
    g_strstrip(line);
    return g_ascii_strcasecmp(line, "y") == 0 || g_ascii_strcasecmp(line, "yes") == 0;
}

void
gw_prompt_forget(char *password)
{
    if (password)
        explicit_bzero(password, strlen(password));
    g_free(password);
}

/* Key by key, since the terminal's own editing is off together with its signals: a Ctrl-C that ended us here
 * would leave a terminal without echo. False: given up. */
static bool
read_keys(int fd, char password[PASSWORD_LIMIT])
{
    size_t n = 0;
    char key = 0;
    while (read(fd, &key, 1) == 1 && key != CTRL_C && (key != CTRL_D || n > 0)) {
        if (key == '\n' || key == '\r')
            return true;
        if (key == BACKSPACE || key == DELETE) {
            while (n > 0 && ((unsigned char)password[n - 1] & 0xc0) == 0x80)
                n--; /* the rest of a character in UTF-8 */
            n -= n > 0;
            explicit_bzero(password + n, PASSWORD_LIMIT - n);
        } else if (key == CTRL_U) {
            explicit_bzero(password, PASSWORD_LIMIT);
            n = 0;
        } else if (n + 1 < PASSWORD_LIMIT) {
            password[n++] = key;
        }
    }
    return false;
}

char *
gw_prompt_password(const char *question, GError **error)
{
    char password[PASSWORD_LIMIT] = "";
    struct termios before, silent;
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || tcgetattr(fd, &before) != 0) {
        g_set_error_literal(
            error, GW_ERROR, GW_ERROR_NOT_PERMITTED,
            "there is no terminal to ask for the password: use --password-file FILE, or - for "
            "standard input");
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    silent = before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG);
    silent.c_cc[VMIN] = 1;
    silent.c_cc[VTIME] = 0;
    tcsetattr(fd, TCSAFLUSH, &silent);
    dprintf(fd, "%s", question);
    bool done = read_keys(fd, password);
    dprintf(fd, "\n");
    tcsetattr(fd, TCSAFLUSH, &before);
    close(fd);
    char *result = done ? g_strdup(password) : NULL;
    explicit_bzero(password, sizeof password);
    if (!done)
        g_set_error_literal(error, GW_ERROR, GW_ERROR_CANCELLED, "given up: nothing was done");
    return result;
}

char *
gw_prompt_password_from(const char *path, GError **error)
{
    char password[PASSWORD_LIMIT] = "";
    size_t n = 0;
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        gw_set_errno(error, errno == ENOENT ? GW_ERROR_NOT_FOUND : GW_ERROR_IO, errno, "%s", path);
        return NULL;
    }
    while (n < sizeof password && read(fd, password + n, 1) == 1 && password[n] != '\n')
        n++;
    close(fd);
    char *result = NULL;
    if (n == sizeof password) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "%s: the password is longer than %zu bytes",
                    path, sizeof password - 1);
    } else {
        password[n] = '\0';
        result = g_strdup(g_strchomp(password));
    }
    explicit_bzero(password, sizeof password);
    if (result && !*result) {
        g_clear_pointer(&result, g_free);
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "%s: there is no password in it", path);
    }
    return result;
}
