/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For the tests of checks: a VM that may move from host1 to host2 as it is, in the words of their agents, and
 * what changes when a place in those words does. */
#pragma once

#include "check.h"

/* The documents that checks look at. */
typedef enum {
    RIG_VM,       /* its configuration */
    RIG_STATUS,   /* what the agent of its host says of it */
    RIG_SOURCE,   /* what the agent of host1 says */
    RIG_THERE,    /* what the agent of host2 says */
    RIG_PATHS,    /* {"paths": […]}: what was probed */
    RIG_FINDINGS, /* {"findings": […]}: the supervisor's own */
    RIG_CENTER,   /* what the center knows: "source_reachable", "destination_reachable", "in_maintenance",
                     "duplicate_at" */
    RIG_N_DOCUMENTS
} RigDocument;

typedef struct {
    RigDocument document;
    const char *pointer; /* NULL: the list of changes ends here */
    const char *value;   /* JSON; NULL: taken away */
} RigChange;

#define RIG_MAX_CHANGES 8

typedef struct {
    char *documents[RIG_N_DOCUMENTS];
    GwVmFacts *vm;
    GwHostFacts *source, *destination;
    GArray *paths;
    GwCheckInput input;
} Rig;

void rig_init(Rig *self);
void rig_change(Rig *self, const RigChange *changes);
/* What checks find in it; unref it. */
GArray *rig_check(Rig *self, const char *const *overrides);
void rig_clear(Rig *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Rig, rig_clear)

const GwFinding *rig_finding(const GArray *findings, guint index);
/* The first of this id; NULL: there is none. */
const GwFinding *rig_find(const GArray *findings, const char *id);
/* "id id …" in their order; owned. */
char *rig_ids(const GArray *findings);
