/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QEMU's command line: golden tables of whole ones, PCI addresses of many devices, and values that try to
 * become options. */
#include "qemu-args.h"

#include "json.h"
#include "vm-config-util.h"

#include <stdio.h>
#include <string.h>

#define BINARY "/usr/bin/qemu-system-x86_64"

/* Numbers that tell what a descriptor is. */
enum {
    MEMORY = 100,
    QMP,
    KERNEL,
    INITRD,
    VARS,
    SERIAL = 110,
    DISK_RW = 200,
    DISK_RO = 300,
    CDROM = 400,
    TAP = 500
};

static char **
args_of(const char *document, GwAccel accel, bool incoming, const char *uefi_code)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwVmConfig) config = gw_vm_config_parse(document, -1, &error);
    g_assert_no_error(error);
    GwDiskFds disks[GW_VM_MAX_DISKS];
    int cdroms[GW_VM_MAX_CDROMS], taps[GW_VM_MAX_NICS];
    const GwBootConfig *boot = &config->boot;
    GwQemuFds fds = {
        .memory_fd = MEMORY,
        .qmp_fd = QMP,
        .kernel_fd = boot->kind == GW_BOOT_KERNEL ? KERNEL : -1,
        .initrd_fd = boot->kind == GW_BOOT_KERNEL && boot->initrd.path ? INITRD : -1,
        .uefi_vars_fd = boot->kind == GW_BOOT_UEFI ? VARS : -1,
        .uefi_code = boot->kind == GW_BOOT_UEFI ? uefi_code : NULL,
        .disks = disks,
        .cdrom_fds = cdroms,
        .tap_fds = taps,
    };
    for (int i = 0; i < GW_VM_MAX_SERIALS; i++)
        fds.serial_fds[i] = SERIAL + i;
    for (guint i = 0; i < config->disks->len; i++) {
        bool read_only = g_array_index(config->disks, GwDiskConfig, i).read_only;
        disks[i] = (GwDiskFds){.rw_fd = read_only ? -1 : DISK_RW + (int)i, .ro_fd = DISK_RO + (int)i};
    }
    for (guint i = 0; i < config->cdroms->len; i++)
        cdroms[i] = g_array_index(config->cdroms, GwCdromConfig, i).has_file ? CDROM + (int)i : -1;
    for (guint i = 0; i < config->nics->len; i++)
        taps[i] = TAP + (int)i;
    return gw_qemu_args(BINARY, config, accel, &fds, incoming);
}

/* --- golden tables ------------------------------------------------------------------------------------ */

/* `expected` has ' where JSON has ", for the eye. */
static void
assert_golden(char **argv, const char *const *expected)
{
    guint i = 0;
    for (; expected[i] && argv[i]; i++) {
        g_assert_null(strchr(argv[i], '\''));
        g_autofree char *plain = g_strdelimit(g_strdup(argv[i]), "\"", '\'');
        if (strcmp(plain, expected[i]) != 0)
            g_error("argument %u is %s, expected %s", i, plain, expected[i]);
    }
    if (argv[i] || expected[i])
        g_error("argument %u is %s, expected %s", i, argv[i] ? argv[i] : "missing",
                expected[i] ? expected[i] : "the end");
}

/* Documents have ' where JSON has ", until main() has put that right. */
#define HEAD           "{'name':'web1','uuid':'6f1c2d3e-0000-4000-8000-000000000001',"
#define FILE_REF(path) "{'datastore':'ds1','path':'" path "'}"
#define RAW_DISK(path) "'datastore':'ds1','path':'" path "','format':'raw'"

/* clang-format off */
static char minimal[] = HEAD
    "'vcpus':1,'memory_mib':64,'machine':'pc-q35-7.2','cpu_model':'qemu64','serial_ports':0,"
    "'boot':{'kind':'kernel','kernel':" FILE_REF("vmlinuz") "}}";

