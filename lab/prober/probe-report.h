/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the prober prints: a report as one JSON line, or as text for people. */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "probe-log.h"
#include "tcp-stream.h"

typedef struct GwProbeReport {
    const char *type; /* "final", "window" or "second" */
    const char *target;
    const char *mode;
    uint64_t interval_us;
    const GwProbeScope *scope;
    const GwTcpStream *tcp; /* NULL: no stream was asked for */
    bool is_window;         /* the stream's stall is that of the window */
} GwProbeReport;

void gw_probe_report_print_json(const GwProbeReport *report, FILE *out);
void gw_probe_report_print_text(const GwProbeReport *report, FILE *out);
