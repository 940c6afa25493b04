/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each check before a motion: what it finds, what it lets pass, and what it says. Memory hazards are made for
 * real, by processes that map the memory. */
#include "motion-check.h"

#include "error.h"
#include "kernel-abi.h"
#include "mapping-process.h"
#include "vm-config-util.h"

#include <linux/aio_abi.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE    ((size_t)GW_PAGE_SIZE)
#define VMM_PID 1000
#define OWN_PID 2000
#define DOCUMENT                                                                                             \
    "{\"name\":\"a\",\"uuid\":\"0badcafe-52c1-4b7e-9a60-1f2e3d4c5b6a\",\"machine\":\"pc-q35-7.2\","          \
    "\"vcpus\":2,\"cpu_model\":\"qemu64\",\"memory_mib\":256%s}"

/* A configuration with some more members; the last of equal ones is refused, so these are new ones. */
static GwVmConfig *
config_with(const char *members)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf(DOCUMENT, members);
    GwVmConfig *config = gw_vm_config_parse(text, -1, &error);
    g_assert_no_error(error);
    return config;
}

static GwVmConfig *
config_with_cpu(const char *model)
{
    GwVmConfig *config = config_with("");
    g_free(config->cpu_model);
    config->cpu_model = g_strdup(model);
    return config;
}

static void
add_mapping(GwMotionFacts *facts, pid_t pid, uint64_t mem_off, uint64_t size_bytes, uint64_t address,
            bool writable)
{
    GwFileMapping mapping = {.pid = pid, .writable = writable, .region = {mem_off, size_bytes, address}};
    g_strlcpy(mapping.command, "test", sizeof mapping.command);
    g_array_append_val(facts->mappings.mappings, mapping);
}

/* Nothing there that would be in a motion's way. Tests change it; healthy() puts it back. */
static char *nothing[] = {NULL};
static const GwQemuFacts good_qemu = {
    .direct_nodes = nothing,
    .unseen_nodes = nothing,
    .unseen_devices = nothing,
    .memory_devices = nothing,
    .balloons = nothing,
    .blockers = nothing,
};
static GwQemuFacts facts_of_qemu;

/* Facts of a VM that may be moved; the configuration is taken. */
static void
healthy(GwMotionFacts *ret_facts, GwVmConfig *config)
{
    facts_of_qemu = good_qemu;
    *ret_facts = (GwMotionFacts){
        .config = config,
        .accel = GW_ACCEL_TCG,
        .qemu = &facts_of_qemu,
        .touches_direct_reads = true,
        .can_trace = true,
        .vmm_pid = VMM_PID,
        .own_pid = OWN_PID,
        .memory_bytes = 16 * PAGE,
        .memory_page_bytes = PAGE,
        .mappings = {.mappings = g_array_new(FALSE, FALSE, sizeof(GwFileMapping))},
    };
    add_mapping(ret_facts, VMM_PID, 0, 16 * PAGE, 0x7f0000000000, true);
}

static void
done_with(GwMotionFacts *facts)
{
    gw_vm_config_free((GwVmConfig *)facts->config);
    gw_motion_facts_clear(facts);
}

static const GwMotionFinding *
at(const GArray *findings, guint index)
{
    g_assert_cmpuint(index, <, findings->len);
    return &g_array_index(findings, GwMotionFinding, index);
}

/* Expects these facts to give just this one finding (NULL: none); frees them. */
static void
expect(GwMotionFacts *facts, const char *id, GwMotionSeverity severity, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) findings = gw_motion_check(facts);
    for (guint i = 0; i < findings->len; i++)
        g_test_message("%s: %s", at(findings, i)->id, at(findings, i)->text);
    g_assert_cmpuint(findings->len, ==, id ? 1 : 0);
    if (id) {
        g_assert_cmpstr(at(findings, 0)->id, ==, id);
        g_assert_cmpint(at(findings, 0)->severity, ==, severity);
        g_assert_cmpstr(at(findings, 0)->text, ==, text);
    }
    bool ok = gw_motion_check_verdict(findings, &error);
    g_assert_cmpint(ok, ==, !id || severity == GW_MOTION_WARNING);
    g_assert_cmpint(ok, ==, error == NULL);
    if (error) {
        g_assert_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED);
        g_assert_nonnull(strstr(error->message, text));
    }
    done_with(facts);
}