static char server[] = HEAD
    "'vcpus':8,'topology':{'sockets':2,'cores':2,'threads':2},'memory_mib':4096,'machine':'pc-q35-7.2',"
    "'cpu_model':'Skylake-Server-v4,-pku,+x2apic','description':'a server','serial_ports':2,"
    "'boot':{'kind':'uefi','vars':" FILE_REF("vars.fd") "},'disks':["
    "{'id':'root','datastore':'ds1','path':'root.qcow2','format':'qcow2','serial':'S_1-a'},"
    "{" RAW_DISK("data.raw") ",'bus':'scsi','cache':'none','limits':{'iops':500,'bytes_per_s':104857600}},"
    "{" RAW_DISK("old.raw") ",'bus':'sata','cache':'writethrough'},"
    "{" RAW_DISK("tools.raw") ",'read_only':true,'limits':{'iops':100}}],"
    "'cdroms':[" FILE_REF("install.iso") ",{}],"
    "'nics':[{'port_group':'Prod','mac':'52:54:00:12:34:56'},"
    "{'id':'backup','port_group':'Backup','mac':'52:54:00:AB:cd:ef','model':'e1000e'}],"
    "'pinning':[[0],[1],[2],[3],[4],[5],[6],[7,8]],'cpu_shares':2000,'cpu_limit_percent':400}";

static char old_pc[] = HEAD
    "'vcpus':2,'memory_mib':128,'machine':'pc-i440fx-7.2','cpu_model':'qemu64','disks':["
    "{" RAW_DISK("a") ",'bus':'ide'},{" RAW_DISK("b") "},{" RAW_DISK("c") ",'bus':'ide'}],"
    "'cdroms':[{}," FILE_REF("d") "],"
    "'nics':[{'port_group':'Prod','mac':'52:54:00:12:34:56','model':'e1000'}]}";

/* A kernel and nothing else, under TCG. */
static const char *const minimal_argv[] = {
    BINARY,
    "-name", "guest=web1,debug-threads=on",
    "-uuid", "6f1c2d3e-0000-4000-8000-000000000001",
    "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    "-no-user-config", "-nodefaults", "-msg", "timestamp=on", "-S",
    "-accel", "tcg,thread=multi",
    "-machine", "pc-q35-7.2,memory-backend=ram,vmport=off,hpet=off,smbus=off,usb=off",
    "-global", "apic-common.vapic=off",
    "-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1",
    "-cpu", "qemu64",
    "-smp", "cpus=1,sockets=1,cores=1,threads=1",
    "-rtc", "base=utc,driftfix=none",
    "-m", "64M",
    "-object",
    "{'qom-type':'memory-backend-file','id':'ram','mem-path':'/proc/self/fd/100','size':67108864,"
        "'share':true}",
    "-boot", "strict=on",
    "-kernel", "/proc/self/fd/102",
    "-display", "none", "-vga", "none",
    "-chardev", "socket,id=gw.qmp,fd=101,server=on,wait=off",
    "-mon", "chardev=gw.qmp,mode=control",
    NULL,
};

