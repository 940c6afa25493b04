/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The error domain: stable names and their HTTP statuses, one table. */
#include "error.h"

#include <gio/gio.h>
#include <string.h>

/* Written out: G_DEFINE_QUARK() takes a bare name with hyphens, which clang-format takes for subtractions. */
GQuark
gw_error_quark(void)
{
    return g_quark_from_static_string("gw-error-quark");
}

static const struct {
    const char *name;
    unsigned http_status;
} codes[] = {
    [GW_ERROR_FAILED] = {"failed", 500},
    [GW_ERROR_INVALID_ARGUMENT] = {"invalid-argument", 400},
    [GW_ERROR_INVALID_CONFIG] = {"invalid-config", 422},
    [GW_ERROR_NOT_FOUND] = {"not-found", 404},
    [GW_ERROR_EXISTS] = {"exists", 409},
    [GW_ERROR_WRONG_STATE] = {"wrong-state", 409},
    [GW_ERROR_NOT_SUPPORTED] = {"not-supported", 501},
    [GW_ERROR_NOT_PERMITTED] = {"not-permitted", 403},
    [GW_ERROR_TIMED_OUT] = {"timed-out", 504},
    [GW_ERROR_PEER_LOST] = {"peer-lost", 502},
    [GW_ERROR_PROTOCOL] = {"protocol", 502},
    [GW_ERROR_VMM_FAILED] = {"vmm-failed", 500},
    [GW_ERROR_IO] = {"io", 500},
    [GW_ERROR_NOT_CONVERGING] = {"not-converging", 409},
    [GW_ERROR_CANCELLED] = {"cancelled", 409},
    [GW_ERROR_CHECK_FAILED] = {"check-failed", 409},
    [GW_ERROR_NOT_AUTHENTICATED] = {"not-authenticated", 401},
    [GW_ERROR_BUSY] = {"busy", 503},
};
G_STATIC_ASSERT(G_N_ELEMENTS(codes) == GW_N_ERRORS);

const char *
gw_error_code_name(int code)
{
    return code >= 0 && code < GW_N_ERRORS ? codes[code].name : codes[GW_ERROR_FAILED].name;
}

GwError
gw_error_code_from_name(const char *name)
{
    for (int i = 0; name && i < GW_N_ERRORS; i++)
        if (strcmp(codes[i].name, name) == 0)
            return i;
    return GW_ERROR_FAILED;
}

static GwError
code_of_tls(int code)
{
    switch (code) {
    case G_TLS_ERROR_EOF:
        return GW_ERROR_PEER_LOST;
    case G_TLS_ERROR_NOT_TLS:
        return GW_ERROR_PROTOCOL;
    default: /* one end does not want the other */
        return GW_ERROR_NOT_PERMITTED;
    }
}

static GwError
code_of(const GError *error)
{
    if (error->domain == GW_ERROR)
        return error->code;
    if (error->domain == G_IO_ERROR) {
        switch (error->code) {
        case G_IO_ERROR_NOT_FOUND:
            return GW_ERROR_NOT_FOUND;
        case G_IO_ERROR_EXISTS:
            return GW_ERROR_EXISTS;
        case G_IO_ERROR_PERMISSION_DENIED:
            return GW_ERROR_NOT_PERMITTED;
        case G_IO_ERROR_TIMED_OUT:
            return GW_ERROR_TIMED_OUT;
        case G_IO_ERROR_CONNECTION_REFUSED:
        case G_IO_ERROR_CONNECTION_CLOSED:
        case G_IO_ERROR_HOST_UNREACHABLE:
        case G_IO_ERROR_NETWORK_UNREACHABLE:
        case G_IO_ERROR_HOST_NOT_FOUND:
        case G_IO_ERROR_NOT_CONNECTED:
        case G_IO_ERROR_PARTIAL_INPUT:
            return GW_ERROR_PEER_LOST;
        case G_IO_ERROR_CANCELLED:
            return GW_ERROR_CANCELLED;
        default:
            return GW_ERROR_IO;
        }
    }
    if (error->domain == G_TLS_ERROR)
        return code_of_tls(error->code);
    if (error->domain == G_RESOLVER_ERROR)
        return GW_ERROR_PEER_LOST;
    return error->domain == G_FILE_ERROR ? GW_ERROR_IO : GW_ERROR_FAILED;
}

const char *
gw_error_name(const GError *error)
{
    return gw_error_code_name(code_of(error));
}

unsigned
gw_error_http_status(const GError *error)
{
    return codes[code_of(error)].http_status;
}

gboolean
gw_set_errno(GError **error, GwError code, int errnum, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, GW_ERROR, code, "%s: %s", text, g_strerror(errnum));
    return FALSE;
}
