/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* host.conf, read and judged as a whole: an operator gets all mistakes at once. */
#include "host-config.h"

#include "conf-reader.h"
#include "config-report.h"
#include "error.h"
#include "options.h"
#include "vm-config-internal.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>

#include <gio/gio.h>

static bool
host_name_is_valid(const char *value)
{
    return g_ascii_isalnum(*value) && !value[strspn(value, "abcdefghijklmnopqrstuvwxyz"
                                                           "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")];
}

/* As the kernel's dev_valid_name(). */
static bool
interface_is_valid(const char *value)
{
    return !value[strcspn(value, "/: \t")] && !g_str_equal(value, ".") && !g_str_equal(value, "..");
}

static bool
address_is_valid(const char *value)
{
    g_autoptr(GInetAddress) address = g_inet_address_new_from_string(value);
    return address != NULL;
}

static bool
path_is_absolute(const char *value)
{
    return *value == '/';
}

static bool
log_level_is_valid(const char *value)
{
    static const char *const levels[] = {"error", "warning", "info", "debug", NULL};
    return g_strv_contains(levels, value);
}

static const GwStringRule rule_host_name = {"a host's name: letters, digits, '.' and '-'", 63,
                                            host_name_is_valid},
                          rule_interface = {"a network interface's name", IFNAMSIZ - 1, interface_is_valid},
                          rule_address = {"a numeric address such as '10.70.0.1'", 0, address_is_valid},
                          rule_path = {"an absolute path", 4095, path_is_absolute},
                          rule_user = {"a user's name", 32, NULL},
                          rule_log_level = {"error, warning, info or debug", 0, log_level_is_valid};

static void
switch_clear(void *data)
{
    GwHostSwitch *self = data;
    g_free(self->name);
    g_free(self->bridge);
    g_strfreev(self->uplinks);
}

static void
port_group_clear(void *data)
{
    GwHostPortGroup *self = data;
    g_free(self->name);
    g_free(self->switch_name);
}

static void
datastore_clear(void *data)
{
    GwHostDatastore *self = data;
    g_free(self->name);
    g_free(self->path);
}

static GArray *
array_new(guint element_size, GDestroyNotify clear)
{
    GArray *array = g_array_new(FALSE, FALSE, element_size);
    g_array_set_clear_func(array, clear);
    return array;
}

void
gw_host_config_free(GwHostConfig *self)
{
    if (!self)
        return;
    g_free(self->name);
    g_free(self->listen);
    g_free(self->runtime_dir);
    g_free(self->tls_dir);
    g_free(self->qemu_binary);
    g_free(self->qemu_user);
    g_free(self->uefi_code);
    g_free(self->vm_program);
    g_free(self->uffd_library);
    g_free(self->log_level);
    g_strfreev(self->motion_interfaces);
    g_array_unref(self->switches);
    g_array_unref(self->port_groups);
    g_array_unref(self->datastores);
    g_free(self);
}

/* Beside this program; in a build tree, which nobody installed, where it was built; else in $PATH. */
static char *
find_vm_program(void)
{
    static const char *const places[] = {"godwit-vm", "../vm/godwit-vm"};
    g_autofree char *program = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *here = g_path_get_dirname(program ? program : "/");
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *path = g_canonicalize_filename(places[i], here);
        if (g_file_test(path, G_FILE_TEST_IS_EXECUTABLE) && !g_file_test(path, G_FILE_TEST_IS_DIR))
            return g_steal_pointer(&path);
    }
    char *found = g_find_program_in_path("godwit-vm");
    return found ? found : g_build_filename(here, "godwit-vm", NULL);
}

/* Takes the place of a default, if there is a value. */
static void
read_over(GwConfReader *reader, const char *key, const GwStringRule *rule, char **member)
{
    char *value = gw_conf_reader_string(reader, key, rule);
    if (!value)
        return;
    g_free(*member);
    *member = value;
}

