/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A strict reading of JSON text (RFC 8259) ahead of json-glib, for documents that a person wrote. */
#pragma once

#include <glib.h>

/* Reads `length` bytes to the end. NULL with GW_ERROR_INVALID_ARGUMENT, line and column, if they are no JSON
 * text, are not UTF-8, hold a NUL even as an escape, or nest deeper than GW_JSON_MAX_DEPTH.
 *
 * Otherwise what is correct JSON but cannot be seen in json-glib's tree any more: JSON pointer → sentence,
 * both owned by the table. Such places are members that stand twice in one object (json-glib keeps the last)
 * and integers beyond 64 bits (json-glib wraps them). Empty for nearly every document. */
GHashTable *gw_json_scan(const char *text, size_t length, GError **error);

/* Appends "/" and the token with "~" and "/" escaped as RFC 6901 says. Control characters become "\u000a", so
 * that a pointer can stand in one line of text. */
void gw_json_pointer_append(GString *pointer, const char *token);
void gw_json_pointer_append_index(GString *pointer, guint index);
