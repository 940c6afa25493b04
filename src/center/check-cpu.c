/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks of what the guest's CPU is made of.
 *
 * A guest sees its model, and what /cpu_model adds to it, less what the source cannot give: QEMU leaves that
 * out without a word. So the destination has to give what the source gives, no more. */
#include "check-internal.h"
#include "cpu-model.h"

#include <string.h>

/* --- accelerator --------------------------------------------------------------------------------------- */

/* What the guest would get at a host; GW_ACCEL_AUTO: not known. */
static GwAccel
accel_at(const GwVmConfig *config, const GwHostFacts *host)
{
    return config->accel == GW_ACCEL_AUTO ? host->accel : config->accel;
}

static const char *
accel_text(GwAccel accel)
{
    return accel == GW_ACCEL_KVM ? "KVM" : accel == GW_ACCEL_TCG ? "TCG (emulation)" : "not known";
}

void
gw_check_accel_different(GwCheckRun *run)
{
    const GwHostFacts *there = run->destination;
    GwAccel now = run->vm->accel == GW_ACCEL_AUTO ? run->source->accel : run->vm->accel;
    GwAccel then = accel_at(run->vm->config, there);
    bool lacks_kvm = then == GW_ACCEL_KVM && there->accel == GW_ACCEL_TCG;
    if (now == GW_ACCEL_AUTO || then == GW_ACCEL_AUTO || (now == then && !lacks_kvm))
        return;
    GwFinding *finding =
        lacks_kvm ? gw_check_add(run, "the guest's accelerator is KVM (/accel), which %s does not have",
                                 there->name)
                  : gw_check_add(
                        run,
                        "the guest runs under %s, and would be taken up under %s on %s (/accel): their CPU "
                        "states are not the same",
                        accel_text(now), accel_text(then), there->name);
    finding->source = g_strdup(accel_text(now));
    finding->destination = g_strdup(accel_text(lacks_kvm ? GW_ACCEL_TCG : then));
    finding->repair =
        now == GW_ACCEL_KVM
            ? g_strdup_printf("on %s, switch virtualisation on in the firmware, 'modprobe kvm_intel' or "
                              "'modprobe kvm_amd', and put QEMU's user into the group kvm",
                              there->name)
            : gw_check_config_repair(run, "\"accel\": \"tcg\" (or \"kvm\", where every host has it)");
}

/* --- model and features -------------------------------------------------------------------------------- */

static const GwCpuModelFact *
find_model(const GwHostFacts *host, const char *name)
{
    for (guint i = 0; i < host->cpu_models->len; i++) {
        const GwCpuModelFact *model = &g_array_index(host->cpu_models, GwCpuModelFact, i);
        if (strcmp(model->name, name) == 0)
            return model;
    }
    return NULL;
}

static bool
holds(char *const *features, const char *feature)
{
    for (; features && *features; features++)
        if (gw_cpu_feature_equal(*features, feature))
            return true;
    return false;
}

static void
add_feature(GPtrArray *features, const char *feature)
{
    for (guint i = 0; i < features->len; i++)
        if (gw_cpu_feature_equal(features->pdata[i], feature))
            return;
    g_ptr_array_add(features, g_strdup(feature));
}

static char *
join(GPtrArray *features)
{
    g_ptr_array_add(features, NULL);
    char *text = g_strjoinv(", ", (char **)features->pdata);
    g_ptr_array_set_size(features, (int)features->len - 1);
    return text;
}

/* ",-avx512f,-pku": what takes features off a model; owned. */
static char *
take_off(const GPtrArray *features)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < features->len; i++)
        g_string_append_printf(text, ",-%s", (const char *)features->pdata[i]);
    return g_strdup(text->str);
}

/* Facts about models are of what a host runs guests with by itself. */
static bool
models_are_comparable(const GwCheckRun *run)
{
    GwAccel accel = run->vm->accel == GW_ACCEL_AUTO ? run->source->accel : run->vm->accel;
    return accel == run->source->accel && accel == run->destination->accel;
}

void
gw_check_cpu_model(GwCheckRun *run)
{
    const GwHostFacts *there = run->destination;
    g_autofree char *name = gw_cpu_model_name(run->vm->config->cpu_model);
    if (there->cpu_models->len == 0 || gw_cpu_model_is_host_dependent(name) || find_model(there, name))
        return;
    GwFinding *finding =
        gw_check_add(run, "the QEMU of %s (%s) does not know the CPU model '%s' (/cpu_model)", there->name,
                     gw_check_qemu_version(there), name);
    finding->source = g_strdup_printf("QEMU %s", gw_check_qemu_version(run->source));
    finding->destination = g_strdup_printf("QEMU %s", gw_check_qemu_version(there));
    finding->repair =
        g_strdup_printf("on %s, install the QEMU of %s, or a newer one", there->name, run->source->name);
}

