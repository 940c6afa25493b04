/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Structured log: to the journal when stderr is the journal's, else lines on stderr.
 *
 * Code logs with g_info(), g_message(), g_warning() and so on; a program sets up once. Lines on stderr read
 * "2026-11-22T10:15:30.123Z godwit-vm[812] warning: text vm=web1". Secrets are never logged. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Sends every log message through here. `program` is a literal. `level`: "error", "warning", "info" or
 * "debug". */
bool gw_log_init(const char *program, const char *level, GError **error);

/* A field that every later message carries, in the journal as GODWIT_NAME. Not thread-safe: before threads
 * start. `name` in lower case is a literal. */
void gw_log_set_field(const char *name, const char *value);
