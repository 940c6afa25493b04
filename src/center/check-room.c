/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks of the destination's QEMU, and of the room that it has. */
#include "check-internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void
gw_check_qemu_machine(GwCheckRun *run)
{
    const GwHostFacts *there = run->destination;
    const char *machine = run->vm->config->machine;
    if (!there->machines || !*there->machines ||
        g_strv_contains((const char *const *)there->machines, machine))
        return;
    GwFinding *finding = gw_check_add(run, "the QEMU of %s (%s) does not have the machine %s (/machine)",
                                      there->name, gw_check_qemu_version(there), machine);
    finding->source = g_strdup_printf("QEMU %s", gw_check_qemu_version(run->source));
    finding->destination = g_strdup_printf("QEMU %s", gw_check_qemu_version(there));
    finding->repair = g_strdup_printf(
        "on %s, install a QEMU that lists it: 'qemu-system-x86_64 -machine help'", there->name);
}

/* The first two numbers of a version, as one that compares; 0: not known. Fixes within them change no
 * state's format. */
static unsigned
version_number(const char *version)
{
    unsigned major = 0, minor = 0;
    if (!version || sscanf(version, "%3u.%3u", &major, &minor) != 2)
        return 0;
    return major * 1000 + minor;
}

/* The machine's version fixes the format of the state, so an older QEMU takes it as a rule; but nobody
 * promises so, and what it does not know it may take wrongly. */
void
gw_check_qemu_older(GwCheckRun *run)
{
    const GwHostFacts *there = run->destination;
    const char *now = run->vm->qemu_version ? run->vm->qemu_version : run->source->qemu_version;
    unsigned from = version_number(now), to = version_number(there->qemu_version);
    if (from == 0 || to == 0 || to >= from)
        return;
    GwFinding *finding = gw_check_add(run, "%s has QEMU %s, which is older than the %s that the VM runs in",
                                      there->name, there->qemu_version, now);
    finding->source = g_strdup_printf("QEMU %s", now);
    finding->destination = g_strdup_printf("QEMU %s", there->qemu_version);
    finding->repair = g_strdup_printf("on %s, install QEMU %s or newer", there->name, now);
}

void
gw_check_memory_room(GwCheckRun *run)
{
    const GwHostFacts *there = run->destination;
    uint64_t resident = run->vm->memory_resident_bytes, size = run->vm->config->memory_bytes;
    uint64_t room = there->memory_available_bytes;
    if (there->memory_bytes == 0 || MAX(resident, size) <= room)
        return;
    bool is_error = resident > room;
    GwFinding *finding = gw_check_add(
        run, "%s has %" PRIu64 " MiB of memory available, and the guest %s %" PRIu64 " MiB (/memory_mib)",
        there->name, room >> 20, is_error ? "holds" : "may come to hold", (is_error ? resident : size) >> 20);
    finding->severity = is_error ? GW_SEVERITY_ERROR : GW_SEVERITY_WARNING;
    finding->source = g_strdup_printf("%" PRIu64 " MiB held of %" PRIu64 " MiB", resident >> 20, size >> 20);
    finding->destination = g_strdup_printf("%" PRIu64 " MiB available of %" PRIu64 " MiB", room >> 20,
                                           there->memory_bytes >> 20);
    finding->repair =
        g_strdup_printf("move a VM away from %s ('godwit vm migrate VM --to HOST'), or name a host "
                        "with more memory",
                        there->name);
}

void
gw_check_cpu_room(GwCheckRun *run)
{
    const GwHostFacts *there = run->destination;
    unsigned vcpus = run->vm->config->vcpus;
    if (there->n_cpus == 0 || vcpus <= there->n_cpus)
        return;
    GwFinding *finding =
        gw_check_add(run,
                     "the VM has %u vCPUs (/vcpus) and %s has %u CPUs: they will wait for each "
                     "other",
                     vcpus, there->name, there->n_cpus);
    finding->source = g_strdup_printf("%u CPUs", run->source->n_cpus);
    finding->destination = g_strdup_printf("%u CPUs", there->n_cpus);
    finding->repair = g_strdup("name a host with more CPUs");
}
