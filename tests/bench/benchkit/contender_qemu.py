# SPDX-License-Identifier: LGPL-2.1-or-later
"""The peer: QEMU's own pre-copy between two processes of its own, on the command line that godwit gives."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from labkit import ip
from labkit.errors import LabError
from labkit.lab import Host
from labkit.topology import GUEST_BRIDGE
from labkit.vm import IMAGE_DIR, Vm, wait_until

from .command_line import Places, rewrite
from .contender import MOTION_LINK, Bench, Contender, Outcome
from .qmp import Qmp, QmpError, event_time_s
from .scenarios import Scenario

PORT = 49152
BANDWIDTH_BYTES_PER_S = 100 << 30  # never the limit; its default is 128 MiB/s
CANCEL_S = 20


class PlainQemu:
    """One QEMU process on a host of the lab, with its TAP and its memory file."""

    def __init__(self, host: Host, godwit_words: list[str], contender: Contender, incoming: bool) -> None:
        self.host = host
        directory = contender.directory
        self.tap = f"{contender.guest.name}-{'in' if incoming else 'out'}"
        self.console = directory / f"{self.tap}.console"
        self.qmp: Qmp | None = None
        self._log = (directory / f"{self.tap}.log").open("w+")
        memory_fd = os.memfd_create(self.tap, os.MFD_CLOEXEC)
        os.truncate(memory_fd, contender.scenario.memory_mib << 20)
        self._make_tap()
        places = Places(
            memory_fd=memory_fd,
            kernel=IMAGE_DIR / "vmlinuz",
            initrd=IMAGE_DIR / "initrd.img",
            tap=self.tap,
            qmp=directory / f"{self.tap}.qmp",
            console=self.console,
        )
        self.process = host.popen(
            rewrite(godwit_words, contender.bench.qemu.path, places, incoming),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[memory_fd],
        )
        os.close(memory_fd)
        try:
            self.qmp = Qmp(places.qmp)
        except QmpError as error:
            self.close()
            raise LabError(f"QEMU did not start: {error}: {Path(self._log.name).read_text().strip()}") from error

    def _make_tap(self) -> None:
        # With virtio-net's headers, as godwit's TAPs.
        ip.batch(
            self.host.netns,
            [
                f"tuntap add dev {self.tap} mode tap vnet_hdr",
                f"link set {self.tap} master {GUEST_BRIDGE} up",
            ],
        )

    def close(self) -> None:
        if self.qmp:
            self.qmp.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)
        self._log.close()
        ip.batch(self.host.netns, [f"link delete {self.tap}"])


def godwit_command_line(contender: Contender) -> list[str]:
    """What godwit gives QEMU for this guest, read from a VM of godwit's that is started paused and removed."""
    vm = Vm.start(contender.source, contender.document(), contender.directory, "--paused", qemu=str(contender.bench.qemu.path))
    try:
        words = Path(f"/proc/{vm.qemu_pid()}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        return [word.decode() for word in words]
    finally:
        vm.remove()


class QemuContender(Contender):
    """Pre-copy with multifd on so many channels; 0: without multifd."""

    def __init__(self, bench: Bench, scenario: Scenario, directory: Path, channels: int) -> None:
        super().__init__(bench, scenario, directory)
        self.channels = channels
        self.label = variant_label(channels)
        self._words: list[str] = []
        self._from: PlainQemu | None = None
        self._to: PlainQemu | None = None

    def boot(self) -> None:
        self._words = godwit_command_line(self)
        qemu = self._from = self._start(self.source, incoming=False)
        qemu.qmp.execute("cont")

        def is_ready() -> bool:
            if qemu.process.poll() is not None:
                raise LabError(f"QEMU ended: {qemu.console.read_text()[-200:]}")
            return "GODWIT-GUEST-READY" in qemu.console.read_text(errors="replace")

        wait_until(is_ready, 180, "the guest to be ready")

    def _start(self, host: Host, incoming: bool) -> PlainQemu:
        return PlainQemu(host, self._words, self, incoming)

    @property
    def _uri(self) -> str:
        return f"tcp:{self.destination.address(MOTION_LINK)}:{PORT}"

    def prepare(self) -> None:
        self._to = self._start(self.destination, incoming=True)
        capabilities = [{"capability": "events", "state": True}]
        if self.channels:
            capabilities.append({"capability": "multifd", "state": True})
        for qemu in (self._from, self._to):
            qemu.qmp.execute("migrate-set-capabilities", capabilities=capabilities)
            if self.channels:
                qemu.qmp.execute("migrate-set-parameters", multifd_channels=self.channels)
        self._from.qmp.execute(
            "migrate-set-parameters", max_bandwidth=BANDWIDTH_BYTES_PER_S, downtime_limit=self.bench.goal_ms
        )
        self._to.qmp.execute("migrate-incoming", uri=self._uri)

    def pids(self) -> list[int]:
        return [self._from.process.pid, self._to.process.pid]

    def move(self, deadline_s: float) -> Outcome:
        source, destination = self._from.qmp, self._to.qmp
        n_before = len(source.events())
        deadline = time.monotonic() + deadline_s
        ordered_s = time.time()
        source.execute("migrate", uri=self._uri)
        ended = source.wait_event(_is_migration("completed", "failed"), deadline)
        detail = _describe(source.execute("query-migrate"))
        if ended is None:
            return self._call_off(detail, deadline_s)
        if ended["data"]["status"] != "completed":
            return Outcome(False, f"failed: {source.execute('query-migrate').get('error-desc', 'no reason given')}", detail=detail)
        resumed = destination.wait_event(lambda event: event["event"] == "RESUME", time.monotonic() + 30)
        if resumed is None:
            return Outcome(False, "the destination did not resume", detail=detail)
        stopped = next(event for event in source.events()[n_before:] if event["event"] == "STOP")
        return Outcome.from_times(ordered_s, event_time_s(stopped), event_time_s(resumed), detail)

    def _call_off(self, detail: dict, deadline_s: float) -> Outcome:
        self._from.qmp.execute("migrate_cancel")
        self._from.qmp.wait_event(_is_migration("cancelled", "completed", "failed"), time.monotonic() + CANCEL_S)
        reason = (
            f"not converged in {deadline_s:.0f} s: {detail['rounds']} rounds, the guest dirties {detail['dirty_mb_s']:.0f} MB/s, "
            f"the link takes {detail['mbit_s'] / 8:.0f} MB/s, {detail['remaining_mb']:.0f} MB are left"
        )
        return Outcome(False, reason, detail=detail)

    def close(self) -> None:
        for qemu in (self._from, self._to):
            if qemu:
                qemu.close()
        self._from = self._to = None


def variant_label(channels: int) -> str:
    return f"QEMU, multifd {channels}" if channels else "QEMU, one stream"


def _is_migration(*states: str):
    return lambda event: event["event"] == "MIGRATION" and event["data"]["status"] in states


def _describe(info: dict) -> dict:
    """QEMU's own account, kept beside what is measured."""
    ram = info.get("ram", {})
    return {
        "rounds": ram.get("dirty-sync-count", 0),
        "ram_bytes": ram.get("transferred", 0),
        "dirty_mb_s": ram.get("dirty-pages-rate", 0) * ram.get("page-size", 4096) / 1e6,
        "mbit_s": ram.get("mbps", 0),
        "remaining_mb": ram.get("remaining", 0) / 1e6,
        "own_total_ms": info.get("total-time"),
        "own_downtime_ms": info.get("downtime"),
        "setup_ms": info.get("setup-time"),
    }
