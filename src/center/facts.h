/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What checks and admission look at: plain facts of hosts, VMs and the ways between hosts, read out of the
 * agents' JSON (docs/godwit-host-api.md) once, so that what decides sees structs. Pure; owned lists. */
#pragma once

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

typedef enum {
    GW_SEVERITY_WARNING,
    GW_SEVERITY_ERROR,
} GwSeverity;

typedef enum {
    GW_OVERRIDE_REFUSED, /* would lose data, or cannot work: nobody may override it */
    GW_OVERRIDE_ALLOWED,
    GW_OVERRIDE_APPLIED, /* and somebody did */
} GwOverride;

typedef struct {
    char *id;
    GwSeverity severity;
    char *text;
    char *source, *destination; /* evidence; NULL: none */
    char *repair;               /* NULL: nothing can be done */
    GwOverride override;
} GwFinding;

typedef struct {
    char *name, *uuid;
    char *state; /* as its supervisor says; "off" without one */
    GwVmConfig *config;
    GwAccel accel;      /* as it runs */
    char *qemu_version; /* as it runs */
    char *activity;     /* a job that forbids motions, such as "a motion to host2"; NULL: none */
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

/* Readers of JSON: what is missing or of another type reads as absent, so that an older or newer agent can be
 * talked to. NULL only if it is no description of such a thing at all (no name). */
GwHostFacts *gw_host_facts_from_json(JsonObject *host, GError **error);
GwVmFacts *gw_vm_facts_from_json(JsonObject *config, JsonObject *status, GError **error);
void gw_host_facts_free(GwHostFacts *self);
void gw_vm_facts_free(GwVmFacts *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwHostFacts, gw_host_facts_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwVmFacts, gw_vm_facts_free)

GArray *gw_findings_new(void); /* of GwFinding, which it owns */
GArray *gw_findings_from_json(JsonArray *array);
JsonArray *gw_findings_to_json(const GArray *findings);

GArray *gw_paths_new(void);                   /* of GwPath, which it owns */
GArray *gw_paths_from_json(JsonArray *array); /* as POST /v1/probe of an agent answers */
