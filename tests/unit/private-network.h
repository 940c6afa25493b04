/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A network of the test's own, in which it may do as it likes. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Takes this thread, and those that it will start, into a new network namespace whose loopback is up. False,
 * with the reason as the test's result, where we may not. */
bool private_network_enter(void);

/* Runs ip(8), tc(8) and their like, several behind semicolons; fails the test if one fails. */
void private_network_run(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* What such a command prints; the caller's. */
char *private_network_output(const char *command);
