/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of checks, and what comes of them all. */
#include "check-internal.h"
#include "error.h"

#include <string.h>

#define ERROR   GW_SEVERITY_ERROR
#define WARNING GW_SEVERITY_WARNING
#define REFUSED GW_OVERRIDE_REFUSED
#define ALLOWED GW_OVERRIDE_ALLOWED
#define ANY     GW_CHECK_NEEDS_NOTHING
#define SOURCE  GW_CHECK_NEEDS_SOURCE
#define THERE   GW_CHECK_NEEDS_DESTINATION
#define BOTH    GW_CHECK_NEEDS_BOTH
#define PASSED(id, severity)                                                                                 \
    {                                                                                                        \
        id, NULL, severity, REFUSED, ANY, false                                                              \
    }

/* In the order in which a person would look: whether the hosts are there, the VM, the way between them, what
 * the VM needs there, and what its supervisor says. */
const GwCheckRule gw_check_rules[] = {
    {"motion.host.same", gw_check_host_same, ERROR, REFUSED, ANY},
    {"motion.host.unreachable", gw_check_host_unreachable, ERROR, REFUSED, ANY},
    {"motion.host.maintenance", gw_check_host_maintenance, ERROR, ALLOWED, THERE},
    {"motion.host.problem", gw_check_host_problem, ERROR, REFUSED, THERE},
    {"motion.state", gw_check_vm_state, ERROR, REFUSED, ANY},
    {"motion.activity", gw_check_vm_activity, ERROR, REFUSED, ANY},
    {"motion.vm.duplicate", gw_check_vm_duplicate, ERROR, REFUSED, ANY},
    {"motion.vm.namesake", gw_check_vm_namesake, ERROR, REFUSED, ANY},
    {"motion.interface.missing", gw_check_interface_missing, ERROR, REFUSED, ANY},
    {"motion.interface.family", gw_check_interface_family, ERROR, REFUSED, BOTH},
    {"motion.path.none", gw_check_path_none, ERROR, REFUSED, BOTH},
    {"motion.path.unreachable", gw_check_path_unreachable, ERROR, ALLOWED, BOTH},
    {"motion.path.slow", gw_check_path_slow, WARNING, REFUSED, BOTH},
    {"motion.network.missing", gw_check_network_missing, ERROR, REFUSED, THERE},
    {"motion.network.internal", gw_check_network_internal, ERROR, ALLOWED, ANY},
    {"motion.datastore.missing", gw_check_datastore_missing, ERROR, REFUSED, THERE},
    {"motion.datastore.unusable", gw_check_datastore_unusable, ERROR, REFUSED, THERE},
    {"motion.datastore.read-only", gw_check_datastore_read_only, ERROR, REFUSED, THERE},
    {"motion.datastore.different", gw_check_datastore_different, ERROR, REFUSED, BOTH},
    {"motion.datastore.unverified", gw_check_datastore_unverified, WARNING, REFUSED, BOTH},
    {"motion.cdrom.file", gw_check_cdrom_file, WARNING, REFUSED, BOTH, true},
    {"motion.boot.file", gw_check_boot_file, WARNING, REFUSED, BOTH},
    {"motion.accel.different", gw_check_accel_different, ERROR, REFUSED, THERE},
    {"motion.cpu.model", gw_check_cpu_model, ERROR, REFUSED, THERE},
    {"motion.cpu.features", gw_check_cpu_features, ERROR, REFUSED, BOTH},
    {"motion.cpu.host-model", gw_check_cpu_host_model, ERROR, REFUSED, BOTH},
    {"motion.cpu.host-dependent", gw_check_cpu_host_dependent, WARNING, REFUSED, BOTH, true},
    {"motion.cpu.nested", gw_check_cpu_nested, ERROR, REFUSED, ANY},
    {"motion.cpu.pmu", gw_check_cpu_pmu, ERROR, ALLOWED, BOTH},
    {"motion.cpu.pinned", gw_check_cpu_pinned, ERROR, ALLOWED, ANY, true},
    {"motion.cpu.pinned-missing", gw_check_cpu_pinned_missing, ERROR, REFUSED, THERE},
    {"motion.cpu.room", gw_check_cpu_room, WARNING, REFUSED, THERE},
    {"motion.memory.room", gw_check_memory_room, ERROR, REFUSED, THERE},
    {"motion.qemu.machine", gw_check_qemu_machine, ERROR, REFUSED, THERE},
    {"motion.qemu.older", gw_check_qemu_older, ERROR, ALLOWED, THERE},
    /* What the supervisor alone can see (src/vm/motion-check.h): data would be lost. */
    PASSED("motion.trace.unavailable", ERROR),
    PASSED("motion.qemu.unasked", ERROR),
    PASSED("motion.qemu.capability", ERROR),
    PASSED("motion.qemu.blocked", ERROR),
    PASSED("motion.disk.direct-io", ERROR),
    PASSED("motion.disk.async-io", ERROR),
    PASSED("motion.disk.unseen", ERROR),
    PASSED("motion.device.unseen", ERROR),
    PASSED("motion.memory.foreign-mapping", ERROR),
    PASSED("motion.memory.foreign-reader", WARNING),
    PASSED("motion.memory.unseen", WARNING),
    PASSED("motion.memory.second-mapping", ERROR),
    PASSED("motion.memory.not-mapped", ERROR),
    PASSED("motion.memory.devices", ERROR),
    PASSED("motion.memory.confidential", ERROR),
    PASSED("motion.memory.balloon", WARNING),
    PASSED("motion.memory.huge-pages", WARNING),
    {NULL},
};

