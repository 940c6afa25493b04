/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers and times as people read them. Pure; results are owned. */
#pragma once

#include <glib.h>
#include <stdint.h>

char *gw_format_bytes(double bytes);             /* decimal, as networks and disks are sold: "152 MB" */
char *gw_format_memory(double bytes);            /* binary, as memory is: "1.5 GiB" */
char *gw_format_bytes_per_s(double bytes_per_s); /* "118 MB/s" */
char *gw_format_bits_per_s(double bits_per_s);   /* "9.4 Gbit/s" */
char *gw_format_ms(double ms);                   /* "130 µs", "9.8 ms", "1.23 s", "2 min 5 s" */

/* Of a time as the API has it (ISO 8601, UTC): "2026-11-26 03:10:05" in `zone`. What is no time is returned
 * as it is, NULL as "-". */
char *gw_format_time(const char *iso8601, GTimeZone *zone);

/* How long ago, at `now`: "3 min 5 s ago". */
char *gw_format_ago(const char *iso8601, GDateTime *now);
