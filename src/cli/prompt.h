/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Questions to the person at the terminal, and secrets that come another way. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Somebody sits there: standard input and standard error are a terminal. */
bool gw_prompt_is_possible(void);

/* Asks on standard error; only "y" and "yes" are yes. */
bool gw_prompt_yes(const char *question);

/* Read without echo. GW_ERROR_CANCELLED on Ctrl-C or Ctrl-D, GW_ERROR_NOT_PERMITTED without a terminal. Free
 * it with gw_prompt_forget(). */
char *gw_prompt_password(const char *question, GError **error);

/* The first line of a file, "-" for standard input; likewise to be forgotten. */
char *gw_prompt_password_from(const char *path, GError **error);

void gw_prompt_forget(char *password); /* overwrites, then frees; NULL is fine */
