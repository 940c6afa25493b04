# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a motion costs, read from the kernel alike for both contenders: CPU time, bytes on the wire, and the host memory
that is made warm before."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from labkit import netns
from labkit.lab import Host

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SAMPLE_S = 0.02
_WARM = """
import os, sys
left = int(sys.argv[1])
fd = os.memfd_create("warm")
block = bytes(1 << 20)
while left > 0:
    left -= os.write(fd, block)
"""


def warm(n_bytes: int) -> None:
    """Touches and frees so much memory, of the kind that guests have, with a process a CPU.

    On a machine that is virtual itself, a page that was never touched, or was given back, costs a fault in the machine
    outside: 0.3 GB/s instead of more than 1. Who comes first would pay, whichever contender that is."""
    n_cpus = len(os.sched_getaffinity(0))
    words = [sys.executable, "-I", "-S", "-c", _WARM, str(n_bytes // n_cpus)]
    for process in [subprocess.Popen(words) for _ in range(n_cpus)]:
        if process.wait(timeout=120) != 0:
            raise RuntimeError(f"not enough memory to warm {n_bytes >> 20} MiB")


def wire_bytes(host: Host, interface: str) -> int:
    """Received and sent on this interface so far, by its counters."""
    with netns.entered(host.netns):
        for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
            name, _, counters = line.partition(":")
            if name.strip() == interface:
                fields = counters.split()
                return int(fields[0]) + int(fields[8])
    raise RuntimeError(f"{host.name} has no interface {interface}")


def _ticks(path: str) -> int | None:
    """utime + stime; None if it has ended."""
    try:
        fields = Path(path).read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[11]) + int(fields[12])


def vcpu_threads(pid: int) -> list[str]:
    """Paths of the vCPU threads' stat files. QEMU names its threads, since godwit's command line says debug-threads=on."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith("CPU "):
            found.append(str(task / "stat"))
    return found


def accelerator(pids: list[int]) -> str:
    """KVM or TCG, as the command line of the first QEMU among them says."""
    for pid in pids:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"-accel" in words:
            return words[words.index(b"-accel") + 1].decode().partition(",")[0].upper()
    return "unknown"


class _Process:
    """What a process used without its vCPUs. A process's own stat holds its ended threads too, so only the vCPUs, which
    live as long as it does, are subtracted."""

    def __init__(self, pid: int) -> None:
        self.stat = f"/proc/{pid}/stat"
        self.vcpus = vcpu_threads(pid)
        self.first = self.last = self._read() or 0

    def _read(self) -> int | None:
        total = _ticks(self.stat)
        vcpus = [_ticks(path) for path in self.vcpus]
        if total is None or None in vcpus:
            return None
        return total - sum(vcpus)

    def sample(self) -> None:
        self.last = self._read() or self.last


class CpuMeter:
    """CPU seconds that processes use from now to stop(): of both ends, without the guest's own vCPU threads.

    One that ends meanwhile counts up to the last sample, at most 20 ms before."""

    def __init__(self, pids: list[int]) -> None:
        self._processes = [_Process(pid) for pid in pids]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(_SAMPLE_S):
            for process in self._processes:
                process.sample()

    def stop(self) -> float:
        self._stopping.set()
        self._thread.join()
        for process in self._processes:
            process.sample()
        return sum(process.last - process.first for process in self._processes) / _TICKS_PER_S
