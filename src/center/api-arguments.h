/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Members of a request's body, read by name, type and range.
 *
 * The first mistake is kept, and what is read behind it are defaults; gw_arguments_end() tells it. It also
 * refuses members that nobody read: a program that writes "too" for "to" has to be told, not obeyed in part.
 * What is returned is borrowed from the body, or lives as long as the arguments. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

#define GW_REASON_LIMIT 500 /* bytes of "reason", which every change may carry */

typedef struct {
    JsonObject *body; /* borrowed */
    GPtrArray *read;  /* names asked for; literals */
    GPtrArray *lists; /* owned string lists that were returned */
    GError *error;    /* the first mistake */
} GwArguments;

typedef enum { GW_OPTIONAL, GW_REQUIRED } GwPresence;

void gw_arguments_init(GwArguments *self, JsonObject *body);
void gw_arguments_clear(GwArguments *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwArguments, gw_arguments_clear)

/* `name` is a literal in all of these. An optional member that is null reads as absent. A string is 1 to
 * `max_bytes` long; NULL if absent. */
const char *gw_arguments_string(GwArguments *self, const char *name, GwPresence presence, size_t max_bytes);
/* One of a NULL-terminated list: its index; -1 if absent. */
int gw_arguments_choice(GwArguments *self, const char *name, GwPresence presence, const char *const *choices);
int64_t gw_arguments_int(GwArguments *self, const char *name, GwPresence presence, int64_t min, int64_t max,
                         int64_t fallback);
double gw_arguments_number(GwArguments *self, const char *name, GwPresence presence, double min, double max);
bool gw_arguments_bool(GwArguments *self, const char *name, GwPresence presence, bool fallback);
/* NULL-terminated; NULL if absent. At most `max` strings of at most `max_bytes`. */
const char *const *
gw_arguments_strings(GwArguments *self, const char *name, GwPresence presence, guint max, size_t max_bytes);
JsonObject *gw_arguments_object(GwArguments *self, const char *name, GwPresence presence);

/* A mistake that the caller found in a member. */
void gw_arguments_refuse(GwArguments *self, const char *name, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* False with GW_ERROR_INVALID_ARGUMENT if anything was wrong, or a member is unknown. */
bool gw_arguments_end(GwArguments *self, GError **error);

/* [a-z0-9][a-z0-9-]{0,62}: a host's name is a DNS label, as it stands in its certificate. */
bool gw_is_host_name(const char *name);
