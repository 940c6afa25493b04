/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who guesses passwords is slowed down: too many failures of one key (a name, an address) within a minute,
 * and the key is refused for a minute. In memory, of bounded size, without a clock or lock of its own. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define GW_THROTTLE_FAILURES  5
#define GW_THROTTLE_WINDOW_US (60 * G_TIME_SPAN_SECOND)
#define GW_THROTTLE_REFUSE_US (60 * G_TIME_SPAN_SECOND)

typedef struct GwLoginThrottle GwLoginThrottle;
/* At `max_keys` those go first whose time is over, then the oldest. */
GwLoginThrottle *gw_login_throttle_new(guint max_keys);
void gw_login_throttle_free(GwLoginThrottle *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GwLoginThrottle, gw_login_throttle_free)

int64_t gw_login_throttle_wait_us(GwLoginThrottle *self, const char *key, int64_t now_us); /* 0: none */
void gw_login_throttle_failed(GwLoginThrottle *self, const char *key, int64_t now_us);
guint gw_login_throttle_n_keys(const GwLoginThrottle *self);
