/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From text to a checked configuration, in three passes: the strict scan (json-scan.h), json-glib's tree, and
 * the walk over it (config-reader.h), which goes on behind every problem. Rules that tie two members together
 * are judged only where both were right by themselves, so that one mistake makes one line. */
#include "vm-config.h"

#include "config-report.h"
#include "error.h"
#include "json-scan.h"
#include "json.h"
#include "vm-config-internal.h"

#include <string.h>

#define SUBJECT        "the VM's configuration"
#define BYTES_PER_MIB  (UINT64_C(1) << 20)
#define MAX_MEMORY_MIB UINT64_C(12582912) /* 12 TiB, KVM's and QEMU's largest guests in the field */
#define MAX_HOST_CPU   8191               /* Linux on x86: CONFIG_NR_CPUS is 8192 at most */

static void
pins_clear(void *data)
{
    g_array_unref(*(GArray **)data);
}

static GwVmConfig *
vm_config_new(void)
{
    GwVmConfig *self = g_new0(GwVmConfig, 1);
    self->disks = gw_disk_array_new();
    self->nics = gw_nic_array_new();
    self->cdroms = gw_cdrom_array_new();
    self->pins = g_array_new(FALSE, FALSE, sizeof(GArray *));
    g_array_set_clear_func(self->pins, pins_clear);
    return self;
}

void
gw_vm_config_free(GwVmConfig *self)
{
    if (!self)
        return;
    g_free(self->name);
    g_free(self->uuid);
    g_free(self->description);
    g_free(self->cpu_model);
    g_free(self->machine);
    gw_file_ref_clear(&self->boot.kernel);
    gw_file_ref_clear(&self->boot.initrd);
    gw_file_ref_clear(&self->boot.uefi_vars);
    g_free(self->boot.command_line);
    g_array_unref(self->disks);
    g_array_unref(self->nics);
    g_array_unref(self->cdroms);
    g_array_unref(self->pins);
    g_clear_pointer(&self->document, json_node_unref);
    g_free(self);
}

bool
gw_vm_config_is_q35(const GwVmConfig *self)
{
    return self->machine && g_str_has_prefix(self->machine, "pc-q35-");
}