/* UEFI, disks on three buses, CD drives, two NICs, under KVM. */
static const char *const server_argv[] = {
    BINARY,
    "-name", "guest=web1,debug-threads=on",
    "-uuid", "6f1c2d3e-0000-4000-8000-000000000001",
    "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    "-no-user-config", "-nodefaults", "-msg", "timestamp=on", "-S",
    "-accel", "kvm",
    "-machine", "pc-q35-7.2,memory-backend=ram,vmport=off,hpet=off,smbus=off,usb=off,"
        "pflash0=gw.uefi-code,pflash1=gw.uefi-vars",
    "-global", "apic-common.vapic=off",
    "-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1",
    "-cpu", "Skylake-Server-v4,-pku,+x2apic",
    "-smp", "cpus=8,sockets=2,cores=2,threads=2",
    "-rtc", "base=utc,driftfix=slew",
    "-m", "4096M",
    "-object",
    "{'qom-type':'memory-backend-file','id':'ram','mem-path':'/proc/self/fd/100','size':4294967296,"
        "'share':true}",
    "-boot", "strict=on",
    "-blockdev",
    "{'driver':'raw','node-name':'gw.uefi-code','read-only':true,'cache':{'direct':false},"
        "'file':{'driver':'file','filename':'/usr/share/OVMF/OVMF_CODE_4M.fd','read-only':true}}",
    "-add-fd", "fd=104,set=99,opaque=gw.uefi-vars",
    "-blockdev",
    "{'driver':'raw','node-name':'gw.uefi-vars','read-only':false,'discard':'unmap',"
        "'cache':{'direct':false},'file':{'driver':'file','filename':'/dev/fdset/99','aio':'threads',"
        "'read-only':false,'discard':'unmap','cache':{'direct':false}}}",
    "-display", "none", "-vga", "none",
    "-chardev", "socket,id=gw.qmp,fd=101,server=on,wait=off",
    "-mon", "chardev=gw.qmp,mode=control",
    "-chardev", "socket,id=gw.serial0.char,fd=110,server=on,wait=off",
    "-device", "{'driver':'isa-serial','id':'gw.serial0','chardev':'gw.serial0.char','index':0}",
    "-chardev", "socket,id=gw.serial1.char,fd=111,server=on,wait=off",
    "-device", "{'driver':'isa-serial','id':'gw.serial1','chardev':'gw.serial1.char','index':1}",
    "-device",
    "{'driver':'virtio-scsi-pci','id':'gw.scsi','bus':'pcie.0','addr':'1a.0','multifunction':true}",
    "-add-fd", "fd=200,set=1,opaque=root", "-add-fd", "fd=300,set=1,opaque=root",
    "-blockdev",
    "{'driver':'qcow2','node-name':'root','read-only':false,'discard':'unmap','cache':{'direct':false},"
        "'file':{'driver':'file','filename':'/dev/fdset/1','aio':'threads','read-only':false,"
        "'discard':'unmap','cache':{'direct':false}}}",
    "-device",
    "{'driver':'virtio-blk-pci','id':'root','bus':'pcie.0','addr':'0a.0','multifunction':true,"
        "'drive':'root','write-cache':'on','serial':'S_1-a','bootindex':1}",
    "-add-fd", "fd=201,set=2,opaque=disk1", "-add-fd", "fd=301,set=2,opaque=disk1",
    "-object",
    "{'qom-type':'throttle-group','id':'gw.disk1.limits','limits':{'iops-total':500,'bps-total':104857600}}",
    "-blockdev",
    "{'driver':'raw','node-name':'disk1','read-only':false,'discard':'unmap','cache':{'direct':true},"
        "'file':{'driver':'throttle','throttle-group':'gw.disk1.limits','file':{'driver':'file',"
        "'filename':'/dev/fdset/2','aio':'threads','read-only':false,'discard':'unmap',"
        "'cache':{'direct':true}}}}",
    "-device",
    "{'driver':'scsi-hd','id':'disk1','bus':'gw.scsi.0','scsi-id':1,'drive':'disk1','write-cache':'on',"
        "'bootindex':2}",
    "-add-fd", "fd=202,set=3,opaque=disk2", "-add-fd", "fd=302,set=3,opaque=disk2",
    "-blockdev",
    "{'driver':'raw','node-name':'disk2','read-only':false,'discard':'unmap','cache':{'direct':false},"
        "'file':{'driver':'file','filename':'/dev/fdset/3','aio':'threads','read-only':false,"
        "'discard':'unmap','cache':{'direct':false}}}",
    "-device",
    "{'driver':'ide-hd','id':'disk2','bus':'ide.0','unit':0,'drive':'disk2','write-cache':'off',"
        "'bootindex':3}",
    "-add-fd", "fd=303,set=4,opaque=disk3",
    "-object", "{'qom-type':'throttle-group','id':'gw.disk3.limits','limits':{'iops-total':100,'bps-total':0}}",
    "-blockdev",
    "{'driver':'raw','node-name':'disk3','read-only':true,'cache':{'direct':false},"
        "'file':{'driver':'throttle','throttle-group':'gw.disk3.limits','file':{'driver':'file',"
        "'filename':'/dev/fdset/4','aio':'threads','read-only':true,'cache':{'direct':false}}}}",
    "-device",
    "{'driver':'virtio-blk-pci','id':'disk3','bus':'pcie.0','addr':'0b.0','multifunction':true,"
        "'drive':'disk3','write-cache':'on','bootindex':4}",
    "-add-fd", "fd=400,set=33,opaque=cd0",
    "-blockdev",
    "{'driver':'raw','node-name':'cd0','read-only':true,'cache':{'direct':false},"
        "'file':{'driver':'file','filename':'/dev/fdset/33','aio':'threads','read-only':true,"
        "'cache':{'direct':false}}}",
    "-device", "{'driver':'ide-cd','id':'cd0','bus':'ide.1','unit':0,'drive':'cd0','bootindex':5}",
    "-device", "{'driver':'ide-cd','id':'cd1','bus':'ide.2','unit':0,'bootindex':6}",
    "-netdev", "tap,id=gw.nic0,fd=500,vhost=off",
    "-device",
    "{'driver':'virtio-net-pci','id':'nic0','netdev':'gw.nic0','mac':'52:54:00:12:34:56','romfile':'','guest_announce':false,"
        "'bus':'pcie.0','addr':'02.0','multifunction':true}",
    "-netdev", "tap,id=gw.backup,fd=501,vhost=off",
    "-device",
    "{'driver':'e1000e','id':'backup','netdev':'gw.backup','mac':'52:54:00:ab:cd:ef','romfile':'',"
        "'bus':'pcie.0','addr':'03.0','multifunction':true}",
    NULL,
};

