/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What checks and admission look at: plain facts of hosts, VMs and the ways between hosts, read out of the
 * agents' JSON (docs/godwit-host-api.md) once, so that what decides sees structs. Pure; owned lists. */
#pragma once

#include "findings.h"
#include "vm-config.h"

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    char *name;
    char *address; /* numeric, NULL: has none */
    unsigned prefix_length;
    uint64_t speed_bits_per_s; /* 0: not known */
    bool is_up;
} GwMotionInterface;

typedef struct {
    char *name;
    char **uplinks; /* interfaces; empty: internal */
} GwSwitch;

typedef struct {
    char *name, *switch_name;
} GwPortGroup;

typedef struct {
    char *name, *path;
    char *identity; /* what the storage says it is, equal on all hosts that see the same; NULL: not known */
    char *error;    /* why it cannot be used; NULL: it can */
    bool is_read_only;
    uint64_t capacity_bytes, free_bytes;
} GwDatastore;

typedef struct {
    char *name;     /* such as "qemu64" */
    char **missing; /* features that this host's CPU, kernel or QEMU lacks for it; empty: none */
} GwCpuModelFact;

typedef struct {
    char *name;
    bool is_reachable, in_maintenance;
    char *version, *kernel, *qemu_version, *cpu_model;
    GwAccel accel; /* what a guest gets that leaves it to the host */
    unsigned n_cpus;
    uint64_t memory_bytes, memory_available_bytes;
    char **machines;     /* machine versions that QEMU knows */
    char **cpu_features; /* of the host's CPU, as QEMU names them */
    GArray *cpu_models;  /* of GwCpuModelFact */
    GArray *interfaces;  /* of GwMotionInterface, those for motions alone */
    GArray *switches;    /* of GwSwitch */
    GArray *port_groups; /* of GwPortGroup */
    GArray *datastores;  /* of GwDatastore */
    GArray *problems;    /* of GwFinding: what check-host found missing on it */
} GwHostFacts;

typedef struct {
    char *name, *uuid;
    char *state; /* as its supervisor says; "off" without one */
    GwVmConfig *config;
    GwAccel accel;      /* as it runs; as configured if it does not */
    char *qemu_version; /* as it runs */
    char *activity;     /* a job that forbids motions, such as "a motion (copy)"; NULL: none */
    bool is_traced;     /* it is a trace of its memory, and no motion's */
    char *duplicate_at; /* another host that says it has this VM too; NULL: none; the reader leaves it so */
    char *namesake; /* the destination's VM of the same name that is another one: "off, UUID …"; likewise */
    uint64_t memory_resident_bytes;
    GArray *findings; /* of GwFinding: the supervisor's own checks of what the engine cannot see */
} GwVmFacts;

/* One way between two motion interfaces, as a probe saw it. */
typedef struct {
    char *source_interface, *source_address;
    char *destination_interface, *destination_address;
    bool is_reachable;
    char *error;                 /* why not */
    uint64_t rtt_us, bits_per_s; /* 0: not measured */
} GwPath;

/* More of them are no host's; the ways between two hosts grow with the square. */
#define GW_FACTS_MAX_INTERFACES 64

/* Readers of JSON: what is missing or of another type reads as absent, so that an older or newer agent can be
 * talked to. NULL only if it is no description of such a thing at all (no name; a configuration that is
 * none). No list in the result is NULL.
 *
 * `host` is what GET /v1/host of its agent answered: it is reachable then, and not in maintenance, until who
 * knows better says otherwise. `config` is a VM's canonical configuration and `status` the agent's word of
 * it, NULL if no host has one; the supervisor's findings are for the caller to fill in. */
GwHostFacts *gw_host_facts_from_json(JsonObject *host, GError **error);
GwVmFacts *gw_vm_facts_from_json(JsonObject *config, JsonObject *status, GError **error);
void gw_host_facts_free(GwHostFacts *self);
void gw_vm_facts_free(GwVmFacts *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwHostFacts, gw_host_facts_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwVmFacts, gw_vm_facts_free)

GArray *gw_paths_new(void);                   /* of GwPath, which it owns */
GArray *gw_paths_from_json(JsonArray *array); /* as POST /v1/probe of an agent answers */
JsonArray *gw_paths_to_json(const GArray *paths);