void
gw_mac_format(const uint8_t mac[6], char text[18])
{
    g_snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static void
read_identity(GwVmConfigDraft *draft)
{
    GwConfigReader *r = draft->reader;
    GwVmConfig *config = draft->config;
    config->name = gw_config_reader_string(r, "name", GW_MEMBER_REQUIRED, &gw_rule_name);
    g_autofree char *uuid = gw_config_reader_string(r, "uuid", GW_MEMBER_REQUIRED, &gw_rule_uuid);
    config->uuid = uuid ? g_ascii_strdown(uuid, -1) : NULL;
    config->description = gw_config_reader_string(r, "description", GW_MEMBER_OPTIONAL, &gw_rule_description);
}

/* QEMU resolves an alias on the host where it starts: two hosts, two machines. */
static void
report_machine(GwConfigReader *r, const char *machine)
{
    static const char *const aliases[] = {"pc", "q35", "pc-q35", "pc-i440fx", "i440fx", NULL};
    static const char *const others[] = {"microvm", "isapc", "none", NULL};
    g_autofree char *got = gw_config_quote(machine);
    const char *what = "wrong form";
    if (g_strv_contains(aliases, machine))
        what =
            "names no version: it is another machine with each QEMU release, and a moved guest has to find "
            "the same one";
    else if (g_strv_contains(others, machine))
        what = "not a machine that can be moved";
    gw_config_reader_problem(r, "machine", "%s (got %s, expected %s)", what, got,
                             strstr(machine, "i440fx") || g_str_equal(machine, "pc")
                                 ? "a fixed version such as 'pc-i440fx-7.2'"
                                 : "a fixed version such as 'pc-q35-7.2'");
}

static void
read_machine(GwVmConfigDraft *draft)
{
    GwVmConfig *config = draft->config;
    config->machine = gw_config_reader_string(draft->reader, "machine", GW_MEMBER_REQUIRED, &gw_rule_machine);
    if (!config->machine)
        return;
    draft->machine_is_known = gw_vm_machine_is_versioned(config->machine);
    if (!draft->machine_is_known)
        report_machine(draft->reader, config->machine);
}

static void
read_topology(GwVmConfigDraft *draft)
{
    GwConfigReader *r = draft->reader;
    GwVmConfig *config = draft->config;
    config->sockets = config->threads = 1;
    config->cores = config->vcpus;
    if (!gw_config_reader_enter(r, "topology", GW_MEMBER_OPTIONAL))
        return;
    uint64_t sockets = gw_config_reader_uint(r, "sockets", GW_MEMBER_REQUIRED, 1, GW_VM_MAX_VCPUS, 0);
    uint64_t cores = gw_config_reader_uint(r, "cores", GW_MEMBER_REQUIRED, 1, GW_VM_MAX_VCPUS, 0);
    uint64_t threads = gw_config_reader_uint(r, "threads", GW_MEMBER_REQUIRED, 1, GW_VM_MAX_VCPUS, 0);
    uint64_t product = sockets * cores * threads;
    if (product && config->vcpus && product != config->vcpus)
        gw_config_reader_problem(
            r, NULL,
            "sockets × cores × threads is not the number of vCPUs (got %u × %u × %u = %u, "
            "expected %u)",
            (unsigned)sockets, (unsigned)cores, (unsigned)threads, (unsigned)product, config->vcpus);
    config->sockets = (unsigned)sockets;
    config->cores = (unsigned)cores;
    config->threads = (unsigned)threads;
    gw_config_reader_leave(r);
}

static void
read_processor(GwVmConfigDraft *draft)
{
    GwConfigReader *r = draft->reader;
    GwVmConfig *config = draft->config;
    bool is_i440fx = draft->machine_is_known && !gw_vm_config_is_q35(config);
    config->vcpus = (unsigned)gw_config_reader_uint(r, "vcpus", GW_MEMBER_REQUIRED, 1, GW_VM_MAX_VCPUS, 0);
    if (is_i440fx && config->vcpus > GW_VM_MAX_VCPUS_I440FX)
        gw_config_reader_problem(r, "vcpus",
                                 "too many for %s (got %u, expected at most %u, or a q35 machine)",
                                 config->machine, config->vcpus, GW_VM_MAX_VCPUS_I440FX);
    read_topology(draft);
    config->cpu_model = gw_config_reader_string(r, "cpu_model", GW_MEMBER_REQUIRED, &gw_rule_cpu_model);
    config->accel =
        (GwAccel)gw_config_reader_enum(r, "accel", GW_MEMBER_OPTIONAL, gw_accel_names, GW_ACCEL_AUTO);
    config->memory_bytes =
        gw_config_reader_uint(r, "memory_mib", GW_MEMBER_REQUIRED, 64, MAX_MEMORY_MIB, 0) * BYTES_PER_MIB;
}

/* Whether `member` is to be read, which it is with that kind of boot only; `kind` -1: not known, do not
 * judge. */
static bool
belongs_to_kind(GwConfigReader *r, const char *member, int kind, GwBootKind its_kind)
{
    if (gw_config_reader_has(r, member) && kind >= 0 && kind != (int)its_kind)
        gw_config_reader_problem(r, member,
                                 "does not belong here (got kind '%s', expected it with '%s' only)",
                                 gw_boot_names[kind], gw_boot_names[its_kind]);
    return kind == (int)its_kind;
}

static void
read_boot_file(GwVmConfigDraft *draft, const char *member, GwMemberNeed need, bool is_written,
               GwFileRef *ret_file)
{
    if (!gw_config_reader_enter(draft->reader, member, need))
        return;
    gw_vm_config_read_file(draft, GW_MEMBER_REQUIRED, is_written, ret_file);
    gw_config_reader_leave(draft->reader);
}

static void
read_boot(GwVmConfigDraft *draft)
{
    GwConfigReader *r = draft->reader;
    GwBootConfig *boot = &draft->config->boot;
    boot->kind = GW_BOOT_BIOS;
    if (!gw_config_reader_enter(r, "boot", GW_MEMBER_OPTIONAL))
        return;
    int kind = gw_config_reader_enum(r, "kind", GW_MEMBER_REQUIRED, gw_boot_names, -1);
    if (belongs_to_kind(r, "vars", kind, GW_BOOT_UEFI))
        read_boot_file(draft, "vars", GW_MEMBER_REQUIRED, true, &boot->uefi_vars);
    if (belongs_to_kind(r, "kernel", kind, GW_BOOT_KERNEL))
        read_boot_file(draft, "kernel", GW_MEMBER_REQUIRED, false, &boot->kernel);
    if (belongs_to_kind(r, "initrd", kind, GW_BOOT_KERNEL))
        read_boot_file(draft, "initrd", GW_MEMBER_OPTIONAL, false, &boot->initrd);
    if (belongs_to_kind(r, "command_line", kind, GW_BOOT_KERNEL))
        boot->command_line =
            gw_config_reader_string(r, "command_line", GW_MEMBER_OPTIONAL, &gw_rule_command_line);
    boot->kind = kind < 0 ? GW_BOOT_BIOS : (GwBootKind)kind;
    gw_config_reader_leave(r);
}

/* The host CPUs of one vCPU: element `vcpu` of "pinning". */
static void
read_pin(GwVmConfigDraft *draft, guint vcpu)
{
    GwConfigReader *r = draft->reader;
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    GArray *cpus = g_array_new(FALSE, FALSE, sizeof(unsigned));
    guint n;
    bool is_reported = false;
    g_array_append_val(draft->config->pins, cpus);
    if (!gw_config_reader_enter_array_item(r, vcpu, MAX_HOST_CPU + 1, &n))
        return;
    if (n == 0)
        gw_config_reader_problem(
            r, NULL, "pins vCPU %u to no CPU at all (expected at least one CPU of the host)", vcpu);
    for (guint i = 0; i < n; i++) {
        uint64_t cpu;
        if (!gw_config_reader_uint_item(r, i, 0, MAX_HOST_CPU, &cpu))
            continue;
        if (!g_hash_table_add(seen, GUINT_TO_POINTER((guint)cpu)) && !is_reported) {
            gw_config_reader_problem(r, NULL, "names a CPU twice (got %u, expected each once)", (guint)cpu);
            is_reported = true;
        }
        unsigned value = (unsigned)cpu;
        g_array_append_val(cpus, value);
    }
    gw_config_reader_leave(r);
}

static void
read_pinning(GwVmConfigDraft *draft)
{
    GwConfigReader *r = draft->reader;
    unsigned vcpus = draft->config->vcpus;
    guint n;
    if (!gw_config_reader_enter_array(r, "pinning", GW_VM_MAX_VCPUS, &n))
        return;
    if (vcpus && n != vcpus)
        gw_config_reader_problem(r, NULL, "not one list of host CPUs for each vCPU (got %u, expected %u)", n,
                                 vcpus);
    guint n_pins = 0;
    for (guint i = 0; i < n; i++) {
        read_pin(draft, i);
        n_pins += g_array_index(draft->config->pins, GArray *, i)->len;
    }
    if (n_pins > GW_VM_MAX_PINS)
        gw_config_reader_problem(r, NULL, "too many CPUs in all lists (got %u, expected at most %d)", n_pins,
                                 GW_VM_MAX_PINS);
    gw_config_reader_leave(r);
}

static void
read_resources(GwVmConfigDraft *draft)
{
    GwConfigReader *r = draft->reader;
    GwVmConfig *config = draft->config;
    unsigned vcpus = config->vcpus ? config->vcpus : GW_VM_MAX_VCPUS;
    config->n_serials =
        (unsigned)gw_config_reader_uint(r, "serial_ports", GW_MEMBER_OPTIONAL, 0, GW_VM_MAX_SERIALS, 1);
    read_pinning(draft);
    config->cpu_shares =
        (unsigned)gw_config_reader_uint(r, "cpu_shares", GW_MEMBER_OPTIONAL, 100, 100000, 1000);
    config->cpu_limit_percent =
        (unsigned)gw_config_reader_uint(r, "cpu_limit_percent", GW_MEMBER_OPTIONAL, 10, 100 * vcpus, 0);
}

/* Fills the draft; what depends on another member comes behind it. */
static void
read_all(GwVmConfigDraft *draft)
{
    read_identity(draft);
    read_machine(draft);
    read_processor(draft);
    read_boot(draft);
    gw_vm_config_read_devices(draft);
    read_resources(draft);
}

static GHashTable *
users_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

static GwVmConfig *
read_document(JsonNode *document, GHashTable *findings, GError **error)
{
    g_autoptr(GwVmConfig) config = vm_config_new();
    g_autoptr(GwConfigReader) reader = gw_config_reader_new(json_node_get_object(document), findings);
    g_autoptr(GHashTable) ids = users_new();
    g_autoptr(GHashTable) macs = users_new();
    g_autoptr(GHashTable) written_files = users_new();
    g_autoptr(GHashTable) read_files = users_new();
    GwVmConfigDraft draft = {
        .reader = reader,
        .config = config,
        .ids = ids,
        .macs = macs,
        .written_files = written_files,
        .read_files = read_files,
    };
    read_all(&draft);
    if (!gw_config_reader_finish(reader, SUBJECT, error))
        return NULL;
    config->document = json_node_ref(document);
    return g_steal_pointer(&config);
}

/* Refuses the document as a whole; takes over the text. Always NULL. */
static GwVmConfig *
refuse(char *text, GError **error)
{
    g_autoptr(GwConfigReport) report = gw_config_report_new();
    gw_config_report_add(report, "", "", text);
    gw_config_report_finish(report, SUBJECT, error);
    return NULL;
}

GwVmConfig *
gw_vm_config_parse(const char *text, gssize length, GError **error)
{
    size_t n = length < 0 ? strlen(text) : (size_t)length;
    g_autoptr(GError) cause = NULL;
    if (n > GW_VM_CONFIG_LIMIT)
        return refuse(g_strdup_printf("too long (got %zu bytes, expected at most %d)", n, GW_VM_CONFIG_LIMIT),
                      error);
    g_autoptr(GHashTable) findings = gw_json_scan(text, n, &cause);
    if (!findings)
        return refuse(g_strdup(cause->message), error);
    g_autoptr(JsonNode) root = gw_json_parse(text, (gssize)n, &cause);
    if (!root)
        return refuse(g_strdup(cause->message), error);
    if (!JSON_NODE_HOLDS_OBJECT(root))
        return refuse(g_strdup_printf("wrong type (got %s, expected an object)",
                                      JSON_NODE_HOLDS_ARRAY(root) ? "an array" : "a single value"),
                      error);
    return read_document(root, findings, error);
}
