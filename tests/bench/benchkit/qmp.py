# SPDX-License-Identifier: LGPL-2.1-or-later
"""A QMP client for the QEMU that the bench itself starts: commands, and events with QEMU's own time stamps."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path


class QmpError(Exception):
    """QEMU refused a command, or its connection ended."""


class Qmp:
    """One connection. A thread reads it, so that an event is known the moment it comes and nobody polls."""

    def __init__(self, path: Path, timeout_s: float = 10) -> None:
        self._socket = self._connect(path, timeout_s)
        self._file = self._socket.makefile("rb")
        self._replies: queue.SimpleQueue[dict | None] = queue.SimpleQueue()
        self._events: list[dict] = []
        self._changed = threading.Condition()
        self._ended = False
        json.loads(self._file.readline())  # the greeting
        threading.Thread(target=self._read, daemon=True).start()
        self.execute("qmp_capabilities")

    @staticmethod
    def _connect(path: Path, timeout_s: float) -> socket.socket:
        deadline = time.monotonic() + timeout_s
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(path))
                return connection
            except OSError as error:
                connection.close()
                if time.monotonic() > deadline:
                    raise QmpError(f"{path}: {error.strerror}") from error
                time.sleep(0.01)

    def _read(self) -> None:
        try:
            for line in self._file:
                message = json.loads(line)
                if "event" not in message:
                    self._replies.put(message)
                    continue
                with self._changed:
                    self._events.append(message)
                    self._changed.notify_all()
        except (OSError, ValueError):
            pass
        self._replies.put(None)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def execute(self, command: str, timeout_s: float = 30, **arguments) -> dict:
        words = {"execute": command, "arguments": {key.replace("_", "-"): value for key, value in arguments.items()}}
        try:
            self._socket.sendall(json.dumps(words).encode() + b"\n")
            reply = self._replies.get(timeout=timeout_s)
        except (OSError, queue.Empty) as error:
            raise QmpError(f"{command}: no answer") from error
        if reply is None:
            raise QmpError(f"{command}: QEMU ended")
        if "error" in reply:
            raise QmpError(f"{command}: {reply['error']['desc']}")
        return reply["return"]

    def wait_event(self, wanted: Callable[[dict], bool], deadline: float) -> dict | None:
        """The first event that is wanted; None at the deadline (of time.monotonic())."""
        looked_at = 0
        with self._changed:
            while True:
                for event in self._events[looked_at:]:
                    if wanted(event):
                        return event
                looked_at = len(self._events)
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return None
                if self._ended:
                    raise QmpError("QEMU ended")
                self._changed.wait(left_s)

    def events(self) -> list[dict]:
        with self._changed:
            return list(self._events)

    def close(self) -> None:
        self._socket.close()


def event_time_s(event: dict) -> float:
    """When QEMU says that it happened: the machine's real-time clock."""
    stamp = event["timestamp"]
    return stamp["seconds"] + stamp["microseconds"] / 1e6