/* i440fx with its four IDE places, as the destination of a motion. */
static const char *const old_pc_argv[] = {
    BINARY,
    "-name", "guest=web1,debug-threads=on",
    "-uuid", "6f1c2d3e-0000-4000-8000-000000000001",
    "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    "-no-user-config", "-nodefaults", "-msg", "timestamp=on", "-S",
    "-accel", "tcg,thread=multi",
    "-machine", "pc-i440fx-7.2,memory-backend=ram,vmport=off,hpet=off,smbus=off,usb=off",
    "-global", "apic-common.vapic=off",
    "-global", "PIIX4_PM.disable_s3=1", "-global", "PIIX4_PM.disable_s4=1",
    "-cpu", "qemu64",
    "-smp", "cpus=2,sockets=1,cores=2,threads=1",
    "-rtc", "base=utc,driftfix=none",
    "-incoming", "defer",
    "-m", "128M",
    "-object",
    "{'qom-type':'memory-backend-file','id':'ram','mem-path':'/proc/self/fd/100','size':134217728,"
        "'share':true}",
    "-boot", "strict=on",
    "-display", "none", "-vga", "none",
    "-chardev", "socket,id=gw.qmp,fd=101,server=on,wait=off",
    "-mon", "chardev=gw.qmp,mode=control",
    "-chardev", "socket,id=gw.serial0.char,fd=110,server=on,wait=off",
    "-device", "{'driver':'isa-serial','id':'gw.serial0','chardev':'gw.serial0.char','index':0}",
    "-add-fd", "fd=200,set=1,opaque=disk0", "-add-fd", "fd=300,set=1,opaque=disk0",
    "-blockdev",
    "{'driver':'raw','node-name':'disk0','read-only':false,'discard':'unmap','cache':{'direct':false},"
        "'file':{'driver':'file','filename':'/dev/fdset/1','aio':'threads','read-only':false,"
        "'discard':'unmap','cache':{'direct':false}}}",
    "-device",
    "{'driver':'ide-hd','id':'disk0','bus':'ide.0','unit':0,'drive':'disk0','write-cache':'on',"
        "'bootindex':1}",
    "-add-fd", "fd=201,set=2,opaque=disk1", "-add-fd", "fd=301,set=2,opaque=disk1",
    "-blockdev",
    "{'driver':'raw','node-name':'disk1','read-only':false,'discard':'unmap','cache':{'direct':false},"
        "'file':{'driver':'file','filename':'/dev/fdset/2','aio':'threads','read-only':false,"
        "'discard':'unmap','cache':{'direct':false}}}",
    "-device",
    "{'driver':'virtio-blk-pci','id':'disk1','bus':'pci.0','addr':'0a.0','multifunction':true,"
        "'drive':'disk1','write-cache':'on','bootindex':2}",
    "-add-fd", "fd=202,set=3,opaque=disk2", "-add-fd", "fd=302,set=3,opaque=disk2",
    "-blockdev",
    "{'driver':'raw','node-name':'disk2','read-only':false,'discard':'unmap','cache':{'direct':false},"
        "'file':{'driver':'file','filename':'/dev/fdset/3','aio':'threads','read-only':false,"
        "'discard':'unmap','cache':{'direct':false}}}",
    "-device",
    "{'driver':'ide-hd','id':'disk2','bus':'ide.0','unit':1,'drive':'disk2','write-cache':'on',"
        "'bootindex':3}",
    "-device", "{'driver':'ide-cd','id':'cd0','bus':'ide.1','unit':0,'bootindex':4}",
    "-add-fd", "fd=401,set=34,opaque=cd1",
    "-blockdev",
    "{'driver':'raw','node-name':'cd1','read-only':true,'cache':{'direct':false},"
        "'file':{'driver':'file','filename':'/dev/fdset/34','aio':'threads','read-only':true,"
        "'cache':{'direct':false}}}",
    "-device", "{'driver':'ide-cd','id':'cd1','bus':'ide.1','unit':1,'drive':'cd1','bootindex':5}",
    "-netdev", "tap,id=gw.nic0,fd=500,vhost=off",
    "-device",
    "{'driver':'e1000','id':'nic0','netdev':'gw.nic0','mac':'52:54:00:12:34:56','romfile':'',"
        "'bus':'pci.0','addr':'02.0','multifunction':true}",
    NULL,
};
/* clang-format on */

