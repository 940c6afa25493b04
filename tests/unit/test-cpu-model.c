/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which CPU models may run guests of their guest's in the kernel's hands. */
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

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-model/nesting", test_nesting);
    g_test_add_func("/cpu-model/host-dependent", test_host_dependent);
    return g_test_run();
}
