/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks before a motion: facts to findings. */
#include "motion-check.h"

#include "cpu-model.h"
#include "error.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PAGE_BYTES 4096

static void
clear_finding(void *data)
{
    GwMotionFinding *finding = data;
    g_free(finding->text);
    g_free(finding->repair);
}

static void G_GNUC_PRINTF(5, 6) report(GArray *findings, const char *id, GwMotionSeverity severity,
                                       const char *repair, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    GwMotionFinding finding = {id, severity, g_strdup_vprintf(format, values), g_strdup(repair)};
    va_end(values);
    g_array_append_val(findings, finding);
}

/* An error for each text of a list, which may be NULL, with words before and behind it. */
static void
report_each(GArray *findings, char *const *texts, const char *id, const char *repair, const char *before,
            const char *behind)
{
    for (; texts && *texts; texts++)
        report(findings, id, GW_MOTION_ERROR, repair, "%s%s%s", before, *texts, behind);
}

static bool
was_asked(const GwQemuFacts *qemu)
{
    return qemu->blockers != NULL; /* no list is NULL once asked */
}

static void
check_qemu(GArray *findings, const GwMotionFacts *facts)
{
    const GwQemuFacts *qemu = facts->qemu;
    if (!facts->can_trace)
        report(findings, "motion.trace.unavailable", GW_MOTION_ERROR,
               "stop the VM and start it again under a supervisor, on Linux 6.7 or newer",
               "guest memory cannot be traced: the userfaultfd of QEMU (process %d) is not in our hands",
               facts->vmm_pid);
    if (!was_asked(qemu))
        report(findings, "motion.qemu.unasked", GW_MOTION_ERROR, NULL,
               "what devices and memory QEMU has is not known");
    if (qemu->missing_capability)
        report(findings, "motion.qemu.capability", GW_MOTION_ERROR,
               "start the VM with a QEMU that has it, such as 7.2 or 10.0 of Debian",
               "this QEMU has no migration capability %s", qemu->missing_capability);
    report_each(findings, qemu->blockers, "motion.qemu.blocked", NULL, "QEMU cannot save its state: ", "");
    report_each(findings, qemu->unseen_devices, "motion.device.unseen", "take the device off the VM",
                "device ", " lets others than QEMU write guest memory, which no trace sees");
}

static void
check_cpu(GArray *findings, const GwMotionFacts *facts)
{
    const char *model = facts->config->cpu_model;
    static const char *const repair =
        "put ',-vmx,-svm' behind cpu_model (/cpu_model), then stop the VM and start it again";
    GwCpuNesting nesting = gw_cpu_model_nesting(model, facts->accel);
    /* QEMU knows; the model is for when it was not asked. TCG may show svm, and does no harm. */
    if (was_asked(facts->qemu))
        nesting = facts->accel == GW_ACCEL_KVM && facts->qemu->cpu_nests ? GW_CPU_NESTS : GW_CPU_NESTS_NOT;
    if (nesting != GW_CPU_NESTS_NOT)
        report(findings, "motion.cpu.nested", GW_MOTION_ERROR, repair,
               "the guest's CPU (%s) has %svmx or svm: what a guest of the guest writes, no trace sees",
               model, nesting == GW_CPU_NESTS ? "" : "what the host's has, which may be ");
    if (gw_cpu_model_is_host_dependent(model))
        report(findings, "motion.cpu.host-dependent", GW_MOTION_WARNING,
               "give it a named model (/cpu_model), such as one of 'qemu-system-x86_64 -cpu help'",
               "CPU model '%s' is another one on a host with another %s: the guest may fail there", model,
               facts->accel == GW_ACCEL_KVM ? "CPU or QEMU" : "QEMU");
    if (facts->config->pins->len > 0)
        report(findings, "motion.cpu.pinned", GW_MOTION_WARNING,
               "see that the destination has these CPUs and that they are free, or take /pinning out",
               "%u vCPUs are pinned to this host's CPUs by their numbers", facts->config->pins->len);
}

