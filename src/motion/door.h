/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The destination's door: listens on its motion interfaces and lets in who knows the session's secret.
 *
 * Each connection is heard in a thread of its own, so that one that says nothing delays nobody. At most
 * GW_DOOR_MAX_UNHEARD are heard at once: one more takes the place of who has been silent longest. Who has not
 * said all of the hello (with TLS: behind its handshake) GW_DOOR_HELLO_MS after it came is dropped, also if
 * it says it a byte at a time. Who is refused is told nothing but the end of the connection, and is named to
 * `refused`. */
#pragma once

#include "control.h"
#include "ticket.h"

#define GW_DOOR_MAX_UNHEARD 16u
#define GW_DOOR_HELLO_MS    5000

/* One who was let in; the welcome has not been said. */
typedef struct {
    GwStream *stream; /* owned */
    GwWireHello hello;
} GwVisitor;

void gw_visitor_clear(GwVisitor *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GwVisitor, gw_visitor_clear)

/* In any thread: keep it short. */
typedef void (*GwDoorRefused)(const char *who, const char *why, void *user_data);

typedef struct {
    const GwTlsIdentity *identity; /* borrowed; NULL: no TLS */
    uint64_t memory_bytes;         /* the image's: who speaks of another size is refused */
    unsigned hello_ms;             /* 0: GW_DOOR_HELLO_MS */
    GwBell *bell;                  /* borrowed; rung when there is a visitor */
    GwDoorRefused refused;         /* may be NULL */
    void *user_data;
} GwDoorOptions;

typedef struct GwDoor GwDoor;

/* Listens at each of the ticket's endpoints; ports that are 0 are chosen and written into the ticket. */
GwDoor *gw_door_open(GwTicket *ticket, const GwDoorOptions *options, GError **error);

/* The next visitor, if there is one; the caller says gw_door_welcome() or clears it. */
bool gw_door_next(GwDoor *self, GwVisitor *ret_visitor);

/* Says WELCOME. 0 or -errno. */
int gw_door_welcome(GwVisitor *visitor);

/* Stops listening and ends whoever has not been taken. */
void gw_door_free(GwDoor *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwDoor, gw_door_free)
