/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Probes of a host. */
#include "host-check.h"

#include "accel.h"
#include "cgroup.h"
#include "kernel-abi.h"
#include "spawn.h"
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

const char *
gw_host_verdict_name(GwHostVerdict verdict)
{
    static const char *const names[] = {"ok", "warning", "missing"};
    return names[verdict];
}

static void
clear_finding(void *data)
{
    GwHostFinding *finding = data;
    g_free(finding->text);
    g_free(finding->repair);
}

static void G_GNUC_PRINTF(5, 6) report(GArray *findings, const char *id, GwHostVerdict verdict,
                                       const char *repair, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    GwHostFinding finding = {id, verdict, g_strdup_vprintf(format, values), g_strdup(repair)};
    va_end(values);
    g_array_append_val(findings, finding);
}

static int
open_uffd(GError **error)
{
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device < 0) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "/dev/userfaultfd: %s", g_strerror(errno));
        return -1;
    }
    int uffd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    if (uffd < 0)
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "making a userfaultfd: %s", g_strerror(errno));
    close(device);
    return uffd;
}

/* Writes one page of sixteen and expects the trace to find just that. */
static bool
trace_works(int uffd, GError **error)
{
    const uint64_t size = 16 * GW_PAGE_SIZE, page = 5 * GW_PAGE_SIZE;
    g_autoptr(GwImage) image = gw_image_new("probe", size, error);
    char *map =
        image ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, gw_image_fd(image), 0) : MAP_FAILED;
    if (map == MAP_FAILED)
        return false;
    GwMemRegion region = {0, size, (uintptr_t)map};
    g_autoptr(GwTrace) trace = gw_trace_arm(uffd, getpid(), &region, 1, error);
    int n = -1;
    GwTraceRun runs[4] = {0};
    if (trace) {
        map[page] = 1;
        uint64_t at = 0;
        n = gw_trace_scan(trace, &at, size, runs, G_N_ELEMENTS(runs));
        if (n != 1 || runs[0].mem_off != page || runs[0].size_bytes != GW_PAGE_SIZE)
            g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "PAGEMAP_SCAN: %s",
                        n < 0 ? g_strerror(-n) : "it did not find the one page that was written");
    }
    g_clear_pointer(&trace, gw_trace_free);
    munmap(map, size);
    return n == 1 && runs[0].mem_off == page;
}

static void
check_trace(GArray *findings)
{
    static const char *const repair =
        "use Linux 6.7 or newer (Debian 13's, or Debian 12's from backports), as root";
    g_autoptr(GError) error = NULL;
    int uffd = open_uffd(&error);
    bool works = uffd >= 0 && gw_trace_negotiate(uffd, &error) && trace_works(uffd, &error);
    if (uffd >= 0)
        close(uffd);
    if (works)
        report(findings, "kernel.trace", GW_HOST_OK, NULL,
               "guest memory can be traced (userfaultfd, PAGEMAP_SCAN)");
    else
        report(findings, "kernel.trace", GW_HOST_MISSING, repair, "%s",
               error ? error->message : "guest memory cannot be traced");
}

