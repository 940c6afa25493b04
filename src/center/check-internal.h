/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For the checks: what one gets, how it reports, and their table. */
#pragma once

#include "check.h"

typedef struct GwCheckRun GwCheckRun;

/* What has to be known before a check can say anything. */
typedef enum {
    GW_CHECK_NEEDS_NOTHING = 0,
    GW_CHECK_NEEDS_SOURCE = 1 << 0,      /* the source can be asked */
    GW_CHECK_NEEDS_DESTINATION = 1 << 1, /* the destination can be asked, and is another host */
    GW_CHECK_NEEDS_BOTH = GW_CHECK_NEEDS_SOURCE | GW_CHECK_NEEDS_DESTINATION,
} GwCheckNeeds;

typedef struct {
    const char *id;
    void (*check)(GwCheckRun *run); /* NULL: the supervisor alone finds it */
    GwSeverity severity;
    GwOverride policy; /* of an error */
    GwCheckNeeds needs;
    bool supersedes; /* sees both ends, so what the supervisor finds under this id is left out */
} GwCheckRule;

/* The table, ending with an id of NULL. */
extern const GwCheckRule gw_check_rules[];
const GwCheckRule *gw_check_find_rule(const char *id);

struct GwCheckRun {
    const GwVmFacts *vm;
    const GwHostFacts *source, *destination;
    const GArray *paths; /* NULL: not probed */
    const GwCheckRule *rule;
    GArray *findings;
};

/* A finding of the rule that runs. Its other members are for the caller to fill in (owned strings), before
 * the next is added. */
GwFinding *gw_check_add(GwCheckRun *run, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* How the VM gets another configuration, of which the words given say what is to change; owned. */
char *gw_check_config_repair(const GwCheckRun *run, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* How a host gets another one; owned. */
char *gw_check_host_repair(const GwHostFacts *host, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* For texts; "not known" if it is not. */
const char *gw_check_qemu_version(const GwHostFacts *host);

/* Whether two names differ in nothing but case and blanks. */
bool gw_check_names_are_near(const char *a, const char *b);

/* check-state.c */
void gw_check_host_same(GwCheckRun *run);
void gw_check_host_unreachable(GwCheckRun *run);
void gw_check_host_maintenance(GwCheckRun *run);
void gw_check_host_problem(GwCheckRun *run);
void gw_check_vm_state(GwCheckRun *run);
void gw_check_vm_activity(GwCheckRun *run);
void gw_check_vm_duplicate(GwCheckRun *run);
void gw_check_vm_namesake(GwCheckRun *run);

/* check-network.c */
void gw_check_interface_missing(GwCheckRun *run);
void gw_check_interface_family(GwCheckRun *run);
void gw_check_path_none(GwCheckRun *run);
void gw_check_path_unreachable(GwCheckRun *run);
void gw_check_path_slow(GwCheckRun *run);
void gw_check_network_missing(GwCheckRun *run);
void gw_check_network_internal(GwCheckRun *run);

/* check-storage.c */
void gw_check_datastore_missing(GwCheckRun *run);
void gw_check_datastore_unusable(GwCheckRun *run);
void gw_check_datastore_read_only(GwCheckRun *run);
void gw_check_datastore_different(GwCheckRun *run);
void gw_check_datastore_unverified(GwCheckRun *run);
void gw_check_cdrom_file(GwCheckRun *run);
void gw_check_boot_file(GwCheckRun *run);

/* check-cpu.c */
void gw_check_accel_different(GwCheckRun *run);
void gw_check_cpu_model(GwCheckRun *run);
void gw_check_cpu_features(GwCheckRun *run);
void gw_check_cpu_host_model(GwCheckRun *run);
void gw_check_cpu_host_dependent(GwCheckRun *run);
void gw_check_cpu_nested(GwCheckRun *run);
void gw_check_cpu_pmu(GwCheckRun *run);
void gw_check_cpu_pinned(GwCheckRun *run);
void gw_check_cpu_pinned_missing(GwCheckRun *run);

/* check-room.c */
void gw_check_qemu_machine(GwCheckRun *run);
void gw_check_qemu_older(GwCheckRun *run);
void gw_check_memory_room(GwCheckRun *run);
void gw_check_cpu_room(GwCheckRun *run);
