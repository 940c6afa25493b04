/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starts the supervisors of VMs: godwit-vm processes in sessions of their own, which outlive the agent. Any
 * thread; blocks until the VM is up. */
#pragma once

#include "host-config.h"

#include <glib.h>
#include <stdbool.h>

#define GW_SUPERVISOR_TIMEOUT_S 60

typedef enum { GW_SUPERVISOR_RUN, GW_SUPERVISOR_PAUSED, GW_SUPERVISOR_INCOMING } GwSupervisorMode;

/* `godwit-vm run --detach` with what the host provides. `vm_config` is the VM's configuration as text.
 * GW_ERROR_INVALID_CONFIG or GW_ERROR_FAILED with godwit-vm's own words; then nothing is left, but after
 * GW_ERROR_TIMED_OUT, when its supervisor may still be about. */
bool gw_supervisor_start(const GwHostConfig *host, const char *name, const char *vm_config,
                         GwSupervisorMode mode, GError **error);

/* `godwit-vm adopt --detach` of a VM whose supervisor has died. */
bool gw_supervisor_adopt(const char *vm_program, const char *runtime_dir, const char *log_level,
                         const char *name, GError **error);

/* Pure. What godwit-vm said last for people, of all that it wrote, its log among that; NULL: nothing. */
char *gw_supervisor_words(const char *output);