static void
test_golden(void)
{
    static const struct {
        char *document;
        GwAccel accel;
        bool incoming;
        const char *const *argv;
    } cases[] = {
        {minimal, GW_ACCEL_TCG, false, minimal_argv},
        {server, GW_ACCEL_KVM, false, server_argv},
        {old_pc, GW_ACCEL_TCG, true, old_pc_argv},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(GStrv) argv =
            args_of(cases[i].document, cases[i].accel, cases[i].incoming, "/usr/share/OVMF/OVMF_CODE_4M.fd");
        assert_golden(argv, cases[i].argv);
    }
}

/* --- differences -------------------------------------------------------------------------------------- */

/* What stands behind `option`; NULL if it is not there, and never there twice. */
static const char *
value_of(char **argv, const char *option)
{
    const char *value = NULL;
    for (char **each = argv + 1; *each; each++) {
        if (strcmp(*each, option) != 0)
            continue;
        g_assert_null(value);
        g_assert_nonnull(each[1]);
        value = each[1];
    }
    return value;
}

/* `longer` is `shorter` with the arguments `more` put in, in this order, and no other difference. */
static void
assert_differs_by(char **shorter, char **longer, const char *const *more)
{
    for (; *longer; longer++) {
        if (g_strcmp0(*shorter, *longer) == 0) {
            shorter++;
            continue;
        }
        g_assert_cmpstr(*longer, ==, *more);
        more++;
    }
    g_assert_null(*shorter);
    g_assert_null(*more);
}

static void
test_incoming(void)
{
    static const char *const documents[] = {minimal, server, old_pc};
    static const char *const more[] = {"-incoming", "defer", NULL};
    for (size_t i = 0; i < G_N_ELEMENTS(documents); i++) {
        g_auto(GStrv) source = args_of(documents[i], GW_ACCEL_TCG, false, "/code");
        g_auto(GStrv) destination = args_of(documents[i], GW_ACCEL_TCG, true, "/code");
        assert_differs_by(source, destination, more);
    }
}

