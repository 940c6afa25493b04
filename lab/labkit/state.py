# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a lab remembers in /run/godwit-lab/NAME, and the lock that lets one command at a time change it.

The state is written before what it speaks of exists and removed after it is gone. It is not what `down`
relies on, though: namespaces carry the lab's name, so that a lab whose state is lost can still be found and
removed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from .condition import Condition
from .errors import LabError
from .topology import Topology

ROOT = Path("/run/godwit-lab")
_FORMAT = 1

BUILDING, UP, GOING_DOWN = "building", "up", "going-down"


def lab_directory(name: str) -> Path:
    return ROOT / name


def node_directory(name: str, node: str) -> Path:
    return ROOT / name / node


def runtime_directory(name: str, node: str) -> Path:
    return node_directory(name, node) / "run"


def labs_present() -> set[str]:
    try:
        return {entry.name for entry in ROOT.iterdir() if entry.is_dir()}
    except FileNotFoundError:
        return set()


@dataclass
class State:
    topology: Topology
    phase: str = BUILDING
    conditions: dict[str, Condition] = field(default_factory=dict)  # by Link.key; a good link may be missing
    relay_pids: dict[str, int | None] = field(default_factory=dict)  # by Link.key; None: about to be started

    def condition(self, link_key: str) -> Condition:
        return self.conditions.get(link_key, Condition())

    @staticmethod
    def _file(name: str) -> Path:
        return lab_directory(name) / "state.json"

    @staticmethod
    def _unreadable(file: Path, error: Exception) -> LabError:
        name = file.parent.name
        return LabError(f"reading {file}: {error}; `godwit-lab down --name {name}` removes the lab")

    @staticmethod
    def load(name: str) -> State | None:
        """None if there is none."""
        file = State._file(name)
        try:
            fields = json.loads(file.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise State._unreadable(file, error) from error
        try:
            if fields["format"] != _FORMAT:
                raise ValueError(f"format {fields['format']!r}, expected {_FORMAT}")
            return State(
                topology=Topology(name, fields["hosts"], fields["motion_links"]),
                phase=fields["phase"],
                conditions={key: Condition.from_json(value) for key, value in fields["conditions"].items()},
                relay_pids=dict(fields["relay_pids"]),
            )
        except (KeyError, TypeError, ValueError, LabError) as error:
            raise State._unreadable(file, error) from error

    def save(self) -> None:
        file = self._file(self.topology.name)
        text = json.dumps(
            {
                "format": _FORMAT,
                "name": self.topology.name,
                "hosts": self.topology.n_hosts,
                "motion_links": self.topology.n_motion_links,
                "phase": self.phase,
                "conditions": {key: value.to_json() for key, value in self.conditions.items()},
                "relay_pids": self.relay_pids,
            },
            indent=2,
        )
        # Not synced: /run is memory, and so is all that the state speaks of.
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        temporary = file.with_suffix(".new")
        temporary.write_text(text + "\n")
        temporary.rename(file)

    @staticmethod
    def remove(name: str) -> None:
        try:
            shutil.rmtree(lab_directory(name))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise LabError(f"removing {error.filename}: {error.strerror}") from error


class Lock:
    """Held by the one command that changes a lab. The file is beside the lab's directory, so that it can
    outlive it."""

    def __init__(self, name: str, timeout_s: float = 60.0) -> None:
        self._name = name
        self._path = ROOT / f"{name}.lock"
        self._timeout_s = timeout_s
        self._fd = -1

    @property
    def fd(self) -> int:
        """For children that must finish before the lock is free, should we be killed."""
        return self._fd

    def __enter__(self) -> Lock:
        deadline = time.monotonic() + self._timeout_s
        while not self._try():
            if time.monotonic() > deadline:
                raise LabError(
                    f"lab {self._name} is busy: another command has held its lock for {self._timeout_s:g} s"
                )
            time.sleep(0.02)  # flock has no timeout of its own, and an alarm would be the whole process's
        return self

    def _try(self) -> bool:
        try:
            ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            return False  # the last lab has just gone, and ROOT with it
        except OSError as error:
            raise LabError(f"opening {self._path}: {error.strerror}; the lab needs root") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have removed the file on its way out: then this lock is nobody's.
            if os.fstat(fd).st_ino == os.stat(self._path).st_ino:
                self._fd = fd
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(fd)
        return False

    def __exit__(self, *_: object) -> None:
        if not lab_directory(self._name).exists():
            self._path.unlink(missing_ok=True)
            try:
                ROOT.rmdir()
            except OSError:
                pass  # other labs
        # Closed and not unlocked: a child that still holds it keeps it.
        os.close(self._fd)
        self._fd = -1
