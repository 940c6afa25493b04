/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What may stand next on a command line. */
#pragma once

#include <glib.h>

/* Names that only the center knows: `what` is VM, HOST, TASK, USER. Adds owned strings; silent if it cannot.
 */
typedef void (*GwCompleteNames)(const char *what, GPtrArray *candidates, void *user_data);

/* The words behind "godwit", of which the last is the one to complete and may be empty. Owned strings, not
 * yet compared with that word; ":files" stands for the files here. */
GPtrArray *gw_complete(int argc, char **argv, GwCompleteNames names, void *user_data);

/* The same from the center of the session, printed: what the shell's function calls. */
int gw_complete_main(int argc, char **argv);