static void
test_accel(void)
{
    g_auto(GStrv) kvm = args_of(server, GW_ACCEL_KVM, false, "/code");
    g_auto(GStrv) tcg = args_of(server, GW_ACCEL_TCG, false, "/code");
    g_assert_cmpstr(value_of(kvm, "-accel"), ==, "kvm");
    g_assert_cmpstr(value_of(tcg, "-accel"), ==, "tcg,thread=multi");
    g_assert_cmpstr(value_of(kvm, "-rtc"), ==, "base=utc,driftfix=slew");
    g_assert_cmpstr(value_of(tcg, "-rtc"), ==, "base=utc,driftfix=none");
    guint n_different = 0;
    g_assert_cmpuint(g_strv_length(kvm), ==, g_strv_length(tcg));
    for (guint i = 0; kvm[i]; i++)
        n_different += strcmp(kvm[i], tcg[i]) != 0;
    g_assert_cmpuint(n_different, ==, 2);
}

/* Places of the host's business are none of QEMU's. */
static void
test_host_side_only(void)
{
    static const struct {
        const char *pointer, *value;
    } cases[] = {
        {"/pinning", NULL},
        {"/cpu_shares", "300"},
        {"/cpu_limit_percent", NULL},
        {"/description", "\"another\""},
        {"/nics/0/port_group", "\"Another\""},
        {"/disks/0/path", "\"another\""},
        {"/disks/0/datastore", "\"ds2\""},
        {"/boot/vars/path", "\"another\""},
        {"/accel", "\"tcg\""},
    };
    g_auto(GStrv) argv = args_of(server, GW_ACCEL_KVM, false, "/code");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *changed = document_with(server, cases[i].pointer, cases[i].value);
        g_auto(GStrv) same = args_of(changed, GW_ACCEL_KVM, false, "/code");
        g_assert_true(g_strv_equal((const char *const *)argv, (const char *const *)same));
    }
}

static void
test_kernel(void)
{
    g_auto(GStrv) bare = args_of(minimal, GW_ACCEL_TCG, false, NULL);
    g_autofree char *with_initrd =
        document_with(minimal, "/boot/initrd", "{\"datastore\":\"ds1\",\"path\":\"initrd\"}");
    g_autofree char *full = document_with(with_initrd, "/boot/command_line", "\"console=ttyS0 quiet\"");
    static const char *const initrd[] = {"-initrd", "/proc/self/fd/103", NULL};
    static const char *const both[] = {"-initrd", "/proc/self/fd/103", "-append", "console=ttyS0 quiet",
                                       NULL};
    g_auto(GStrv) initrd_argv = args_of(with_initrd, GW_ACCEL_TCG, false, NULL);
    g_auto(GStrv) full_argv = args_of(full, GW_ACCEL_TCG, false, NULL);
    assert_differs_by(bare, initrd_argv, initrd);
    assert_differs_by(bare, full_argv, both);
}

/* --- many devices ------------------------------------------------------------------------------------- */

/* A document with that many disks and NICs of the kinds given in turn. */
static char *
many_devices(const char *machine, unsigned n_disks, const char *const *buses, unsigned n_nics,
             const char *const *models)
{
    GString *text = g_string_new(HEAD "'vcpus':1,'memory_mib':64,'cpu_model':'qemu64'");
    g_string_append_printf(text, ",'machine':'%s','disks':[", machine);
    for (unsigned i = 0; i < n_disks; i++)
        g_string_append_printf(text, "%s{" RAW_DISK("d%u") ",'bus':'%s'}", i ? "," : "", i,
                               buses[i % g_strv_length((char **)(uintptr_t)buses)]);
    g_string_append(text, "],'nics':[");
    for (unsigned i = 0; i < n_nics; i++)
        g_string_append_printf(text, "%s{'port_group':'p','mac':'52:54:00:00:00:%02x','model':'%s'}",
                               i ? "," : "", i, models[i % g_strv_length((char **)(uintptr_t)models)]);
    g_string_append(text, "]}");
    return g_strdelimit(g_string_free(text, FALSE), "'", '"');
}

/* Every PCI function is one device's; the chipset's slots are left alone; a slot's function 0 is there, says
 * that there may be more, and is made first. Tells how many there are. */
