/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A command's options and arguments: described in a table, read by it, completed from it. Pure. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum { GW_OPTION_FLAG, GW_OPTION_TEXT, GW_OPTION_LIST, GW_OPTION_NUMBER } GwOptionKind;

typedef struct {
    const char *name; /* without its dashes; NULL ends a table */
    GwOptionKind kind;
    /* What help calls the value, and what is completed for it: VM, HOST, FILE …; "a|b" are the only choices.
     */
    const char *value;
    const char *help;
    int64_t min, max; /* of a number */
} GwOption;

typedef struct GwArgs GwArgs;

/* `positional` names the arguments that are no options, "VM FILE [TASK]"; NULL: none. Options stand anywhere,
 * "--" ends them. GW_ERROR_INVALID_ARGUMENT says what is wrong with the command line. --help is known to all
 * and ends the reading. `options` and `argv` are borrowed. */
GwArgs *gw_args_parse(const GwOption *options, const char *positional, int argc, char **argv, GError **error);
void gw_args_free(GwArgs *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwArgs, gw_args_free)

bool gw_args_wants_help(const GwArgs *self);
bool gw_args_flag(const GwArgs *self, const char *name);
const char *gw_args_text(const GwArgs *self, const char *name);            /* NULL: not given */
const char *const *gw_args_list(const GwArgs *self, const char *name);     /* NULL: not given */
bool gw_args_number(const GwArgs *self, const char *name, int64_t *value); /* false: not given, unchanged */
const char *gw_args_positional(const GwArgs *self, unsigned i);            /* NULL: not given */

/* The nearest of the candidates, if it is near enough to have been meant; NULL otherwise. */
const char *gw_did_you_mean(const char *word, const char *const *candidates);