static void
check_tun(GArray *findings)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd >= 0)
        report(findings, "kernel.tun", GW_HOST_OK, NULL, "/dev/net/tun opens");
    else
        report(findings, "kernel.tun", GW_HOST_MISSING, "'modprobe tun', and run as root",
               "NICs need /dev/net/tun: %s", g_strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void
check_user(GArray *findings, const GwVmSetup *setup, GwUser *user)
{
    g_autoptr(GError) error = NULL;
    if (gw_user_look_up(setup->qemu_user, user, &error))
        report(findings, "user", GW_HOST_OK, NULL, "QEMU runs as user '%s' (uid %u)", user->name, user->uid);
    else
        report(findings, "user", GW_HOST_MISSING,
               "make that user, or name one that there is ('qemu-user' in /etc/godwit/host.conf)", "%s",
               error->message);
}

/* The first line of "qemu --version": "QEMU emulator version 7.2.22 (…)". */
static void
check_qemu(GArray *findings, const GwVmSetup *setup)
{
    const char *argv[] = {setup->qemu_binary, "--version", NULL};
    g_autofree char *output = NULL;
    unsigned major = 0, minor = 0;
    static const char *const repair = "install QEMU 7.2 or newer (package qemu-system-x86)";
    g_autoptr(GError) error = NULL;
    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &output, NULL, NULL,
                      &error))
        report(findings, "qemu", GW_HOST_MISSING, repair, "%s", error->message);
    else if (sscanf(output, "QEMU emulator version %u.%u", &major, &minor) != 2)
        report(findings, "qemu", GW_HOST_MISSING, repair, "%s is no QEMU that we know", setup->qemu_binary);
    else
        report(findings, "qemu", major * 100 + minor >= 702 ? GW_HOST_OK : GW_HOST_MISSING,
               major * 100 + minor >= 702 ? NULL : repair, "%s is version %u.%u", setup->qemu_binary, major,
               minor);
}

static void
check_library(GArray *findings, const GwVmSetup *setup)
{
    if (access(setup->preload_library, R_OK) == 0)
        report(findings, "library", GW_HOST_OK, NULL, "%s is there", setup->preload_library);
    else
        report(findings, "library", GW_HOST_MISSING, "install godwit, or build it", "%s: %s",
               setup->preload_library, g_strerror(errno));
}

static void
check_rights(GArray *findings)
{
    if (geteuid() == 0)
        report(findings, "rights", GW_HOST_OK, NULL, "running as root");
    else
        report(findings, "rights", GW_HOST_MISSING, "run godwit-vm as root; QEMU itself runs unprivileged",
               "running as uid %u", geteuid());
}

static void
check_accel(GArray *findings, const GwUser *user)
{
    GwAccelFacts facts = gw_accel_probe(user->name ? user : NULL);
    GwAccelChoice choice = gw_accel_choose(GW_ACCEL_AUTO, &facts);
    bool kvm = choice.accel == GW_ACCEL_KVM;
    report(findings, "kvm", kvm ? GW_HOST_OK : GW_HOST_WARNING,
           kvm ? NULL : "switch virtualisation on in the firmware, and put QEMU's user into the group kvm",
           "%s", choice.why);
    g_free(choice.why);
}

static void
check_cgroup(GArray *findings)
{
    g_auto(GwCgroupHost) host = gw_cgroup_probe();
    if (host.version == GW_CGROUP_NONE)
        report(findings, "cgroup", GW_HOST_WARNING, "mount cgroup2 with the cpu controller",
               "no cgroup cpu controller: VMs with shares or limits cannot start");
    else
        report(findings, "cgroup", GW_HOST_OK, NULL, "CPU shares and limits by cgroup v%d at %s",
               host.version, host.root);
}

static void
check_huge_pages(GArray *findings)
{
    static const char *const path = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    g_autofree char *text = NULL;
    bool found = g_file_get_contents(path, &text, NULL, NULL);
    bool on =
        found && (strstr(text, "[advise]") || strstr(text, "[always]") || strstr(text, "[within_size]"));
    report(findings, "huge-pages", on ? GW_HOST_OK : GW_HOST_WARNING,
           on ? NULL : "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled",
           on ? "guest memory can use transparent huge pages"
              : "guest memory is in small pages: guests run somewhat slower");
}

GArray *
gw_host_check(const GwVmSetup *setup)
{
    g_auto(GwUser) user = {0};
    GArray *findings = g_array_new(FALSE, FALSE, sizeof(GwHostFinding));
    g_array_set_clear_func(findings, clear_finding);
    check_rights(findings);
    check_trace(findings);
    check_tun(findings);
    check_qemu(findings, setup);
    check_user(findings, setup, &user);
    check_library(findings, setup);
    check_accel(findings, &user);
    check_cgroup(findings);
    check_huge_pages(findings);
    return findings;
}
