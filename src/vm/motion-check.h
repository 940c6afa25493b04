/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* May this guest be moved? What the trace of its memory could not see is found before a motion begins, and
 * said, rather than lost in one.
 *
 * The rules are those of docs/architecture.md ("What the trace cannot see"); they stand in a pure function
 * over facts. The facts come from three places: the configuration, /proc (gathered here) and QEMU
 * (gw_qemu_facts()). What is not known never passes in silence.
 *
 *   id                            severity   when
 *   motion.trace.unavailable      error      QEMU's userfaultfd is not ours
 *   motion.qemu.unasked           error      QEMU has not been asked about itself
 *   motion.qemu.capability        error      QEMU lacks a migration capability, such as x-ignore-shared
 *   motion.qemu.blocked           error      QEMU says by itself that its state cannot be saved
 *   motion.cpu.nested             error      the kernel may run guests of the guest's
 *   motion.cpu.host-dependent     warning    "host", "max": another CPU elsewhere
 *   motion.cpu.pinned             warning    host CPUs are named by number
 *   motion.disk.direct-io         error      O_DIRECT reads, and nobody touches the pages afterwards
 *   motion.disk.async-io          error      O_DIRECT and native AIO
 *   motion.disk.unseen            error      a block driver gives guest memory to hardware or another process
 *   motion.cdrom.file             warning    an ISO image has to be there too
 *   motion.device.unseen          error      a device does (VFIO, vDPA, vhost-user, SCSI passthrough)
 *   motion.memory.foreign-mapping error      another process has the memory mapped and may write it
 *   motion.memory.foreign-reader  warning    likewise, to read
 *   motion.memory.unseen          warning    some processes' mappings cannot be looked at
 *   motion.memory.second-mapping  error      QEMU has a part of it mapped twice
 *   motion.memory.not-mapped      error      QEMU has a part of it mapped nowhere, or not to write
 *   motion.memory.devices         error      the VM has memory besides (DIMMs, virtio-mem …)
 *   motion.memory.confidential    error      SEV, TDX: memory that nobody else reads
 *   motion.memory.balloon         warning    memory is given back meanwhile
 *   motion.memory.huge-pages      warning    hugetlb: a written byte costs 2 MiB on the link or more
 */
#pragma once

#include "file-mappings.h"
#include "image.h"
#include "qemu-facts.h"
#include "vm-config.h"

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef enum { GW_MOTION_WARNING, GW_MOTION_ERROR } GwMotionSeverity;

typedef struct {
    const char *id; /* stable, from the table above */
    GwMotionSeverity severity;
    char *text;   /* what was found and where: a phrase; owned */
    char *repair; /* what to do; owned; NULL: nothing can be */
} GwMotionFinding;

typedef struct {
    const GwVmConfig *config; /* borrowed */
    GwAccel accel;            /* KVM or TCG, as it runs */
    const GwQemuFacts *qemu;  /* borrowed; its lists are NULL if it was not asked */
    /* The preloaded library touches each page that an O_DIRECT read has filled, so that the trace sees it. */
    bool touches_direct_reads;
    /* gathered */
    bool can_trace;
    bool has_native_aio; /* QEMU has set up a context for it */
    pid_t vmm_pid, own_pid;
    uint64_t memory_bytes;
    uint64_t memory_page_bytes; /* of the file system: 4096, or hugetlb's */
    GwFileMappings mappings;    /* owned; of every process */
} GwMotionFacts;

/* Fills in what /proc and the memory file tell into facts of which the members above "gathered" are set;
 * `uffd` as gw_qemu_uffd() has it. Looks at every process of the host (20 to 50 µs each): before a motion,
 * never in its pause. Any thread. */
bool
gw_motion_facts_gather(GwMotionFacts *facts, const GwImage *image, pid_t vmm_pid, int uffd, GError **error);
void gw_motion_facts_clear(GwMotionFacts *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwMotionFacts, gw_motion_facts_clear)

/* Pure. What there is to say, errors first; an array of GwMotionFinding, empty if nothing. Free it with
 * g_array_unref(). */
GArray *gw_motion_check(const GwMotionFacts *facts);

/* False if there is an error among the findings: GW_ERROR_NOT_SUPPORTED with all of them, and what mends
 * each, in one line. */
bool gw_motion_check_verdict(const GArray *findings, GError **error);

/* [{"id", "severity": "error" | "warning", "text", "repair": text or null}, …]; unref it. */
JsonArray *gw_motion_findings_to_json(const GArray *findings);
