/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What each command works with: its arguments, the center, the terminal. One thread. */
#pragma once

#include "command.h"
#include "exit-status.h"
#include "fields.h"
#include "session.h"
#include "table.h"

#include <json-glib/json-glib.h>

#define GW_CLI_TIMEOUT_S 60 /* a power action may wait for QEMU, a check for probes */

struct GwCli {
    const GwArgs *args; /* borrowed */
    GwExit status;
    bool json, out_is_tty, colour, can_ask;
    unsigned width;       /* of the terminal; 0: none, nothing is cut */
    GwSession *session;   /* owned; NULL until it is needed */
    GwHttpClient *client; /* owned, likewise */
};

void gw_cli_init(GwCli *self, const GwArgs *args);
void gw_cli_clear(GwCli *self);

/* Which session is used; borrowed. */
const GwSession *gw_cli_session(GwCli *self, GError **error);

/* A client of one's own for the center; 0 waits for ever. */
GwHttpClient *gw_cli_connect(GwCli *self, unsigned timeout_s, GError **error);

/* Calls the center; `body` is taken. The answer is plain (text.h) unless JSON is printed. Unref it. */
JsonObject *gw_cli_call(GwCli *self, const char *method, const char *path, JsonObject *body, GError **error);

/* An error that a call of one's own gave, in the words of the person who waits for it. */
void gw_cli_explain(GwCli *self, GError **error);

/* "/v1/" and its parts, each escaped; NULL-terminated. Owned. */
char *gw_cli_path(const char *first, ...) G_GNUC_NULL_TERMINATED;
/* The same for the command's first argument: a `what` of that name, and what is behind it, may be NULL. */
char *gw_cli_path_of_argument(GwCli *self, const char *what, const char *behind);

/* A body with what all that change something may have: the reason. */
JsonObject *gw_cli_body(GwCli *self);

void gw_cli_print_json(JsonObject *object);
void gw_cli_print_table(GwCli *self, GwTable *table);
/* The answer as JSON if that is wanted, the sentence otherwise. */
void gw_cli_print_done(GwCli *self, JsonObject *reply, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* "name   text", wrapped; nothing if the text is NULL. */
void gw_cli_print_line(GwCli *self, const char *name, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Asks if somebody is there and --yes was not given. GW_ERROR_CANCELLED: no. */
bool gw_cli_confirm(GwCli *self, GError **error, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Colours of states; for GwColumn. */
const char *gw_cli_state_colour(const char *state);
/* The text, in that colour if colours are shown. Owned. */
char *gw_cli_paint(GwCli *self, const char *sgr, const char *text);
