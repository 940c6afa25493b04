/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* center.conf: defaults, every key, and all mistakes at once. */
#include "center-config.h"

#include "error.h"

#include <glib/gstdio.h>
#include <string.h>

static void
test_defaults(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwCenterConfig) config = gw_center_config_parse("", "x", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(config->listen, ==, "0.0.0.0");
    g_assert_cmpuint(config->port, ==, 7440);
    g_assert_cmpuint(g_strv_length(config->names), ==, 0);
    g_assert_cmpuint(g_strv_length(config->addresses), ==, 0);
    g_assert_cmpstr(config->data_dir, ==, "/var/lib/godwit-center");
    g_assert_cmpstr(config->store, ==, "sqlite:/var/lib/godwit-center/center.db");
    g_assert_cmpstr(config->socket, ==, "/run/godwit-center/center.sock");
    g_assert_null(config->user);
    g_assert_cmpstr(config->cluster, ==, "default");
    g_assert_cmpstr(config->log_level, ==, "info");
}

static void
test_every_key(void)
{
    const char *text = "# a comment\n[center]\nlisten=::1\nport=1\nnames=a.example; b;\n"
                       "addresses=10.70.0.254;fd00::1\ndata-dir=/d\nstore=sqlite:/e/f.db\nsocket=/s\n"
                       "user=_godwit\ncluster=east-1\nlog-level=debug\n";
    g_autoptr(GError) error = NULL;
    g_autoptr(GwCenterConfig) config = gw_center_config_parse(text, "x", &error);
    g_assert_no_error(error);
    g_assert_cmpstr(config->listen, ==, "::1");
    g_assert_cmpuint(config->port, ==, 1);
    g_assert_cmpstr(config->names[0], ==, "a.example");
    g_assert_cmpstr(config->names[1], ==, "b");
    g_assert_null(config->names[2]);
    g_assert_cmpstr(config->addresses[1], ==, "fd00::1");
    g_assert_cmpstr(config->store, ==, "sqlite:/e/f.db");
    g_assert_cmpstr(config->socket, ==, "/s");
    g_assert_cmpstr(config->user, ==, "_godwit");
    g_assert_cmpstr(config->cluster, ==, "east-1");
    g_assert_cmpstr(config->log_level, ==, "debug");
}

static void
test_all_mistakes(void)
{
    const char *text = "[center]\nlisten=center.example\nport=65536\nnames=ok;-bad\naddresses=1.2.3\n"
                       "data-dir=relative\nstore=postgres://x\nsocket=s\nuser=a b\ncluster=\n"
                       "log-level=loud\nportt=1\n[host]\nname=x\n";
    g_autoptr(GError) error = NULL;
    g_assert_null(gw_center_config_parse(text, "/etc/center.conf", &error));
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG);
    const char *const parts[] = {
        "12 errors in /etc/center.conf:",
        "\n  [center] listen: got 'center.example', expected a numeric IP address",
        "\n  [center] port: got '65536', expected a number from 1 to 65535",
        "\n  [center] names: got '-bad', expected DNS names",
        "\n  [center] addresses: got '1.2.3'",
        "\n  [center] data-dir: got 'relative', expected an absolute path",
        "\n  [center] store: got 'postgres://x'",
        "\n  [center] socket: got 's'",
        "\n  [center] user: got 'a b'",
        "\n  [center] cluster: got ''",
        "\n  [center] log-level: got 'loud', expected error, warning, info or debug",
        "\n  [center] portt: no such key",
        "\n  [host]: no such group",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
        if (!strstr(error->message, parts[i]))
            g_error("'%s' is not in:\n%s", parts[i], error->message);
}

static void
test_ports(void)
{
    const char *const bad[] = {"0", "-1", "65536", "", "80x", "99999999999999999999", "7440 7441"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *text = g_strdup_printf("[center]\nport=%s\n", bad[i]);
        g_assert_null(gw_center_config_parse(text, "f", &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG);
        g_assert_nonnull(strstr(error->message, "1 error in f:"));
    }
}

static void
test_no_key_file(void)
{
    const char *const bad[] = {"port=1\n", "[center\n", "[center]\nport\n", "[center]\ncluster=\xff\n"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(gw_center_config_parse(bad[i], "/f", &error));
        g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG);
        g_assert_nonnull(strstr(error->message, "/f"));
    }
}

static void
test_files(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_dir_make_tmp("center-XXXXXX", &error);
    g_assert_no_error(error);
    g_autofree char *file = g_build_filename(dir, "center.conf", NULL);
    g_assert_null(gw_center_config_read(file, false, &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
    g_clear_error(&error);
    g_autoptr(GwCenterConfig) defaults = gw_center_config_read(file, true, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(defaults->port, ==, 7440);
    g_assert_true(g_file_set_contents(file, "[center]\nport=9\n", -1, &error));
    g_autoptr(GwCenterConfig) config = gw_center_config_read(file, true, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(config->port, ==, 9);
    g_unlink(file);
    g_rmdir(dir);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/center-config/defaults", test_defaults);
    g_test_add_func("/center-config/every-key", test_every_key);
    g_test_add_func("/center-config/all-mistakes", test_all_mistakes);
    g_test_add_func("/center-config/ports", test_ports);
    g_test_add_func("/center-config/no-key-file", test_no_key_file);
    g_test_add_func("/center-config/files", test_files);
    return g_test_run();
}