/* --- what the VMM says --------------------------------------------------------------------------------- */

static void
test_healthy(void)
{
    GwMotionFacts facts;
    healthy(&facts, config_with(""));
    expect(&facts, NULL, 0, NULL);
}

static void
test_qemu(void)
{
    static const char *things[] = {"thing0 (kind)", NULL};
    GwMotionFacts facts;
    healthy(&facts, config_with(""));
    facts.can_trace = false;
    expect(&facts, "motion.trace.unavailable", GW_MOTION_ERROR,
           "guest memory cannot be traced: the userfaultfd of QEMU (process 1000) is not in our hands");

    healthy(&facts, config_with(""));
    facts_of_qemu = (GwQemuFacts){0};
    expect(&facts, "motion.qemu.unasked", GW_MOTION_ERROR, "what devices and memory QEMU has is not known");

    healthy(&facts, config_with(""));
    facts_of_qemu.missing_capability = "x-ignore-shared";
    expect(&facts, "motion.qemu.capability", GW_MOTION_ERROR,
           "this QEMU has no migration capability x-ignore-shared");

    healthy(&facts, config_with(""));
    facts_of_qemu.is_confidential = true;
    expect(&facts, "motion.memory.confidential", GW_MOTION_ERROR,
           "guest memory is encrypted (SEV, TDX): nobody but the guest can read it");

    healthy(&facts, config_with(""));
    facts_of_qemu.balloons = (char **)things;
    expect(&facts, "motion.memory.balloon", GW_MOTION_WARNING,
           "the guest may give memory back meanwhile (thing0 (kind)): holes are compared at the end, and "
           "post-copy is not possible");

    healthy(&facts, config_with(""));
    facts_of_qemu.balloons = (char **)things;
    facts_of_qemu.reports_free_pages = true;
    expect(&facts, "motion.memory.balloon", GW_MOTION_WARNING,
           "the guest may give memory back meanwhile (thing0 (kind), reports free pages): holes are compared "
           "at the end, and post-copy is not possible");
}

