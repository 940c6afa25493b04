# SPDX-License-Identifier: LGPL-2.1-or-later
"""The delay relay of a link (gw-delay-relay): started, asked, ended. What it does is told in
../relay/delay-relay.c."""

from __future__ import annotations

import json
import os
import shutil
import signal
import select
import socket
import subprocess
from pathlib import Path

from . import netns
from .errors import LabError
from .state import lab_directory
from .topology import Link

PROGRAM = "gw-delay-relay"
_START_TIMEOUT_S = 20
_ANSWER_TIMEOUT_S = 5
_END_TIMEOUT_S = 10


def find_program() -> str:
    """GODWIT_LAB_RELAY if set, else the build tree that we are run from, else where it is installed."""
    if chosen := os.environ.get("GODWIT_LAB_RELAY"):
        return chosen
    lab_dir = Path(__file__).resolve().parent.parent
    builds = sorted(lab_dir.parent.glob("build*/lab/relay/" + PROGRAM))
    installed = [Path("/usr/libexec/godwit", PROGRAM), Path("/usr/local/libexec/godwit", PROGRAM)]
    for candidate in [*builds, *installed]:
        if os.access(candidate, os.X_OK):
            return str(candidate)
    if found := shutil.which(PROGRAM):
        return found
    raise LabError(
        f"an rtt needs {PROGRAM}, which is not built: run `meson setup build && ninja -C build`, "
        "or set GODWIT_LAB_RELAY to its path"
    )


class Relay:
    """The relay of one link, running or not."""

    def __init__(self, lab_name: str, fabric_netns: str, link: Link) -> None:
        self._link = link
        self._fabric_netns = fabric_netns
        self._socket_path = lab_directory(lab_name) / f"relay-{link.port}.sock"

    def start(self, rtt_us: int) -> int:
        """Its process ID. The relay's two TAPs exist when this returns."""
        command = ["nsenter", f"--net={netns.path(self._fabric_netns)}", "--", find_program()]
        command += ["--tap-a", self._link.tap_near, "--tap-b", self._link.tap_far]
        command += ["--delay-us", str(rtt_us // 2), "--control", str(self._socket_path)]
        command += ["--until-gone", str(netns.path(self._fabric_netns)), "--background"]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_START_TIMEOUT_S
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabError(f"starting the delay relay of {self._link.key}: {error}") from error
        if done.returncode != 0:
            raise LabError(f"starting the delay relay of {self._link.key}: {done.stderr.strip()}")
        return int(done.stdout)

    def _ask(self, question: str) -> str | None:
        """None if nobody listens: the relay is not running."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(_ANSWER_TIMEOUT_S)
            try:
                sock.connect(str(self._socket_path))
                sock.send(question.encode())
                answer = sock.recv(4096).decode()
            except (FileNotFoundError, ConnectionError):
                return None
            except OSError as error:
                raise LabError(f"asking the delay relay of {self._link.key}: {error}") from error
        return answer or None

    def is_alive(self) -> bool:
        return self._ask("stats") is not None

    def stats(self) -> dict | None:
        """Its counters, each a pair: from the host to the network, and back. None if it is not running."""
        answer = self._ask("stats")
        return json.loads(answer) if answer else None

    def set_rtt(self, rtt_us: int) -> None:
        """Takes effect for the frames that arrive from now on; those under way keep their delay and their
        order."""
        answer = self._ask(f"delay-us {rtt_us // 2}")
        if answer != "ok":
            raise LabError(f"the delay relay of {self._link.key} {answer or 'is not running'}")

    def stop(self, pid: int | None) -> None:
        """Ends it if `pid` is still a relay in our fabric, and removes its socket. None: who listens there."""
        if pid is None and (stats := self.stats()):
            pid = stats["pid"]
        if pid is not None:
            self._end(pid)
        self._socket_path.unlink(missing_ok=True)

    def _end(self, pid: int) -> None:
        fabric = netns.identify(self._fabric_netns)
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            # Looked at after the pidfd is open: a number that was given to another process is not signalled.
            if not any(p.pid == pid and PROGRAM in p.command for p in netns.processes([fabric])):
                return
            poller = select.poll()
            poller.register(pidfd, select.POLLIN)
            for number in (signal.SIGTERM, signal.SIGKILL):
                signal.pidfd_send_signal(pidfd, number)
                if poller.poll(_END_TIMEOUT_S * 1000):
                    return
            raise LabError(f"the delay relay of {self._link.key} (process {pid}) survives SIGKILL")
        except ProcessLookupError:
            return
        finally:
            os.close(pidfd)
