/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control stream of a motion: frames in and out, the heartbeat, and the one bell on which a motion's
 * thread waits.
 *
 * A thread of its own reads: it answers PINGs, sends one every half second, measures the round trip, and puts
 * every other frame into a bounded queue. A peer of which nothing is heard for GW_CONTROL_LOST_MS is lost.
 * The first failure is latched. What had arrived before is still received, nothing more is sent; only a peer
 * that sent a frame that is refused may be told so.
 *
 * The thread that runs the motion waits with gw_bell_wait(); whoever has something for it (this reader, the
 * copying threads, an order from outside) rings. */
#pragma once

#include "stream.h"
#include "wire.h"

#define GW_CONTROL_LOST_MS       5000u
#define GW_CONTROL_PINGS_IN_TIME 10u /* before a peer that answers none is lost */

/* Where a motion's thread waits. Lives longer than all who ring. */
typedef struct {
    GMutex lock;
    GCond rung;
    uint64_t n_rings;
} GwBell;

void gw_bell_init(GwBell *self);
void gw_bell_clear(GwBell *self);
void gw_bell_ring(GwBell *self); /* any thread */
/* How often it has rung: taken before looking at what there is to do, given to gw_bell_wait() after. */
uint64_t gw_bell_count(GwBell *self);
/* Waits until it has rung more often than `seen`, or until `deadline_us` (CLOCK_MONOTONIC). */
void gw_bell_wait(GwBell *self, uint64_t seen, gint64 deadline_us);

typedef struct {
    GwWireHeader header;
    uint8_t *payload;   /* owned; NULL: none */
    gint64 received_us; /* CLOCK_MONOTONIC */
} GwControlFrame;

void gw_control_frame_clear(GwControlFrame *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwControlFrame, gw_control_frame_clear)

typedef struct GwControl GwControl;

/* Takes `stream`, on which both hellos have been said (one frame each way). A frame that this side's peer
 * does not send on a control stream ends the connection. `lost_ms`: after how long a silence the peer is
 * lost; 0: GW_CONTROL_LOST_MS. */
GwControl *gw_control_new(GwStream *stream, bool peer_is_source, GwBell *bell, unsigned lost_ms);

/* Any thread. 0, or the -errno of the connection. */
int gw_control_send(GwControl *self, GwFrameType type, uint64_t arg, uint32_t count, const void *payload,
                    size_t size);

/* From now on a send waits no longer than this; for last words. */
void gw_control_set_send_timeout(GwControl *self, int timeout_ms);

/* The next frame, if one is here. */
bool gw_control_next(GwControl *self, GwControlFrame *ret_frame);

/* What ended the connection, and that all frames before have been taken; false while it lives. */
bool gw_control_failed(GwControl *self, GError **error);

uint64_t gw_control_rtt_us(GwControl *self); /* the shortest measured; 0: none yet */
const GwStream *gw_control_stream(const GwControl *self);

/* Ends the connection; the queue stays. Any thread. */
void gw_control_shutdown(GwControl *self);
void gw_control_free(GwControl *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwControl, gw_control_free)
