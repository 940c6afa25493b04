/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How busy the host and its VMs are: differences between samples of /proc. */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Jiffies of all CPUs together since boot. */
typedef struct {
    uint64_t busy, idle;
} GwCpuTimes;

/* The first line of /proc/stat. Time in which a hypervisor below ran others is neither. */
bool gw_cpu_times_parse(const char *text, GwCpuTimes *ret_times);

/* 0 to 100 of all CPUs; 0 where time stands still or runs back (idle counters do, at times). */
double gw_cpu_times_percent(const GwCpuTimes *before, const GwCpuTimes *now);

/* A process: jiffies in user and kernel, and when it was started, which tells a recycled pid. */
typedef struct {
    uint64_t jiffies, started;
} GwProcessTimes;

/* The text of /proc/PID/stat, whose program may be called "a) b (". */
bool gw_process_times_parse(const char *text, GwProcessTimes *ret_times);

/* A line such as "MemAvailable: 123 kB" of /proc/meminfo, in bytes. */
bool gw_meminfo_parse(const char *text, const char *field, uint64_t *ret_bytes);

/* What the host's registry knows of a VM; borrowed. */
typedef struct {
    const char *name;
    pid_t qemu_pid, supervisor_pid; /* 0: none */
    uint64_t guest_resident_bytes;  /* of the memory image, which is counted once, not by who maps it */
} GwLoadVm;

typedef struct GwLoad GwLoad;

/* Takes the first sample. One thread. */
GwLoad *gw_load_new(void);
void gw_load_free(GwLoad *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwLoad, gw_load_free)

/* The data of the event host.load but for "datastores" (see datastore.h), over the time since the last
 * sample. A VM that was not in that has 0 percent. The caller's. */
JsonObject *gw_load_sample(GwLoad *self, const GwLoadVm *vms, unsigned n_vms);
