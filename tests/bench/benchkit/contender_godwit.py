# SPDX-License-Identifier: LGPL-2.1-or-later
"""godwit: a motion from supervisor to supervisor, as any client of theirs would order it."""

from __future__ import annotations

import time
from pathlib import Path

from labkit import motion, tls
from labkit.errors import LabError
from labkit.vm import ApiError, Vm, wait_until

from .contender import MOTION_LINK, Bench, Contender, Outcome
from .scenarios import Scenario

END_S = 30  # beyond the motion's own deadline

# Of GET /v1/motion, what is kept beside what is measured.
KEPT = (
    "streams encrypted cipher rounds converging explanation downtime_ms total_ms precopy_ms bytes_on_wire pages_sent "
    "pages_zero pages_resent rtt_us timeline"
).split()


class GodwitContender(Contender):
    """With TLS, its default, or in plain TCP as the peer."""

    def __init__(self, bench: Bench, scenario: Scenario, directory: Path, encrypted: bool) -> None:
        super().__init__(bench, scenario, directory)
        self.encrypted = encrypted
        self.label = "godwit, TLS" if encrypted else "godwit"
        self._from: Vm | None = None
        self._to: Vm | None = None
        self._ticket: dict = {}
        self._tls_dirs: dict[str, Path] = {}
        if encrypted:
            self._tls_dirs = tls.make(directory / "tls", [self.source.name, self.destination.name])

    def _options(self, host: str) -> tuple[str, ...]:
        return ("--tls-dir", str(self._tls_dirs[host])) if self.encrypted else ()

    def boot(self) -> None:
        options = self._options(self.source.name)
        self._from = Vm.start(self.source, self.document(), self.directory, *options, qemu=str(self.bench.qemu.path))
        self._from.wait_ready(180)

    def prepare(self) -> None:
        self._to, self._ticket = motion.prepare(
            self._from,
            self.destination,
            self.directory,
            tls=self.encrypted,
            links=[MOTION_LINK],
            qemu=str(self.bench.qemu.path),
            options=self._options(self.destination.name),
        )

    def pids(self) -> list[int]:
        return [pid for vm in (self._from, self._to) for pid in (vm.supervisor_pid(), vm.qemu_pid())]

    def move(self, deadline_s: float) -> Outcome:
        ordered_s = time.monotonic()
        motion.send(self._from, self._ticket, goal_ms=self.bench.goal_ms, deadline_s=round(deadline_s))
        result = motion.await_end(self._from, deadline_s + END_S)
        detail = {key: result.get(key) for key in KEPT}
        if result["state"] != "completed":
            error = result.get("error") or {}
            reason = result.get("explanation") or error.get("message") or "no reason given"
            return Outcome(False, f"{result['state']}: {reason}", detail=detail)
        motion.await_state(self._to, "running")
        stopped_s = _time_of(self._from, "vm.paused", ordered_s)
        resumed_s = _time_of(self._to, "vm.running", ordered_s)
        return Outcome.from_times(ordered_s, stopped_s, resumed_s, detail)

    def close(self) -> None:
        for vm in (self._from, self._to):
            if vm:
                wait_until(lambda vm=vm: _is_removed(vm), 30, f"{vm.name} on {vm.host.name} to be removable")
        self._from = self._to = None


def _is_removed(vm: Vm) -> bool:
    """Not while an operation on it is under way: the end of a QEMU whose guest has moved takes its time."""
    try:
        vm.remove()
        return True
    except ApiError as error:
        if error.code == "wrong-state":
            return False
        raise


def _time_of(vm: Vm, kind: str, after_s: float) -> float:
    """When QEMU's STOP or RESUME arrived, as the supervisor's event tells."""
    for event in vm.events_so_far():
        if event["type"] == kind and event["monotonic_us"] / 1e6 >= after_s:
            return event["monotonic_us"] / 1e6
    raise LabError(f"{vm.name}: no event {kind} since the motion began")
