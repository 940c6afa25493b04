/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* announce-guest PID CONFIG: announces a running guest from outside its supervisor, for the test of that
 * name. Prints the microseconds that preparing and sending took. */
#include "announce.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_auto(GwProcess) qemu = GW_PROCESS_NONE;
    g_autoptr(GwVmConfig) config = NULL;
    g_autoptr(GwAnnouncer) announcer = NULL;
    g_autofree char *text = NULL;
    if (argc != 3)
        return 2;
    gint64 start_us = 0;
    if (gw_process_open(atoi(argv[1]), &qemu, &error) && g_file_get_contents(argv[2], &text, NULL, &error) &&
        (config = gw_vm_config_parse(text, -1, &error))) {
        start_us = g_get_monotonic_time();
        announcer = gw_announcer_prepare(&qemu, config, &error);
    }
    if (!announcer) {
        fprintf(stderr, "%s\n", error->message);
        return 1;
    }
    gint64 prepared_us = g_get_monotonic_time();
    int failed = gw_announcer_send(announcer);
    gint64 sent_us = g_get_monotonic_time();
    if (failed < 0) {
        fprintf(stderr, "sending: %s\n", g_strerror(-failed));
        return 1;
    }
    printf("{\"prepare_us\":%" PRId64 ",\"send_us\":%" PRId64 "}\n", prepared_us - start_us,
           sent_us - prepared_us);
    return 0;
}