/* Where a guest's features come from; owned. */
static char *
describe_cpu(const GwHostFacts *host)
{
    if (host->accel == GW_ACCEL_TCG)
        return g_strdup_printf("emulated by QEMU %s", gw_check_qemu_version(host));
    return g_strdup(host->cpu_model);
}

/* What the guest has of its model, and of what was added to it, and would not have there. */
static GPtrArray *
lost_features(const GwCheckRun *run)
{
    GPtrArray *lost = g_ptr_array_new_with_free_func(g_free);
    const char *cpu_model = run->vm->config->cpu_model;
    g_autofree char *name = gw_cpu_model_name(cpu_model);
    const GwCpuModelFact *here = find_model(run->source, name), *there = find_model(run->destination, name);
    for (char **feature = there ? there->missing : NULL; feature && *feature; feature++)
        if (!holds(here ? here->missing : NULL, *feature) && !gw_cpu_model_takes_off(cpu_model, *feature))
            add_feature(lost, *feature);
    g_auto(GStrv) added = gw_cpu_model_features_on(cpu_model);
    for (char **feature = added; *feature; feature++)
        if (holds(run->source->cpu_features, *feature) && *run->destination->cpu_features &&
            !holds(run->destination->cpu_features, *feature))
            add_feature(lost, *feature);
    return lost;
}

void
gw_check_cpu_features(GwCheckRun *run)
{
    const char *cpu_model = run->vm->config->cpu_model;
    if (gw_cpu_model_is_host_dependent(cpu_model) || !models_are_comparable(run))
        return;
    g_autoptr(GPtrArray) lost = lost_features(run);
    if (lost->len == 0)
        return;
    g_autofree char *names = join(lost);
    g_autofree char *off = take_off(lost);
    GwFinding *finding =
        gw_check_add(run,
                     "the guest's CPU ('%s', /cpu_model) has on %s what it would not have on "
                     "%s: %s",
                     cpu_model, run->source->name, run->destination->name, names);
    finding->source = describe_cpu(run->source);
    finding->destination = describe_cpu(run->destination);
    finding->repair = gw_check_config_repair(run, "\"cpu_model\": \"%s%s\"", cpu_model, off);
}

/* Of the source's CPU, what the destination's lacks and the VM's configuration leaves in. */
static GPtrArray *
features_of_source_alone(const GwCheckRun *run)
{
    GPtrArray *alone = g_ptr_array_new_with_free_func(g_free);
    if (!*run->destination->cpu_features)
        return alone;
    for (char **feature = run->source->cpu_features; *feature; feature++)
        if (!holds(run->destination->cpu_features, *feature) &&
            !gw_cpu_model_takes_off(run->vm->config->cpu_model, *feature))
            add_feature(alone, *feature);
    return alone;
}

void
gw_check_cpu_host_model(GwCheckRun *run)
{
    const char *cpu_model = run->vm->config->cpu_model;
    if (!gw_cpu_model_is_host_dependent(cpu_model) || !models_are_comparable(run))
        return;
    g_autoptr(GPtrArray) alone = features_of_source_alone(run);
    if (alone->len == 0)
        return;
    g_autofree char *names = join(alone);
    GwFinding *finding =
        gw_check_add(run, "the guest has the CPU of %s ('%s', /cpu_model), and that of %s lacks %s",
                     run->source->name, cpu_model, run->destination->name, names);
    finding->source = describe_cpu(run->source);
    finding->destination = describe_cpu(run->destination);
    finding->repair = gw_check_config_repair(
        run, "a named \"cpu_model\" of which neither host lacks anything, such as \"qemu64\"");
}

/* Nothing is missing that we know of, but a guest that was shown one host's CPU may have noted more of it
 * than its features: caches, leaves, errata. */
