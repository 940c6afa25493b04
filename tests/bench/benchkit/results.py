# SPDX-License-Identifier: LGPL-2.1-or-later
"""From single runs to what is reported: medians, worst, ratios, and whether the aims are met. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median

from .measurement import Measurement

GODWIT, GODWIT_TLS = "godwit", "godwit_tls"
WRITER_TOLERANCE = 0.02  # of the writer's ordinary rate: the scatter between two windows without a motion

# name in JSON → of one run
QUANTITIES: dict[str, Callable[[Measurement], float | None]] = {
    "total_time_s": lambda m: m.total_s,
    "pause_ms": lambda m: m.pause_ms,
    "gap_ms": lambda m: m.gap_ms,
    "gap_before_ms": lambda m: m.gap_before_ms,
    "wire_bytes": lambda m: m.wire_bytes,
    "cpu_s": lambda m: m.cpu_s,
    "throughput_gbit_s": lambda m: m.throughput_gbit_s,
    "writer_mb_s": lambda m: m.writer_mb_s,
    "writer_before_mb_s": lambda m: m.writer_before_mb_s,
}
MORE_IS_BETTER = {"throughput_gbit_s", "writer_mb_s", "writer_before_mb_s"}


def spread(name: str, values: Iterable[float | None]) -> dict | None:
    """Median and worst of those that there are."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"median": median(known), "worst": min(known) if name in MORE_IS_BETTER else max(known)}


def summarize(runs: list[Measurement]) -> dict:
    """One contender in one row. Only motions that came to their end are in the figures; the others are counted, with why."""
    done = [run for run in runs if run.completed]
    summary: dict = {
        "label": runs[0].contender,
        "runs": len(runs),
        "completed": len(done),
        "reasons": sorted({run.reason for run in runs if run.reason}),
        "pages_wrong": sum(run.pages_wrong or 0 for run in runs),
        "unverified": sum(run.pages_wrong is None for run in runs),
    }
    for name, quantity in QUANTITIES.items():
        summary[name] = spread(name, map(quantity, done))
    shares = [run.writer_mb_s / run.writer_before_mb_s for run in done if run.writer_mb_s and run.writer_before_mb_s]
    summary["writer_share"] = {"median": median(shares), "worst": min(shares)} if shares else None
    return summary


def best(summaries: dict[str, dict]) -> str:
    """The variant of the peer that a row is compared with: the quickest that came to its end, of those with most runs."""
    most = max(summary["completed"] for summary in summaries.values())

    def order(key: str) -> float:
        total = summaries[key]["total_time_s"]
        return total["median"] if total else 0.0

    return min((key for key in summaries if summaries[key]["completed"] == most), key=order)


def _ratio(a: dict | None, b: dict | None, name: str) -> float | None:
    if not a or not b or not a[name] or not b[name] or not b[name]["median"]:
        return None
    return a[name]["median"] / b[name]["median"]


def row(name: str, link: str, runs: dict[str, list[Measurement]]) -> dict:
    """A row of the report; `runs` by contender: GODWIT, GODWIT_TLS, and the peer's variants under names of their own."""
    summaries = {key: summarize(value) for key, value in runs.items() if value}
    variants = {key: value for key, value in summaries.items() if key not in (GODWIT, GODWIT_TLS)}
    chosen = best(variants) if variants else None
    peer = variants.get(chosen)
    godwit = summaries.get(GODWIT)
    iperf3: dict[str, list[float]] = {}
    for run in (run for several in runs.values() for run in several):
        for streams, value in run.iperf3_gbit_s.items():
            iperf3.setdefault(streams, []).append(value)
    measured = {streams: median(values) for streams, values in iperf3.items()}
    return {
        "name": name,
        "link": link,
        "godwit": godwit,
        "godwit_tls": summaries.get(GODWIT_TLS),
        "peer": peer,
        "peer_variants": variants,
        "ratio": {
            "total_time": _ratio(godwit, peer, "total_time_s"),
            "pause": _ratio(godwit, peer, "pause_ms"),
            "bytes": _ratio(godwit, peer, "wire_bytes"),
            "cpu": _ratio(godwit, peer, "cpu_s"),
        },
        "iperf3_gbit_s": max(measured.values(), default=None),
        "iperf3_by_streams": measured,
        "pages_wrong": sum(summaries[key]["pages_wrong"] for key in (GODWIT, GODWIT_TLS) if key in summaries),
        "all_runs": [run.to_json() for several in runs.values() for run in several],
    }


# ------------------------------------------------------------------------------------------------------------
# Aims

_TOTAL_TIME_AIMS = {("writer-50", "veth"): 0.5, ("idle-2g", "veth"): 0.25}


def aims(report: dict) -> list[tuple[bool, str]]:
    """(met?, what was aimed at and what is) for each aim that this row can speak of."""
    godwit, peer = report["godwit"], report["peer"]
    where = f"{report['name']} on {report['link']}"
    if not godwit or not godwit["completed"]:
        return []
    found = []

    def check(met: bool, text: str) -> None:
        found.append((met, f"{where}: {text}"))

    total = report["ratio"]["total_time"]
    limit = _TOTAL_TIME_AIMS.get((report["name"], report["link"]))
    if limit and total is not None:
        check(total <= limit, f"total time {total:.2f} of QEMU's, at most {limit}")
    if report["link"] == "veth":
        pause_ms = godwit["pause_ms"]["median"]
        check(pause_ms <= 15, f"pause {pause_ms:.1f} ms, at most 15")
        if peer and peer["pause_ms"]:
            for name, what in (("pause_ms", "pause"), ("gap_ms", "gap at the client")):
                above = godwit[name]["median"] - peer[name]["median"]
                check(above <= 2, f"{what} {above:+.1f} ms against QEMU's, at most +2")
        if report["iperf3_gbit_s"] and godwit["throughput_gbit_s"]:
            share = godwit["throughput_gbit_s"]["median"] / report["iperf3_gbit_s"]
            check(share >= 0.7, f"throughput {share:.0%} of iperf3's, at least 70 %")
    if godwit["writer_share"] and peer and peer["writer_share"]:
        ours, theirs = godwit["writer_share"]["median"], peer["writer_share"]["median"]
        check(ours >= theirs - WRITER_TOLERANCE, f"guest's writer at {ours:.0%} of its rate, QEMU's at {theirs:.0%}")
    check(report["pages_wrong"] == 0, f"{report['pages_wrong']} pages wrong")
    return found