static unsigned
check_pci_addresses(char **argv, const char *bus)
{
    bool taken[32][8] = {{false}};
    unsigned n = 0;
    for (char **each = argv + 1; *each; each++) {
        if (strcmp(each[-1], "-device") != 0)
            continue;
        g_autoptr(JsonNode) node = json_from(*each);
        JsonObject *device = json_node_get_object(node);
        const char *address = gw_json_get_string(device, "addr");
        unsigned slot, function;
        bool multifunction = false;
        if (!address)
            continue;
        g_assert_cmpstr(gw_json_get_string(device, "bus"), ==, bus);
        g_assert_cmpint(sscanf(address, "%x.%x", &slot, &function), ==, 2);
        g_assert_true(slot >= 2 && slot <= 30 && function < 8);
        g_assert_false(taken[slot][function]);
        g_assert_true(function == 0 || taken[slot][0]);
        g_assert_true(gw_json_get_bool(device, "multifunction", &multifunction));
        g_assert_cmpint(multifunction, ==, function == 0);
        taken[slot][function] = true;
        n++;
    }
    return n;
}

static void
test_many_devices(void)
{
    static const char *const virtio[] = {"virtio", NULL}, *const mixed[] = {"virtio", "scsi", NULL};
    static const char *const scsi[] = {"scsi", NULL};
    static const char *const mostly[] = {"virtio", "virtio", "virtio", "scsi", NULL};
    static const char *const models[] = {"virtio", "e1000", "e1000e", NULL};
    static const struct {
        unsigned n_disks;
        const char *const *buses;
        unsigned n_nics, n_pci;
    } cases[] = {
        {20, virtio, 10, 30}, {0, virtio, 0, 0},   {16, virtio, 8, 24}, {17, virtio, 9, 26},
        {32, virtio, 16, 48}, {32, mixed, 16, 33}, {32, scsi, 16, 17},  {32, mostly, 16, 41},
    };
    for (size_t i = 0; i < 2 * G_N_ELEMENTS(cases); i++) {
        const bool q35 = i % 2;
        g_autofree char *document = many_devices(q35 ? "pc-q35-7.2" : "pc-i440fx-7.2", cases[i / 2].n_disks,
                                                 cases[i / 2].buses, cases[i / 2].n_nics, models);
        g_auto(GStrv) argv = args_of(document, GW_ACCEL_TCG, false, NULL);
        g_assert_cmpuint(check_pci_addresses(argv, q35 ? "pcie.0" : "pci.0"), ==, cases[i / 2].n_pci);
    }
}

/* Both ends of a motion, and a VM before and after it got another device, have the same addresses. */
static void
test_addresses_are_stable(void)
{
    static const char *const virtio[] = {"virtio", NULL};
    g_autofree char *few = many_devices("pc-q35-7.2", 3, virtio, 2, virtio);
    g_autofree char *more = many_devices("pc-q35-7.2", 30, virtio, 2, virtio);
    g_auto(GStrv) few_argv = args_of(few, GW_ACCEL_TCG, false, NULL);
    g_auto(GStrv) more_argv = args_of(more, GW_ACCEL_TCG, false, NULL);
    unsigned n = 0;
    for (char **each = few_argv + 1; *each; each++)
        if (strcmp(each[-1], "-device") == 0) {
            g_assert_true(g_strv_contains((const char *const *)more_argv, *each));
            n++;
        }
    g_assert_cmpuint(n, ==, 3 + 2 + 1); /* and a serial port */
}

/* --- values that try --------------------------------------------------------------------------------------
 */

/* Options that take JSON: all of them, parsed back, with no member but those known. */
static void
check_json_options(char **argv, const char *uefi_code)
{
    static const char *const options[] = {"-device", "-blockdev", "-object", NULL};
    bool found_code = false;
    for (char **each = argv + 1; *each; each++) {
        if (!g_strv_contains(options, each[-1]))
            continue;
        g_autoptr(JsonNode) node = json_from(*each);
        g_assert_true(JSON_NODE_HOLDS_OBJECT(node));
        JsonNode *filename = json_at(node, "/file/filename");
        found_code |= filename && g_strcmp0(json_node_get_string(filename), uefi_code) == 0;
        g_assert_null(json_at(node, "/readonly"));
        g_assert_null(json_at(node, "/a"));
    }
    g_assert_true(found_code || !uefi_code);
}