/* What QEMU has of a kind that is refused: an error for each. */
static void
test_qemu_lists(void)
{
    static const char *things[] = {"a (kind)", "b (kind)", NULL};
    static const struct {
        size_t list; /* offset in GwQemuFacts */
        const char *id, *first;
    } cases[] = {
        {offsetof(GwQemuFacts, blockers), "motion.qemu.blocked", "QEMU cannot save its state: a (kind)"},
        {offsetof(GwQemuFacts, unseen_devices), "motion.device.unseen",
         "device a (kind) lets others than QEMU write guest memory, which no trace sees"},
        {offsetof(GwQemuFacts, unseen_nodes), "motion.disk.unseen",
         "block node a (kind) lets others than QEMU write guest memory, which no trace sees"},
        {offsetof(GwQemuFacts, memory_devices), "motion.memory.devices",
         "the VM has memory besides the one that its supervisor gave it: a (kind)"},
        {offsetof(GwQemuFacts, direct_nodes), "motion.disk.direct-io",
         "block node a (kind) uses O_DIRECT: this QEMU's reads would get past the trace"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GwMotionFacts facts;
        healthy(&facts, config_with(""));
        facts.touches_direct_reads = false;
        *(char ***)(void *)((char *)&facts_of_qemu + cases[i].list) = (char **)things;
        g_autoptr(GArray) findings = gw_motion_check(&facts);
        g_assert_cmpuint(findings->len, ==, 2);
        for (guint j = 0; j < 2; j++) {
            g_assert_cmpstr(at(findings, j)->id, ==, cases[i].id);
            g_assert_cmpint(at(findings, j)->severity, ==, GW_MOTION_ERROR);
        }
        g_assert_cmpstr(at(findings, 0)->text, ==, cases[i].first);
        g_assert_nonnull(strstr(at(findings, 1)->text, "b (kind)"));
        done_with(&facts);
    }
}

/* --- what the configuration says ----------------------------------------------------------------------- */

#define HAS "the guest's CPU (%s) has vmx or svm: what a guest of the guest writes, no trace sees"
#define MAY                                                                                                  \
    "the guest's CPU (%s) has what the host's has, which may be vmx or svm: what a guest of the guest writes, no trace sees"

static void
test_nested(void)
{
    static const struct {
        const char *model;
        GwAccel accel;
        bool asked, cpu_nests;
        const char *text; /* NULL: nothing to say */
    } cases[] = {
        /* QEMU was not asked: the model decides */
        {"EPYC,+svm", GW_ACCEL_KVM, false, false, HAS},
        {"Skylake-Server,vmx=on", GW_ACCEL_KVM, false, false, HAS},
        {"qemu64", GW_ACCEL_KVM, false, false, NULL},
        {"EPYC", GW_ACCEL_KVM, false, false, NULL},
        /* QEMU's word counts */
        {"EPYC,+svm", GW_ACCEL_KVM, true, false, NULL}, /* this host's KVM has not got it */
        {"EPYC", GW_ACCEL_KVM, true, true, HAS},
        /* TCG, whatever it shows the guest */
        {"qemu64", GW_ACCEL_TCG, true, true, NULL},
        {"EPYC,+svm", GW_ACCEL_TCG, false, false, NULL},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GwMotionFacts facts;
        g_test_message("%s", cases[i].model);
        healthy(&facts, config_with_cpu(cases[i].model));
        facts.accel = cases[i].accel;
        facts_of_qemu.cpu_nests = cases[i].cpu_nests;
        if (!cases[i].asked)
            facts_of_qemu = (GwQemuFacts){0};
        g_autofree char *text = cases[i].text ? g_strdup_printf(HAS, cases[i].model) : NULL;
        g_autoptr(GArray) findings = gw_motion_check(&facts);
        g_assert_cmpuint(findings->len, ==, (text != NULL) + !cases[i].asked);
        if (text) {
            g_assert_cmpstr(at(findings, 0)->id, ==, "motion.cpu.nested");
            g_assert_cmpstr(at(findings, 0)->text, ==, text);
        }
        done_with(&facts);
    }
}

/* Two findings: the error, and the warning that "host" and "max" always are. */
static void
test_host_cpu(void)
{
    GwMotionFacts facts;
    healthy(&facts, config_with_cpu("host"));
    facts.accel = GW_ACCEL_KVM;
    facts_of_qemu = (GwQemuFacts){0};
    g_autoptr(GArray) findings = gw_motion_check(&facts);
    g_autofree char *may = g_strdup_printf(MAY, "host");
    g_assert_cmpuint(findings->len, ==, 3);
    g_assert_cmpstr(at(findings, 0)->id, ==, "motion.cpu.nested");
    g_assert_cmpstr(at(findings, 0)->text, ==, may);
    g_assert_cmpstr(at(findings, 1)->id, ==, "motion.qemu.unasked");
    g_assert_cmpstr(at(findings, 2)->id, ==, "motion.cpu.host-dependent");
    done_with(&facts);

    healthy(&facts, config_with_cpu("host,-vmx,-svm"));
    facts.accel = GW_ACCEL_KVM;
    expect(&facts, "motion.cpu.host-dependent", GW_MOTION_WARNING,
           "CPU model 'host,-vmx,-svm' is another one on a host with another CPU or QEMU: the guest may fail "
           "there");
    healthy(&facts, config_with_cpu("max"));
    expect(&facts, "motion.cpu.host-dependent", GW_MOTION_WARNING,
           "CPU model 'max' is another one on a host with another QEMU: the guest may fail there");
}

static void
test_pinned(void)
{
    GwMotionFacts facts;
    healthy(&facts, config_with(",\"pinning\":[[0],[1,2]]"));
    expect(&facts, "motion.cpu.pinned", GW_MOTION_WARNING,
           "2 vCPUs are pinned to this host's CPUs by their numbers");
}

#define DISK(cache)                                                                                          \
    "{\"datastore\":\"ds\",\"path\":\"" cache ".img\",\"format\":\"raw\",\"cache\":\"" cache "\"}"

static void
test_disk_cache(void)
{
    static const char disks[] =
        ",\"disks\":[" DISK("writeback") "," DISK("none") "," DISK("writethrough") "]";
    GwMotionFacts facts;
    healthy(&facts, config_with(disks));
    expect(&facts, NULL, 0, NULL); /* the library touches what such a read has filled */
    healthy(&facts, config_with(disks));
    facts.touches_direct_reads = false;
    expect(&facts, "motion.disk.direct-io", GW_MOTION_ERROR,
           "disk1 (/disks/1) has cache none: this QEMU's reads would get past the trace");
    /* QEMU says so as well, of each layer: once is enough */
    static const char *layers[] = {"disk1 (raw)", "#block7 (file)", NULL};
    healthy(&facts, config_with(disks));
    facts.touches_direct_reads = false;
    facts_of_qemu.direct_nodes = (char **)layers;
    expect(&facts, "motion.disk.direct-io", GW_MOTION_ERROR,
           "disk1 (/disks/1) has cache none: this QEMU's reads would get past the trace");
}

static void
test_native_aio(void)
{
    static const char *node[] = {"disk0 (file)", NULL};
    GwMotionFacts facts;
    healthy(&facts, config_with(""));
    facts.has_native_aio = true;
    expect(&facts, NULL, 0, NULL); /* through the page cache it is harmless */
    healthy(&facts, config_with(""));
    facts.has_native_aio = true;
    facts_of_qemu.direct_nodes = (char **)node; /* which the library's touch does not help */
    expect(&facts, "motion.disk.async-io", GW_MOTION_ERROR,
           "QEMU (process 1000) uses native AIO, whose O_DIRECT reads get past the trace");
}

static void
test_cdrom(void)
{
    GwMotionFacts facts;
    healthy(&facts, config_with(",\"cdroms\":[{}]"));
    expect(&facts, NULL, 0, NULL);
    healthy(&facts, config_with(",\"cdroms\":[{},{\"datastore\":\"iso\",\"path\":\"deb/12.iso\"}]"));
    expect(
        &facts, "motion.cdrom.file", GW_MOTION_WARNING,
        "cd1 (/cdroms/1) holds deb/12.iso of datastore 'iso', which has to be the same at the destination");
}

/* --- memory: the rules --------------------------------------------------------------------------------- */

typedef struct {
    pid_t pid;
    unsigned page, n_pages;
    uint64_t address;
    bool read_only;
} Part;

static void
test_mappings(void)
{
    static const struct {
        Part parts[4];
        const char *id;
        GwMotionSeverity severity;
        const char *text;
    } cases[] = {
        /* in pieces, in any order, and by ourselves */
        {{{VMM_PID, 8, 8, 0x10000}, {VMM_PID, 0, 8, 0x40000}, {OWN_PID, 0, 16, 0x90000}}, NULL, 0, NULL},
        {{{VMM_PID, 0, 16, 0x10000}, {77, 3, 2, 0x5000}},
         "motion.memory.foreign-mapping",
         GW_MOTION_ERROR,
         "process 77 (test) has guest memory mapped, at 0x5000 (8192 bytes from 0x3000), and can write it "
         "unseen"},
        {{{VMM_PID, 0, 16, 0x10000}, {77, 3, 1, 0x5000, true}},
         "motion.memory.foreign-reader",
         GW_MOTION_WARNING,
         "process 77 (test) has guest memory mapped, at 0x5000 (4096 bytes from 0x3000), to read as it is now"},
        /* once a process, and then for the worst of it */
        {{{VMM_PID, 0, 16, 0x10000}, {77, 3, 1, 0x5000, true}, {77, 4, 1, 0x8000}, {77, 5, 1, 0x9000, true}},
         "motion.memory.foreign-mapping",
         GW_MOTION_ERROR,
         "process 77 (test) has guest memory mapped, at 0x8000 (4096 bytes from 0x4000), and can write it "
         "unseen"},
        {{{VMM_PID, 0, 16, 0x10000}, {VMM_PID, 4, 2, 0x80000}},
         "motion.memory.second-mapping",
         GW_MOTION_ERROR,
         "QEMU (process 1000) has guest memory from 0x4000 mapped twice, at 0x14000 and at 0x80000: a write "
         "through the one is not seen in the other"},
        {{{VMM_PID, 0, 8, 0x10000}, {VMM_PID, 9, 7, 0x19000}},
         "motion.memory.not-mapped",
         GW_MOTION_ERROR,
         "QEMU (process 1000) has 61440 of 65536 bytes of guest memory mapped to write"},
        {{{VMM_PID, 0, 8, 0x10000}, {VMM_PID, 8, 8, 0x18000, true}},
         "motion.memory.not-mapped",
         GW_MOTION_ERROR,
         "QEMU (process 1000) has 32768 of 65536 bytes of guest memory mapped to write"},
        {{{OWN_PID, 0, 16, 0x10000}},
         "motion.memory.not-mapped",
         GW_MOTION_ERROR,
         "QEMU (process 1000) has 0 of 65536 bytes of guest memory mapped to write"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        GwMotionFacts facts;
        healthy(&facts, config_with(""));
        g_array_set_size(facts.mappings.mappings, 0);
        for (const Part *part = cases[i].parts; part < cases[i].parts + 4 && part->pid; part++)
            add_mapping(&facts, part->pid, part->page * PAGE, part->n_pages * PAGE, part->address,
                        !part->read_only);
        expect(&facts, cases[i].id, cases[i].severity, cases[i].text);
    }
}

static void
test_unseen(void)
{
    GwMotionFacts facts;
    healthy(&facts, config_with(""));
    facts.mappings.n_unseen = 3;
    facts.mappings.an_unseen = 42;
    g_strlcpy(facts.mappings.an_unseen_command, "guarded", sizeof facts.mappings.an_unseen_command);
    expect(&facts, "motion.memory.unseen", GW_MOTION_WARNING,
           "whether 3 processes have guest memory mapped cannot be seen; one is process 42 (guarded)");
    healthy(&facts, config_with(""));
    facts.mappings.n_unseen = 1;
    facts.mappings.an_unseen = 1;
    g_strlcpy(facts.mappings.an_unseen_command, "init", sizeof facts.mappings.an_unseen_command);
    expect(&facts, "motion.memory.unseen", GW_MOTION_WARNING,
           "whether process 1 (init) has guest memory mapped cannot be seen");
}

static void
test_huge_pages(void)
{
    GwMotionFacts facts;
    healthy(&facts, config_with(""));
    facts.memory_page_bytes = 2 << 20;
    expect(&facts, "motion.memory.huge-pages", GW_MOTION_WARNING,
           "guest memory is in hugetlb pages of 2048 KiB: each is sent whole when a byte of it was written");
}

/* --- memory: for real ---------------------------------------------------------------------------------- */

/* Gathers about `image` as if `vmm` were QEMU; what the system hides of itself is not this test's matter. */
static void
gather(GwMotionFacts *ret_facts, const GwImage *image, pid_t vmm)
{
    g_autoptr(GError) error = NULL;
    facts_of_qemu = good_qemu;
    *ret_facts = (GwMotionFacts){.config = config_with(""), .accel = GW_ACCEL_TCG, .qemu = &facts_of_qemu};
    g_assert_true(gw_motion_facts_gather(ret_facts, image, vmm, 5, &error));
    g_assert_no_error(error);
    ret_facts->mappings.n_unseen = 0;
}

static const WantedMapping whole[] = {{0, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED}, {0}};

static void
test_gather(void)
{
    g_autoptr(GwImage) image = gw_image_new("check", 16 * PAGE, NULL);
    MappingProcess qemu;
    mapping_process_start(&qemu, "qemu", gw_image_fd(image), whole);
    void *ours = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, gw_image_fd(image), 0);
    GwMotionFacts facts;
    gather(&facts, image, qemu.pid);
    g_assert_true(facts.can_trace);
    g_assert_false(facts.has_native_aio);
    g_assert_cmpint(facts.own_pid, ==, getpid());
    g_assert_cmpint(facts.vmm_pid, ==, qemu.pid);
    g_assert_cmpuint(facts.memory_bytes, ==, 16 * PAGE);
    g_assert_cmpuint(facts.memory_page_bytes, ==, PAGE);
    g_assert_cmpuint(facts.mappings.mappings->len, ==, 2);
    expect(&facts, NULL, 0, NULL);

    g_autoptr(GError) error = NULL;
    facts = (GwMotionFacts){.config = config_with(""), .qemu = &facts_of_qemu};
    g_assert_true(gw_motion_facts_gather(&facts, image, qemu.pid, -1, &error));
    facts.mappings.n_unseen = 0;
    g_autofree char *text = g_strdup_printf("guest memory cannot be traced: the userfaultfd of QEMU (process "
                                            "%d) is not in our hands",
                                            qemu.pid);
    expect(&facts, "motion.trace.unavailable", GW_MOTION_ERROR, text);
    munmap(ours, 16 * PAGE);
    mapping_process_end(&qemu);
}

static void
test_foreign_process(void)
{
    static const WantedMapping part[] = {{4 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED}, {0}},
                               reading[] = {{PAGE, PAGE, PROT_READ, MAP_SHARED}, {0}},
                               copying[] = {{0, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE}, {0}};
    g_autoptr(GwImage) image = gw_image_new("check", 16 * PAGE, NULL);
    MappingProcess qemu, other;
    GwMotionFacts facts;
    mapping_process_start(&qemu, "qemu", gw_image_fd(image), whole);

    mapping_process_start(&other, "vhost-user", gw_image_fd(image), part);
    gather(&facts, image, qemu.pid);
    g_autofree char *writes =
        g_strdup_printf("process %d (vhost-user) has guest memory mapped, at 0x%zx (8192 "
                        "bytes from 0x4000), and can write it unseen",
                        other.pid, (size_t)other.addresses[0]);
    expect(&facts, "motion.memory.foreign-mapping", GW_MOTION_ERROR, writes);
    mapping_process_end(&other);

    mapping_process_start(&other, "reader", gw_image_fd(image), reading);
    gather(&facts, image, qemu.pid);
    g_autofree char *reads = g_strdup_printf("process %d (reader) has guest memory mapped, at 0x%zx (4096 "
                                             "bytes from 0x1000), to read as it is now",
                                             other.pid, (size_t)other.addresses[0]);
    expect(&facts, "motion.memory.foreign-reader", GW_MOTION_WARNING, reads);
    mapping_process_end(&other);

    mapping_process_start(&other, "copier", gw_image_fd(image), copying);
    gather(&facts, image, qemu.pid);
    expect(&facts, NULL, 0, NULL);
    mapping_process_end(&other);
    gather(&facts, image, qemu.pid);
    expect(&facts, NULL, 0, NULL); /* it is gone */
    mapping_process_end(&qemu);
}

static void
test_second_mapping(void)
{
    static const WantedMapping twice[] = {{0, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED},
                                          {8 * PAGE, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED},
                                          {0}};
    g_autoptr(GwImage) image = gw_image_new("check", 16 * PAGE, NULL);
    MappingProcess qemu;
    GwMotionFacts facts;
    mapping_process_start(&qemu, "qemu", gw_image_fd(image), twice);
    gather(&facts, image, qemu.pid);
    g_autofree char *text =
        g_strdup_printf("QEMU (process %d) has guest memory from 0x8000 mapped twice, at "
                        "0x%zx and at 0x%zx: a write through the one is not seen in the "
                        "other",
                        qemu.pid, (size_t)qemu.addresses[0] + 8 * PAGE, (size_t)qemu.addresses[1]);
    expect(&facts, "motion.memory.second-mapping", GW_MOTION_ERROR, text);
    mapping_process_end(&qemu);
}

static void
test_real_native_aio(void)
{
    g_autoptr(GwImage) image = gw_image_new("check", 16 * PAGE, NULL);
    aio_context_t context = 0;
    if (syscall(SYS_io_setup, 8, &context) < 0) {
        g_test_skip("no native AIO in this kernel");
        return;
    }
    GwMotionFacts facts;
    gather(&facts, image, getpid());
    g_assert_true(facts.has_native_aio);
    done_with(&facts);
    syscall(SYS_io_destroy, context);
    gather(&facts, image, getpid());
    g_assert_false(facts.has_native_aio);
    done_with(&facts);
}

/* A memory file of hugetlb pages; none of them has to be there, since nobody writes it. */
static void
test_real_huge_pages(void)
{
    g_autoptr(GError) error = NULL;
    int fd = memfd_create("godwit-huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
    if (fd < 0 || ftruncate(fd, 4 << 20) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0) {
        g_test_skip("no hugetlb memory files here");
        return;
    }
    g_autoptr(GwImage) image = gw_image_adopt(fd, "huge", &error);
    g_assert_no_error(error);
    GwMotionFacts facts;
    gather(&facts, image, getpid());
    g_assert_cmpuint(facts.memory_page_bytes, >, PAGE);
    g_autoptr(GArray) findings = gw_motion_check(&facts);
    g_assert_cmpstr(at(findings, findings->len - 1)->id, ==, "motion.memory.huge-pages");
    done_with(&facts);
}

/* --- what is made of the findings ---------------------------------------------------------------------- */

static void
test_report(void)
{
    static const char *blockers[] = {"a device", NULL};
    g_autoptr(GError) error = NULL;
    GwMotionFacts facts;
    healthy(&facts, config_with(",\"cdroms\":[{\"datastore\":\"iso\",\"path\":\"x.iso\"}]"));
    facts_of_qemu.blockers = (char **)blockers;
    add_mapping(&facts, 9, 0, PAGE, 0x1000, true);
    add_mapping(&facts, 8, 0, PAGE, 0x1000, true);
    g_autoptr(GArray) findings = gw_motion_check(&facts);

    /* errors first, then by id and text: the same facts always read the same */
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_ARRAY);
    json_node_take_array(node, gw_motion_findings_to_json(findings));
    g_autofree char *json = gw_json_node_to_line(node);
    g_assert_cmpstr(
        json, ==,
        "[{\"id\":\"motion.memory.foreign-mapping\",\"severity\":\"error\",\"text\":\"process 8 (test) has guest "
        "memory mapped, at 0x1000 (4096 bytes from 0x0), and can write it unseen\",\"repair\":\"end that "
        "process\"},"
        "{\"id\":\"motion.memory.foreign-mapping\",\"severity\":\"error\",\"text\":\"process 9 (test) has guest "
        "memory mapped, at 0x1000 (4096 bytes from 0x0), and can write it unseen\",\"repair\":\"end that "
        "process\"},"
        "{\"id\":\"motion.qemu.blocked\",\"severity\":\"error\",\"text\":\"QEMU cannot save its state: a "
        "device\",\"repair\":null},"
        "{\"id\":\"motion.cdrom.file\",\"severity\":\"warning\",\"text\":\"cd0 (/cdroms/0) holds x.iso of "
        "datastore 'iso', which has to be the same at the destination\",\"repair\":\"see that the destination "
        "has the file, or start the VM with the drive empty\"}]");

    g_assert_false(gw_motion_check_verdict(findings, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_SUPPORTED);
    g_assert_cmpstr(
        error->message, ==,
        "the VM cannot be moved as it is: process 8 (test) has guest memory mapped, at 0x1000 "
        "(4096 bytes from 0x0), and can write it unseen (to mend it: end that process); process 9 "
        "(test) has guest memory mapped, at 0x1000 (4096 bytes from 0x0), and can write it unseen "
        "(to mend it: end that process); QEMU cannot save its state: a device");
    done_with(&facts);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/motion-check/healthy", test_healthy);
    g_test_add_func("/motion-check/qemu", test_qemu);
    g_test_add_func("/motion-check/qemu/lists", test_qemu_lists);
    g_test_add_func("/motion-check/nested", test_nested);
    g_test_add_func("/motion-check/host-cpu", test_host_cpu);
    g_test_add_func("/motion-check/pinned", test_pinned);
    g_test_add_func("/motion-check/disk-cache", test_disk_cache);
    g_test_add_func("/motion-check/native-aio", test_native_aio);
    g_test_add_func("/motion-check/cdrom", test_cdrom);
    g_test_add_func("/motion-check/mappings", test_mappings);
    g_test_add_func("/motion-check/unseen", test_unseen);
    g_test_add_func("/motion-check/huge-pages", test_huge_pages);
    g_test_add_func("/motion-check/real/gather", test_gather);
    g_test_add_func("/motion-check/real/foreign-process", test_foreign_process);
    g_test_add_func("/motion-check/real/second-mapping", test_second_mapping);
    g_test_add_func("/motion-check/real/native-aio", test_real_native_aio);
    g_test_add_func("/motion-check/real/huge-pages", test_real_huge_pages);
    g_test_add_func("/motion-check/report", test_report);
    return g_test_run();
}
