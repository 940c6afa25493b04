# SPDX-License-Identifier: LGPL-2.1-or-later
"""The order of runs in a row: A B A B. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .measurement import Measurement
from .results import best, summarize

VARIANTS = {f"multifd_{n}": n for n in (1, 2, 4)}  # the peer's: channels
PAIRS, QUICK_PAIRS = 5, 3

Runs = dict[str, list[Measurement]]


def full(godwit: list[str], pairs: int) -> Iterator[str]:
    """Each contender in turn, `pairs` times; before each of the peer's variants comes godwit, plain or encrypted."""
    for _ in range(pairs):
        for i, variant in enumerate(VARIANTS):
            if i < len(godwit):
                yield godwit[i]
            yield variant


def quick(godwit: list[str], runs: Runs, pairs: int) -> Iterator[str]:
    """Each of the peer's variants once, then the quickest of them until it has as many runs as godwit; encrypted once.
    That the trial counts is in the peer's favour. `runs` is read while it fills."""
    variants = list(VARIANTS)
    for i in range(max(pairs, len(variants))):
        if i < pairs:
            yield from godwit[:1]
        if i < len(variants):
            yield variants[i]
    chosen = _quickest(runs)
    for _ in range(pairs - 1):
        yield chosen
    yield from godwit[1:]


def _quickest(runs: Runs) -> str:
    return best({key: summarize(runs[key]) for key in VARIANTS if runs.get(key)})


def carry_out(order: Iterator[str], runs: Runs, measure: Callable[[str], Measurement]) -> Runs:
    """Runs in this order; one that did not come to its end is not tried again, since each try costs its whole deadline."""
    given_up: set[str] = set()
    for key in order:
        if key in given_up:
            continue
        measurement = measure(key)
        runs.setdefault(key, []).append(measurement)
        if not measurement.completed:
            given_up.add(key)
    return runs
