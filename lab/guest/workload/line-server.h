/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A TCP server of one-line commands, each answered with one line of JSON. */
#pragma once

#include <stdio.h>

/* Called in a thread of the client's own, so it may block. `words` are those of the line, at least one.
 * Writes one JSON object to `reply`; the newline is added. */
typedef void GwLineHandler(void *context, char *const *words, unsigned n_words, FILE *reply);

/* A listening socket on all addresses, or -errno. */
int gw_line_server_listen(unsigned port);

/* Serves for ever. At most 32 clients at once; a further one is told so. */
_Noreturn void gw_line_server_run(int listen_fd, GwLineHandler *handler, void *context);

/* The answer to what cannot be done. `text` must need no escapes. */
void gw_line_reply_error(FILE *reply, const char *text);
