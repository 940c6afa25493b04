/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the strings of a VM's configuration have to look. docs/vm-config.schema.json says the same in patterns;
 * the unit test holds both against one table.
 *
 * By hand and not by those patterns: a document comes from outside, and matching time must not depend on it.
 */
#include "vm-config-internal.h"

#include <string.h>

/* How many bytes from `text` on are letters, digits or one of `extra`. */
static size_t
span(const char *text, const char *extra)
{
    size_t n = 0;
    while (g_ascii_isalnum(text[n]) || (text[n] && strchr(extra, text[n])))
        n++;
    return n;
}

/* The whole text: a letter or digit, then also `extra`. */
static bool
is_word(const char *text, const char *extra)
{
    return g_ascii_isalnum(text[0]) && text[span(text, extra)] == '\0';
}

static bool
name_is_valid(const char *value)
{
    return is_word(value, "._-");
}

static bool
id_is_valid(const char *value)
{
    return g_ascii_isalpha(value[0]) && is_word(value, "_-");
}

static bool
serial_is_valid(const char *value)
{
    return value[span(value, "_-")] == '\0';
}

static bool
uuid_is_valid(const char *value)
{
    return g_uuid_string_is_valid(value) && strcmp(value, "00000000-0000-0000-0000-000000000000") != 0;
}

/* The end of "+feature", "-feature", "feature" or "property=value"; NULL if `p` is none of these. */
static const char *
cpu_feature_end(const char *p)
{
    if (*p == '+' || *p == '-')
        p++;
    const char *start = p;
    while (g_ascii_islower(*p) || g_ascii_isdigit(*p) || (*p && strchr("_.-", *p)))
        p++;
    if (p == start || *start == '-')
        return NULL;
    if (*p == '=') {
        size_t n = span(p + 1, "_.-");
        return n ? p + 1 + n : NULL;
    }
    return p;
}

static bool
cpu_model_is_valid(const char *value)
{
    size_t n = span(value, "_.-");
    const char *p = value + n;
    if (n == 0)
        return false;
    while (p && *p == ',')
        p = cpu_feature_end(p + 1);
    return p && *p == '\0';
}

/* One or two digits; NULL if there are none. */
static const char *
version_part_end(const char *p)
{
    if (!g_ascii_isdigit(p[0]))
        return NULL;
    return g_ascii_isdigit(p[1]) ? p + 2 : p + 1;
}

bool
gw_vm_machine_is_versioned(const char *machine)
{
    const char *p = NULL;
    if (g_str_has_prefix(machine, "pc-q35-"))
        p = version_part_end(machine + strlen("pc-q35-"));
    else if (g_str_has_prefix(machine, "pc-i440fx-"))
        p = version_part_end(machine + strlen("pc-i440fx-"));
    if (!p || *p != '.')
        return false;
    p = version_part_end(p + 1);
    if (p && *p == '.')
        p = version_part_end(p + 1);
    return p && *p == '\0';
}

