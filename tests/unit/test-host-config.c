/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* host.conf: what it says, what it says by saying nothing, and every way in which it is wrong. */
#include "host-config.h"

#include "error.h"

#include <glib/gstdio.h>
#include <string.h>

static const char full[] = "# a comment\n"
                           "[host]\n"
                           "name = host1\n"
                           "listen=10.70.0.1\n"
                           "port=7500\n"
                           "runtime-dir=/run/gw\n"
                           "tls-dir=/etc/gw/tls\n"
                           "qemu=/opt/qemu\n"
                           "qemu-user=q\n"
                           "uefi-code=/opt/code.fd\n"
                           "vm-program=/opt/godwit-vm\n"
                           "uffd-library=/opt/uffd.so\n"
                           "log-level=debug\n"
                           "huge-pages=yes\n"
                           "\n"
                           "[switch guests]\n"
                           "bridge=br-guest\n"
                           "create=no\n"
                           "uplinks=eth1;eth2\n"
                           "  [ switch   inner ]  \n"
                           "[port-group VM Network]\n"
                           "switch=guests\n"
                           "[port-group lab]\n"
                           "switch=inner\n"
                           "[motion]\n"
                           "interfaces=motion0;motion1;\n"
                           "speed-mbit=2500\n"
                           "[datastore nfs1]\n"
                           "path=/srv//nfs1/\n"
                           "mount-point=true\n"
                           "[datastore local]\n"
                           "path=/srv/local";

static GwHostConfig *
parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    GwHostConfig *config = gw_host_config_parse(text, "host.conf", &error);
    g_assert_no_error(error);
    g_assert_nonnull(config);
    return config;
}

static void
assert_list(char **list, const char *expected)
{
    g_autofree char *got = g_strjoinv(" ", list);
    g_assert_cmpstr(got, ==, expected);
}

static void
test_full(void)
{
    g_autoptr(GwHostConfig) config = parse(full);
    g_assert_cmpstr(config->name, ==, "host1");
    g_assert_cmpstr(config->listen, ==, "10.70.0.1");
    g_assert_cmpuint(config->port, ==, 7500);
    g_assert_cmpstr(config->runtime_dir, ==, "/run/gw");
    g_assert_cmpstr(config->tls_dir, ==, "/etc/gw/tls");
    g_assert_cmpstr(config->qemu_binary, ==, "/opt/qemu");
    g_assert_cmpstr(config->qemu_user, ==, "q");
    g_assert_cmpstr(config->uefi_code, ==, "/opt/code.fd");
    g_assert_cmpstr(config->vm_program, ==, "/opt/godwit-vm");
    g_assert_cmpstr(config->uffd_library, ==, "/opt/uffd.so");
    g_assert_cmpstr(config->log_level, ==, "debug");
    g_assert_true(config->huge_pages);

    g_assert_cmpuint(config->switches->len, ==, 2);
    const GwHostSwitch *guests = gw_host_config_switch(config, "guests");
    const GwHostSwitch *inner = gw_host_config_switch(config, "inner");
    g_assert_cmpstr(guests->bridge, ==, "br-guest");
    g_assert_false(guests->create);
    assert_list(guests->uplinks, "eth1 eth2");
    g_assert_cmpstr(inner->bridge, ==, "inner");
    g_assert_true(inner->create);
    assert_list(inner->uplinks, "");
    g_assert_null(gw_host_config_switch(config, "other"));

    assert_list(config->motion_interfaces, "motion0 motion1");
    g_assert_cmpuint(config->motion_speed_mbit, ==, 2500);
    const GwHostDatastore *nfs1 = &g_array_index(config->datastores, GwHostDatastore, 0);
    const GwHostDatastore *local = &g_array_index(config->datastores, GwHostDatastore, 1);
    g_assert_cmpuint(config->datastores->len, ==, 2);
    g_assert_cmpstr(nfs1->path, ==, "/srv/nfs1");
    g_assert_true(nfs1->is_mount_point);
    g_assert_false(local->is_mount_point);
}