static void
check_disks(GArray *findings, const GwMotionFacts *facts)
{
    static const char *const repair =
        "stop the VM and start it again, so that QEMU gets the present hand-over library; or set the disk's "
        "cache to writeback";
    const GArray *disks = facts->config->disks;
    bool configured = false;
    for (guint i = 0; i < disks->len && !facts->touches_direct_reads; i++) {
        const GwDiskConfig *disk = &g_array_index(disks, GwDiskConfig, i);
        if (disk->cache != GW_DISK_CACHE_NONE)
            continue;
        configured = true;
        report(findings, "motion.disk.direct-io", GW_MOTION_ERROR, repair,
               "%s (/disks/%u) has cache none: this QEMU's reads would get past the trace", disk->id, i);
    }
    char *const *direct = facts->qemu->direct_nodes;
    if (!configured && !facts->touches_direct_reads)
        report_each(findings, direct, "motion.disk.direct-io", repair, "block node ",
                    " uses O_DIRECT: this QEMU's reads would get past the trace");
    if (facts->has_native_aio && (!was_asked(facts->qemu) || *direct))
        report(findings, "motion.disk.async-io", GW_MOTION_ERROR, "use aio=threads, or the page cache",
               "QEMU (process %d) uses native AIO, whose O_DIRECT reads get past the trace", facts->vmm_pid);
    report_each(findings, facts->qemu->unseen_nodes, "motion.disk.unseen", "use a file or a block device",
                "block node ", " lets others than QEMU write guest memory, which no trace sees");
}

static void
check_cdroms(GArray *findings, const GwMotionFacts *facts)
{
    const GwVmConfig *config = facts->config;
    for (guint i = 0; i < config->cdroms->len; i++) {
        const GwCdromConfig *cdrom = &g_array_index(config->cdroms, GwCdromConfig, i);
        if (cdrom->has_file)
            report(findings, "motion.cdrom.file", GW_MOTION_WARNING,
                   "see that the destination has the file, or start the VM with the drive empty",
                   "%s (/cdroms/%u) holds %s of datastore '%s', which has to be the same at the destination",
                   cdrom->id, i, cdrom->file.path, cdrom->file.datastore);
    }
}

static void
check_memory_kind(GArray *findings, const GwMotionFacts *facts)
{
    const GwQemuFacts *qemu = facts->qemu;
    report_each(findings, qemu->memory_devices, "motion.memory.devices", "take the device off the VM",
                "the VM has memory besides the one that its supervisor gave it: ", "");
    if (qemu->is_confidential)
        report(findings, "motion.memory.confidential", GW_MOTION_ERROR, NULL,
               "guest memory is encrypted (SEV, TDX): nobody but the guest can read it");
    if (qemu->balloons && *qemu->balloons)
        report(
            findings, "motion.memory.balloon", GW_MOTION_WARNING, NULL,
            "the guest may give memory back meanwhile (%s%s): holes are compared at the end, and post-copy "
            "is not possible",
            *qemu->balloons, qemu->reports_free_pages ? ", reports free pages" : "");
    if (facts->memory_page_bytes > PAGE_BYTES)
        report(findings, "motion.memory.huge-pages", GW_MOTION_WARNING, "use transparent huge pages",
               "guest memory is in hugetlb pages of %" PRIu64
               " KiB: each is sent whole when a byte of it was written",
               facts->memory_page_bytes / 1024);
}

