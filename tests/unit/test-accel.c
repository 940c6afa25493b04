/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* KVM or TCG: the choice for every combination of wish and facts, and its reason. */
#include "accel.h"

#include <unistd.h>

static void
test_choose(void)
{
    static const char insists[] = "KVM, since the configuration insists on it";
    static const char asks[] = "TCG (emulation), since the configuration asks for it";
    static const char no_device[] = "TCG (emulation, slow): /dev/kvm does not open for QEMU's user";
    static const char no_flag[] =
        "TCG (emulation, slow): /dev/kvm opens, but the CPU shows neither vmx nor svm";
    static const char both[] = "KVM: /dev/kvm opens and the CPU has vmx or svm";
    static const struct {
        GwAccel asked;
        GwAccelFacts facts;
        GwAccel accel;
        const char *why;
    } cases[] = {
        {GW_ACCEL_AUTO, {false, false}, GW_ACCEL_TCG, no_device},
        {GW_ACCEL_AUTO, {false, true}, GW_ACCEL_TCG, no_device},
        {GW_ACCEL_AUTO, {true, false}, GW_ACCEL_TCG, no_flag},
        {GW_ACCEL_AUTO, {true, true}, GW_ACCEL_KVM, both},
        {GW_ACCEL_KVM, {false, false}, GW_ACCEL_KVM, insists},
        {GW_ACCEL_KVM, {false, true}, GW_ACCEL_KVM, insists},
        {GW_ACCEL_KVM, {true, false}, GW_ACCEL_KVM, insists},
        {GW_ACCEL_KVM, {true, true}, GW_ACCEL_KVM, insists},
        {GW_ACCEL_TCG, {false, false}, GW_ACCEL_TCG, asks},
        {GW_ACCEL_TCG, {false, true}, GW_ACCEL_TCG, asks},
        {GW_ACCEL_TCG, {true, false}, GW_ACCEL_TCG, asks},
        {GW_ACCEL_TCG, {true, true}, GW_ACCEL_TCG, asks},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GwAccelChoice choice = gw_accel_choose(cases[i].asked, &cases[i].facts);
        g_assert_cmpint(choice.accel, ==, cases[i].accel);
        g_assert_cmpstr(choice.why, ==, cases[i].why);
        g_free(choice.why);
    }
}

static void
test_name(void)
{
    g_assert_cmpstr(gw_accel_name(GW_ACCEL_AUTO), ==, "auto");
    g_assert_cmpstr(gw_accel_name(GW_ACCEL_KVM), ==, "kvm");
    g_assert_cmpstr(gw_accel_name(GW_ACCEL_TCG), ==, "tcg");
}

/* The facts of this host, each found out in another way than the probe's. */
static void
test_probe(void)
{
    GwAccelFacts facts = gw_accel_probe(NULL);
    g_assert_cmpint(facts.kvm_opens, ==, access("/dev/kvm", R_OK | W_OK) == 0);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL));
    g_assert_cmpint(facts.cpu_virtualises, ==,
                    g_regex_match_simple("^flags\\s*:.*\\b(vmx|svm)\\b", text, G_REGEX_MULTILINE, 0));

    /* As another user, who sees the same CPU. */
    GwUser nobody = {.uid = 65534, .gid = 65534};
    GwAccelFacts theirs = gw_accel_probe(&nobody);
    g_assert_cmpint(theirs.cpu_virtualises, ==, facts.cpu_virtualises);
    g_assert_true(facts.kvm_opens || !theirs.kvm_opens);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/accel/choose", test_choose);
    g_test_add_func("/accel/name", test_name);
    g_test_add_func("/accel/probe", test_probe);
    return g_test_run();
}
