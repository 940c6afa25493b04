# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one run showed. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass
class Measurement:
    """One motion. None: not to be had in this run."""

    contender: str
    completed: bool
    accelerator: str = ""
    reason: str | None = None
    total_s: float | None = None
    pause_ms: float | None = None
    live_s: float | None = None
    gap_ms: float | None = None  # longest time without an answer at the client, the motion and what follows
    gap_before_ms: float | None = None
    wire_bytes: int | None = None
    cpu_s: float | None = None
    writer_mb_s: float | None = None
    writer_before_mb_s: float | None = None
    pages_wrong: int | None = None
    pages_verified: int | None = None
    iperf3_gbit_s: dict[str, float] = field(default_factory=dict)  # streams → Gbit/s
    detail: dict = field(default_factory=dict)

    @property
    def throughput_gbit_s(self) -> float | None:
        """On the wire while the guest ran."""
        if not self.completed or not self.live_s:
            return None
        return self.wire_bytes * 8 / self.live_s / 1e9

    def to_json(self) -> dict:
        return {**asdict(self), "throughput_gbit_s": self.throughput_gbit_s}
