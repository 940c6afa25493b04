/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The supervisor's main loop: one VM, its API, until the VM is removed or the supervisor is told to end. */
#pragma once

#include "vm-config.h"
#include "vm-dir.h"
#include "vm-setup.h"

typedef struct {
    bool adopt;         /* take over what runs instead of starting it */
    bool paused;        /* start it paused */
    bool incoming;      /* start it to wait for a motion; one that never comes ends the supervisor */
    bool exit_when_off; /* end, and remove everything, when the guest is off */
    int ready_fd; /* gets a byte when the VM is up; the supervisor then leaves the terminal. -1: it stays */
} GwSuperviseOptions;

/* Runs; takes dir, setup and config. Returns the program's exit status. */
int gw_supervise(GwVmDir *dir, GwVmSetup *setup, GwVmConfig *config, const GwSuperviseOptions *options);