static void
test_setup(void)
{
    g_autoptr(GwHostConfig) config = parse(full);
    g_autoptr(GwVmSetup) setup = gw_host_config_to_setup(config);
    g_assert_cmpstr(setup->runtime_dir, ==, "/run/gw");
    g_assert_cmpstr(setup->tls_dir, ==, "/etc/gw/tls");
    g_assert_cmpstr(setup->qemu_binary, ==, "/opt/qemu");
    g_assert_cmpstr(setup->qemu_user, ==, "q");
    g_assert_cmpstr(setup->uefi_code, ==, "/opt/code.fd");
    g_assert_cmpstr(setup->preload_library, ==, "/opt/uffd.so");
    g_assert_cmpstr(g_hash_table_lookup(setup->port_groups, "VM Network"), ==, "br-guest");
    g_assert_cmpstr(g_hash_table_lookup(setup->port_groups, "lab"), ==, "inner");
    g_assert_cmpstr(g_hash_table_lookup(setup->datastores, "nfs1"), ==, "/srv/nfs1");
    g_assert_cmpuint(g_hash_table_size(setup->datastores), ==, 2);
}

static void
test_defaults(void)
{
    g_autoptr(GwHostConfig) config = parse("[host]\nname=a\nlisten=fd00::1\n");
    g_assert_cmpuint(config->port, ==, 7441);
    g_assert_cmpstr(config->runtime_dir, ==, "/run/godwit");
    g_assert_cmpstr(config->tls_dir, ==, "/etc/godwit/tls");
    g_assert_cmpstr(config->qemu_binary, ==, "/usr/bin/qemu-system-x86_64");
    g_assert_cmpstr(config->qemu_user, ==, "godwit-qemu");
    g_assert_true(g_str_has_suffix(config->vm_program, "/godwit-vm"));
    g_assert_null(config->uffd_library);
    g_assert_cmpstr(config->log_level, ==, "info");
    g_assert_false(config->huge_pages);
    g_assert_cmpuint(config->switches->len + config->port_groups->len + config->datastores->len, ==, 0);
    g_assert_cmpuint(g_strv_length(config->motion_interfaces), ==, 0);
    g_assert_cmpuint(config->motion_speed_mbit, ==, 0);
    g_autoptr(GwVmSetup) setup = gw_host_config_to_setup(config);
    g_assert_nonnull(setup->preload_library);
}

#define HOST      "[host]\nname=a\nlisten=10.0.0.1\n"
#define LONG_NAME "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg"

