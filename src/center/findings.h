/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A finding: what one check, of whoever made it, has to say about a motion or a host. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>

typedef enum {
    GW_SEVERITY_WARNING,
    GW_SEVERITY_ERROR,
} GwSeverity;

typedef enum {
    GW_OVERRIDE_REFUSED, /* would lose data, or cannot work: nobody may override it */
    GW_OVERRIDE_ALLOWED,
    GW_OVERRIDE_APPLIED, /* and somebody did */
} GwOverride;

typedef struct {
    char *id;
    GwSeverity severity;
    char *text;
    char *source, *destination; /* evidence; NULL: none */
    char *repair;               /* NULL: nothing can be done */
    GwOverride override;
} GwFinding;

GArray *gw_findings_new(void); /* of GwFinding, which it owns */

/* NULL is an empty list. What has no id is left out; what does not say that it is a warning is an error, and
 * what does not say that it may be overridden may not be. */
GArray *gw_findings_from_json(JsonArray *array);
JsonArray *gw_findings_to_json(const GArray *findings);

/* A copy, behind those that are there. */
void gw_findings_append(GArray *findings, const GwFinding *finding);