void
gw_check_cpu_host_dependent(GwCheckRun *run)
{
    const GwHostFacts *here = run->source, *there = run->destination;
    if (!gw_cpu_model_is_host_dependent(run->vm->config->cpu_model))
        return;
    const char *qemu = run->vm->qemu_version ? run->vm->qemu_version : here->qemu_version;
    bool is_emulated = here->accel == GW_ACCEL_TCG && there->accel == GW_ACCEL_TCG;
    bool same_cpu = *here->cpu_features && *there->cpu_features &&
                    (is_emulated || (here->cpu_model && g_strcmp0(here->cpu_model, there->cpu_model) == 0));
    bool same_qemu = qemu && g_strcmp0(qemu, there->qemu_version) == 0;
    if (same_cpu && same_qemu)
        return;
    GwFinding *finding = gw_check_add(
        run,
        "the CPU that '%s' (/cpu_model) means may be another one on %s: the %s not known to be the "
        "same",
        run->vm->config->cpu_model, there->name, same_cpu ? "QEMU versions are" : "hosts' CPUs are");
    finding->source =
        g_strdup_printf("%s, QEMU %s", here->cpu_model ? here->cpu_model : "?", qemu ? qemu : "?");
    finding->destination = g_strdup_printf("%s, QEMU %s", there->cpu_model ? there->cpu_model : "?",
                                           gw_check_qemu_version(there));
    finding->repair = gw_check_config_repair(run, "a named \"cpu_model\", such as \"qemu64\"");
}

/* --- what no trace sees, and what a host counts -------------------------------------------------------- */

/* Of a guest that runs its supervisor knows better: it asks QEMU. */
void
gw_check_cpu_nested(GwCheckRun *run)
{
    const char *state = run->vm->state, *cpu_model = run->vm->config->cpu_model;
    if (g_strcmp0(state, "running") == 0 || g_strcmp0(state, "paused") == 0)
        return;
    GwAccel accel = run->vm->accel == GW_ACCEL_AUTO ? run->source->accel : run->vm->accel;
    GwCpuNesting nesting = gw_cpu_model_nesting(cpu_model, accel);
    if (nesting == GW_CPU_NESTS_NOT)
        return;
    GwFinding *finding =
        gw_check_add(run,
                     "the guest's CPU ('%s', /cpu_model) has %svmx or svm: what a guest of "
                     "the guest writes, no trace sees",
                     cpu_model, nesting == GW_CPU_NESTS ? "" : "what the host's has, which may be ");
    finding->repair = gw_check_config_repair(run, "\"cpu_model\": \"%s,-vmx,-svm\"", cpu_model);
}

void
gw_check_cpu_pmu(GwCheckRun *run)
{
    const char *cpu_model = run->vm->config->cpu_model;
    const GwHostFacts *here = run->source, *there = run->destination;
    GwAccel accel = run->vm->accel == GW_ACCEL_AUTO ? here->accel : run->vm->accel;
    bool same_cpu = here->cpu_model && g_strcmp0(here->cpu_model, there->cpu_model) == 0;
    if (!gw_cpu_model_has_pmu(cpu_model, accel) || same_cpu)
        return;
    GwFinding *finding =
        gw_check_add(run,
                     "the guest's CPU ('%s', /cpu_model) has the performance counters of %s, "
                     "and %s has another CPU",
                     cpu_model, here->name, there->name);
    finding->source = g_strdup(here->cpu_model);
    finding->destination = g_strdup(there->cpu_model);
    finding->repair = gw_check_config_repair(run, "\"cpu_model\": \"%s,-pmu\"", cpu_model);
}

void
gw_check_cpu_pinned(GwCheckRun *run)
{
    guint n = run->vm->config->pins->len;
    if (n == 0)
        return;
    GwFinding *finding =
        gw_check_add(run,
                     "%u of %u vCPUs are pinned to CPUs of %s by number (/pinning): on %s these "
                     "are other CPUs, and may be in use",
                     n, run->vm->config->vcpus, run->source->name, run->destination->name);
    finding->repair = gw_check_config_repair(run, "take \"pinning\" out");
}

static bool
has_cpu_below(const GArray *cpus, unsigned limit)
{
    for (guint i = 0; i < cpus->len; i++)
        if (g_array_index(cpus, unsigned, i) < limit)
            return true;
    return false;
}

/* The kernel refuses a set of CPUs of which none is there; of others it takes what is. */
void
gw_check_cpu_pinned_missing(GwCheckRun *run)
{
    const GArray *pins = run->vm->config->pins;
    unsigned n_cpus = run->destination->n_cpus;
    for (guint i = 0; n_cpus > 0 && i < pins->len; i++) {
        const GArray *cpus = g_array_index(pins, GArray *, i);
        if (cpus->len == 0 || has_cpu_below(cpus, n_cpus))
            continue;
        GwFinding *finding =
            gw_check_add(run, "vCPU %u is pinned (/pinning/%u) to CPUs from %u on, and %s has %u", i, i,
                         g_array_index(cpus, unsigned, 0), run->destination->name, n_cpus);
        finding->source = g_strdup_printf("%u CPUs", run->source->n_cpus);
        finding->destination = g_strdup_printf("%u CPUs", n_cpus);
        finding->repair =
            gw_check_config_repair(run, "take \"pinning\" out, or name CPUs that every host has");
    }
}
