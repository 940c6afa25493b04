/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which motions may begin: budgets of hosts, networks and datastores, as VMware's users know them. Pure.
 *
 * A motion costs one unit of each resource that it names. Waiting motions are looked at by priority, then
 * age; what does not fit does not hold up another that needs other resources. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define GW_BUDGET_HOST         8
#define GW_BUDGET_NETWORK      4 /* slower than GW_FAST_BITS_PER_S */
#define GW_BUDGET_NETWORK_FAST 8
#define GW_BUDGET_DATASTORE    128
#define GW_FAST_BITS_PER_S     (10ull * 1000 * 1000 * 1000)

typedef enum { GW_PRIORITY_NORMAL, GW_PRIORITY_HIGH } GwPriority;

typedef struct {
    const char *id; /* the task's; borrowed like all here */
    const char *vm; /* for people; NULL: they read the id */
    GwPriority priority;
    int64_t since_us;
    const char *source, *destination;
    uint64_t source_speed, destination_speed; /* of the slowest motion interface, bits/s; 0: not known */
    const char *const *datastores;            /* NULL-terminated */
    uint64_t memory_bytes; /* of one that is running: what has yet to come, so that it is counted once */
    unsigned cpu_percent;  /* that it uses at its source, 100 is one CPU */
} GwMotionDemand;

typedef struct {
    const char *host;
    uint64_t memory_available_bytes;
    unsigned n_cpus, cpu_percent; /* in use, 100 is one CPU */
} GwHostRoom;

typedef enum {
    GW_ADMIT_START,
    GW_ADMIT_WAIT,
    GW_ADMIT_REFUSE, /* high priority, and there is no room: it is not started at all */
} GwAdmission;

typedef struct {
    const GwMotionDemand *demand;
    GwAdmission admission;
    char *why; /* what it waits for, or why not; NULL: it may start; owned */
} GwVerdict;

/* For each of the waiting (an array of GwMotionDemand) one GwVerdict, best first; those that start are
 * counted with the running for those behind. `rooms`: of GwHostRoom, for high priority. NULL is an empty
 * array. Unref the result before `waiting`, of which it borrows. */
GArray *gw_admit(const GArray *running, const GArray *waiting, const GArray *rooms);
