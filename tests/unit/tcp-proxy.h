/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A wire between two ends on loopback that can be cut, or stall, at any byte, and be mended. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum {
    PROXY_WORKS,
    PROXY_CUTS_ONCE, /* every connection that there is ends; new ones work */
    PROXY_IS_DOWN,   /* the same, and new ones end at once */
    PROXY_STALLS,    /* nothing moves, on any connection, old or new; nothing ends either */
} ProxyState;

typedef struct TcpProxy TcpProxy;

/* From a port of 127.0.0.1, returned, to `to_port`. */
TcpProxy *tcp_proxy_new(unsigned to_port, unsigned *ret_port);
/* Ends everything. */
void tcp_proxy_free(TcpProxy *self);

/* Now, and for what comes. Any thread. */
void tcp_proxy_set(TcpProxy *self, ProxyState state);
/* Once so many bytes have gone through, both directions of all connections counted. */
void tcp_proxy_set_after(TcpProxy *self, ProxyState state, uint64_t n_bytes);
uint64_t tcp_proxy_n_bytes(TcpProxy *self);
bool tcp_proxy_has_acted(TcpProxy *self); /* whether that moment has come */
