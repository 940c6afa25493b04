/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VM configurations: every rule by a table of changed places, whole documents from data/vm-config, round
 * trips. */
#include "vm-config.h"

#include "../fuzz/fuzz-vm-config.c"
#include "vm-config-util.h"

#include <string.h>

/* One place of data/vm-config/good-everything.json is changed, `value` NULL: left out. */
typedef struct {
    const char *pointer, *value, *report; /* the lines behind the headline */
} Change;

#define DISK(rest) "{\"datastore\":\"ds9\",\"path\":\"p\",\"format\":\"raw\"" rest "}"
#define NIC(rest)  "{\"port_group\":\"p\"" rest "}"

static const Change refused[] = {
    /* types and presence */
    {"/vcpus", NULL, "  /vcpus: is missing (expected an integer from 1 to 288)"},
    {"/vcpus", "\"4\"", "  /vcpus: wrong type (got the string '4', expected an integer from 1 to 288)"},
    {"/vcpus", "4.0", "  /vcpus: wrong type (got 4.0, expected an integer from 1 to 288)"},
    {"/vcpus", "4e0", "  /vcpus: wrong type (got 4.0, expected an integer from 1 to 288)"},
    {"/vcpus", "null", "  /vcpus: wrong type (got null, expected an integer from 1 to 288)"},
    {"/vcpus", "true", "  /vcpus: wrong type (got true, expected an integer from 1 to 288)"},
    {"/vcpus", "[4]", "  /vcpus: wrong type (got an array, expected an integer from 1 to 288)"},
    {"/vcpus", "-4", "  /vcpus: out of range (got -4, expected an integer from 1 to 288)"},
    {"/vcpus", "-9223372036854775808",
     "  /vcpus: out of range (got -9223372036854775808, expected an integer from 1 to 288)"},
    {"/description", "7", "  /description: wrong type (got 7, expected text in one line)"},
    {"/disks", "{}", "  /disks: wrong type (got an object, expected an array)"},
    {"/disks/1", "null", "  /disks/1: wrong type (got null, expected an object)"},
    {"/boot", "\"bios\"", "  /boot: wrong type (got the string 'bios', expected an object)"},
    {"/disks/0/read_only", "0", "  /disks/0/read_only: wrong type (got 0, expected true or false)"},
    /* unknown members */
    {"/cpus", "4", "  /cpus: unknown member (did you mean 'vcpus'?)"},
    {"/vCPUs", "4", "  /vCPUs: unknown member (did you mean 'vcpus'?)"},
    {"/memory", "4", "  /memory: unknown member (did you mean 'memory_mib'?)"},
    {"/serial-ports", "1", "  /serial-ports: unknown member (did you mean 'serial_ports'?)"},
    {"/disks/0/limits/iop", "4", "  /disks/0/limits/iop: unknown member (did you mean 'iops'?)"},
    {"/nics/1/portgroup", "4", "  /nics/1/portgroup: unknown member (did you mean 'port_group'?)"},
    {"/disks/1/readonly", "true", "  /disks/1/readonly: unknown member (did you mean 'read_only'?)"},
    {"/topology/dies", "1", "  /topology/dies: unknown member (expected only: sockets, cores, threads)"},
    {"/disks/0/limits/x", "1", "  /disks/0/limits/x: unknown member (expected only: iops, bytes_per_s)"},
    /* strings */
    {"/description", "\"\"", "  /description: is empty (expected text in one line)"},
    {"/description", "\"a\\nb\"",
     "  /description: holds control characters (got 'a\\u000ab', expected text in one line)"},
    {"/name", "\"-a\"",
     "  /name: wrong form (got '-a', expected a letter or digit, then letters, digits, '.', '_' and '-')"},
    {"/disks/0/serial", "\"123456789012345678901\"",
     "  /disks/0/serial: too long (got 21 bytes, expected at most 20)"},
    /* machines */
    {"/machine", "\"pc\"",
     "  /machine: names no version: it is another machine with each QEMU release, and a moved guest has to find "
     "the same one (got 'pc', expected a fixed version such as 'pc-i440fx-7.2')"},
    {"/machine", "\"none\"",
     "  /machine: not a machine that can be moved (got 'none', expected a fixed version such as 'pc-q35-7.2')"},
    {"/machine", "\"pc-q35-7\"",
     "  /machine: wrong form (got 'pc-q35-7', expected a fixed version such as 'pc-q35-7.2')"},
    {"/machine", "\"pc-i440fx-7.2\"",
     "  /disks/1/bus: the machine pc-i440fx-7.2 has no SATA controller (got 'sata', expected 'virtio', 'scsi' or "
     "'ide')"},
    {"/disks/1/bus", "\"ide\"",
     "  /disks/1/bus: the machine pc-q35-7.2 has no IDE controller (got 'ide', expected 'virtio', 'scsi' or "
     "'sata')"},
    {"/disks/1/read_only", "true",
     "  /disks/1/read_only: QEMU has no read-only IDE or SATA disks (got true with bus 'sata', expected bus 'virtio' "
     "or 'scsi', or false)"},
    {"/cdroms", "[{},{},{},{},{},{}]",
     "  /cdroms/5: too many SATA drives (got 7 with this one, expected at most 6 of disks and CD drives together)"},
    /* vCPUs */
    {"/topology/cores", "3",
     "  /topology: sockets × cores × threads is not the number of vCPUs (got 1 × 3 × 2 = 6, expected 4)"},
    {"/topology", "{\"sockets\":1}",
     "  /topology/cores: is missing (expected an integer from 1 to 288)\n"
     "  /topology/threads: is missing (expected an integer from 1 to 288)"},
    {"/pinning", "[[0],[1],[2]]", "  /pinning: not one list of host CPUs for each vCPU (got 3, expected 4)"},
    {"/pinning", "[]", "  /pinning: not one list of host CPUs for each vCPU (got 0, expected 4)"},
    {"/pinning/1", "[]",
     "  /pinning/1: pins vCPU 1 to no CPU at all (expected at least one CPU of the host)"},
    {"/pinning/1", "[5,6,5,5]", "  /pinning/1: names a CPU twice (got 5, expected each once)"},
    {"/pinning/1", "[8192]", "  /pinning/1/0: out of range (got 8192, expected an integer from 0 to 8191)"},
    {"/pinning/1", "[1,\"2\"]",
     "  /pinning/1/1: wrong type (got the string '2', expected an integer from 0 to 8191)"},
    {"/pinning/1", "2", "  /pinning/1: wrong type (got 2, expected an array)"},
    {"/cpu_limit_percent", "401",
     "  /cpu_limit_percent: out of range (got 401, expected an integer from 10 to 400)"},
    /* boot */
    {"/boot", "{}", "  /boot/kind: is missing (expected one of 'bios', 'uefi', 'kernel')"},
    {"/boot", "{\"kind\":\"efi\",\"vars\":1}",
     "  /boot/kind: unknown value (got 'efi', expected one of 'bios', 'uefi', 'kernel')"},
    {"/boot", "{\"kind\":\"kernel\"}", "  /boot/kernel: is missing (expected an object)"},
    {"/boot", "{\"kind\":\"uefi\"}", "  /boot/vars: is missing (expected an object)"},
    {"/boot/kind", "\"bios\"",
     "  /boot/kernel: does not belong here (got kind 'bios', expected it with 'kernel' only)\n"
     "  /boot/initrd: does not belong here (got kind 'bios', expected it with 'kernel' only)\n"
     "  /boot/command_line: does not belong here (got kind 'bios', expected it with 'kernel' only)"},
    {"/boot/vars", "{}",
     "  /boot/vars: does not belong here (got kind 'kernel', expected it with 'uefi' only)"},
    {"/boot", "{\"kind\":\"uefi\",\"vars\":{\"datastore\":\"ds2\",\"path\":\"data.raw\"}}",
     "  /disks/1/path: the file is in use at /boot/vars already (got 'ds2/data.raw', expected a file of its own)"},
    /* devices */
    {"/disks/1", DISK(",\"id\":\"lan\""),
     "  /nics/0/id: the id is in use at /disks/1 already (got 'lan', expected one of its own)"},
    {"/disks/0/id", "\"disk1\"",
     "  /disks/1/id: the default 'disk1' is in use at /disks/0 already (expected an id here)"},
    {"/disks/0/id", "\"a.b\"",
     "  /disks/0/id: wrong form (got 'a.b', expected a letter, then letters, digits, '_' and '-')"},
    {"/disks/1/path", NULL,
     "  /disks/1/path: is missing (expected a path within the datastore such as 'web1/root.qcow2': no '/' at its "
     "start or end, no part that is empty, '.', '..' or longer than 255 bytes)"},
    {"/disks/1", "{\"datastore\":\"ds1\",\"path\":\"a dir/root,1.qcow2\",\"format\":\"raw\"}",
     "  /disks/1/path: the file is in use at /disks/0 already (got 'ds1/a dir/root,1.qcow2', expected a file of its "
     "own)"},
    {"/disks/1", "{\"datastore\":\"ds1\",\"path\":\"boot/vmlinuz\",\"format\":\"raw\"}",
     "  /disks/1/path: the file is in use at /boot/kernel already (got 'ds1/boot/vmlinuz', expected a file of its "
     "own)"},
    {"/cdroms/1", "{\"datastore\":\"ds2\",\"path\":\"data.raw\"}",
     "  /cdroms/1/path: the file is in use at /disks/1 already (got 'ds2/data.raw', expected a file of its own)"},
    {"/cdroms/0/datastore", NULL,
     "  /cdroms/0/datastore: is missing (expected a datastore's name: a letter or digit, then letters, digits, '.', "
     "'_' and '-')"},
    {"/disks/0/limits", "{}", "  /disks/0/limits: limits nothing (expected 'iops', 'bytes_per_s' or both)"},
    {"/disks/0/limits/iops", "0",
     "  /disks/0/limits/iops: out of range (got 0, expected an integer from 1 to 1000000000)"},
    {"/nics/1", NIC(""), "  /nics/1/mac: is missing (expected six bytes such as '52:54:00:12:34:56')"},
    {"/nics/1", NIC(",\"mac\":\"52:54:00:ab:cd:ef\""),
     "  /nics/1/mac: the address is in use at /nics/0 already (got '52:54:00:ab:cd:ef', expected its own)"},
    {"/nics/1", NIC(",\"mac\":\"33:33:00:00:00:01\""),
     "  /nics/1/mac: not a unicast address (got '33:33:00:00:00:01', expected an even first byte and not all zero, "
     "such as '52:54:00:12:34:56')"},
};

