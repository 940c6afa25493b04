/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What gw-delay-relay is told on its command line, and how it says what is wrong. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GW_RELAY_DELAY_US_MAX 5000000u

/* Strings are borrowed from argv. */
typedef struct {
    const char *tap[2];
    const char *control_path;
    const char *until_gone;
    uint64_t delay_us;
    size_t queue_mib;
    bool background;
} GwRelayOptions;

/* Fills *ret, defaults included. -1: go on; else the exit status. */
int gw_relay_parse_options(int argc, char **argv, GwRelayOptions *ret);

/* A whole number in decimal from 0 to `max`, and nothing behind it. */
bool gw_relay_parse_number(const char *text, uint64_t max, uint64_t *ret);

/* One line to stderr, with the program's name before it. */
__attribute__((format(printf, 1, 2))) void gw_relay_complain(const char *format, ...);