static void
test_nasty_values(void)
{
    static const char *const places[] = {"/disks/0/path", "/nics/0/port_group", "/description",
                                         "/cdroms/0/path", "/boot/vars/path"};
    static const char nasty_member[] = "x,readonly=on\\\",\\\"a=b':{}[],,%s -device evil";
    static const char nasty[] = "/c,ode\",\"a\":1,readonly=on'=%s\\ x";
    g_autofree char *document = g_strdup(server);
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *before = g_steal_pointer(&document);
        g_autofree char *value = g_strdup_printf("\"%u%s\"", (unsigned)i, nasty_member);
        document = document_with(before, places[i], value);
    }
    g_auto(GStrv) plain = args_of(server, GW_ACCEL_KVM, false, nasty);
    g_auto(GStrv) argv = args_of(document, GW_ACCEL_KVM, false, nasty);
    g_assert_true(g_strv_equal((const char *const *)argv, (const char *const *)plain));
    check_json_options(argv, nasty);

    /* The kernel's command line is an argument of its own. */
    static const char *const lines[] = {"-S", "-device evil", "a,b=c", "\\\"quoted\\\" 'too'", "%s%n"};
    g_auto(GStrv) bare = args_of(minimal, GW_ACCEL_TCG, false, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        g_autofree char *value = g_strdup_printf("\"%s\"", lines[i]);
        g_autofree char *changed = document_with(minimal, "/boot/command_line", value);
        g_autofree char *said = g_strcompress(lines[i]);
        const char *const more[] = {"-append", said, NULL};
        g_auto(GStrv) with_line = args_of(changed, GW_ACCEL_TCG, false, NULL);
        assert_differs_by(bare, with_line, more);
    }
}

/* QEMU has one name space for devices and one for block nodes. */
static void
test_ids_of_ours(void)
{
    static const char *const ids[] = {"serial0", "uefi-code", "uefi-vars"};
    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++) {
        g_autofree char *value = g_strdup_printf("\"%s\"", ids[i]);
        g_autofree char *document = document_with(server, "/disks/0/id", value);
        g_autofree char *report = report_of(document);
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_auto(GStrv) argv = *report ? NULL : args_of(document, GW_ACCEL_TCG, false, "/code");
        for (char **each = argv; argv && each[1]; each++) {
            const char *member = strcmp(*each, "-device") == 0     ? "/id"
                                 : strcmp(*each, "-blockdev") == 0 ? "/node-name"
                                                                   : NULL;
            g_autoptr(JsonNode) node = member ? json_from(each[1]) : NULL;
            if (node)
                g_assert_true(g_hash_table_add(
                    seen, g_strconcat(member, json_node_get_string(json_at(node, member)), NULL)));
        }
    }
}

int
main(int argc, char **argv)
{
    char *const documents[] = {minimal, server, old_pc};
    for (size_t i = 0; i < G_N_ELEMENTS(documents); i++)
        g_strdelimit(documents[i], "'", '"');
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qemu-args/golden", test_golden);
    g_test_add_func("/qemu-args/incoming", test_incoming);
    g_test_add_func("/qemu-args/accel", test_accel);
    g_test_add_func("/qemu-args/host-side-only", test_host_side_only);
    g_test_add_func("/qemu-args/kernel", test_kernel);
    g_test_add_func("/qemu-args/many-devices", test_many_devices);
    g_test_add_func("/qemu-args/addresses-are-stable", test_addresses_are_stable);
    g_test_add_func("/qemu-args/nasty-values", test_nasty_values);
    g_test_add_func("/qemu-args/ids-of-ours", test_ids_of_ours);
    return g_test_run();
}