static const Change accepted[] = {
    {"/description", NULL, NULL},
    {"/topology", NULL, NULL},
    {"/topology", "{\"sockets\":4,\"cores\":1,\"threads\":1}", NULL},
    {"/accel", NULL, NULL},
    {"/boot", NULL, NULL},
    {"/boot", "{\"kind\":\"bios\"}", NULL},
    {"/boot/initrd", NULL, NULL},
    {"/boot/command_line", "\"quote=\\\" comma=, ä\"", NULL},
    {"/boot/initrd", "{\"datastore\":\"ds1\",\"path\":\"boot/vmlinuz\"}", NULL}, /* both only read */
    {"/disks", NULL, NULL},
    {"/disks", "[]", NULL},
    {"/disks/1", DISK(""), NULL},
    {"/disks/1", "{\"datastore\":\"ds2\",\"path\":\"a dir/root,1.qcow2\",\"format\":\"raw\"}", NULL},
    {"/disks/1/cache", "\"none\"", NULL},
    {"/disks/0/limits/iops", NULL, NULL},
    {"/disks/0/read_only", "false", NULL},
    {"/nics", NULL, NULL},
    {"/nics/0/model", "\"e1000\"", NULL},
    {"/cdroms", NULL, NULL},
    {"/cdroms", "[{},{},{},{},{}]", NULL}, /* and one SATA disk */
    {"/cdroms/1", "{\"datastore\":\"ds1\",\"path\":\"iso/debian.iso\"}", NULL},
    {"/pinning", NULL, NULL},
    {"/pinning", "[[0],[0],[0],[0]]", NULL},
    {"/cpu_limit_percent", NULL, NULL},
    {"/cpu_limit_percent", "10", NULL},
    {"/cpu_shares", NULL, NULL},
    {"/serial_ports", "4", NULL},
};

