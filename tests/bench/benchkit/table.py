# SPDX-License-Identifier: LGPL-2.1-or-later
"""The report as text. Pure."""

from __future__ import annotations

from .results import aims

_LINES = (
    # title, name in JSON, factor, digits
    ("total time, s", "total_time_s", 1, 2),
    ("pause, ms", "pause_ms", 1, 1),
    ("longest gap at the client, ms", "gap_ms", 1, 1),
    ("on the wire, MB", "wire_bytes", 1e-6, 0),
    ("CPU of both ends, s", "cpu_s", 1, 2),
    ("throughput, Gbit/s", "throughput_gbit_s", 1, 1),
    ("guest's writer, MB/s", "writer_mb_s", 1, 1),
    ("  before, MB/s", "writer_before_mb_s", 1, 1),
)
_RATIOS = {"total_time_s": "total_time", "pause_ms": "pause", "wire_bytes": "bytes", "cpu_s": "cpu"}
_WIDTHS = (31, 18, 18, 18, 7)


def _cells(*words: str) -> str:
    first, *others = words
    return (first.ljust(_WIDTHS[0]) + "".join(w.rjust(n) for w, n in zip(others, _WIDTHS[1:]))).rstrip()


def _value(summary: dict | None, name: str, factor: float, digits: int) -> str:
    if not summary or not summary[name]:
        return "-"
    spread = summary[name]
    return f"{spread['median'] * factor:.{digits}f} ({spread['worst'] * factor:.{digits}f})"


def _completed(summary: dict | None) -> str:
    return f"{summary['completed']} of {summary['runs']}" if summary else "-"


def _wrong(summary: dict | None) -> str:
    if not summary:
        return "-"
    return f"{summary['pages_wrong']}" + (f" ({summary['unverified']} unverified)" if summary["unverified"] else "")


def block(row: dict) -> str:
    """One row of the report, as a block of lines: median (worst)."""
    columns = [row["godwit"], row["godwit_tls"], row["peer"]]
    heads = [summary["label"] if summary else "-" for summary in columns]
    lines = [_cells(f"{row['name']} on {row['link']}", *heads, "ratio")]
    lines.append(_cells("motions that came to their end", *map(_completed, columns)))
    for title, name, factor, digits in _LINES:
        values = [_value(summary, name, factor, digits) for summary in columns]
        if set(values) == {"-"}:
            continue
        ratio = row["ratio"].get(_RATIOS.get(name, ""))
        lines.append(_cells(title, *values, "" if ratio is None else f"{ratio:.2f}"))
    lines.append(_cells("pages wrong after", *map(_wrong, columns)))
    if row["iperf3_by_streams"]:
        figures = ", ".join(f"{value:.1f} with {n}" for n, value in sorted(row["iperf3_by_streams"].items()))
        lines.append(f"iperf3, Gbit/s by streams: {figures}")
    if len(row["peer_variants"]) > 1:
        lines.append("QEMU's total time by variant, s: " + "; ".join(map(_variant, row["peer_variants"].values())))
    for summary in columns:
        for reason in summary["reasons"] if summary else ():
            lines.append(f"{summary['label']}: {reason}")
    return "\n".join(lines)


def _variant(summary: dict) -> str:
    return f"{summary['label'].removeprefix('QEMU, ')} {_value(summary, 'total_time_s', 1, 2)}"


def text(report: dict) -> str:
    machine, peer = report["machine"], report["peer"]
    parts = [
        f"{machine['cpus']} CPUs {machine['cpu']}, {machine['memory_gib']:.0f} GiB, Linux {machine['kernel']}, "
        f"guests by {report['accelerator']}\n"
        f"QEMU {peer['version']} ({peer['origin']}) under both; goal for the pause {report['goal_ms']} ms; "
        f"figures are median (worst)" + "".join(f"\nnote: {note}" for note in report["notes"])
    ]
    parts += map(block, report["scenarios"])
    checked = [aim for row in report["scenarios"] for aim in aims(row)]
    if checked:
        parts.append("\n".join(f"{'met   ' if met else 'MISSED'} {what}" for met, what in checked))
    return "\n\n".join(parts)