const GwCheckRule *
gw_check_find_rule(const char *id)
{
    for (const GwCheckRule *rule = gw_check_rules; rule->id; rule++)
        if (strcmp(rule->id, id) == 0)
            return rule;
    return NULL;
}

/* --- for the checks ------------------------------------------------------------------------------------ */

GwFinding *
gw_check_add(GwCheckRun *run, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    GwFinding finding = {
        .id = g_strdup(run->rule->id),
        .severity = run->rule->severity,
        .text = g_strdup_vprintf(format, values),
        .override = run->rule->policy,
    };
    va_end(values);
    g_array_append_val(run->findings, finding);
    return &g_array_index(run->findings, GwFinding, run->findings->len - 1);
}

char *
gw_check_config_repair(const GwCheckRun *run, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    g_autofree char *change = g_strdup_vprintf(format, values);
    va_end(values);
    const char *vm = run->vm->name;
    return g_strdup_printf(
        "'godwit vm config %s > %s.json'; in that file, %s; then 'godwit vm shutdown %s', and when it is off, "
        "'godwit vm rm %s' (its disks stay) and 'godwit vm create %s.json --host %s --start'",
        vm, vm, change, vm, vm, vm, run->source->name);
}

char *
gw_check_host_repair(const GwHostFacts *host, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    g_autofree char *change = g_strdup_vprintf(format, values);
    va_end(values);
    return g_strdup_printf("on %s, in /etc/godwit/host.conf, %s; then 'godwit-host reload'", host->name,
                           change);
}

const char *
gw_check_qemu_version(const GwHostFacts *host)
{
    return host->qemu_version ? host->qemu_version : "not known";
}

/* Lower case, blanks gone; owned. */
static char *
fold_name(const char *name)
{
    g_autofree char *lower = g_utf8_casefold(name, -1);
    GString *folded = g_string_new(NULL);
    for (const char *at = lower; *at; at = g_utf8_next_char(at))
        if (!g_unichar_isspace(g_utf8_get_char(at)))
            g_string_append_unichar(folded, g_utf8_get_char(at));
    return g_string_free(folded, FALSE);
}

bool
gw_check_names_are_near(const char *a, const char *b)
{
    g_autofree char *x = fold_name(a);
    g_autofree char *y = fold_name(b);
    return strcmp(x, y) == 0;
}

/* --- all of them --------------------------------------------------------------------------------------- */

static GwCheckNeeds
what_is_known(const GwCheckInput *input)
{
    bool elsewhere = strcmp(input->source->name, input->destination->name) != 0;
    return (input->source->is_reachable ? GW_CHECK_NEEDS_SOURCE : 0) |
           (input->destination->is_reachable && elsewhere ? GW_CHECK_NEEDS_DESTINATION : 0);
}

static bool
has_finding(const GArray *findings, guint n, const char *id)
{
    for (guint i = 0; i < n; i++)
        if (strcmp(g_array_index(findings, GwFinding, i).id, id) == 0)
            return true;
    return false;
}

/* The supervisor's findings, but for what was found here too or is judged better with both ends in sight.
 * It does not know of overrides: the table does, and what the table does not know nobody overrides. */
