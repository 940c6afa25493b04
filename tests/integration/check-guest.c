/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* check-guest PID CONFIG: what the check before a motion finds in the memory of a running guest, as JSON, for
 * the test of that name. Of QEMU's own facts the best is taken: they are another test's. */
#include "error.h"
#include "json.h"
#include "motion-check.h"
#include "process.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static GwImage *
image_of(const GwProcess *qemu, const char *uuid, GError **error)
{
    g_autofree char *link = gw_image_proc_link(uuid);
    int fd = gw_process_take_fd_by_link(qemu, link, error);
    return fd >= 0 ? gw_image_adopt(fd, uuid, error) : NULL;
}

static bool
check(const char *pid, const char *path, GError **error)
{
    g_auto(GwProcess) qemu = GW_PROCESS_NONE;
    g_autofree char *text = NULL;
    if (!gw_process_open(atoi(pid), &qemu, error) || !g_file_get_contents(path, &text, NULL, error))
        return false;
    g_autoptr(GwVmConfig) config = gw_vm_config_parse(text, -1, error);
    g_autoptr(GwImage) image = config ? image_of(&qemu, config->uuid, error) : NULL;
    int uffd = image ? gw_process_take_fd_by_link(&qemu, "anon_inode:[userfaultfd]", error) : -1;
    if (uffd < 0)
        return false;

    char *none[] = {NULL};
    GwQemuFacts good = {.direct_nodes = none,
                        .unseen_nodes = none,
                        .unseen_devices = none,
                        .memory_devices = none,
                        .balloons = none,
                        .blockers = none};
    g_auto(GwMotionFacts) facts = {.config = config, .accel = GW_ACCEL_TCG, .qemu = &good};
    gint64 start_us = g_get_monotonic_time();
    bool ok = gw_motion_facts_gather(&facts, image, qemu.pid, uffd, error);
    close(uffd);
    if (!ok)
        return false;
    g_autoptr(GArray) findings = gw_motion_check(&facts);
    fprintf(stderr, "gathered in %.1f ms\n", (double)(g_get_monotonic_time() - start_us) / 1e3);
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_ARRAY);
    json_node_take_array(node, gw_motion_findings_to_json(findings));
    g_autofree char *line = gw_json_node_to_line(node);
    puts(line);
    return true;
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    if (argc != 3)
        return 2;
    if (check(argv[1], argv[2], &error))
        return 0;
    fprintf(stderr, "%s\n", error->message);
    return 1;
}