static char *
without_headline(const char *report)
{
    const char *end = strchr(report, '\n');
    return g_strdup(end ? end + 1 : "");
}

static void
test_changes(const void *data)
{
    bool is_refused = data != NULL;
    const Change *changes = is_refused ? refused : accepted;
    g_autofree char *everything = read_test_file("data/vm-config/good-everything.json");
    for (guint i = 0; i < (is_refused ? G_N_ELEMENTS(refused) : G_N_ELEMENTS(accepted)); i++) {
        g_autofree char *document = document_with(everything, changes[i].pointer, changes[i].value);
        g_autofree char *report = report_of(document);
        g_autofree char *lines = without_headline(report);
        g_assert_cmpstr(lines, ==, is_refused ? changes[i].report : "");
        LLVMFuzzerTestOneInput((const uint8_t *)document, strlen(document));
    }
}

static void
test_documents(void)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "data", "vm-config", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    guint n_good = 0, n_bad = 0;
    g_assert_nonnull(dir);
    while ((name = g_dir_read_name(dir))) {
        if (!g_str_has_suffix(name, ".json"))
            continue;
        g_autofree char *file = g_build_filename("data", "vm-config", name, NULL);
        g_autofree char *document = read_test_file(file);
        g_autofree char *report = report_of(document);
        LLVMFuzzerTestOneInput((const uint8_t *)document, strlen(document));
        if (g_str_has_prefix(name, "good-")) {
            n_good++;
            g_assert_cmpstr(report, ==, "");
            continue;
        }
        n_bad++;
        strcpy(strrchr(file, '.'), ".txt");
        g_autofree char *expected = read_test_file(file);
        g_assert_cmpstr(report, ==, g_strchomp(expected));
    }
    g_assert_cmpuint(n_good, >=, 5);
    g_assert_cmpuint(n_bad, >=, 3);
}

