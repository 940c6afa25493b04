/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tells the network where a guest is now: one RARP frame a NIC, as soon as it runs at its new host.
 *
 * A switch learns where an address is from the frames that come from there, and a guest that has nothing to
 * say would otherwise not be found until its old entry ages (300 s in a Linux bridge). QEMU's own
 * announcement starts 50 ms after the state is loaded: too late for this one, but right for the repeats. */
#pragma once

#include "process.h"
#include "vm-config.h"

#include <glib.h>
#include <stdint.h>

/* The shortest Ethernet frame, without the check sequence that hardware adds. */
#define GW_RARP_FRAME_BYTES 60

/* Pure. The frame that a NIC with this address sends: RFC 903's "request reverse", to everybody. Nobody is
 * meant to answer it; its sender is what counts. */
void gw_rarp_frame(const uint8_t mac[6], uint8_t ret_frame[GW_RARP_FRAME_BYTES]);

typedef struct GwAnnouncer GwAnnouncer;

/* Takes from QEMU a copy of each NIC's TAP, so that whoever supervises it can, also after an adoption. Before
 * the switchover: it reads /proc. As long as it lives, so do the TAPs. NULL on error, with
 * GW_ERROR_NOT_FOUND if QEMU lacks a NIC's TAP. */
GwAnnouncer *gw_announcer_prepare(const GwProcess *qemu, const GwVmConfig *config, GError **error);

/* Sends a frame for each NIC, as if the guest had. Two system calls a NIC, no allocation; does not block.
 * Returns 0, or -errno of the first NIC that failed; the others are tried all the same. */
int gw_announcer_send(const GwAnnouncer *self);

/* Closes the copies. NULL is allowed. */
void gw_announcer_free(GwAnnouncer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwAnnouncer, gw_announcer_free)
