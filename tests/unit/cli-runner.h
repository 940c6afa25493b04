/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs the program `godwit` (GODWIT_CLI) as a person without a terminal does, against a fake center. */
#pragma once

#include "fake-center.h"

#include <gio/gio.h>

typedef struct {
    int status;
    char *out, *err;
} Outcome;

void outcome_clear(Outcome *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Outcome, outcome_clear)

/* `home` is the directory of the configuration. `logged_in`: by the environment. */
GSubprocess *cli_start(FakeCenter *center, const char *home, bool logged_in, const char *const *words);

/* Waits for its end. Whatever it printed, no escape sequence is in it. */
void cli_finish(GSubprocess *process, const char *input, Outcome *outcome);

void assert_says(const char *text, const char *part);