/* A required behaviour: five mistakes in one document are five lines, each naming its place. */
static void
test_five_errors_are_five_lines(void)
{
    g_autofree char *document = read_test_file("data/vm-config/bad-five-errors.json");
    g_autofree char *report = report_of(document);
    g_assert_cmpstr(
        report, ==,
        "5 errors in the VM's configuration:\n"
        "  /machine: names no version: it is another machine with each QEMU release, and a moved guest has to find "
        "the same one (got 'q35', expected a fixed version such as 'pc-q35-7.2')\n"
        "  /memory_mib: wrong type (got the string '2G', expected an integer from 64 to 12582912)\n"
        "  /vcpu: unknown member (did you mean 'vcpus'?)\n"
        "  /nics/1/mac: the address is in use at /nics/0 already (got '52:54:00:12:34:56', expected its own)\n"
        "  /vcpus: is missing (expected an integer from 1 to 288)");
}

static void
test_defaults(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *document = read_test_file("data/vm-config/good-minimal.json");
    g_autoptr(GwVmConfig) c = gw_vm_config_parse(document, -1, &error);
    g_assert_no_error(error);
    g_assert_null(c->description);
    g_assert_true(c->vcpus == 2 && c->sockets == 1 && c->cores == 2 && c->threads == 1);
    g_assert_cmpuint(c->memory_bytes, ==, 64u << 20);
    g_assert_true(c->accel == GW_ACCEL_AUTO && c->boot.kind == GW_BOOT_BIOS);
    g_assert_true(c->disks->len == 0 && c->nics->len == 0 && c->cdroms->len == 0 && c->pins->len == 0);
    g_assert_true(c->n_serials == 1 && c->cpu_shares == 1000 && c->cpu_limit_percent == 0);
    g_assert_true(gw_vm_config_is_q35(c));
    g_assert_false(json_object_has_member(json_node_get_object(c->document), "boot"));
}

static void
assert_everything(const GwVmConfig *c)
{
    g_assert_cmpstr(c->name, ==, "all.of-it_1");
    g_assert_cmpstr(c->uuid, ==, "7d3a4f0e-52c1-4b7e-9a60-1f2e3d4c5b6a");
    g_assert_cmpstr(c->description, ==, "größer, \"quoted\" = and, commas");
    g_assert_cmpstr(c->machine, ==, "pc-q35-7.2");
    g_assert_true(c->vcpus == 4 && c->sockets == 1 && c->cores == 2 && c->threads == 2);
    g_assert_cmpstr(c->cpu_model, ==, "qemu64,+x2apic,-svm,pmu=off");
    g_assert_cmpuint(c->memory_bytes, ==, UINT64_C(2) << 30);
    g_assert_true(c->accel == GW_ACCEL_TCG && c->boot.kind == GW_BOOT_KERNEL);
    g_assert_cmpstr(c->boot.kernel.datastore, ==, "ds1");
    g_assert_cmpstr(c->boot.kernel.path, ==, "boot/vmlinuz");
    g_assert_cmpstr(c->boot.initrd.path, ==, "boot/initrd.img");
    g_assert_cmpstr(c->boot.command_line, ==, "root=/dev/vda1 console=ttyS0,115200");
    g_assert_null(c->boot.uefi_vars.path);
    g_assert_true(c->n_serials == 2 && c->cpu_shares == 100000 && c->cpu_limit_percent == 400);

    static const unsigned pins[][2] = {{0, 1}, {2}, {3}, {8191}};
    g_assert_cmpuint(c->pins->len, ==, 4);
    for (guint i = 0; i < 4; i++) {
        GArray *cpus = g_array_index(c->pins, GArray *, i);
        g_assert_cmpuint(cpus->len, ==, i == 0 ? 2 : 1);
        for (guint j = 0; j < cpus->len; j++)
            g_assert_cmpuint(g_array_index(cpus, unsigned, j), ==, pins[i][j]);
    }
}

