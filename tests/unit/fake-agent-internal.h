/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the agents that are played and those who direct them share. One lock, the cluster's, guards the VMs.
 */
#pragma once

#include "fake-agent.h"
#include "http-server.h"
#include "tcp-proxy.h"

typedef struct {
    char *name, *state, *config, *session, *secret, *motion; /* motion: its state; NULL: none */
    char *error_code;                                        /* of the motion */
    char *uuid;
    bool is_source;
    int pid;
} FakeVm;

typedef struct {
    FakeCluster *cluster;
    char *name, *n;
    GHashTable *vms; /* name → FakeVm */
    TcpProxy *proxy;
    unsigned proxy_port;
    /* of its thread */
    GMainContext *context;
    GMainLoop *loop;
    GThread *thread;
    GwHttpServer *server;
    GPtrArray *streams; /* of GwHttpRequest */
    unsigned port;
} FakeAgent;

typedef struct {
    char *host, *method, *path_end;
    FakeFault fault;
    GwError code;
} FakeFaultCase;

struct FakeCluster {
    const GwAuthority *authority;
    char *directory;
    GPtrArray *agents;
    GMutex lock; /* guards all below, and the agents' VMs */
    GArray *faults;
    bool fault_was_met;
    GPtrArray *calls; /* of "host2 POST /v1/vms" */
    char *stop_at, *fail_at, *secret;
    GwError fail_code;
    unsigned n_sessions;
    int next_pid;
};

void fake_set_text(char **text, const char *value);
void fake_tell_status_locked(FakeAgent *self, const char *vm);
void fake_tell_motion(FakeAgent *self, const char *vm);
void fake_complete_locked(FakeAgent *here, FakeVm *source);
void fake_agent_free(void *agent);
void fake_vm_free(void *vm);

/* The engine, with the lock held. */
FakeAgent *fake_destination_of(FakeCluster *self, const FakeVm *source); /* NULL: none waits for it */
void fake_end_destination_locked(FakeCluster *self, const FakeVm *source);
void fake_advance_locked(FakeAgent *here, FakeVm *vm);
