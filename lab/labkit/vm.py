# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM on a host of the lab: godwit-vm started as a user would, and its API on the control socket."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from .errors import LabError
from .guest import ECHO_PORT, Guest
from .lab import Host, Lab

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("GW_BUILD_DIR", ROOT / "build"))
IMAGE_DIR = Path(os.environ.get("GW_GUEST_IMAGE_DIR", BUILD / "guest-image"))
GODWIT_VM = BUILD / "src/vm/godwit-vm"
QEMU = os.environ.get("GODWIT_QEMU", "/usr/bin/qemu-system-x86_64")

PORT_GROUP = "lan"
BRIDGE = "br-guest"


def wait_until(condition: Callable[[], object], timeout_s: float, what: str, every_s: float = 0.01):
    """Polls until the condition is true, and returns its value."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout_s:g} s for {what}")
        time.sleep(every_s)


class ApiError(LabError):
    """The supervisor's answer was an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code} ({status}): {message}")
        self.status = status
        self.code = code
        self.message = message


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("vm", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        # A sockaddr_un holds 107 bytes; a directory's descriptor makes any path short.
        directory = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{directory}/{self._path.name}")
        finally:
            os.close(directory)


def config(guest: Guest, **changes) -> dict:
    """A VM's configuration that boots the lab's guest; `changes` replace or add members."""
    document = {
        "name": guest.name,
        "uuid": str(uuid.uuid4()),
        "machine": "pc-i440fx-7.2",
        "vcpus": 1,
        "cpu_model": "qemu64",
        "memory_mib": 256,
        "boot": {
            "kind": "kernel",
            "kernel": {"datastore": "image", "path": "vmlinuz"},
            "initrd": {"datastore": "image", "path": "initrd.img"},
            "command_line": guest.command_line,
        },
        "nics": [{"port_group": PORT_GROUP, "mac": guest.mac}],
    }
    return {key: value for key, value in {**document, **changes}.items() if value is not None}


class Vm:
    """A VM's supervisor, reached by its control socket; it may be any supervisor, also one that adopted."""

    def __init__(self, host: Host, name: str) -> None:
        self.host = host
        self.name = name
        self.directory = host.runtime_dir / "vms" / name

    @staticmethod
    def start(
        host: Host,
        document: dict,
        directory: Path,
        *options: str,
        datastores: dict[str, Path] | None = None,
        qemu: str = QEMU,
        env: dict[str, str] | None = None,
    ) -> Vm:
        """Runs `godwit-vm run --detach`; the document is written into `directory`, datastore "ds" is `directory`."""
        path = directory / f"{document.get('name', 'vm')}-{host.name}.json"
        path.write_text(json.dumps(document))
        stores = {"image": IMAGE_DIR, "ds": directory, **(datastores or {})}
        words = [word for name, where in stores.items() for word in ("--datastore", f"{name}={where}")]
        done = host.run(
            [GODWIT_VM, "run", "--detach", "--qemu", qemu, "--port-group", f"{PORT_GROUP}={BRIDGE}", *words, *options, path],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LabError(f"godwit-vm run: exit status {done.returncode}: {done.stderr.strip()}")
        return Vm(host, document["name"])

    def adopt(self, env: dict[str, str] | None = None) -> None:
        """Runs `godwit-vm adopt --detach`."""
        done = self.host.run(
            [GODWIT_VM, "adopt", "--detach", self.name],
            env={**os.environ, **(env or {})},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LabError(f"godwit-vm adopt: exit status {done.returncode}: {done.stderr.strip()}")

    def request(
        self, method: str, path: str, body: dict | None = None, timeout_s: float = 60, raw: bytes | None = None
    ) -> bytes:
        """One request, with a body in JSON or `raw`; the answer's body."""
        connection = _UnixConnection(self.directory / "control.sock", timeout_s)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else raw)
            reply = connection.getresponse()
            data = reply.read()
        finally:
            connection.close()
        if reply.status >= 300:
            error = json.loads(data)["error"]
            raise ApiError(reply.status, error["code"], error["message"])
        return data

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        return json.loads(self.request(method, path, body))

    def status(self) -> dict:
        return self.call("GET", "/v1/status")

    def state(self) -> str:
        return self.status()["state"]

    def power(self, action: str, **arguments) -> dict:
        return self.call("POST", "/v1/power", {"action": action, **arguments})

    def console(self, port: int = 0) -> str:
        return self.request("GET", f"/v1/console/{port}").decode(errors="replace")

    def wait_for_console(self, text: str, timeout_s: float = 60) -> str:

        def look() -> str | None:
            output = self.console()
            return output if text in output else None

        return wait_until(look, timeout_s, f"'{text}' on {self.name}'s console")

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Until the lab's guest has said that all its services are up."""
        self.wait_for_console("GODWIT-GUEST-READY", timeout_s)

    def wait_state(self, state: str, timeout_s: float = 30) -> None:
        wait_until(lambda: self.state() == state, timeout_s, f"{self.name} to be {state}")

    def supervisor_pid(self) -> int:
        return self.status()["supervisor"]["pid"]

    def qemu_pid(self) -> int:
        return self.status()["qemu"]["pid"]

    def memory_fd(self) -> int:
        """A descriptor of the guest's memory file, as another process of root's may open it."""
        pid = self.qemu_pid()
        folder = Path(f"/proc/{pid}/fd")
        for entry in folder.iterdir():
            if os.readlink(entry).startswith("/memfd:godwit-"):
                return os.open(entry, os.O_RDWR)
        raise LabError(f"{self.name}: QEMU has no guest memory open")

    def events_so_far(self) -> list[dict]:
        """Every event that there has been."""
        newest = self.status()["events"]["last_id"]
        return self._events(lambda event: event["id"] >= newest, 10)

    def events(self, until: str, timeout_s: float = 10) -> list[dict]:
        """The events from the stream's beginning up to the first of type `until`."""
        return self._events(lambda event: event["type"] == until, timeout_s)

    def _events(self, is_last: Callable[[dict], bool], timeout_s: float) -> list[dict]:
        connection = _UnixConnection(self.directory / "control.sock", timeout_s)
        try:
            connection.request("GET", "/v1/events")
            seen: list[dict] = []
            for line in connection.getresponse():
                if line.startswith(b"data: "):
                    seen.append(json.loads(line[6:]))
                    if is_last(seen[-1]):
                        return seen
            raise LabError(f"{self.name}: the event stream ended too early")
        finally:
            connection.close()

    def remove(self) -> None:
        """Ends the guest, its supervisor and all that is left of them, in whatever state they are."""
        if not self.directory.exists():
            return
        try:
            if self.state() not in ("off", "crashed", "moved"):
                self.power("stop")
        except (OSError, LabError):
            try:
                self.adopt()
                self.power("stop")
            except (OSError, LabError):
                return
        try:
            pid = self.supervisor_pid()
            self.call("DELETE", "/v1/vm")
        except OSError:
            return  # it was about to go by itself
        wait_until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), 10, f"supervisor {pid} to end")

    def kill_supervisor(self) -> None:
        """kill -9, and waits for its end."""
        pid = self.supervisor_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid), 10, f"supervisor {pid} to end")


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Prober:
    """gw-prober on the lab's client: a probe a millisecond and a TCP stream; its lines are read as they come."""

    def __init__(self, lab: Lab, address: str, *options: str) -> None:
        self.process = lab.client.popen(
            [BUILD / "lab/prober/gw-prober", "--target", address, "--tcp", str(ECHO_PORT), "--json", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read("first-answer")  # it probes, and takes signals

    def _read(self, kind: str) -> dict:
        for line in self.process.stdout:
            message = json.loads(line)
            if message["type"] == kind:
                return message
        raise LabError("the prober ended")

    def mark(self) -> dict:
        """The report on the window that ends here; the next begins."""
        self.process.send_signal(signal.SIGUSR1)
        return self._read("window")

    def stop(self) -> dict:
        self.process.send_signal(signal.SIGTERM)
        report = self._read("final")
        self.close()
        return report

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)
        self.process.stdout.close()

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
