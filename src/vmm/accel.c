/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The choice between KVM and TCG. */
#include "accel.h"

#include <string.h>
#include <unistd.h>

const char *
gw_accel_name(GwAccel accel)
{
    static const char *const names[] = {
        [GW_ACCEL_AUTO] = "auto", [GW_ACCEL_KVM] = "kvm", [GW_ACCEL_TCG] = "tcg"};
    return names[accel];
}

GwAccelChoice
gw_accel_choose(GwAccel asked, const GwAccelFacts *facts)
{
    if (asked == GW_ACCEL_KVM)
        return (GwAccelChoice){GW_ACCEL_KVM, g_strdup("KVM, since the configuration insists on it")};
    if (asked == GW_ACCEL_TCG)
        return (GwAccelChoice){GW_ACCEL_TCG,
                               g_strdup("TCG (emulation), since the configuration asks for it")};
    if (facts->kvm_opens && facts->cpu_virtualises)
        return (GwAccelChoice){GW_ACCEL_KVM, g_strdup("KVM: /dev/kvm opens and the CPU has vmx or svm")};
    return (GwAccelChoice){GW_ACCEL_TCG,
                           g_strdup_printf("TCG (emulation, slow): %s",
                                           !facts->kvm_opens
                                               ? "/dev/kvm does not open for QEMU's user"
                                               : "/dev/kvm opens, but the CPU shows neither vmx nor svm")};
}

static bool
cpu_has_flag(const char *flags, const char *flag)
{
    size_t length = strlen(flag);
    for (const char *at = flags; (at = strstr(at, flag)); at += length)
        if (at > flags && at[-1] == ' ' && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

GwAccelFacts
gw_accel_probe(const GwUser *user)
{
    GwAccelFacts facts = {0};
    facts.kvm_opens = user ? gw_user_can_open(user, "/dev/kvm") : access("/dev/kvm", R_OK | W_OK) == 0;

    g_autofree char *text = NULL;
    if (!g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL))
        return facts;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line && !facts.cpu_virtualises; line++)
        if (g_str_has_prefix(*line, "flags"))
            facts.cpu_virtualises = cpu_has_flag(*line, "vmx") || cpu_has_flag(*line, "svm");
    return facts;
}
