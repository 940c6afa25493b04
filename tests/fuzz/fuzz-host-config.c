/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: any text is a host's configuration whose parts fit together, or a report that a terminal can
 * show. */
#include "error.h"
#include "host-config.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_report(const GError *error)
{
    g_assert_error(error, GW_ERROR, GW_ERROR_INVALID_CONFIG);
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
    g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), >=, 2);
    for (guint i = 0; lines[i]; i++)
        for (const char *p = lines[i]; *p; p = g_utf8_next_char(p))
            g_assert_false(g_unichar_iscntrl(g_utf8_get_char(p)));
}

static void
check_config(const GwHostConfig *config)
{
    g_assert_true(config->name && config->listen && config->port >= 1 && config->port <= 65535);
    g_assert_cmpuint(g_strv_length(config->motion_interfaces), <=, GW_HOST_MAX_MOTION_INTERFACES);
    for (guint i = 0; i < config->switches->len; i++) {
        const GwHostSwitch *each = &g_array_index(config->switches, GwHostSwitch, i);
        g_assert_true(*each->name && *each->bridge && !strchr(each->bridge, '/') && each->uplinks);
    }
    for (guint i = 0; i < config->port_groups->len; i++) {
        const GwHostPortGroup *each = &g_array_index(config->port_groups, GwHostPortGroup, i);
        g_assert_nonnull(gw_host_config_switch(config, each->switch_name));
    }
    for (guint i = 0; i < config->datastores->len; i++) {
        const GwHostDatastore *each = &g_array_index(config->datastores, GwHostDatastore, i);
        g_assert_true(*each->name && each->path[0] == '/' && !strstr(each->path, "/../"));
    }
    g_autoptr(GwVmSetup) setup = gw_host_config_to_setup(config);
    g_assert_cmpuint(g_hash_table_size(setup->port_groups), ==, config->port_groups->len);
    g_assert_cmpuint(g_hash_table_size(setup->datastores), ==, config->datastores->len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GwHostConfig) config = gw_host_config_parse(text, "host.conf", &error);
    if (config)
        check_config(config);
    else
        check_report(error);
    return 0;
}
