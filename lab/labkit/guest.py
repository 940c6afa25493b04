# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab's guest from outside: its address, its command line, and its workloads' control ports."""

from __future__ import annotations

import json
import socket
import subprocess
from dataclasses import dataclass, field

from . import netns
from .errors import LabError
from .lab import Lab
from .topology import guest_address

ECHO_PORT = 7
MEMORY_PORT = 7001
DISK_PORT = 7002


@dataclass
class Guest:
    """What one guest is asked to do. `number` gives its address and MAC."""

    number: int
    name: str
    memory: str | None = None  # gw.mem=…, see lab/guest/README.md
    disk: str | None = None  # gw.disk=…
    extra: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Without prefix length."""
        return guest_address(self.number).partition("/")[0]

    @property
    def mac(self) -> str:
        return f"52:54:00:72:{self.number >> 8 & 255:02x}:{self.number & 255:02x}"

    @property
    def command_line(self) -> str:
        words = ["console=ttyS0", "quiet", f"gw.ip={guest_address(self.number)}", f"gw.name={self.name}"]
        if self.memory:
            words.append(f"gw.mem={self.memory}")
        if self.disk:
            words.append(f"gw.disk={self.disk}")
        return " ".join(words + self.extra)

    def connect(self, lab: Lab, port: int, timeout_s: float = 15) -> socket.socket:
        """A TCP connection from the lab's client. The socket stays in the client's namespace."""
        with netns.entered(lab.client.netns):
            return socket.create_connection((self.address, port), timeout=timeout_s)

    def ask(self, lab: Lab, port: int, line: str, timeout_s: float = 60) -> dict:
        """One command of a workload's control port, and its answer."""
        with self.connect(lab, port, timeout_s) as connection:
            connection.sendall(line.encode() + b"\n")
            with connection.makefile("r", encoding="utf-8") as stream:
                text = stream.readline()
        if not text:
            raise LabError(f"{self.name}: port {port} closed without an answer to '{line}'")
        answer = json.loads(text)
        if "error" in answer:
            raise LabError(f"{self.name}: '{line}': {answer['error']}")
        return answer

    def ping(self, lab: Lab) -> bool:
        """Whether it answers one ping within a second."""
        done = lab.client.run(
            ["ping", "-n", "-c", "1", "-W", "1", self.address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode == 0