/* Each problem as one line of the message. */
static const struct {
    const char *text, *problem;
} wrong[] = {
    {"", "[host] listen: is missing (expected a numeric address such as '10.70.0.1', that of the management "
         "interface)"},
    {"[host]\nname=a\nlisten=host1.example\n",
     "[host] listen: wrong value (got 'host1.example', expected a numeric address such as '10.70.0.1')"},
    {"[host]\nname=a\nlisten=10.0.0.1 # management\n",
     "[host] listen: wrong value (got '10.0.0.1 # management', expected a numeric address such as "
     "'10.70.0.1'; a comment needs a line of its own)"},
    {"[host]\nname=a\nlisten=\n", "[host] listen: is empty (expected a numeric address such as '10.70.0.1')"},
    {"[host]\nname=a b\nlisten=10.0.0.1\n",
     "[host] name: wrong value (got 'a b', expected a host's name: letters, digits, '.' and '-')"},
    {"[host]\nname=" LONG_NAME "\nlisten=10.0.0.1\n",
     "[host] name: too long (got 64 bytes, expected at most 63)"},
    {HOST "port=0\n", "[host] port: wrong value (got '0', expected a number from 1 to 65535)"},
    {HOST "port=7441a\n", "[host] port: wrong value (got '7441a', expected a number from 1 to 65535)"},
    {HOST "port=99999999999999999999\n",
     "[host] port: wrong value (got '99999999999999999999', expected a number from 1 to 65535)"},
    {HOST "qemu=qemu\n", "[host] qemu: wrong value (got 'qemu', expected an absolute path)"},
    {HOST "log-level=loud\n",
     "[host] log-level: wrong value (got 'loud', expected error, warning, info or debug)"},
    {HOST "huge-pages=maybe\n", "[host] huge-pages: wrong value (got 'maybe', expected yes or no)"},
    {HOST "prot=1\n",
     "[host] prot: there is no such key in this group (expected one of listen, name, port, runtime-dir, tls-dir, "
     "qemu, qemu-user, uefi-code, vm-program, uffd-library, log-level, huge-pages)"},
    {HOST "port=1\nport=2\n", "[host] port: is there twice, in line 4 and in line 5"},
    {HOST "[host]\nport=1\n", "line 4: the group [host] is there already, in line 1"},
    {HOST "[hosts]\n", "[hosts]: there is no such group (expected [host], [motion], [switch NAME], "
                       "[port-group NAME] or [datastore NAME])"},
    {HOST "[host a]\n", "[host a]: there is no such group (expected [host], [motion], [switch NAME], "
                        "[port-group NAME] or [datastore NAME])"},
    {HOST "[switch]\n", "[switch]: has no name (expected '[switch NAME]')"},
    {HOST "[switch a\n", "line 4: no group (got '[switch a', expected '[group]' or '[kind name]')"},
    {HOST "[]\n", "line 4: no group (got '[]', expected '[group]' or '[kind name]')"},
    {HOST "[a]b]\n", "line 4: no group (got '[a]b]', expected '[group]' or '[kind name]')"},
    {HOST "port\n", "line 4: neither group nor key (got 'port', expected KEY=VALUE, [group] or a # comment)"},
    {HOST "=1\n", "line 4: neither group nor key (got '=1', expected KEY=VALUE, [group] or a # comment)"},
    {"a=b\n" HOST, "line 1: 'a' stands before the first group"},
    {HOST "[switch s]\nbridge=a/b\n",
     "[switch s] bridge: wrong value (got 'a/b', expected a network interface's name)"},
    {HOST "[switch s]\nbridge=abcdefghijklmnop\n",
     "[switch s] bridge: too long (got 16 bytes, expected at most 15)"},
    {HOST "[switch my net]\n", "[switch my net] bridge: is missing, and the switch's name 'my net' cannot be "
                               "an interface's"},
    {HOST "[switch s]\nuplinks=e1;e1;\n", "[switch s] uplinks: names 'e1' twice"},
    {HOST "[switch s]\nuplinks=e1\n[switch t]\nuplinks=e2;e1\n",
     "[switch t] uplinks: 'e1' is an uplink of switch 's' already"},
    {HOST "[switch s]\nbridge=x\n[switch x]\n", "[switch x] bridge: 'x' is the bridge of switch 's' already"},
    {HOST "[switch s]\nuplinks=t\n[switch t]\n",
     "[switch s] uplinks: 't' is the bridge of switch 't' already"},
    {HOST "[switch s]\nuplinks=m\n[motion]\ninterfaces=m\n",
     "[switch s] uplinks: 'm' is a motion interface: a bridge's port has no address of its own"},
    {HOST "[switch s]\nuplinks=a;;b\n", "[switch s] uplinks: is empty (expected a network interface's name)"},
    {HOST "[port-group p]\n", "[port-group p] switch: is missing (expected the name of a switch)"},
    {HOST "[port-group p]\nswitch=t\n",
     "[port-group p] switch: there is no switch 't' (expected a group [switch t])"},
    {HOST "[port-group a/b]\nswitch=s\n[switch s]\n",
     "[port-group a/b]: wrong name (got 'a/b', expected a port group's exact name, without '/' and without "
     "spaces at its ends)"},
    {HOST "[motion]\ninterfaces=1;2;3;4;5;6;7;8;9\n",
     "[motion] interfaces: names 9 interfaces (expected at most 8)"},
    {HOST "[datastore d]\n", "[datastore d] path: is missing (expected an absolute path)"},
    {HOST "[datastore d]\npath=srv\n",
     "[datastore d] path: wrong value (got 'srv', expected an absolute path)"},
    {HOST "[datastore d]\npath=/a\n[datastore e]\npath=/a/\n",
     "[datastore e] path: '/a' is the path of datastore 'd' already"},
    {HOST "[datastore a b]\npath=/a\n",
     "[datastore a b]: wrong name (got 'a b', expected a datastore's name: a letter or digit, then letters, "
     "digits, '.', '_' and '-')"},
    {"\xff", "(document): is no UTF-8 text"},
};

