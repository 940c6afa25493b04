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

static char
fold(char c)
{
    return c == '_' || c == '.' ? '-' : c;
}

static bool
equal_folded(const char *a, const char *b)
{
    for (; fold(*a) == fold(*b); a++, b++)
        if (*a == '\0')
            return true;
    return false;
}

/* x86_cpu_initfn() gives some features a second name. */
static const char *
first_name(const char *feature)
{
    static const char *const names[][2] = {
        {"sse3", "pni"}, {"pclmuldq", "pclmulqdq"}, {"xd", "nx"}, {"ffxsr", "fxsr-opt"}, {"i64", "lm"}};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (equal_folded(feature, names[i][0]))
            return names[i][1];
    return feature;
}

bool
gw_cpu_feature_equal(const char *a, const char *b)
{
    return equal_folded(first_name(a), first_name(b));
}

static Said
feature_said(char *const *features, const char *feature)
{
    Said said = UNSAID;
    for (; *features; features++) {
        const char *word = *features, *value = strchr(word, '=');
        g_autofree char *name = g_strndup(word, strcspn(word, "="));
        if ((*word == '+' || *word == '-') && gw_cpu_feature_equal(word + 1, feature))
            said = MAX(said, *word == '+' ? PLUS : MINUS);
        else if (said <= ON && gw_cpu_feature_equal(name, feature))
            said = value ? said_by_value(value + 1) : ON;
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

char *
gw_cpu_model_name(const char *cpu_model)
{
    return g_strndup(cpu_model, strcspn(cpu_model, ","));
}

static bool
holds_feature(const GPtrArray *features, const char *feature)
{
    for (guint i = 0; i < features->len; i++)
        if (gw_cpu_feature_equal(features->pdata[i], feature))
            return true;
    return false;
}

char **
gw_cpu_model_features_on(const char *cpu_model)
{
    g_auto(GStrv) words = g_strsplit(cpu_model, ",", -1);
    g_autoptr(GPtrArray) features = g_ptr_array_new();
    for (char **word = words[0] ? words + 1 : words; *word; word++) {
        const char *name = **word == '+' || **word == '-' ? *word + 1 : *word;
        g_autofree char *feature = g_strndup(name, strcspn(name, "="));
        Said said = *feature ? feature_said(words + 1, feature) : UNSAID;
        if ((said == ON || said == PLUS) && !holds_feature(features, feature))
            g_ptr_array_add(features, g_steal_pointer(&feature));
    }
    g_ptr_array_add(features, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&features), FALSE);
}

bool
gw_cpu_model_takes_off(const char *cpu_model, const char *feature)
{
    g_auto(GStrv) words = g_strsplit(cpu_model, ",", -1);
    Said said = words[0] ? feature_said(words + 1, feature) : UNSAID;
    return said == OFF || said == MINUS;
}

bool
gw_cpu_model_has_pmu(const char *cpu_model, GwAccel accel)
{
    if (accel != GW_ACCEL_KVM)
        return false;
    g_auto(GStrv) words = g_strsplit(cpu_model, ",", -1);
    Said said = words[0] ? feature_said(words + 1, "pmu") : UNSAID;
    return said == ON || said == PLUS || (said == UNSAID && gw_cpu_model_is_host_dependent(cpu_model));
}