static void
read_host(GwConfReader *reader, GwHostConfig *self)
{
    gw_conf_reader_enter(reader, "host");
    if (!gw_conf_reader_has(reader, "listen"))
        gw_conf_reader_problem(reader, "listen", "is missing (expected %s, that of the management interface)",
                               rule_address.expected);
    read_over(reader, "listen", &rule_address, &self->listen);
    read_over(reader, "name", &rule_host_name, &self->name);
    gw_conf_reader_uint(reader, "port", 1, 65535, &self->port);
    read_over(reader, "runtime-dir", &rule_path, &self->runtime_dir);
    read_over(reader, "tls-dir", &rule_path, &self->tls_dir);
    read_over(reader, "qemu", &rule_path, &self->qemu_binary);
    read_over(reader, "qemu-user", &rule_user, &self->qemu_user);
    read_over(reader, "uefi-code", &rule_path, &self->uefi_code);
    read_over(reader, "vm-program", &rule_path, &self->vm_program);
    read_over(reader, "uffd-library", &rule_path, &self->uffd_library);
    read_over(reader, "log-level", &rule_log_level, &self->log_level);
    gw_conf_reader_flag(reader, "huge-pages", &self->huge_pages);
    if (!gw_conf_reader_has(reader, "name") && !host_name_is_valid(self->name))
        gw_conf_reader_problem(reader, "name",
                               "is missing, and the machine's own name '%s' is not one "
                               "(expected %s)",
                               self->name, rule_host_name.expected);
    gw_conf_reader_leave(reader);
}

static void
read_motion(GwConfReader *reader, GwHostConfig *self)
{
    gw_conf_reader_enter(reader, "motion");
    self->motion_interfaces = gw_conf_reader_list(reader, "interfaces", &rule_interface);
    if (g_strv_length(self->motion_interfaces) > GW_HOST_MAX_MOTION_INTERFACES)
        gw_conf_reader_problem(reader, "interfaces", "names %u interfaces (expected at most %d)",
                               g_strv_length(self->motion_interfaces), GW_HOST_MAX_MOTION_INTERFACES);
    gw_conf_reader_uint(reader, "speed-mbit", 1, 1000 * 1000, &self->motion_speed_mbit);
    gw_conf_reader_leave(reader);
}

static void
check_name(GwConfReader *reader, const char *name, const GwStringRule *rule)
{
    g_autofree char *got = gw_config_quote(name);
    if ((rule->max_bytes && strlen(name) > rule->max_bytes) || (rule->is_valid && !rule->is_valid(name)))
        gw_conf_reader_problem(reader, NULL, "wrong name (got %s, expected %s)", got, rule->expected);
}

static void
read_switch(GwConfReader *reader, const GwConfGroup *group, GwHostConfig *self)
{
    GwHostSwitch net = {.name = g_strdup(group->name), .create = true};
    check_name(reader, net.name, &gw_rule_port_group);
    net.bridge = gw_conf_reader_string(reader, "bridge", &rule_interface);
    if (!net.bridge && !gw_conf_reader_has(reader, "bridge")) {
        net.bridge = g_strdup(net.name);
        if (strlen(net.name) >= IFNAMSIZ || !interface_is_valid(net.name))
            gw_conf_reader_problem(reader, "bridge",
                                   "is missing, and the switch's name '%s' cannot be an "
                                   "interface's",
                                   net.name);
    }
    gw_conf_reader_flag(reader, "create", &net.create);
    net.uplinks = gw_conf_reader_list(reader, "uplinks", &rule_interface);
    g_array_append_val(self->switches, net);
}

static void
read_port_group(GwConfReader *reader, const GwConfGroup *group, GwHostConfig *self)
{
    GwHostPortGroup port_group = {.name = g_strdup(group->name)};
    check_name(reader, port_group.name, &gw_rule_port_group);
    if (!gw_conf_reader_has(reader, "switch"))
        gw_conf_reader_problem(reader, "switch", "is missing (expected the name of a switch)");
    port_group.switch_name = gw_conf_reader_string(reader, "switch", &gw_rule_port_group);
    g_array_append_val(self->port_groups, port_group);
}

static void
read_datastore(GwConfReader *reader, const GwConfGroup *group, GwHostConfig *self)
{
    GwHostDatastore datastore = {.name = g_strdup(group->name)};
    check_name(reader, datastore.name, &gw_rule_datastore);
    if (!gw_conf_reader_has(reader, "path"))
        gw_conf_reader_problem(reader, "path", "is missing (expected %s)", rule_path.expected);
    g_autofree char *path = gw_conf_reader_string(reader, "path", &rule_path);
    datastore.path = path ? g_canonicalize_filename(path, "/") : NULL;
    gw_conf_reader_flag(reader, "mount-point", &datastore.is_mount_point);
    g_array_append_val(self->datastores, datastore);
}