static void
merge_supervisors(GArray *findings, const GwVmFacts *vm)
{
    guint n_own = findings->len;
    for (guint i = 0; vm->findings && i < vm->findings->len; i++) {
        GwFinding finding = g_array_index(vm->findings, GwFinding, i); /* borrows its strings */
        const GwCheckRule *rule = gw_check_find_rule(finding.id);
        if ((rule && rule->supersedes) || has_finding(findings, n_own, finding.id))
            continue;
        finding.override = rule ? rule->policy : GW_OVERRIDE_REFUSED;
        gw_findings_append(findings, &finding);
    }
}

static void
apply_overrides(GArray *findings, const char *const *overrides)
{
    for (guint i = 0; overrides && i < findings->len; i++) {
        GwFinding *finding = &g_array_index(findings, GwFinding, i);
        if (finding->severity != GW_SEVERITY_ERROR || finding->override != GW_OVERRIDE_ALLOWED ||
            !g_strv_contains(overrides, finding->id))
            continue;
        finding->severity = GW_SEVERITY_WARNING;
        finding->override = GW_OVERRIDE_APPLIED;
    }
}

/* Errors before warnings; g_array_sort() keeps the order of equal ones, which is the table's. */
static int
compare_findings(const void *a, const void *b)
{
    return (int)((const GwFinding *)b)->severity - (int)((const GwFinding *)a)->severity;
}

GArray *
gw_check_motion(const GwCheckInput *input)
{
    GwCheckNeeds known = what_is_known(input);
    GwCheckRun run = {
        .vm = input->vm,
        .source = input->source,
        .destination = input->destination,
        .paths = input->paths,
        .findings = gw_findings_new(),
    };
    for (run.rule = gw_check_rules; run.rule->id; run.rule++)
        if (run.rule->check && (run.rule->needs & ~known) == 0)
            run.rule->check(&run);
    merge_supervisors(run.findings, input->vm);
    apply_overrides(run.findings, input->overrides);
    g_array_sort(run.findings, compare_findings);
    return run.findings;
}

static bool
may_override(const char *id, GError **error)
{
    const GwCheckRule *rule = gw_check_find_rule(id);
    if (rule && rule->policy == GW_OVERRIDE_ALLOWED)
        return true;
    const char *why = !rule                     ? "no check is called so"
                      : rule->severity == ERROR ? "the motion would lose data, or cannot work"
                                                : "it is a warning, which stops nothing";
    g_set_error(error, GW_ERROR, GW_ERROR_INVALID_ARGUMENT, "'%s' cannot be overridden: %s", id, why);
    return false;
}

/* A line for each error; NULL if there is none. */
static char *
list_errors(const GArray *findings, guint *ret_n)
{
    g_autoptr(GString) text = g_string_new(NULL);
    guint n = 0;
    for (guint i = 0; i < findings->len; i++) {
        const GwFinding *finding = &g_array_index(findings, GwFinding, i);
        if (finding->severity != GW_SEVERITY_ERROR)
            continue;
        n++;
        g_string_append_printf(text, "\n  %s: %s", finding->id, finding->text);
        if (finding->repair)
            g_string_append_printf(text, "\n    to mend it: %s", finding->repair);
        if (finding->override == GW_OVERRIDE_ALLOWED)
            g_string_append_printf(text, "\n    or override it, by the name '%s'", finding->id);
    }
    *ret_n = n;
    return n ? g_string_free(g_steal_pointer(&text), FALSE) : NULL;
}

bool
gw_check_overrides(const char *const *overrides, GError **error)
{
    for (guint i = 0; overrides && overrides[i]; i++)
        if (!may_override(overrides[i], error))
            return false;
    return true;
}

static bool
verdict(const GArray *findings, const char *const *overrides, const char *subject, GError **error)
{
    if (!gw_check_overrides(overrides, error))
        return false;
    guint n = 0;
    g_autofree char *errors = list_errors(findings, &n);
    if (errors)
        g_set_error(error, GW_ERROR, GW_ERROR_CHECK_FAILED, "%u check%s failed%s:%s", n, n == 1 ? "" : "s",
                    subject, errors);
    return errors == NULL;
}

bool
gw_check_verdict(const GArray *findings, const char *const *overrides, GError **error)
{
    return verdict(findings, overrides, "", error);
}

bool
gw_check_motion_verdict(const GwCheckInput *input, const GArray *findings, GError **error)
{
    g_autofree char *subject = g_strdup_printf(" for %s from %s to %s", input->vm->name, input->source->name,
                                               input->destination->name);
    return verdict(findings, input->overrides, subject, error);
}