static void
assert_every_device(const GwVmConfig *c)
{
    const GwDiskConfig *disks = (const GwDiskConfig *)(const void *)c->disks->data;
    g_assert_cmpuint(c->disks->len, ==, 2);
    g_assert_cmpstr(disks[0].id, ==, "root");
    g_assert_cmpstr(disks[0].file.datastore, ==, "ds1");
    g_assert_cmpstr(disks[0].file.path, ==, "a dir/root,1.qcow2");
    g_assert_true(disks[0].format == GW_DISK_FORMAT_QCOW2 && disks[0].bus == GW_DISK_BUS_SCSI);
    g_assert_true(disks[0].cache == GW_DISK_CACHE_NONE && disks[0].read_only);
    g_assert_cmpstr(disks[0].serial, ==, "S_1-2");
    g_assert_true(disks[0].iops_limit == 500 && disks[0].bytes_per_s_limit == 1000000);
    g_assert_cmpstr(disks[1].id, ==, "disk1");
    g_assert_true(disks[1].format == GW_DISK_FORMAT_RAW && disks[1].bus == GW_DISK_BUS_SATA);
    g_assert_true(disks[1].cache == GW_DISK_CACHE_WRITETHROUGH && !disks[1].read_only);
    g_assert_null(disks[1].serial);
    g_assert_true(disks[1].iops_limit == 0 && disks[1].bytes_per_s_limit == 0);

    const GwNicConfig *nics = (const GwNicConfig *)(const void *)c->nics->data;
    char mac[18];
    g_assert_cmpuint(c->nics->len, ==, 2);
    g_assert_cmpstr(nics[0].id, ==, "lan");
    g_assert_cmpstr(nics[0].port_group, ==, "VM Network");
    gw_mac_format(nics[0].mac, mac);
    g_assert_cmpstr(mac, ==, "52:54:00:ab:cd:ef");
    g_assert_true(nics[0].model == GW_NIC_E1000E && nics[1].model == GW_NIC_VIRTIO);
    g_assert_cmpstr(nics[1].id, ==, "nic1");
    g_assert_cmpstr(nics[1].port_group, ==, "Büro 2");

    const GwCdromConfig *cdroms = (const GwCdromConfig *)(const void *)c->cdroms->data;
    g_assert_cmpuint(c->cdroms->len, ==, 2);
    g_assert_cmpstr(cdroms[0].id, ==, "dvd");
    g_assert_true(cdroms[0].has_file && !cdroms[1].has_file);
    g_assert_cmpstr(cdroms[0].file.path, ==, "iso/debian.iso");
    g_assert_cmpstr(cdroms[1].id, ==, "cd1");
    g_assert_null(cdroms[1].file.path);
}

static void
test_round_trip(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *document = read_test_file("data/vm-config/good-everything.json");
    g_autoptr(GwVmConfig) config = gw_vm_config_parse(document, -1, &error);
    g_assert_no_error(error);
    assert_everything(config);
    assert_every_device(config);
    g_autofree char *text = gw_vm_config_to_text(config);
    g_autoptr(GwVmConfig) again = gw_vm_config_parse(text, (gssize)strlen(text), &error);
    g_assert_no_error(error);
    assert_everything(again);
    assert_every_device(again);
    g_assert_true(json_node_is_immutable(config->document));
}

