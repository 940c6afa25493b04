/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which accelerator runs a guest: decided from facts, and said, never guessed at by the user. */
#pragma once

#include "spawn.h"
#include "vm-config.h"

typedef struct {
    bool kvm_opens;       /* /dev/kvm opens for QEMU's user */
    bool cpu_virtualises; /* the CPU shows vmx or svm */
} GwAccelFacts;

typedef struct {
    GwAccel accel; /* KVM or TCG */
    char *why;     /* a sentence for the log and the VM's status; owned */
} GwAccelChoice;

/* Pure. KVM where /dev/kvm opens and the CPU has vmx or svm, or where the configuration insists; else TCG. A
 * /dev/kvm on a CPU without both is a nested page-table hypervisor, on which ordinary kernels do not run. */
GwAccelChoice gw_accel_choose(GwAccel asked, const GwAccelFacts *facts);

/* `user` NULL: who we are. */
GwAccelFacts gw_accel_probe(const GwUser *user);

const char *gw_accel_name(GwAccel accel); /* "kvm" or "tcg", "auto" */
