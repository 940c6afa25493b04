# SPDX-License-Identifier: LGPL-2.1-or-later
"""The condition of a link: down, silent, slow, far. Parsing, printing, and the sums behind the shaper. No
I/O."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace

from .errors import UsageError

# tc's words: decimal, bits per second.
_RATE_UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_TIME_UNITS_US = {"us": 1, "ms": 1000, "s": 1000_000}

RATE_MIN, RATE_MAX = 64_000, 100 * 10**9
RTT_US_MAX = 10_000_000  # the relay's limit is 5 s a direction

_SYNTAX = (
    "expected one or more of: up, down, loss-of-peer, rate RATE (such as 1gbit) or rate none, "
    "rtt TIME (such as 100ms) or rtt none"
)


def _parse_quantity(text: str, units: dict[str, int]) -> int | None:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-z]+)", text.lower())
    if not match or match[2] not in units:
        return None
    return round(float(match[1]) * units[match[2]])


def parse_rate(text: str) -> int:
    """Bits per second."""
    rate = _parse_quantity(text, _RATE_UNITS)
    if rate is None or not RATE_MIN <= rate <= RATE_MAX:
        raise UsageError(f"rate {text!r}: expected 64kbit to 100gbit, such as 100mbit or 2.5gbit, or none")
    return rate


def parse_rtt(text: str) -> int:
    """Microseconds."""
    rtt = _parse_quantity(text, _TIME_UNITS_US)
    if rtt is None or not 0 < rtt <= RTT_US_MAX:
        raise UsageError(f"rtt {text!r}: expected 1us to 10s, such as 500us or 100ms, or none")
    return rtt


def _format_quantity(value: int, units: dict[str, int]) -> str:
    name, size = max((u for u in units.items() if u[1] <= value), key=lambda u: u[1])
    return f"{value / size:.6g}{name}"


def format_rate(bits_per_s: int) -> str:
    return _format_quantity(bits_per_s, _RATE_UNITS)


def format_rtt(rtt_us: int) -> str:
    return _format_quantity(rtt_us, _TIME_UNITS_US)


@dataclass(frozen=True)
class Condition:
    """What is wrong with a link. All of it holds at once; the default is a good link."""

    down: bool = False  # no carrier
    lose_peer: bool = False  # carrier, but no frame gets through
    rate_bits_per_s: int | None = None  # in each direction
    rtt_us: int | None = None

    @staticmethod
    def from_json(fields: dict) -> Condition:
        return Condition(**fields)

    def to_json(self) -> dict:
        return asdict(self)

    def amend(self, words: list[str]) -> Condition:
        """This condition changed as the words of a command line say."""
        condition = self
        left = list(words)
        while left:
            word = left.pop(0)
            if word == "down":
                condition = replace(condition, down=True)
            elif word == "up":
                condition = replace(condition, down=False, lose_peer=False)
            elif word == "loss-of-peer":
                condition = replace(condition, lose_peer=True)
            elif word in ("rate", "rtt"):
                if not left:
                    raise UsageError(f"{word} needs a value; {_SYNTAX}")
                value = left.pop(0)
                if word == "rate":
                    rate = None if value == "none" else parse_rate(value)
                    condition = replace(condition, rate_bits_per_s=rate)
                else:
                    rtt = None if value == "none" else parse_rtt(value)
                    condition = replace(condition, rtt_us=rtt)
            else:
                raise UsageError(f"no such condition {word!r}; {_SYNTAX}")
        return condition

    def __str__(self) -> str:
        words = []
        if self.down:
            words.append("down")
        if self.lose_peer:
            words.append("loss-of-peer")
        if self.rate_bits_per_s is not None:
            words.append(f"rate {format_rate(self.rate_bits_per_s)}")
        if self.rtt_us is not None:
            words.append(f"rtt {format_rtt(self.rtt_us)}")
        return " ".join(words) or "good"


@dataclass(frozen=True)
class Shaper:
    """Parameters of a token bucket filter."""

    rate_bits_per_s: int
    burst_bytes: int
    limit_bytes: int


def shaper(condition: Condition) -> Shaper | None:
    if condition.rate_bits_per_s is None:
        return None
    bytes_per_s = condition.rate_bits_per_s // 8

    # Burst: the tokens of 2 ms, so that a wake-up that a busy machine delays by so much costs no rate. Not
    # below one GSO frame (tbf would cut each of them up in software), unless that is more than 20 ms worth.
    gso_frame = min(68 * 1024, max(1600, bytes_per_s // 50))
    burst = max(bytes_per_s // 500, gso_frame)

    # Limit: a switch's buffer. One bandwidth-delay product, and not less than 50 ms, is what a single
    # loss-based TCP stream needs to fill the link; beyond 256 MiB it would be a danger to the machine.
    queue_us = max(50_000, condition.rtt_us or 0)
    limit = burst + max(bytes_per_s * queue_us // 1_000_000, 256 * 1024)
    return Shaper(condition.rate_bits_per_s, burst, min(limit, 256 << 20))
