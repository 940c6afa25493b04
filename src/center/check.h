/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* May this VM move from here to there? Pure functions over facts: one for each thing that could break a
 * motion. `godwit vm check` prints what they find, and a motion begins with the same call.
 *
 * docs/checks.md has the table of ids. */
#pragma once

#include "facts.h"

#define GW_CHECK_FLOOR_BITS_PER_S (250 * 1000 * 1000ull) /* what VMware requires for one vMotion */

typedef struct {
    const GwVmFacts *vm;
    const GwHostFacts *source, *destination;
    const GArray *paths;          /* of GwPath; NULL: not probed (a matrix that was asked for without) */
    const char *const *overrides; /* ids that the user wants overridden; NULL: none */
} GwCheckInput;

/* Everything there is to say, errors first: an array of GwFinding (gw_findings_new()). Overridden errors that
 * may be are among them as GW_OVERRIDE_APPLIED and warnings. */
GArray *gw_check_motion(const GwCheckInput *input);

/* False if an error is left: GW_ERROR_CHECK_FAILED with each finding and repair, in one text. An override of
 * an id that may not be overridden, or that does not exist, is GW_ERROR_INVALID_ARGUMENT. */
bool gw_check_verdict(const GArray *findings, const char *const *overrides, GError **error);

/* The same of overrides alone, before anything is looked at. NULL is none. */
bool gw_check_overrides(const char *const *overrides, GError **error);

/* The same, and the text says which VM and which hosts: "2 checks failed for web1 from host1 to host2:". */
bool gw_check_motion_verdict(const GwCheckInput *input, const GArray *findings, GError **error);

/* Which interface sends to which (those that are up and have an address): those of one network with each
 * other; one that has no partner in its network with all of the same family at the other end. An array of
 * GwPath in which nothing is measured yet.
 */
GArray *gw_check_pair_interfaces(const GwHostFacts *source, const GwHostFacts *destination);

/* Of probed ways, those that a motion's streams use: of all sets in which each interface of either end stands
 * at most once the one with the greatest bandwidth; only ways that connect. */
GArray *gw_check_choose_paths(const GArray *paths);
