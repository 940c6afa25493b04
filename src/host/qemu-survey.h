/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What this host's QEMU can run, asked of a QEMU that is started for nothing else. */
#pragma once

#include "spawn.h"
#include "vm-config.h"

#include <glib.h>
#include <json-glib/json-glib.h>

typedef struct {
    char *version;         /* "7.2.22" */
    JsonArray *machines;   /* names of fixed versions, sorted */
    JsonArray *cpu_models; /* of {"name", "missing"}, sorted by name */
    JsonArray *features;   /* of the host's CPU, of those that a guest can have; sorted, each once */
} GwQemuSurvey;

/* Starts `binary` as `user` (NULL: who we are) with `accel` and asks. Blocks, some hundred milliseconds,
 * fifteen seconds at most. NULL with what went wrong, QEMU's own words behind it. */
GwQemuSurvey *gw_qemu_survey(const char *binary, const GwUser *user, GwAccel accel, GError **error);
void gw_qemu_survey_free(GwQemuSurvey *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwQemuSurvey, gw_qemu_survey_free)

/* Pure: from the answers to query-machines, query-cpu-definitions and a full query-cpu-model-expansion. What
 * is not of the expected form is left out. */
JsonArray *gw_qemu_survey_machines(JsonNode *answer);
JsonArray *gw_qemu_survey_cpu_models(JsonNode *answer);
JsonArray *gw_qemu_survey_features(JsonNode *answer);