/* The groups that are there once for each thing. */
static const struct {
    const char *kind;
    void (*read)(GwConfReader *reader, const GwConfGroup *group, GwHostConfig *self);
} named[] = {
    {"switch", read_switch},
    {"port-group", read_port_group},
    {"datastore", read_datastore},
};

static void
read_group(GwConfReader *reader, const GwConfGroup *group, GwHostConfig *self)
{
    for (size_t i = 0; i < G_N_ELEMENTS(named); i++) {
        if (!g_str_equal(group->kind, named[i].kind))
            continue;
        gw_conf_reader_enter(reader, group->header);
        if (*group->name) {
            named[i].read(reader, group, self);
            gw_conf_reader_leave(reader);
        } else {
            gw_conf_reader_problem(reader, NULL, "has no name (expected '[%s NAME]')", group->kind);
        }
        return;
    }
    if (g_str_equal(group->header, "host") || g_str_equal(group->header, "motion"))
        return;
    gw_conf_reader_enter(reader, group->header);
    gw_conf_reader_problem(reader, NULL,
                           "there is no such group (expected [host], [motion], [switch NAME], "
                           "[port-group NAME] or [datastore NAME])");
}

const GwHostSwitch *
gw_host_config_switch(const GwHostConfig *self, const char *name)
{
    for (guint i = 0; i < self->switches->len; i++) {
        const GwHostSwitch *net = &g_array_index(self->switches, GwHostSwitch, i);
        if (g_strcmp0(net->name, name) == 0)
            return net;
    }
    return NULL;
}

/* `taken`: interface → what it is already. Its keys are borrowed. */
static void
claim(GwConfReader *reader, const char *key, GHashTable *taken, const char *interface, const char *as)
{
    const char *other = interface ? g_hash_table_lookup(taken, interface) : NULL;
    if (other)
        gw_conf_reader_problem(reader, key, "'%s' is %s already", interface, other);
    else if (interface)
        g_hash_table_insert(taken, (void *)interface, g_strdup(as));
}

/* An interface carries motions, is an uplink of one switch, or is a switch's bridge; a bridge may carry
 * motions too, since it has addresses. */
static void
check_interfaces(GwConfReader *reader, GwHostConfig *self)
{
    g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
    for (guint i = 0; i < self->switches->len; i++) {
        const GwHostSwitch *net = &g_array_index(self->switches, GwHostSwitch, i);
        g_autofree char *header = g_strconcat("switch ", net->name, NULL);
        g_autofree char *as = g_strdup_printf("the bridge of switch '%s'", net->name);
        gw_conf_reader_enter(reader, header);
        claim(reader, "bridge", taken, net->bridge, as);
    }
    for (guint i = 0; i < self->switches->len; i++) {
        const GwHostSwitch *net = &g_array_index(self->switches, GwHostSwitch, i);
        g_autofree char *header = g_strconcat("switch ", net->name, NULL);
        g_autofree char *as = g_strdup_printf("an uplink of switch '%s'", net->name);
        gw_conf_reader_enter(reader, header);
        for (guint k = 0; net->uplinks[k]; k++) {
            if (!g_strv_contains((const char *const *)net->uplinks + k + 1, net->uplinks[k])) /* else known */
                claim(reader, "uplinks", taken, net->uplinks[k], as);
            if (g_strv_contains((const char *const *)self->motion_interfaces, net->uplinks[k]))
                gw_conf_reader_problem(reader, "uplinks",
                                       "'%s' is a motion interface: a bridge's port has no "
                                       "address of its own",
                                       net->uplinks[k]);
        }
    }
}