static void
check_foreign_mappings(GArray *findings, const GwMotionFacts *facts)
{
    const GArray *mappings = facts->mappings.mappings;
    g_autoptr(GHashTable) worst = g_hash_table_new(NULL, NULL); /* pid -> a mapping of it */
    for (guint i = 0; i < mappings->len; i++) {
        const GwFileMapping *mapping = &g_array_index(mappings, GwFileMapping, i);
        void *pid = GINT_TO_POINTER(mapping->pid);
        const GwFileMapping *other = g_hash_table_lookup(worst, pid);
        if (mapping->pid != facts->vmm_pid && mapping->pid != facts->own_pid &&
            (!other || (mapping->writable && !other->writable)))
            g_hash_table_insert(worst, pid, (void *)mapping);
    }
    GHashTableIter iter;
    const GwFileMapping *mapping;
    g_hash_table_iter_init(&iter, worst);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&mapping))
        report(findings, mapping->writable ? "motion.memory.foreign-mapping" : "motion.memory.foreign-reader",
               mapping->writable ? GW_MOTION_ERROR : GW_MOTION_WARNING, "end that process",
               "process %d (%s) has guest memory mapped, at 0x%" PRIx64 " (%" PRIu64 " bytes from 0x%" PRIx64
               ")%s",
               mapping->pid, mapping->command, mapping->region.vmm_addr, mapping->region.size_bytes,
               mapping->region.mem_off,
               mapping->writable ? ", and can write it unseen" : ", to read as it is now");
}

/* Not an error: on some systems root itself is kept from the first process or a guarded one. */
static void
check_unseen_mappings(GArray *findings, const GwFileMappings *mappings)
{
    if (mappings->n_unseen == 0)
        return;
    g_autofree char *one =
        g_strdup_printf("process %d (%s)", mappings->an_unseen, mappings->an_unseen_command);
    g_autofree char *repair =
        g_strdup_printf("let root read /proc/%d/maps (with the capability SYS_PTRACE, which containers and "
                        "security modules may keep back), or see that it is no process that has to do with "
                        "guests",
                        mappings->an_unseen);
    if (mappings->n_unseen == 1)
        report(findings, "motion.memory.unseen", GW_MOTION_WARNING, repair,
               "whether %s has guest memory mapped cannot be seen", one);
    else
        report(findings, "motion.memory.unseen", GW_MOTION_WARNING, repair,
               "whether %u processes have guest memory mapped cannot be seen; one is %s", mappings->n_unseen,
               one);
}

static int
compare_offsets(const void *a, const void *b)
{
    const GwFileMapping *x = a, *y = b;
    return x->region.mem_off < y->region.mem_off ? -1 : x->region.mem_off > y->region.mem_off;
}

/* The VMM has to have each byte mapped just once, to write: only then are its page tables the whole truth. */
static void
check_vmm_mappings(GArray *findings, const GwMotionFacts *facts)
{
    const GArray *all = facts->mappings.mappings;
    g_autoptr(GArray) own = g_array_new(FALSE, FALSE, sizeof(GwFileMapping));
    for (guint i = 0; i < all->len; i++)
        if (g_array_index(all, GwFileMapping, i).pid == facts->vmm_pid)
            g_array_append_val(own, g_array_index(all, GwFileMapping, i));
    g_array_sort(own, compare_offsets);

    uint64_t mapped = 0, end = 0, end_addr = 0;
    for (guint i = 0; i < own->len; i++) {
        const GwFileMapping *mapping = &g_array_index(own, GwFileMapping, i);
        const GwMemRegion *region = &mapping->region;
        uint64_t region_end = region->mem_off + region->size_bytes;
        if (i > 0 && region->mem_off < end) {
            report(findings, "motion.memory.second-mapping", GW_MOTION_ERROR, NULL,
                   "QEMU (process %d) has guest memory from 0x%" PRIx64 " mapped twice, at 0x%" PRIx64
                   " and at 0x%" PRIx64 ": a write through the one is not seen in the other",
                   facts->vmm_pid, region->mem_off, end_addr - (end - region->mem_off), region->vmm_addr);
            return;
        }
        if (mapping->writable)
            mapped += region->size_bytes;
        end = region_end;
        end_addr = region->vmm_addr + region->size_bytes;
    }
    g_autofree char *repair =
        own->len == 0 && facts->mappings.n_unseen > 0
            ? g_strdup_printf("if /proc/%d/maps is what cannot be seen, see to the capability SYS_PTRACE",
                              facts->vmm_pid)
            : NULL;
    if (mapped < facts->memory_bytes)
        report(findings, "motion.memory.not-mapped", GW_MOTION_ERROR, repair,
               "QEMU (process %d) has %" PRIu64 " of %" PRIu64 " bytes of guest memory mapped to write",
               facts->vmm_pid, mapped, facts->memory_bytes);
}

