# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which plots a report has. Pure."""

from __future__ import annotations

from .svg import Group, Series, plot

PLOTS = (
    # file, title, unit, name of a run's member
    ("total-time.svg", "Total time of a motion", "seconds", "total_s"),
    ("pause.svg", "Pause of the guest, STOP to RESUME", "milliseconds", "pause_ms"),
)
_COLORS = {"godwit": "#0b6e4f", "godwit, TLS": "#5aa9a0"}
_PEER_COLOR = "#b5532a"


def _series(row: dict, summary: dict, member: str) -> Series:
    label = summary["label"]
    runs = [run for run in row["all_runs"] if run["contender"] == label]
    values = tuple(run[member] for run in runs if run["completed"] and run[member])
    note = "" if values else f"0 of {len(runs)} came to their end"
    return Series(label, _COLORS.get(label, _PEER_COLOR), values, note)


def plots(report: dict) -> dict[str, str]:
    """File name → SVG."""
    drawn = {}
    for name, title, unit, member in PLOTS:
        groups = []
        for row in report["scenarios"]:
            summaries = [summary for summary in (row["godwit"], row["godwit_tls"], row["peer"]) if summary]
            if summaries:
                series = tuple(_series(row, summary, member) for summary in summaries)
                groups.append(Group(f"{row['name']} on {row['link']}", series))
        drawn[name] = plot(title, unit, groups)
    return drawn