static bool
path_is_valid(const char *value)
{
    for (const char *part = value;; part++) {
        size_t n = strcspn(part, "/");
        if (n == 0 || n > 255 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        part += n;
        if (!*part)
            return true;
    }
}

static bool
port_group_is_valid(const char *value)
{
    return value[0] != ' ' && !g_str_has_suffix(value, " ") && !strchr(value, '/');
}

bool
gw_mac_parse(const char *text, uint8_t ret_mac[6])
{
    if (strlen(text) != 17)
        return false;
    for (int i = 0; i < 6; i++) {
        int high = g_ascii_xdigit_value(text[3 * i]), low = g_ascii_xdigit_value(text[3 * i + 1]);
        if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
            return false;
        ret_mac[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool
mac_is_valid(const char *value)
{
    uint8_t mac[6];
    return gw_mac_parse(value, mac);
}

/* The length limits are those of what the text becomes: 63 is a DNS label, 20 what virtio and ATA have room
 * for, 80 what a vSphere port group's name may have, 1024 and 255 are well within PATH_MAX and NAME_MAX, 4096
 * is the longest kernel command line of the architectures that QEMU boots. */
const GwStringRule
    gw_rule_name = {"a letter or digit, then letters, digits, '.', '_' and '-'", 63, name_is_valid},
    gw_rule_uuid = {"a UUID other than the nil one, such as '7d3a4f0e-52c1-4b7e-9a60-1f2e3d4c5b6a'", 0,
                    uuid_is_valid},
    gw_rule_description = {"text in one line", 1024, NULL},
    gw_rule_cpu_model = {"a QEMU CPU model, with features behind commas if need be, such as "
                         "'Skylake-Server-v4,-pku'",
                         512, cpu_model_is_valid},
    gw_rule_machine = {"a fixed machine version such as 'pc-q35-7.2'", 0, NULL},
    gw_rule_command_line = {"text in one line", 4096, NULL},
    gw_rule_datastore = {"a datastore's name: a letter or digit, then letters, digits, '.', '_' and '-'", 63,
                         name_is_valid},
    gw_rule_path =
        {"a path within the datastore such as 'web1/root.qcow2': no '/' at its start or end, no part "
         "that is empty, '.', '..' or longer than 255 bytes",
         1024, path_is_valid},
    gw_rule_id = {"a letter, then letters, digits, '_' and '-'", 31, id_is_valid},
    gw_rule_serial = {"letters, digits, '_' and '-'", 20, serial_is_valid},
    gw_rule_port_group = {"a port group's exact name, without '/' and without spaces at its ends", 80,
                          port_group_is_valid},
    gw_rule_mac = {"six bytes such as '52:54:00:12:34:56'", 0, mac_is_valid};

const char *const gw_accel_names[] = {
    [GW_ACCEL_AUTO] = "auto", [GW_ACCEL_KVM] = "kvm", [GW_ACCEL_TCG] = "tcg", NULL};
G_STATIC_ASSERT(G_N_ELEMENTS(gw_accel_names) == GW_ACCEL_TCG + 2);

const char *const gw_boot_names[] = {
    [GW_BOOT_BIOS] = "bios", [GW_BOOT_UEFI] = "uefi", [GW_BOOT_KERNEL] = "kernel", NULL};
G_STATIC_ASSERT(G_N_ELEMENTS(gw_boot_names) == GW_BOOT_KERNEL + 2);

const char *const gw_disk_format_names[] = {
    [GW_DISK_FORMAT_RAW] = "raw", [GW_DISK_FORMAT_QCOW2] = "qcow2", NULL};
G_STATIC_ASSERT(G_N_ELEMENTS(gw_disk_format_names) == GW_DISK_FORMAT_QCOW2 + 2);

const char *const gw_disk_bus_names[] = {[GW_DISK_BUS_VIRTIO] = "virtio",
                                         [GW_DISK_BUS_SCSI] = "scsi",
                                         [GW_DISK_BUS_SATA] = "sata",
                                         [GW_DISK_BUS_IDE] = "ide",
                                         NULL};
G_STATIC_ASSERT(G_N_ELEMENTS(gw_disk_bus_names) == GW_DISK_BUS_IDE + 2);

const char *const gw_disk_cache_names[] = {[GW_DISK_CACHE_WRITEBACK] = "writeback",
                                           [GW_DISK_CACHE_WRITETHROUGH] = "writethrough",
                                           [GW_DISK_CACHE_NONE] = "none",
                                           NULL};
G_STATIC_ASSERT(G_N_ELEMENTS(gw_disk_cache_names) == GW_DISK_CACHE_NONE + 2);

const char *const gw_nic_model_names[] = {
    [GW_NIC_VIRTIO] = "virtio", [GW_NIC_E1000] = "e1000", [GW_NIC_E1000E] = "e1000e", NULL};
G_STATIC_ASSERT(G_N_ELEMENTS(gw_nic_model_names) == GW_NIC_E1000E + 2);
