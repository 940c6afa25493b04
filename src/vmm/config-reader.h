/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A walk over a JSON document that was written by a person: typed members within ranges, and every problem by
 * its place.
 *
 * The reader stands in one object or array at a time, at first in the root. A getter reports what is wrong
 * with its member and returns the fallback, so that callers read on and the person gets all problems at once.
 * Each value is reported at most once. The members that were asked for are the known ones: leaving an object
 * reports its others, with a guess at what was meant.
 *
 * Not for threads. Borrows the document and the findings; both outlive it. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct GwConfigReader GwConfigReader;
typedef enum { GW_MEMBER_OPTIONAL, GW_MEMBER_REQUIRED } GwMemberNeed;

typedef struct {
    const char *expected; /* ends the sentence "expected …" */
    size_t max_bytes;     /* 0: no limit of its own */
    bool (*is_valid)(
        const char *value); /* of non-empty text without control characters; NULL: all is valid */
} GwStringRule;

/* `findings` are those of gw_json_scan() in the same text; NULL: none. */
GwConfigReader *gw_config_reader_new(JsonObject *root, GHashTable *findings);
void gw_config_reader_free(GwConfigReader *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwConfigReader, gw_config_reader_free)

/* Reports the root's unknown members and ends the walk. TRUE if there was no problem at all; otherwise
 * gw_config_report_finish()'s error, in the order of the document. A missing member stands behind those that
 * are there. */
gboolean gw_config_reader_finish(GwConfigReader *self, const char *subject, GError **error);

/* A problem with a member of this object, present or not; NULL: with this object or array itself. */
void gw_config_reader_problem(GwConfigReader *self, const char *member, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* Whether the member is there, of whatever type. It counts as known from now on. */
bool gw_config_reader_has(GwConfigReader *self, const char *member);

/* Getters: the fallback where the member is missing or wrong. */
uint64_t gw_config_reader_uint(GwConfigReader *self, const char *member, GwMemberNeed need, uint64_t min,
                               uint64_t max, uint64_t fallback);
bool gw_config_reader_bool(GwConfigReader *self, const char *member, bool fallback);
/* `names` end with NULL; a name's place among them is its value. */
int gw_config_reader_enum(GwConfigReader *self, const char *member, GwMemberNeed need,
                          const char *const names[], int fallback);
/* New text, or NULL. Empty text and control characters are refused whatever the rule says. */
char *gw_config_reader_string(GwConfigReader *self, const char *member, GwMemberNeed need,
                              const GwStringRule *rule);

/* Steps into a member; false, and not entered, if it is missing or of another type. An array is entered even
 * when it is too long (which is reported): `ret_n` elements, at most `max`, are to be read. */
bool gw_config_reader_enter(GwConfigReader *self, const char *member, GwMemberNeed need);
bool gw_config_reader_enter_array(GwConfigReader *self, const char *member, guint max, guint *ret_n);

/* The same for the elements of the array that the reader stands in. */
bool gw_config_reader_enter_item(GwConfigReader *self, guint i);
bool gw_config_reader_enter_array_item(GwConfigReader *self, guint i, guint max, guint *ret_n);
bool
gw_config_reader_uint_item(GwConfigReader *self, guint i, uint64_t min, uint64_t max, uint64_t *ret_value);

/* Steps out; reports the unknown members of an object. */
void gw_config_reader_leave(GwConfigReader *self);

/* Where the reader stands, "" at the root; new text. */
char *gw_config_reader_pointer(GwConfigReader *self);
