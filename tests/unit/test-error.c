/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Error codes: every one has a name of its own that leads back to it, and a status. */
#include "error.h"

#include <errno.h>
#include <gio/gio.h>

static void
test_names(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (int code = 0; code < GW_N_ERRORS; code++) {
        const char *name = gw_error_code_name(code);
        g_assert_true(g_hash_table_add(seen, (char *)name));
        g_assert_cmpint(gw_error_code_from_name(name), ==, code);
        g_autoptr(GError) error = g_error_new_literal(GW_ERROR, code, "x");
        g_assert_cmpuint(gw_error_http_status(error), >=, 400);
        g_assert_cmpuint(gw_error_http_status(error), <, 600);
    }
    g_assert_cmpint(gw_error_code_from_name("from-a-newer-version"), ==, GW_ERROR_FAILED);
    g_assert_cmpint(gw_error_code_from_name(NULL), ==, GW_ERROR_FAILED);
    g_assert_cmpstr(gw_error_code_name(9999), ==, "failed");
}

static void
test_foreign_domains(void)
{
    static const struct {
        GQuark (*domain)(void);
        int code;
        const char *name;
    } cases[] = {
        {g_io_error_quark, G_IO_ERROR_CONNECTION_REFUSED, "peer-lost"},
        {g_io_error_quark, G_IO_ERROR_HOST_UNREACHABLE, "peer-lost"},
        {g_io_error_quark, G_IO_ERROR_NETWORK_UNREACHABLE, "peer-lost"},
        {g_io_error_quark, G_IO_ERROR_PARTIAL_INPUT, "peer-lost"},
        {g_io_error_quark, G_IO_ERROR_TIMED_OUT, "timed-out"},
        {g_io_error_quark, G_IO_ERROR_CANCELLED, "cancelled"},
        {g_io_error_quark, G_IO_ERROR_NO_SPACE, "io"},
        {g_resolver_error_quark, G_RESOLVER_ERROR_NOT_FOUND, "peer-lost"},
        {g_tls_error_quark, G_TLS_ERROR_BAD_CERTIFICATE, "not-permitted"},
        {g_tls_error_quark, G_TLS_ERROR_CERTIFICATE_REQUIRED, "not-permitted"},
        {g_tls_error_quark, G_TLS_ERROR_NOT_TLS, "protocol"},
        {g_tls_error_quark, G_TLS_ERROR_EOF, "peer-lost"},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = g_error_new_literal(cases[i].domain(), cases[i].code, "x");
        g_assert_cmpstr(gw_error_name(error), ==, cases[i].name);
    }
    g_autoptr(GError) absent = g_error_new_literal(G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "x");
    g_assert_cmpuint(gw_error_http_status(absent), ==, 404);
}

static void
test_errno(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(gw_set_errno(&error, GW_ERROR_IO, ENOSPC, "writing %s", "journal"));
    g_assert_error(error, GW_ERROR, GW_ERROR_IO);
    g_assert_cmpstr(error->message, ==, "writing journal: No space left on device");
    gw_set_errno(NULL, GW_ERROR_IO, ENOSPC, "ignored");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/names", test_names);
    g_test_add_func("/error/foreign-domains", test_foreign_domains);
    g_test_add_func("/error/errno", test_errno);
    return g_test_run();
}
