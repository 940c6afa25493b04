# SPDX-License-Identifier: LGPL-2.1-or-later
"""One run: a fresh guest, moved once by one contender, and everything that is measured around it."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from labkit.guest import MEMORY_PORT, Guest
from labkit.lab import Lab
from labkit.vm import Prober

from . import iperf
from .accounting import CpuMeter, accelerator, warm, wire_bytes
from .contender import MOTION_LINK, Contender, Outcome
from .measurement import Measurement

BEFORE_S = 1.0  # over which the writer's and the prober's ordinary course are measured
AFTER_S = 0.4  # until the client has certainly heard from the guest again
VERIFY_S = 120


class WriterPort:
    """The memory writer's port over one connection that moves with the guest: no handshake within what is measured."""

    def __init__(self, guest: Guest, lab: Lab) -> None:
        self._connection = guest.connect(lab, MEMORY_PORT, timeout_s=VERIFY_S)
        self._stream = self._connection.makefile("r", encoding="utf-8")

    def ask(self, line: str) -> dict:
        self._connection.sendall(line.encode() + b"\n")
        answer = json.loads(self._stream.readline())
        if "error" in answer:
            raise ValueError(f"the guest's writer: {answer['error']}")
        return answer

    def written(self) -> tuple[float, int]:
        """(when, pages so far)"""
        began = time.monotonic()
        pages = self.ask("status")["written_pages"]
        return (began + time.monotonic()) / 2, pages

    def close(self) -> None:
        self._stream.close()
        self._connection.close()


def _mb_s(before: tuple[float, int], after: tuple[float, int]) -> float:
    return (after[1] - before[1]) * 4096 / (after[0] - before[0]) / 1e6


def _measure(contender: Contender, deadline_s: float, writer: WriterPort, prober: Prober) -> Measurement:
    """From the guest that runs and a destination that waits to the figures."""
    pids = contender.pids()
    kind = accelerator(pids)
    has_writer = contender.scenario.rate_mb_s > 0
    prober.mark()
    first = writer.written()
    time.sleep(BEFORE_S)
    second = writer.written()
    gap_before_ms = prober.mark()["longest_gap_ms"]
    warm(contender.scenario.warm_mib << 20)

    prober.mark()
    cpu = CpuMeter(pids)
    bytes_before = wire_bytes(contender.source, MOTION_LINK)
    third = writer.written()
    outcome: Outcome = contender.move(deadline_s)
    fourth = writer.written()
    cpu_s = cpu.stop()
    n_bytes = wire_bytes(contender.source, MOTION_LINK) - bytes_before
    time.sleep(AFTER_S)
    gap_ms = prober.mark()["longest_gap_ms"]
    return Measurement(
        contender=contender.label,
        completed=outcome.completed,
        accelerator=kind,
        reason=outcome.reason,
        total_s=outcome.total_s,
        pause_ms=outcome.pause_ms,
        live_s=outcome.live_s,
        gap_ms=gap_ms,
        gap_before_ms=gap_before_ms,
        wire_bytes=n_bytes,
        cpu_s=cpu_s,
        writer_mb_s=_mb_s(third, fourth) if has_writer else None,
        writer_before_mb_s=_mb_s(first, second) if has_writer else None,
        detail=outcome.detail,
    )


class Run:
    """boot, measure, finish, in this order, each from any thread. What is not timed of one run (finish) may go on while the
    next one's guest boots; what is timed has the machine to itself."""

    def __init__(self, make) -> None:
        """`make(directory)` makes the contender."""
        self._directory = tempfile.TemporaryDirectory(prefix="godwit-bench-")
        Path(self._directory.name).chmod(0o755)  # QEMU runs as a user of its own
        self.contender: Contender = make(Path(self._directory.name))
        self._writer: WriterPort | None = None
        self.measurement: Measurement | None = None

    def boot(self) -> None:
        try:
            self.contender.boot()
        except BaseException:
            self.close()
            raise

    def measure(self, deadline_s: float, iperf_streams: tuple[int, ...] = (), iperf_s: float = 1.0) -> Measurement:
        try:
            contender, lab = self.contender, self.contender.bench.lab
            contender.prepare()
            self._writer = WriterPort(contender.guest, lab)
            with Prober(lab, contender.guest.address) as prober:
                # In the same company as the motion: guest, writer and probes take their share of the CPUs.
                link = {str(n): iperf.gbit_s(contender.source, contender.destination, n, iperf_s) for n in iperf_streams}
                self.measurement = _measure(contender, deadline_s, self._writer, prober)
            self.measurement.iperf3_gbit_s = link
            return self.measurement
        except BaseException:
            self.close()
            raise

    def finish(self) -> Measurement:
        """The guest verifies its memory, wherever it is now; then everything of it is removed."""
        try:
            verified = self._writer.ask("verify")
            self.measurement.pages_wrong = verified["wrong"]
            self.measurement.pages_verified = verified["verified"]
            return self.measurement
        finally:
            self.close()

    def close(self) -> None:
        if self._writer:
            self._writer.close()
            self._writer = None
        self.contender.close()
        self._directory.cleanup()