static int
compare_findings(const void *a, const void *b)
{
    const GwMotionFinding *x = a, *y = b;
    if (x->severity != y->severity)
        return x->severity == GW_MOTION_ERROR ? -1 : 1;
    int by_id = strcmp(x->id, y->id);
    return by_id ? by_id : strcmp(x->text, y->text);
}

GArray *
gw_motion_check(const GwMotionFacts *facts)
{
    GArray *findings = g_array_new(FALSE, FALSE, sizeof(GwMotionFinding));
    g_array_set_clear_func(findings, clear_finding);
    check_qemu(findings, facts);
    check_cpu(findings, facts);
    check_disks(findings, facts);
    check_cdroms(findings, facts);
    check_memory_kind(findings, facts);
    check_foreign_mappings(findings, facts);
    check_unseen_mappings(findings, &facts->mappings);
    check_vmm_mappings(findings, facts);
    g_array_sort(findings, compare_findings);
    return findings;
}

bool
gw_motion_check_verdict(const GArray *findings, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < findings->len; i++) {
        const GwMotionFinding *finding = &g_array_index(findings, GwMotionFinding, i);
        if (finding->severity != GW_MOTION_ERROR)
            continue;
        g_string_append_printf(text, "%s%s", text->len ? "; " : "", finding->text);
        if (finding->repair)
            g_string_append_printf(text, " (to mend it: %s)", finding->repair);
    }
    if (text->len == 0)
        return true;
    g_set_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED, "the VM cannot be moved as it is: %s", text->str);
    return false;
}

JsonArray *
gw_motion_findings_to_json(const GArray *findings)
{
    JsonArray *list = json_array_new();
    for (guint i = 0; i < findings->len; i++) {
        const GwMotionFinding *finding = &g_array_index(findings, GwMotionFinding, i);
        JsonObject *object = json_object_new();
        json_object_set_string_member(object, "id", finding->id);
        json_object_set_string_member(object, "severity",
                                      finding->severity == GW_MOTION_ERROR ? "error" : "warning");
        json_object_set_string_member(object, "text", finding->text);
        json_object_set_string_member(object, "repair", finding->repair);
        json_array_add_object_element(list, object);
    }
    return list;
}

/* The kernel shows the ring of such a context as a mapping. */
static bool
has_native_aio(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/maps", pid);
    g_autofree char *text = NULL;
    return g_file_get_contents(path, &text, NULL, NULL) && strstr(text, "/[aio]");
}

bool
gw_motion_facts_gather(GwMotionFacts *facts, const GwImage *image, pid_t vmm_pid, int uffd, GError **error)
{
    struct statfs fs;
    if (fstatfs(gw_image_fd(image), &fs) < 0)
        return gw_set_errno(error, GW_ERROR_IO, errno, "guest memory");
    facts->can_trace = uffd >= 0;
    facts->has_native_aio = has_native_aio(vmm_pid);
    facts->vmm_pid = vmm_pid;
    facts->own_pid = getpid();
    facts->memory_bytes = gw_image_size(image);
    facts->memory_page_bytes = fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize : PAGE_BYTES;
    return gw_file_mappings_find(gw_image_fd(image), &facts->mappings, error);
}

void
gw_motion_facts_clear(GwMotionFacts *self)
{
    gw_file_mappings_clear(&self->mappings);
}
