/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The monotonic clock as one number. */
#pragma once

#include <stdint.h>
#include <time.h>

#define GW_NS_PER_S  UINT64_C(1000000000)
#define GW_NS_PER_MS UINT64_C(1000000)
#define GW_NS_PER_US UINT64_C(1000)

static inline uint64_t
gw_timespec_to_ns(struct timespec t)
{
    return (uint64_t)t.tv_sec * GW_NS_PER_S + (uint64_t)t.tv_nsec;
}

static inline struct timespec
gw_timespec_from_ns(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / GW_NS_PER_S), .tv_nsec = (long)(ns % GW_NS_PER_S)};
}

static inline uint64_t
gw_clock_now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return gw_timespec_to_ns(t);
}

static inline uint64_t
gw_now_ns(void)
{
    return gw_clock_now_ns(CLOCK_MONOTONIC);
}
