/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The problems of a document: kept with their places, written as one text in the document's order. */
#pragma once

#include <glib.h>

/* Lines of a report; a document of nothing but mistakes must not become a message of megabytes. */
#define GW_CONFIG_MAX_REPORTED 100

typedef struct GwConfigReport GwConfigReport;

GwConfigReport *gw_config_report_new(void);
void gw_config_report_free(GwConfigReport *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwConfigReport, gw_config_report_free)

/* `order`: problems are sorted by it (strcmp), those with equal keys stay as they came. `text` is taken over.
 */
void gw_config_report_add(GwConfigReport *self, const char *order, const char *pointer, char *text);

/* TRUE if there is no problem; otherwise GW_ERROR_INVALID_CONFIG with "N errors in SUBJECT:" and a line
 * "  POINTER: TEXT" for each of the first GW_CONFIG_MAX_REPORTED. */
gboolean gw_config_report_finish(GwConfigReport *self, const char *subject, GError **error);

/* UTF-8 text with its control characters escaped: what a terminal would obey, and line ends. */
void gw_config_append_plain(GString *to, const char *text);

/* Text for a message: in single quotes, control characters escaped, shortened when long. New text. */
char *gw_config_quote(const char *text);

/* The one of `names` (char *) that was probably meant; NULL if none is near. "vcpu" is near "vcpus"; "memory"
 * and "MemoryMib" are near "memory_mib". */
const char *gw_config_guess(GPtrArray *names, const char *unknown);
