/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What CPU models say: nested guests, features, performance counters. */
#include "cpu-model.h"

static void
test_nesting(void)
{
    static const struct {
        const char *model;
        GwCpuNesting under_kvm;
    } cases[] = {
        /* by itself, no named model has vmx, and KVM's svm is taken off */
        {"qemu64", GW_CPU_NESTS_NOT},
        {"EPYC-Rome", GW_CPU_NESTS_NOT},
        {"Skylake-Server-v4,-pku", GW_CPU_NESTS_NOT},
        {"base", GW_CPU_NESTS_NOT},
        /* what is said in so many words */
        {"qemu64,+svm", GW_CPU_NESTS},
        {"EPYC,svm=on", GW_CPU_NESTS},
        {"EPYC,svm", GW_CPU_NESTS},
        {"Skylake-Server,+vmx", GW_CPU_NESTS},
        {"Skylake-Server,pmu=off,vmx=true,+aes", GW_CPU_NESTS},
        {"host,+vmx", GW_CPU_NESTS},
        {"EPYC,svm=off", GW_CPU_NESTS_NOT},
        {"EPYC,-svm", GW_CPU_NESTS_NOT},
        /* the last value counts; "+" is above values, "-" above all */
        {"EPYC,svm=on,svm=off", GW_CPU_NESTS_NOT},
        {"EPYC,svm=off,svm=on", GW_CPU_NESTS},
        {"EPYC,+svm,svm=off", GW_CPU_NESTS},
        {"EPYC,-svm,svm=on", GW_CPU_NESTS_NOT},
        {"EPYC,-svm,+svm", GW_CPU_NESTS_NOT},
        {"EPYC,+svm,-svm", GW_CPU_NESTS_NOT},
        /* other features that begin alike, or end so */
        {"EPYC,svm-lock=on,+vmx-ept,+nsvm", GW_CPU_NESTS_NOT},
        {"Skylake-Server,vmxoff,+svmx", GW_CPU_NESTS_NOT},
        {"EPYC,svm_lock", GW_CPU_NESTS_NOT},
        /* as the host: one of the two being off says nothing of the other */
        {"host", GW_CPU_NESTS_AS_HOST},
        {"max,+x2apic", GW_CPU_NESTS_AS_HOST},
        {"host,-svm", GW_CPU_NESTS_AS_HOST},
        {"host,vmx=off", GW_CPU_NESTS_AS_HOST},
        {"host,-vmx,-svm", GW_CPU_NESTS_NOT},
        {"max,vmx=off,svm=off", GW_CPU_NESTS_NOT},
        /* names that are not theirs */
        {"hostile", GW_CPU_NESTS_NOT},
        {"maximal", GW_CPU_NESTS_NOT},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("%s", cases[i].model);
        g_assert_cmpint(gw_cpu_model_nesting(cases[i].model, GW_ACCEL_KVM), ==, cases[i].under_kvm);
        /* TCG emulates a guest of the guest through QEMU's own page tables */
        g_assert_cmpint(gw_cpu_model_nesting(cases[i].model, GW_ACCEL_TCG), ==, GW_CPU_NESTS_NOT);
    }
}

static void
test_host_dependent(void)
{
    static const struct {
        const char *model;
        bool host_dependent;
    } cases[] = {{"host", true},     {"max", true},      {"host,-vmx", true}, {"max,pmu=off", true},
                 {"qemu64", false},  {"hos", false},     {"hostile", false},  {"ma", false},
                 {"maximal", false}, {"EPYC,+x", false}, {"Host", false}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("%s", cases[i].model);
        g_assert_cmpint(gw_cpu_model_is_host_dependent(cases[i].model), ==, cases[i].host_dependent);
    }
}

static void
test_features(void)
{
    static const struct {
        const char *model, *name, *on;
    } cases[] = {
        {"qemu64", "qemu64", ""},
        {"qemu64,", "qemu64", ""},
        {"qemu64,,+,-,=", "qemu64", ""},
        {"Skylake-Server-v4,-pku,+avx2,vmx=on", "Skylake-Server-v4", "avx2 vmx"},
        {"host,pmu=off,level=13,model-id=some text", "host", ""},
        {"EPYC,+svm,-svm,xsave,xsave=off", "EPYC", ""},
        {"EPYC,sse4_1,+sse4.1,sse4-1=on", "EPYC", "sse4_1"},
        {"EPYC,+sse3,pni", "EPYC", "sse3"},
        {"", "", ""},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *name = gw_cpu_model_name(cases[i].model);
        g_auto(GStrv) features = gw_cpu_model_features_on(cases[i].model);
        g_autofree char *on = g_strjoinv(" ", features);
        g_test_message("%s", cases[i].model);
        g_assert_cmpstr(name, ==, cases[i].name);
        g_assert_cmpstr(on, ==, cases[i].on);
    }
}

static void
test_taken_off(void)
{
    static const struct {
        const char *model, *feature;
        bool off;
    } cases[] = {
        {"EPYC", "svm", false},
        {"EPYC,-svm", "svm", true},
        {"EPYC,svm=off", "svm", true},
        {"EPYC,svm=no", "svm", true},
        {"EPYC,svm=on", "svm", false},
        {"EPYC,svm=off,+svm", "svm", false},
        {"EPYC,+svm,-svm", "svm", true},
        {"EPYC,-sse4_1", "sse4.1", true},
        {"EPYC,-pni", "sse3", true},
        {"EPYC,-svm-lock", "svm", false},
        {"", "svm", false},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("%s: %s", cases[i].model, cases[i].feature);
        g_assert_cmpint(gw_cpu_model_takes_off(cases[i].model, cases[i].feature), ==, cases[i].off);
    }
}

static void
test_pmu(void)
{
    static const struct {
        const char *model;
        bool under_kvm;
    } cases[] = {{"qemu64", false},     {"qemu64,pmu=on", true},
                 {"qemu64,+pmu", true}, {"host", true},
                 {"max", true},         {"host,pmu=off", false},
                 {"host,-pmu", false},  {"host,-pmu,+pmu", false},
                 {"hostile", false},    {"", false}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("%s", cases[i].model);
        g_assert_cmpint(gw_cpu_model_has_pmu(cases[i].model, GW_ACCEL_KVM), ==, cases[i].under_kvm);
        g_assert_false(gw_cpu_model_has_pmu(cases[i].model, GW_ACCEL_TCG));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-model/nesting", test_nesting);
    g_test_add_func("/cpu-model/host-dependent", test_host_dependent);
    g_test_add_func("/cpu-model/features", test_features);
    g_test_add_func("/cpu-model/taken-off", test_taken_off);
    g_test_add_func("/cpu-model/pmu", test_pmu);
    return g_test_run();
}
