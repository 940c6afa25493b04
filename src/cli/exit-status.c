/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Exit statuses, one table. */
#include "exit-status.h"

#include "error.h"

#include <gio/gio.h>
#include <string.h>

static const struct {
    GwExit status;
    const char *meaning;
} statuses[] = {
    {GW_EXIT_DONE, "done"},
    {GW_EXIT_FAILED, "failed, for a reason that is none of those below"},
    {GW_EXIT_USAGE, "wrong usage, or a request or document that is wrong in itself"},
    {GW_EXIT_NOT_PERMITTED, "not logged in, not permitted, or the center is not to be trusted"},
    {GW_EXIT_NOT_FOUND, "what was named does not exist"},
    {GW_EXIT_CHECK_FAILED, "a check found what stops the motion"},
    {GW_EXIT_MOTION_FAILED, "the motion failed; the VM stays where it was"},
    {GW_EXIT_CANCELLED, "cancelled"},
    {GW_EXIT_UNREACHABLE, "the center or a host does not answer"},
    {GW_EXIT_WRONG_STATE, "not in a state that allows it, exists already, or busy"},
    {GW_EXIT_INTERRUPTED, "interrupted; what was asked for goes on at the center"},
};

static const GwExit of_code[] = {
    [GW_ERROR_FAILED] = GW_EXIT_FAILED,
    [GW_ERROR_INVALID_ARGUMENT] = GW_EXIT_USAGE,
    [GW_ERROR_INVALID_CONFIG] = GW_EXIT_USAGE,
    [GW_ERROR_NOT_FOUND] = GW_EXIT_NOT_FOUND,
    [GW_ERROR_EXISTS] = GW_EXIT_WRONG_STATE,
    [GW_ERROR_WRONG_STATE] = GW_EXIT_WRONG_STATE,
    [GW_ERROR_NOT_SUPPORTED] = GW_EXIT_FAILED,
    [GW_ERROR_NOT_PERMITTED] = GW_EXIT_NOT_PERMITTED,
    [GW_ERROR_TIMED_OUT] = GW_EXIT_UNREACHABLE,
    [GW_ERROR_PEER_LOST] = GW_EXIT_UNREACHABLE,
    [GW_ERROR_PROTOCOL] = GW_EXIT_FAILED,
    [GW_ERROR_VMM_FAILED] = GW_EXIT_FAILED,
    [GW_ERROR_IO] = GW_EXIT_FAILED,
    [GW_ERROR_NOT_CONVERGING] = GW_EXIT_MOTION_FAILED,
    [GW_ERROR_CANCELLED] = GW_EXIT_CANCELLED,
    [GW_ERROR_CHECK_FAILED] = GW_EXIT_CHECK_FAILED,
    [GW_ERROR_NOT_AUTHENTICATED] = GW_EXIT_NOT_PERMITTED,
    [GW_ERROR_BUSY] = GW_EXIT_WRONG_STATE,
};
G_STATIC_ASSERT(G_N_ELEMENTS(of_code) == GW_N_ERRORS);

/* What the network says in its own words. */
static bool
is_of_the_network(const GError *error)
{
    static const int codes[] = {
        G_IO_ERROR_HOST_NOT_FOUND, G_IO_ERROR_HOST_UNREACHABLE,   G_IO_ERROR_NETWORK_UNREACHABLE,
        G_IO_ERROR_TIMED_OUT,      G_IO_ERROR_CONNECTION_REFUSED, G_IO_ERROR_CONNECTION_CLOSED,
        G_IO_ERROR_PARTIAL_INPUT,  G_IO_ERROR_NOT_CONNECTED,      G_IO_ERROR_PROXY_FAILED,
    };
    if (error->domain == G_RESOLVER_ERROR || error->domain == G_TLS_ERROR)
        return true;
    for (size_t i = 0; error->domain == G_IO_ERROR && i < G_N_ELEMENTS(codes); i++)
        if (error->code == codes[i])
            return true;
    return false;
}

GwExit
gw_exit_of_error(const GError *error)
{
    if (is_of_the_network(error))
        return GW_EXIT_UNREACHABLE;
    return of_code[gw_error_code_from_name(gw_error_name(error))];
}

GwExit
gw_exit_of_task(const char *state, const char *error_code)
{
    if (g_strcmp0(state, "completed") == 0)
        return GW_EXIT_DONE;
    if (g_strcmp0(state, "cancelled") == 0)
        return GW_EXIT_CANCELLED;
    return g_strcmp0(error_code, gw_error_code_name(GW_ERROR_CHECK_FAILED)) == 0 ? GW_EXIT_CHECK_FAILED
                                                                                 : GW_EXIT_MOTION_FAILED;
}

char *
gw_exit_text(void)
{
    GString *text = g_string_new(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++)
        g_string_append_printf(text, "  %3d  %s\n", (int)statuses[i].status, statuses[i].meaning);
    return g_string_free(text, FALSE);
}

bool
gw_error_is_passing(const GError *error)
{
    static const GwError final[] = {
        GW_ERROR_INVALID_ARGUMENT, GW_ERROR_NOT_FOUND,   GW_ERROR_NOT_PERMITTED, GW_ERROR_NOT_AUTHENTICATED,
        GW_ERROR_NOT_SUPPORTED,    GW_ERROR_WRONG_STATE, GW_ERROR_CANCELLED};
    for (size_t i = 0; i < G_N_ELEMENTS(final); i++)
        if (g_error_matches(error, GW_ERROR, (int) final[i]))
            return false;
    return true;
}
