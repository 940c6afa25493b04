/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One QEMU process: started or adopted, spoken to over QMP, and its end told in its own words. */
#pragma once

#include "process.h"
#include "qemu-args.h"
#include "spawn.h"
#include "vmm.h"

#include <json-glib/json-glib.h>

typedef struct GwQemu GwQemu;

/* A QMP event, in the QMP reader's thread: keep it short and execute nothing from it. `when_us` is
 * CLOCK_MONOTONIC. `data` is borrowed and may be NULL. */
typedef void (*GwQemuEventFunc)(const char *event, JsonObject *data, gint64 when_us, void *user_data);

typedef struct {
    const char *qmp_path; /* QMP socket; made at start, found at adoption */
    const char *log_path; /* what QEMU prints */
    GwQemuEventFunc event;
    void *user_data;
} GwQemuHooks;

typedef struct {
    const char *binary;
    const char *preload_library;
    const GwUser *user;
    const GwVmConfig *config;
    GwAccel accel; /* KVM or TCG */
    const GwImage *image;
    GwQemuFds fds; /* memory_fd and qmp_fd are filled in by gw_qemu_start() */
    bool incoming;
    int record_fd; /* see GwSpawn */
    const char *record_before, *record_after;
    const int *cgroup_fds;
    unsigned n_cgroup_fds;
} GwQemuLaunch;

/* Starts QEMU; on return it answers QMP, the guest is paused before its first instruction (or waits for a
 * state), and the userfaultfd of its address space is ours. On failure nothing of it is left. Descriptors in
 * `launch` are borrowed. */
GwQemu *gw_qemu_start(const GwQemuLaunch *launch, const GwQemuHooks *hooks, GError **error);

/* Takes over a QEMU that another supervisor started and that runs on: QMP, memory and userfaultfd come back
 * from it. `process` is taken. `ret_image`: the guest's memory. A source that is found amid a motion, its
 * state not yet complete, is left so: gw_vmm_take_back() ends that, and the guest is as it was before. One
 * whose state was complete is paused, and gw_vmm_resume() is all that it needs. */
GwQemu *gw_qemu_adopt(GwProcess *process, const char *image_name, const GwQemuHooks *hooks,
                      GwImage **ret_image, GError **error);

/* The interface for a motion; borrowed. */
GwVmm *gw_qemu_vmm(GwQemu *self);

const GwProcess *gw_qemu_process(const GwQemu *self);
unsigned gw_qemu_version(const GwQemu *self); /* see gw_qmp_version() */
int gw_qemu_uffd(const GwQemu *self);         /* borrowed; negotiated for gw_trace_arm(); -1: none */

/* QEMU's run state, such as "running", "paused", "prelaunch", "inmigrate"; free it. */
char *gw_qemu_run_state(GwQemu *self, GError **error);

/* Presses the guest's power button; the guest decides. */
bool gw_qemu_power_button(GwQemu *self, GError **error);
bool gw_qemu_reset(GwQemu *self, GError **error);

/* Tells the networks where the guest's NICs are now (RARP from every NIC, five times within a second, the
 * first at once). For a guest that has arrived, once it has been resumed: QEMU does not do it by itself. */
bool gw_qemu_announce(GwQemu *self, GError **error);

/* Binds vCPU threads to host CPUs; `pins` as in GwVmConfig. */
bool gw_qemu_pin(GwQemu *self, const GArray *pins, GError **error);

/* Ends it at once and waits for that. Any thread; harmless if it has ended. */
void gw_qemu_kill(GwQemu *self);

/* After its end: waits until every event that it still sent has been told. */
void gw_qemu_drain(GwQemu *self);

/* What it printed last, in one line; NULL if nothing. */
char *gw_qemu_last_words(const char *log_path);

/* Drops our hold on it: a live QEMU runs on. No event comes afterwards. NULL is allowed. */
void gw_qemu_free(GwQemu *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwQemu, gw_qemu_free)
