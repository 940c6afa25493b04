/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: any text is a center's configuration within every rule, or a report that a terminal can show.
 */
#include "center-config.h"
#include "error.h"

#include <gio/gio.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_report(const GError *error)
{
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG);
    g_assert_true(g_str_has_prefix(error->message, "center.conf: ") ||
                  strstr(error->message, " in center.conf:\n  "));
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
    for (const char *p = error->message; *p; p = g_utf8_next_char(p))
        g_assert_true(*p == '\n' || !g_unichar_iscntrl(g_utf8_get_char(p)));
}

static void
check_config(const GwCenterConfig *config)
{
    g_assert_true(g_hostname_is_ip_address(config->listen));
    g_assert_true(config->port >= 1 && config->port <= 65535);
    g_assert_true(config->names && config->addresses);
    for (char **address = config->addresses; *address; address++)
        g_assert_true(g_hostname_is_ip_address(*address));
    g_assert_true(g_path_is_absolute(config->data_dir) && g_path_is_absolute(config->socket));
    g_assert_true(config->store && config->cluster && config->log_level);
    g_assert_null(strchr(config->cluster, '/'));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GwCenterConfig) config = gw_center_config_parse(text, "center.conf", &error);
    if (config)
        check_config(config);
    else
        check_report(error);
    return 0;
}
