/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hosts' agents that are played: servers with TLS as docs/godwit-host-api.md says, behind which there are
 * supervisors that know no more of a motion than its states. Any call can be answered with an error, or be
 * cut off before or behind its effect; an agent can be away, a QEMU die.
 *
 * The engine takes one state for each look at it, so that a test's steps do not depend on time. */
#pragma once

#include "authority.h"
#include "error.h"
#include "json.h"

typedef struct FakeCluster FakeCluster;

FakeCluster *fake_cluster_new(const GwAuthority *authority, const char *directory);
void fake_cluster_free(FakeCluster *self);

/* A host "hostN" whose motion interface is 10.71.0.N; returns its agent's port. */
unsigned fake_cluster_add_host(FakeCluster *self, unsigned n);

typedef enum {
    FAKE_ANSWERS_ERROR,
    FAKE_CUT_BEFORE, /* the connection ends, and nothing was done */
    FAKE_CUT_BEHIND, /* it was done, and the answer is lost */
} FakeFault;
/* Of the next call of this method whose path ends so. */
void fake_fault(FakeCluster *self, const char *host, const char *method, const char *path_end,
                FakeFault fault, GwError code);
void fake_no_faults(FakeCluster *self);
bool fake_fault_was_met(FakeCluster *self);

void fake_set_away(FakeCluster *self, const char *host, bool is_away); /* the agent, not its supervisors */

void fake_add_vm(FakeCluster *self, const char *host, const char *vm, const char *state);
/* Its status tells of another VM, of the same name. */
void fake_set_vm_uuid(FakeCluster *self, const char *host, const char *vm, const char *uuid);
void fake_set_vm(FakeCluster *self, const char *host, const char *vm, const char *state);
void fake_remove_vm(FakeCluster *self, const char *host, const char *vm);
char *fake_state(FakeCluster *self, const char *host, const char *vm); /* "absent" if there is none; owned */

/* The engine of every motion stands still in this state ("pre-copy", …) from now on; NULL: goes on. */
void fake_stop_engines_at(FakeCluster *self, const char *state);
/* The next motion ends in this state with an error of this code. */
void fake_fail_engine_at(FakeCluster *self, const char *state, GwError code);
/* Where the motion that stands still is handed over and runs, without anybody looking. */
void fake_complete_engine(FakeCluster *self, const char *vm);
/* The source's supervisor has given the VM away and cannot learn whether it runs there. */
void fake_unresolve_engine(FakeCluster *self, const char *vm);

/* Whether a call was made, "POST /v1/vms" or with "host2 " before it. */
unsigned fake_n_calls(FakeCluster *self, const char *host, const char *method, const char *path_end);
/* The newest ticket's secret; owned. */
char *fake_secret(FakeCluster *self);
char *fake_vm_config(const char *vm); /* JSON, owned */
