/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: any bytes are a configuration that survives its round trip, or a well-formed report.
 *
 * The unit test replays corpus/vm-config through this same function. */
#include "error.h"
#include "vm-config.h"

#include <stddef.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A headline, then at most 101 lines of printable UTF-8 that begin with two spaces. */
static void
check_report(const GError *error)
{
    g_assert_true(error && error->domain == GW_ERROR && error->code == GW_ERROR_INVALID_CONFIG);
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
    g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), >=, 2);
    g_assert_cmpuint(g_strv_length(lines), <=, 102);
    g_assert_true(g_str_has_suffix(lines[0], "in the VM's configuration:"));
    for (guint i = 1; lines[i]; i++) {
        g_assert_true(g_str_has_prefix(lines[i], "  "));
        for (const char *p = lines[i]; *p; p = g_utf8_next_char(p))
            g_assert_false(g_unichar_iscntrl(g_utf8_get_char(p)));
    }
}

static void
check_round_trip(const GwVmConfig *config)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = gw_vm_config_to_text(config);
    g_autoptr(GwVmConfig) again = gw_vm_config_parse(text, -1, &error);
    g_assert_no_error(error);
    g_autofree char *text_again = gw_vm_config_to_text(again);
    g_assert_cmpstr(text, ==, text_again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GwVmConfig) config = gw_vm_config_parse((const char *)data, (gssize)size, &error);
    if (config)
        check_round_trip(config);
    else
        check_report(error);
    return 0;
}
