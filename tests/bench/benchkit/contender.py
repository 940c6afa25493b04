# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a contender has to be able to do, and what it tells about a motion."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from labkit.guest import Guest
from labkit.lab import Lab
from labkit.vm import config

from .peer import Qemu
from .scenarios import Scenario

MOTION_LINK = "motion0"


@dataclass(frozen=True)
class Bench:
    """What all runs of a bench share."""

    lab: Lab
    qemu: Qemu
    goal_ms: int
    guest_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(40))


@dataclass
class Outcome:
    """One motion. Times are differences of one clock of this machine, on which both ends are."""

    completed: bool
    reason: str | None = None  # why not
    total_s: float | None = None  # from the order until the guest runs at the destination
    pause_ms: float | None = None  # from STOP at the source to RESUME at the destination
    live_s: float | None = None  # from the order to STOP
    detail: dict = field(default_factory=dict)

    @staticmethod
    def from_times(ordered_s: float, stopped_s: float, resumed_s: float, detail: dict) -> Outcome:
        return Outcome(
            completed=True,
            total_s=resumed_s - ordered_s,
            pause_ms=(resumed_s - stopped_s) * 1e3,
            live_s=stopped_s - ordered_s,
            detail=detail,
        )


class Contender(ABC):
    """One guest that is moved once: boot, prepare, move, close, in this order; close at any time."""

    label: str  # in tables: "godwit", "QEMU, multifd 2"

    def __init__(self, bench: Bench, scenario: Scenario, directory: Path) -> None:
        self.bench = bench
        self.scenario = scenario
        self.directory = directory
        self.source, self.destination = bench.lab.hosts[:2]
        # Each run's guest has a name and a MAC address of its own: the lab's switch, and its client, remember where the last one was.
        number = next(bench.guest_numbers)
        self.guest = Guest(number, f"bench{number}", memory=scenario.memory_writer, extra=[scenario.touch])

    def document(self) -> dict:
        """The VM's configuration, one for all contenders."""
        return config(self.guest, memory_mib=self.scenario.memory_mib)

    @abstractmethod
    def boot(self) -> None:
        """The guest runs at the source, and has filled its memory."""

    @abstractmethod
    def prepare(self) -> None:
        """The destination waits for the guest."""

    @abstractmethod
    def pids(self) -> list[int]:
        """The processes of both ends that work for the motion; after prepare()."""

    @abstractmethod
    def move(self, deadline_s: float) -> Outcome:
        """Returns when both ends are done, or after it was called off at the deadline: the guest is then where it was."""

    @abstractmethod
    def close(self) -> None:
        """Nothing is left."""
