/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Carries the device state from the VMM's stream to the control stream, in a thread of its own, since the VMM
 * writes its head while somebody waits for it to stop. */
#pragma once

#include "control.h"

typedef struct GwStatePump GwStatePump;

/* Takes `fd`, the reading end. The bell rings when the state is at its end. Nothing is read before
 * gw_state_pump_open(): until then the VMM waits (gw_vmm_begin_save()). */
GwStatePump *gw_state_pump_new(int fd, GwControl *control, GwBell *bell);

void gw_state_pump_open(GwStatePump *self);

/* What is read from now on is the devices', to be loaded when `round` has arrived. Before gw_vmm_save(). */
void gw_state_pump_set_round(GwStatePump *self, uint64_t round);

/* Nothing more is sent: what the VMM writes from now on, and that it ends, is of no interest to anybody. */
void gw_state_pump_abandon(GwStatePump *self);

/* True once the VMM has closed its end, whether or not all is sent. */
bool gw_state_pump_is_at_end(GwStatePump *self);

/* True once the VMM has closed its end and all is sent, STATE_END too. */
bool gw_state_pump_is_done(GwStatePump *self, uint64_t *ret_bytes);

/* Closes the reading end: a VMM that still writes gets an error. */
void gw_state_pump_free(GwStatePump *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwStatePump, gw_state_pump_free)
