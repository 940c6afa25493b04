# SPDX-License-Identifier: LGPL-2.1-or-later
"""A program of a host that runs on: started, killed, started again, its log kept in one file."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import LabError
from .lab import Host
from .vm import wait_until


class Daemon:
    """`is_ready` tells when it serves; `environment` is added to ours."""

    def __init__(self, host: Host, command: Sequence[object], log: Path, is_ready: Callable[[], object]) -> None:
        self.host = host
        self.command = [str(word) for word in command]
        self.log = log
        self.environment: dict[str, str] = {}
        self._is_ready = is_ready
        self._process: subprocess.Popen | None = None

    @property
    def name(self) -> str:
        return f"{Path(self.command[0]).name} on {self.host.name}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise LabError(f"{self.name} does not run")
        return self._process.pid

    def start(self, timeout_s: float = 20) -> None:
        with self.log.open("ab") as log:
            self._process = self.host.popen(
                self.command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # as a service manager does it
            )
        wait_until(self._ready_or_dead, timeout_s, f"{self.name} to serve")

    def _ready_or_dead(self) -> bool:
        if (status := self._process.poll()) is not None:
            self._process = None
            raise LabError(f"{self.name} ended with status {status}: {self.last_words()}")
        return bool(self._is_ready())

    def last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def kill(self) -> None:
        """kill -9, and waits for its end."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Asks it to end, and waits."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise LabError(f"{self.name} did not end within 20 s: {self.last_words()}") from None
        finally:
            self._process = None
