/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Walks a configuration file of groups and keys, and keeps every problem with the place where it stands. */
#pragma once

#include "config-reader.h"

#include <glib.h>
#include <stdbool.h>

typedef struct GwConfReader GwConfReader;

/* A group's header: "[switch guests]" is of kind "switch" and named "guests", "[host]" has the name "". */
typedef struct {
    char *kind, *name;
    char *header; /* as it is looked up, and shown */
    unsigned line;
} GwConfGroup;

/* Lines that are none are problems, and are left out. */
GwConfReader *gw_conf_reader_new(const char *text);
void gw_conf_reader_free(GwConfReader *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwConfReader, gw_conf_reader_free)

/* All groups (GwConfGroup), in the order of the text; borrowed. */
GArray *gw_conf_reader_groups(GwConfReader *self);

/* Steps into a group, whether it is there or not; keys are looked up in it. A key counts as known once it
 * was asked for. */
void gw_conf_reader_enter(GwConfReader *self, const char *header);
/* Steps out; keys that nobody asked for are problems. */
void gw_conf_reader_leave(GwConfReader *self);

bool gw_conf_reader_has(GwConfReader *self, const char *key);

/* The value, NULL if there is none or it is wrong. The caller's. */
char *gw_conf_reader_string(GwConfReader *self, const char *key, const GwStringRule *rule);
/* The same for a list "a;b;"; never NULL, and without the wrong ones. */
char **gw_conf_reader_list(GwConfReader *self, const char *key, const GwStringRule *rule);
/* These leave the value alone if there is none. */
void gw_conf_reader_flag(GwConfReader *self, const char *key, bool *value);
void gw_conf_reader_uint(GwConfReader *self, const char *key, unsigned min, unsigned max, unsigned *value);

/* A problem with a key of the group that the reader stands in, present or not; NULL: with the group. */
void gw_conf_reader_problem(GwConfReader *self, const char *key, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* TRUE if there was no problem; else GW_ERROR_INVALID_CONFIG with all of them in the order of the text. */
gboolean gw_conf_reader_finish(GwConfReader *self, const char *subject, GError **error);