static void
check_references(GwConfReader *reader, GwHostConfig *self)
{
    check_interfaces(reader, self);
    for (guint i = 0; i < self->port_groups->len; i++) {
        const GwHostPortGroup *port_group = &g_array_index(self->port_groups, GwHostPortGroup, i);
        g_autofree char *header = g_strconcat("port-group ", port_group->name, NULL);
        gw_conf_reader_enter(reader, header);
        if (port_group->switch_name && !gw_host_config_switch(self, port_group->switch_name))
            gw_conf_reader_problem(reader, "switch", "there is no switch '%s' (expected a group [switch %s])",
                                   port_group->switch_name, port_group->switch_name);
    }
    g_autoptr(GHashTable) paths = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; i < self->datastores->len; i++) {
        const GwHostDatastore *datastore = &g_array_index(self->datastores, GwHostDatastore, i);
        const char *other = datastore->path ? g_hash_table_lookup(paths, datastore->path) : NULL;
        g_autofree char *header = g_strconcat("datastore ", datastore->name, NULL);
        gw_conf_reader_enter(reader, header);
        if (other)
            gw_conf_reader_problem(reader, "path", "'%s' is the path of datastore '%s' already",
                                   datastore->path, other);
        else if (datastore->path)
            g_hash_table_insert(paths, datastore->path, datastore->name);
    }
}

static GwHostConfig *
config_new(void)
{
    g_autoptr(GwVmSetup) setup = gw_default_setup();
    GwHostConfig *self = g_new0(GwHostConfig, 1);
    self->name = g_strdup(g_get_host_name());
    self->port = GW_HOST_PORT;
    self->runtime_dir = g_steal_pointer(&setup->runtime_dir);
    self->tls_dir = g_steal_pointer(&setup->tls_dir);
    self->qemu_binary = g_steal_pointer(&setup->qemu_binary);
    self->qemu_user = g_steal_pointer(&setup->qemu_user);
    self->uefi_code = g_steal_pointer(&setup->uefi_code);
    self->vm_program = find_vm_program();
    self->log_level = g_strdup("info");
    self->switches = array_new(sizeof(GwHostSwitch), switch_clear);
    self->port_groups = array_new(sizeof(GwHostPortGroup), port_group_clear);
    self->datastores = array_new(sizeof(GwHostDatastore), datastore_clear);
    return self;
}

GwHostConfig *
gw_host_config_parse(const char *text, const char *subject, GError **error)
{
    g_autoptr(GwConfReader) reader = gw_conf_reader_new(text);
    g_autoptr(GwHostConfig) self = config_new();
    GArray *groups = gw_conf_reader_groups(reader);
    read_host(reader, self);
    read_motion(reader, self);
    for (guint i = 0; i < groups->len; i++)
        read_group(reader, &g_array_index(groups, GwConfGroup, i), self);
    check_references(reader, self);
    return gw_conf_reader_finish(reader, subject, error) ? g_steal_pointer(&self) : NULL;
}

GwHostConfig *
gw_host_config_load(const char *path, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autofree char *text = NULL;
    gsize length = 0;
    if (g_file_get_contents(path, &text, &length, &failure) && strlen(text) == length)
        return gw_host_config_parse(text, path, error);
    if (!failure) {
        g_set_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG, "%s holds a NUL byte: it is no text", path);
        return NULL;
    }
    g_set_error(error, GW_ERROR,
                g_error_matches(failure, G_FILE_ERROR, G_FILE_ERROR_NOENT) ? GW_ERROR_NOT_FOUND : GW_ERROR_IO,
                "the host's configuration: %s", failure->message);
    return NULL;
}

GwVmSetup *
gw_host_config_to_setup(const GwHostConfig *self)
{
    GwVmSetup *setup = gw_default_setup();
    const struct {
        char **member;
        const char *value;
    } values[] = {
        {&setup->runtime_dir, self->runtime_dir}, {&setup->tls_dir, self->tls_dir},
        {&setup->qemu_binary, self->qemu_binary}, {&setup->qemu_user, self->qemu_user},
        {&setup->uefi_code, self->uefi_code},     {&setup->preload_library, self->uffd_library},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
        if (!values[i].value)
            continue;
        g_free(*values[i].member);
        *values[i].member = g_strdup(values[i].value);
    }
    for (guint i = 0; i < self->port_groups->len; i++) {
        const GwHostPortGroup *port_group = &g_array_index(self->port_groups, GwHostPortGroup, i);
        const GwHostSwitch *net = gw_host_config_switch(self, port_group->switch_name);
        g_hash_table_replace(setup->port_groups, g_strdup(port_group->name), g_strdup(net->bridge));
    }
    for (guint i = 0; i < self->datastores->len; i++) {
        const GwHostDatastore *datastore = &g_array_index(self->datastores, GwHostDatastore, i);
        g_hash_table_replace(setup->datastores, g_strdup(datastore->name), g_strdup(datastore->path));
    }
    return setup;
}
