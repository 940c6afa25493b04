/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What godwit needs of a host, probed for real: a kernel that is new enough by its version may lack a
 * feature, and an older one may have it. */
#pragma once

#include "vm-setup.h"

#include <glib.h>

typedef enum { GW_HOST_OK, GW_HOST_WARNING, GW_HOST_MISSING } GwHostVerdict;

typedef struct {
    const char *id; /* stable, such as "kernel.trace" */
    GwHostVerdict verdict;
    char *text;   /* what was found */
    char *repair; /* what to do; NULL if nothing */
} GwHostFinding;

/* Runs every probe for `setup`; an array of GwHostFinding, freed with g_array_unref(). */
GArray *gw_host_check(const GwVmSetup *setup);

const char *gw_host_verdict_name(GwHostVerdict verdict); /* "ok", "warning", "missing" */
