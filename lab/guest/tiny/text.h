/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Words in and out of the tiny guest: what the C library would do. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* To the serial port. Knows %s (const char *), %u and %x (uint64_t each). */
void gw_text_format(const char *format, ...);

/* The value of `name` (with its "=") among words that stand between any of `separators`: a pointer into
 * `words`, or NULL. */
const char *gw_text_find(const char *words, const char *name, const char *separators);

/* A number, with K or M behind it or not; `otherwise` if there is none. `text` may be NULL. */
uint64_t gw_text_size(const char *text, uint64_t otherwise);
