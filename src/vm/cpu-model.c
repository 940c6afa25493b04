/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CPU models: a name and features behind commas. */
#include "cpu-model.h"

#include <string.h>

/* How QEMU takes a feature (x86_cpu_parse_featurestr, x86_cpu_expand_features): "f" and "f=on" set it, the
 * last of them counts; "+f" prevails over these, "-f" over all, wherever they stand. */
typedef enum { UNSAID, OFF, ON, PLUS, MINUS } Said;

static Said
said_by_value(const char *value)
{
    static const char *const on[] = {"on", "yes", "true", "y", NULL};
    return g_strv_contains(on, value) ? ON : OFF;
}

static Said
feature_said(char *const *features, const char *feature)
{
    size_t length = strlen(feature);
    Said said = UNSAID;
    for (; *features; features++) {
        const char *word = *features;
        if ((*word == '+' || *word == '-') && strcmp(word + 1, feature) == 0)
            said = MAX(said, *word == '+' ? PLUS : MINUS);
        else if (said > ON || strncmp(word, feature, length) != 0)
            continue;
        else if (word[length] == '\0')
            said = ON;
        else if (word[length] == '=')
            said = said_by_value(word + length + 1);
    }
    return said;
}

bool
gw_cpu_model_is_host_dependent(const char *cpu_model)
{
    size_t n = strcspn(cpu_model, ",");
    return (n == 4 && strncmp(cpu_model, "host", n) == 0) || (n == 3 && strncmp(cpu_model, "max", n) == 0);
}

GwCpuNesting
gw_cpu_model_nesting(const char *cpu_model, GwAccel accel)
{
    if (accel != GW_ACCEL_KVM)
        return GW_CPU_NESTS_NOT;
    g_auto(GStrv) words = g_strsplit(cpu_model, ",", -1);
    Said vmx = feature_said(words + 1, "vmx"), svm = feature_said(words + 1, "svm");
    if (vmx == ON || vmx == PLUS || svm == ON || svm == PLUS)
        return GW_CPU_NESTS;
    /* A CPU has one of the two, so one that is said to be off may be the other one's. */
    if (gw_cpu_model_is_host_dependent(cpu_model) && (vmx == UNSAID || svm == UNSAID))
        return GW_CPU_NESTS_AS_HOST;
    return GW_CPU_NESTS_NOT;
}