static void
test_wrong(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GwHostConfig) config = gw_host_config_parse(wrong[i].text, "host.conf", &error);
        g_autofree char *line = g_strconcat("\n  ", wrong[i].problem, NULL);
        g_assert_null(config);
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG);
        g_assert_true(strstr(error->message, " in host.conf:\n"));
        if (!strstr(error->message, line))
            g_error("case %zu: no '%s' in: %s", i, wrong[i].problem, error->message);
    }
}

/* All at once, in the order of the text, and what is right is not complained about. */
static void
test_all_at_once(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwHostConfig) config = gw_host_config_parse("[host]\n"
                                                          "name=a\n"
                                                          "nonsense\n"
                                                          "listen=10.0.0.1\n"
                                                          "[datastore d]\n"
                                                          "path=d\n"
                                                          "size=3\n"
                                                          "[port-group p]\n"
                                                          "switch=s\n",
                                                          "/etc/godwit/host.conf", &error);
    g_assert_null(config);
    g_assert_cmpstr(
        error->message, ==,
        "4 errors in /etc/godwit/host.conf:\n"
        "  line 3: neither group nor key (got 'nonsense', expected KEY=VALUE, [group] or a # comment)\n"
        "  [datastore d] path: wrong value (got 'd', expected an absolute path)\n"
        "  [datastore d] size: there is no such key in this group (expected one of path, mount-point)\n"
        "  [port-group p] switch: there is no switch 's' (expected a group [switch s])");
}

static void
test_load(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_dir_make_tmp("gw-host-config-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "host.conf", NULL);
    g_assert_null(gw_host_config_load(path, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_NOT_FOUND);
    g_assert_true(strstr(error->message, path));
    g_clear_error(&error);

    g_assert_null(gw_host_config_load(dir, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_clear_error(&error);

    g_assert_true(g_file_set_contents(path, HOST "\0[x]", sizeof HOST "\0[x]" - 1, NULL));
    g_assert_null(gw_host_config_load(path, &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG);
    g_clear_error(&error);

    g_assert_true(g_file_set_contents(path, full, -1, NULL));
    g_autoptr(GwHostConfig) config = gw_host_config_load(path, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(config->name, ==, "host1");
    g_unlink(path);
    g_rmdir(dir);
}

/* The example that is installed, as it is and with everything that it proposes. */
static void
test_example(void)
{
    g_autofree char *path =
        g_test_build_filename(G_TEST_DIST, "..", "..", "docs", "examples", "host.conf", NULL);
    g_autofree char *text = NULL;
    g_autoptr(GRegex) proposal = g_regex_new("^#(?=[a-z-]+=)", G_REGEX_MULTILINE, 0, NULL);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_autofree char *all = g_regex_replace_literal(proposal, text, -1, 0, "", 0, NULL);
    g_assert_cmpuint(strlen(all), ==, strlen(text) - 10);
    g_autoptr(GwHostConfig) plain = parse(text), whole = parse(all);
    g_assert_cmpstr(whole->name, ==, "host1");
    g_assert_cmpuint(whole->port, ==, plain->port);
    g_assert_cmpstr(whole->runtime_dir, ==, plain->runtime_dir);
    g_assert_cmpstr(whole->tls_dir, ==, plain->tls_dir);
    g_assert_cmpstr(whole->qemu_binary, ==, plain->qemu_binary);
    g_assert_cmpstr(whole->qemu_user, ==, plain->qemu_user);
    g_assert_cmpstr(whole->uefi_code, ==, plain->uefi_code);
    g_assert_cmpstr(whole->log_level, ==, plain->log_level);
    g_assert_true(whole->huge_pages);
    g_assert_false(plain->huge_pages);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_unsetenv("GODWIT_RUNTIME_DIR");
    g_test_add_func("/host-config/full", test_full);
    g_test_add_func("/host-config/setup", test_setup);
    g_test_add_func("/host-config/defaults", test_defaults);
    g_test_add_func("/host-config/wrong", test_wrong);
    g_test_add_func("/host-config/all-at-once", test_all_at_once);
    g_test_add_func("/host-config/load", test_load);
    g_test_add_func("/host-config/example", test_example);
    return g_test_run();
}
