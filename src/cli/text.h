/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text for a terminal: foreign strings made harmless, widths, cuts, paragraphs. Pure; results are owned. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

/* What a terminal would obey (controls, escape sequences, changes of writing direction) or what is no UTF-8
 * is written out, such as "\x1b". Line ends and tabs stay. */
char *gw_text_plain(const char *text);

/* A copy of an answer in which each string and member name is plain: what is printed of it can do nothing. */
JsonObject *gw_text_plain_object(JsonObject *object);

/* Columns that a terminal takes for it. */
unsigned gw_text_width(const char *text);

/* On one line, at most `width` columns, with "…" for what had to go; 0: as long as it is. */
char *gw_text_cut(const char *text, unsigned width);

/* Broken at blanks to `width` columns (0: only where it is broken already), each line but the first `indent`
 * columns in. No line end behind the last. The first line is taken to begin at column `indent` too. */
char *gw_text_wrap(const char *text, unsigned width, unsigned indent);
