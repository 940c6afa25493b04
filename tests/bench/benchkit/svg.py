# SPDX-License-Identifier: LGPL-2.1-or-later
"""A plot of one quantity over all rows: each run a dot, each median a bar, on a logarithmic scale. Pure.

A strip of dots rather than bars, since a bar's length says nothing on a logarithmic scale, and five runs can be shown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from statistics import median


@dataclass(frozen=True)
class Series:
    label: str
    color: str
    values: tuple[float, ...]
    note: str = ""  # instead of dots, where there are none


@dataclass(frozen=True)
class Group:
    label: str
    series: tuple[Series, ...]


LEFT, RIGHT, TOP, BOTTOM, WIDTH = 190, 70, 62, 44, 860
LANE, GAP = 20, 16
INK, FAINT = "#222222", "#d8d8d8"
STYLE = "font-family='DejaVu Sans, Verdana, sans-serif' font-size='12'"


def _ticks(low: float, high: float) -> tuple[list[float], float, float]:
    """1, 2, 5 of each decade (1 alone over many), and the ends of the scale."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    every = [step * 10.0**exponent for exponent in range(first, last + 1) for step in steps]
    below = [tick for tick in every if tick <= low * 0.999] or [every[0]]
    above = [tick for tick in every if tick >= high * 1.001] or [every[-1]]
    start, end = below[-1], above[0]
    return [tick for tick in every if start <= tick <= end], start, end


def _text(x: float, y: float, words: str, extra: str = "") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' fill='{INK}' {extra}>{escape(words)}</text>"


def _lane(series: Series, y: float, at) -> list[str]:
    parts = [_text(LEFT - 8, y + 4, series.label, "text-anchor='end' font-size='11'")]
    if not series.values:
        return [*parts, _text(LEFT + 6, y + 4, series.note or "not measured", "font-size='11' font-style='italic'")]
    for value in series.values:
        parts.append(f"<circle cx='{at(value):.1f}' cy='{y:.1f}' r='3.5' fill='{series.color}' fill-opacity='0.45'/>")
    middle = median(series.values)
    x = at(middle)
    parts.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{y - 7:.1f}' y2='{y + 7:.1f}' stroke='{series.color}' stroke-width='3'/>")
    parts.append(_text(WIDTH - 16, y + 4, f"{middle:.3g}", "text-anchor='end' font-size='11' font-weight='bold'"))
    return parts


def plot(title: str, unit: str, groups: list[Group]) -> str:
    """An SVG document; values must be above zero."""
    values = [value for group in groups for series in group.series for value in series.values]
    ticks, start, end = _ticks(min(values, default=1), max(values, default=10))
    scale = (WIDTH - LEFT - RIGHT) / (math.log10(end) - math.log10(start))

    def at(value: float) -> float:
        return LEFT + (math.log10(value) - math.log10(start)) * scale

    height = TOP + sum(LANE * (len(group.series) + 1) + GAP for group in groups) + BOTTOM
    bottom = height - BOTTOM
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' viewBox='0 0 {WIDTH} {height}' {STYLE}>",
        f"<title>{escape(title)}</title>",
        f"<rect width='{WIDTH}' height='{height}' fill='white'/>",
        _text(16, 26, title, "font-size='16' font-weight='bold'"),
        _text(16, 46, f"{unit}, logarithmic; a dot is a run, a bar the median, its figure at the right; less is better", "font-size='11'"),
    ]
    for tick in ticks:
        parts.append(f"<line x1='{at(tick):.1f}' x2='{at(tick):.1f}' y1='{TOP}' y2='{bottom}' stroke='{FAINT}'/>")
        parts.append(_text(at(tick), bottom + 18, f"{tick:g}", "text-anchor='middle' font-size='11'"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, bottom + 36, unit, "text-anchor='middle'"))
    y = float(TOP)
    for group in groups:
        parts.append(_text(16, y + 16, group.label, "font-weight='bold'"))
        y += LANE
        for series in group.series:
            parts += _lane(series, y + LANE / 2, at)
            y += LANE
        y += GAP
    return "\n".join([*parts, "</svg>", ""])
