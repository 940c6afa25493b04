/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks of the hosts themselves, and of what the VM is doing. */
#include "check-internal.h"

#include <string.h>

void
gw_check_host_same(GwCheckRun *run)
{
    if (strcmp(run->source->name, run->destination->name) != 0)
        return;
    GwFinding *finding = gw_check_add(run, "%s is on %s already", run->vm->name, run->destination->name);
    finding->repair = g_strdup("name another host");
}

static void
report_unreachable(GwCheckRun *run, const GwHostFacts *host, bool is_source)
{
    if (host->is_reachable)
        return;
    GwFinding *finding = gw_check_add(run, "the agent of %s, the %s, cannot be reached", host->name,
                                      is_source ? "source" : "destination");
    *(is_source ? &finding->source : &finding->destination) = g_strdup("does not answer");
    finding->repair =
        g_strdup_printf("on %s, 'systemctl status godwit-host'; 'godwit host show %s' tells the "
                        "address that was tried, and the error",
                        host->name, host->name);
}

void
gw_check_host_unreachable(GwCheckRun *run)
{
    report_unreachable(run, run->source, true);
    report_unreachable(run, run->destination, false);
}

void
gw_check_host_maintenance(GwCheckRun *run)
{
    if (!run->destination->in_maintenance)
        return;
    const char *host = run->destination->name;
    GwFinding *finding = gw_check_add(run, "%s is in maintenance: no VM is to come to it", host);
    finding->destination = g_strdup("in maintenance");
    finding->repair =
        g_strdup_printf("end it ('godwit host maintenance %s off'), or name another host", host);
}

static bool
has_cpu_share(const GwVmConfig *config)
{
    return config->cpu_shares != 1000 || config->cpu_limit_percent != 0;
}

/* What is missing altogether stops a motion. Of what is only a pity ("kvm", "huge-pages") other checks know
 * when it matters; but without a cgroup no VM starts that has shares or a limit. */
void
gw_check_host_problem(GwCheckRun *run)
{
    const GArray *problems = run->destination->problems;
    for (guint i = 0; problems && i < problems->len; i++) {
        const GwFinding *problem = &g_array_index(problems, GwFinding, i);
        bool matters = problem->severity == GW_SEVERITY_ERROR ||
                       (strcmp(problem->id, "cgroup") == 0 && has_cpu_share(run->vm->config));
        if (!matters)
            continue;
        GwFinding *finding = gw_check_add(run, "%s cannot take the VM as it is (%s): %s",
                                          run->destination->name, problem->id, problem->text);
        finding->destination = g_strdup(problem->text);
        if (problem->repair)
            finding->repair = g_strdup_printf("on %s, %s", run->destination->name, problem->repair);
    }
}

/* What to do in a state in which no motion begins; `%s` is the VM. */
static const struct {
    const char *state, *repair;
} unstable[] = {
    {"off", "'godwit vm start %s'; a VM that is off has nothing to move but its home"},
    {"starting", "wait until it runs: 'godwit vm show %s'"},
    {"crashed", "'godwit vm start %s', or see why it ended: 'godwit vm show %s'"},
    {"incoming", "wait for the motion that brings it: 'godwit task ls'"},
    {"moved", "wait until the center knows where it is: 'godwit vm show %s'"},
    {"unsupervised", "wait until the agent has started a supervisor for it, or 'systemctl restart "
                     "godwit-host' on its host"},
};

void
gw_check_vm_state(GwCheckRun *run)
{
    const char *vm = run->vm->name, *state = run->vm->state ? run->vm->state : "unknown";
    if (strcmp(state, "running") == 0 || strcmp(state, "paused") == 0 || !run->source->is_reachable)
        return; /* or not known, and said elsewhere */
    GwFinding *finding =
        gw_check_add(run, "the state of %s on %s is '%s', and only a VM that is running or paused can move",
                     vm, run->source->name, state);
    finding->source = g_strdup(state);
    const char *repair = "wait until its host answers: 'godwit vm show %s'";
    for (size_t i = 0; i < G_N_ELEMENTS(unstable); i++)
        if (strcmp(unstable[i].state, state) == 0)
            repair = unstable[i].repair;
    g_auto(GStrv) parts = g_strsplit(repair, "%s", -1);
    finding->repair = g_strjoinv(vm, parts);
}

void
gw_check_vm_activity(GwCheckRun *run)
{
    const char *vm = run->vm->name, *host = run->source->name, *activity = run->vm->activity;
    if (!activity)
        return;
    GwFinding *finding = gw_check_add(run, "%s is busy on %s with %s", vm, host, activity);
    finding->source = g_strdup(activity);
    finding->repair =
        run->vm->is_traced
            ? g_strdup_printf("whoever traces it is to end that, or on %s, 'curl -X DELETE --unix-socket "
                              "/run/godwit/vms/%s/control.sock http://vm/v1/trace'",
                              host, vm)
            : g_strdup("wait until that is over, or cancel it: 'godwit task ls', then 'godwit task cancel "
                       "TASK'");
}

void
gw_check_vm_duplicate(GwCheckRun *run)
{
    if (!run->vm->duplicate_at)
        return;
    GwFinding *finding = gw_check_add(run,
                                      "both %s and %s say that they have %s: which of them is right is "
                                      "not for a motion to decide",
                                      run->source->name, run->vm->duplicate_at, run->vm->name);
    finding->source = g_strdup(run->vm->state);
    finding->repair =
        g_strdup_printf("on the host where it is not to run, 'godwit-vm power %s stop': the center "
                        "removes what is left of it there",
                        run->vm->name);
}

void
gw_check_vm_namesake(GwCheckRun *run)
{
    const char *vm = run->vm->name, *there = run->destination->name;
    if (!run->vm->namesake)
        return;
    GwFinding *finding =
        gw_check_add(run, "%s has another VM that is also named %s (%s)", there, vm, run->vm->namesake);
    finding->source = g_strdup_printf("UUID %s", run->vm->uuid);
    finding->destination = g_strdup(run->vm->namesake);
    finding->repair =
        g_strdup_printf("on %s, if nobody needs that one, 'godwit-vm power %s stop' when it runs, and "
                        "'godwit-vm rm %s'",
                        there, vm, vm);
}