/* Indented it would be too long to be read again. */
static void
test_round_trip_of_the_largest_pinning(void)
{
    g_autofree char *minimal = read_test_file("data/vm-config/good-minimal.json");
    g_autofree char *document = document_with(minimal, "/vcpus", "256");
    for (guint n = 256; n <= 257; n++) {
        g_autoptr(GString) pins = g_string_new("[");
        for (guint i = 0; i < 256; i++) {
            g_string_append(pins, i ? ",[" : "[");
            for (guint j = 0; j < n; j++)
                g_string_append_printf(pins, "%s%u", j ? "," : "", 1000 + j);
            g_string_append(pins, "]");
        }
        g_string_append(pins, "]");
        g_autofree char *pinned = document_with(document, "/pinning", pins->str);
        g_autofree char *report = report_of(pinned);
        g_assert_cmpstr(
            report, ==,
            n == 256 ? ""
                     : "1 error in the VM's configuration:\n  /pinning: too many CPUs in all lists (got "
                       "65792, expected at most 65536)");
        LLVMFuzzerTestOneInput((const uint8_t *)pinned, strlen(pinned));
    }
}

static void
test_not_even_json(void)
{
    static const struct {
        const char *text, *line;
    } cases[] = {
        {"",
         "(document): no JSON at line 1, column 1: a value is expected: a string, a number, an object, an "
         "array, true, false or null"},
        {"[]", "(document): wrong type (got an array, expected an object)"},
        {"\"x\"", "(document): wrong type (got a single value, expected an object)"},
        {"{\n  \"vcpus\": 010\n}",
         "(document): no JSON at line 2, column 13: a number is decimal and has no leading zero"},
        {"{\"name\":\"a\\u0000b\"}",
         "(document): no JSON at line 1, column 17: \\u0000 is not allowed in a string"},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *report = report_of(cases[i].text);
        g_autofree char *expected =
            g_strconcat("1 error in the VM's configuration:\n  ", cases[i].line, NULL);
        g_assert_cmpstr(report, ==, expected);
    }
}

static void
test_sizes(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < 1 << 20; i++)
        g_string_append_c(text, '\xff'); /* looked at, it would be refused as no UTF-8 */
    g_autofree char *too_long = report_of(text->str);
    g_assert_cmpstr(too_long, ==,
                    "1 error in the VM's configuration:\n"
                    "  (document): too long (got 1048576 bytes, expected at most 524288)");

    g_string_set_size(text, GW_VM_CONFIG_LIMIT);
    memset(text->str, '[', text->len);
    g_autofree char *too_deep = report_of(text->str);
    g_assert_nonnull(strstr(too_deep, "(document): no JSON at line 1, column 65: 64 levels"));
    memcpy(text->str, "/* \" */", 7); /* json-glib takes comments */
    g_autofree char *commented = report_of(text->str);
    g_assert_nonnull(strstr(commented, "(document): no JSON at line 1, column 1: a value is expected"));
}

/* The longest list, one more, and a document of mistakes only. */
static void
test_many(void)
{
    g_autofree char *minimal = read_test_file("data/vm-config/good-minimal.json");
    for (guint n = 31; n <= 33; n++) {
        g_autoptr(GString) disks = g_string_new("[");
        for (guint i = 0; i < n; i++)
            g_string_append_printf(disks, "%s{\"datastore\":\"d\",\"path\":\"%u\",\"format\":\"raw\"}",
                                   i ? "," : "", i);
        g_string_append_c(disks, ']');
        g_autofree char *document = document_with(minimal, "/disks", disks->str);
        g_autofree char *report = report_of(document);
        g_assert_cmpstr(report, ==,
                        n <= 32 ? ""
                                : "1 error in the VM's configuration:\n"
                                  "  /disks: too many elements (got 33, expected at most 32)");
    }

    g_autoptr(GString) unknown = g_string_new("{");
    for (guint i = 0; i < 40000; i++)
        g_string_append_printf(unknown, "%s\"x%u\":1", i ? "," : "", i);
    g_string_append_c(unknown, '}');
    g_autofree char *report = report_of(unknown->str);
    g_assert_true(g_str_has_prefix(report, "40006 errors in the VM's configuration:\n  /x0: unknown member"));
    g_assert_true(g_str_has_suffix(report, "\n  … and 39906 more"));
    g_assert_cmpuint(strlen(report), <, 40000);
}

