/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For tests: another clock. */
#pragma once

#include "auth.h"

#define GW_SESSION_US (12 * G_TIME_SPAN_HOUR) /* a working day; then one logs in again */

typedef int64_t (*GwClock)(void); /* UTC, microseconds since 1970 */
void gw_auth_set_clock(GwAuth *self, GwClock clock);
