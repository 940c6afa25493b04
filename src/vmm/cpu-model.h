/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a CPU model, as QEMU's -cpu takes it, says about moving its guest. Pure. */
#pragma once

#include "vm-config.h"

typedef enum {
    GW_CPU_NESTS_NOT,     /* no nested guest that the host's kernel would run */
    GW_CPU_NESTS,         /* the model names vmx or svm */
    GW_CPU_NESTS_AS_HOST, /* it has whatever the host's CPU and kernel offer */
} GwCpuNesting;

/* Whether a guest with this CPU may run guests of its own in the kernel's hands, whose memory the kernel maps
 * outside of QEMU's page tables, so that no trace sees what they write.
 *
 * Only under KVM: TCG shows svm by default (qemu64, EPYC, max), but emulates the nested guest itself, through
 * QEMU's page tables as any other write. Under KVM QEMU takes svm off every named model and none has vmx by
 * itself (7.2 and 10.0: query-cpu-definitions, kvm_default_props; machines since 2.2), so there it is what
 * the model's features say; "host" and "max" have all that the host has. */
GwCpuNesting gw_cpu_model_nesting(const char *cpu_model, GwAccel accel);

/* Whether the model means another CPU on another host, or with another QEMU: "host" and "max". */
bool gw_cpu_model_is_host_dependent(const char *cpu_model);

/* The model's own name: "Skylake-Server-v4" of "Skylake-Server-v4,-pku". */
char *gw_cpu_model_name(const char *cpu_model);

/* The features that it says are on, each once, as they are spelt there: compare with gw_cpu_feature_equal().
 * What is no feature ("level=13") is not among them. */
char **gw_cpu_model_features_on(const char *cpu_model);

/* Whether it says that the feature is off. */
bool gw_cpu_model_takes_off(const char *cpu_model, const char *feature);

/* Whether the guest has the host's performance counters: under KVM, where the model says pmu, or is "host" or
 * "max" and does not say otherwise. */
bool gw_cpu_model_has_pmu(const char *cpu_model, GwAccel accel);

/* Whether two names mean one feature: "sse4-1", "sse4_1" and "sse4.1" do, and "sse3" and "pni". */
bool gw_cpu_feature_equal(const char *a, const char *b);
