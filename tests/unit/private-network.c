/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Network namespaces, and iproute2. */
#include "private-network.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>

char *
private_network_output(const char *command)
{
    g_autoptr(GError) error = NULL;
    const char *argv[] = {"/bin/sh", "-ec", command, NULL};
    char *output = NULL;
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &output, NULL, NULL, &error);
    g_assert_no_error(error);
    return output;
}

void
private_network_run(const char *format, ...)
{
    g_autoptr(GError) error = NULL;
    int status = 0;
    va_list args;
    va_start(args, format);
    g_autofree char *command = g_strdup_vprintf(format, args);
    va_end(args);
    const char *argv[] = {"/bin/sh", "-ec", command, NULL};
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, &status, &error);
    g_assert_no_error(error);
    if (status != 0)
        g_error("'%s' failed", command);
}

bool
private_network_enter(void)
{
    g_autofree char *ip = g_find_program_in_path("ip");
    if (!ip) {
        g_test_skip("there is no ip(8)");
        return false;
    }
    if (unshare(CLONE_NEWNET) < 0) {
        g_autofree char *why = g_strdup_printf("a network namespace: %s", g_strerror(errno));
        g_test_skip(why);
        return false;
    }
    private_network_run("ip link set lo up");
    return true;
}