/* What a document holds cannot forge lines of a report, nor blow it up. */
static void
test_reports_are_escaped(void)
{
    g_autofree char *minimal = read_test_file("data/vm-config/good-minimal.json");
    g_autofree char *forged = document_with(minimal, "/accel", "\"a\\n  /name: \\u001b[31mis \\u0085bad\"");
    g_autofree char *report = report_of(forged);
    g_assert_cmpstr(
        report, ==,
        "1 error in the VM's configuration:\n"
        "  /accel: unknown value (got 'a\\u000a  /name: \\u001b[31mis \\u0085bad', expected one of "
        "'auto', 'kvm', 'tcg')");

    g_autofree char *long_text = g_strnfill(100000, 'x');
    g_autofree char *name = g_strconcat("/", long_text, NULL);
    g_autofree char *value = g_strconcat("\"", long_text, "\"", NULL);
    g_autofree char *with_name = document_with(minimal, name, "1");
    g_autofree char *document = document_with(with_name, "/accel", value);
    g_autofree char *long_report = report_of(document);
    g_assert_true(g_str_has_prefix(long_report, "2 errors"));
    g_assert_cmpuint(strlen(long_report), <, 800);
}

static void
test_duplicates_and_large_integers(void)
{
    static const char document[] =
        "{\"name\":\"a\",\"vcpus\":1,\"uuid\":\"00000000-0000-0000-0000-000000000001\",\"machine\":\"pc-q35-7.2\","
        "\"cpu_model\":\"max\",\"memory_mib\":18446744073709551680,\"vcpus\":\"no\","
        "\"pinning\":[[18446744073709551616]],"
        "\"nics\":[{\"port_group\":\"a\",\"port_group\":\"b\",\"mac\":\"52:54:00:12:34:56\"}]}";
    g_autofree char *report = report_of(document);
    g_assert_cmpstr(
        report, ==,
        "4 errors in the VM's configuration:\n"
        "  /vcpus: the member stands more than once in its object; keep one of them\n"
        "  /memory_mib: the integer is too large (got 18446744073709551680, expected at most 64 bits)\n"
        "  /pinning/0/0: the integer is too large (got 18446744073709551616, expected at most 64 bits)\n"
        "  /nics/0/port_group: the member stands more than once in its object; keep one of them");
}

static void
test_vcpus_of_i440fx(void)
{
    g_autofree char *uefi = read_test_file("data/vm-config/good-uefi-i440fx.json");
    g_autofree char *document = document_with(uefi, "/vcpus", "256");
    g_autofree char *report = report_of(document);
    g_assert_cmpstr(
        report, ==,
        "1 error in the VM's configuration:\n"
        "  /vcpus: too many for pc-i440fx-4.0.1 (got 256, expected at most 255, or a q35 machine)");
}

static void
test_corpus(void)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "..", "fuzz", "corpus", "vm-config", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    guint n = 0;
    g_assert_nonnull(dir);
    for (; (name = g_dir_read_name(dir)); n++) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_autofree char *data = NULL;
        size_t size;
        g_assert_true(g_file_get_contents(file, &data, &size, NULL));
        LLVMFuzzerTestOneInput((const uint8_t *)data, size);
    }
    g_assert_cmpuint(n, >=, 10);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    gw_vm_config_free(NULL);
    g_test_add_data_func("/vm-config/refused", "refused", test_changes);
    g_test_add_data_func("/vm-config/accepted", NULL, test_changes);
    g_test_add_func("/vm-config/documents", test_documents);
    g_test_add_func("/vm-config/five-errors-are-five-lines", test_five_errors_are_five_lines);
    g_test_add_func("/vm-config/defaults", test_defaults);
    g_test_add_func("/vm-config/round-trip", test_round_trip);
    g_test_add_func("/vm-config/round-trip-of-the-largest-pinning", test_round_trip_of_the_largest_pinning);
    g_test_add_func("/vm-config/not-even-json", test_not_even_json);
    g_test_add_func("/vm-config/sizes", test_sizes);
    g_test_add_func("/vm-config/many", test_many);
    g_test_add_func("/vm-config/reports-are-escaped", test_reports_are_escaped);
    g_test_add_func("/vm-config/duplicates-and-large-integers", test_duplicates_and_large_integers);
    g_test_add_func("/vm-config/vcpus-of-i440fx", test_vcpus_of_i440fx);
    g_test_add_func("/vm-config/corpus", test_corpus);
    return g_test_run();
}
