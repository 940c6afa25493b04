# SPDX-License-Identifier: LGPL-2.1-or-later
"""Network namespaces: entering them for a moment, and the processes that live in them."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .topology import parse_netns_name

NETNS_DIR = Path("/run/netns")
_CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)

# (device, inode) of a namespace; equal if and only if it is the same namespace.
NetnsId = tuple[int, int]


def path(name: str) -> Path:
    return NETNS_DIR / name


def names_of_lab(lab: str) -> list[str]:
    return [name for name in _all_names() if parse_netns_name(name)[0] == lab]


def labs_present() -> set[str]:
    return {parse_netns_name(name)[0] for name in _all_names()}


def _all_names() -> list[str]:
    try:
        names = os.listdir(NETNS_DIR)
    except FileNotFoundError:
        return []
    return sorted(name for name in names if parse_netns_name(name))


def _setns(fd: int, where: str) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise LabError(f"entering the network namespace {where}: {os.strerror(error)}")


def enter(name: str) -> None:
    """Moves the calling thread into a namespace for good. Only the network namespace: mounts (/sys and the
    control groups with it) stay those of the machine, which is why this is not `ip netns exec`."""
    try:
        fd = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LabError(f"opening the network namespace {name}: {error.strerror}") from error
    try:
        _setns(fd, name)
    finally:
        os.close(fd)


@contextmanager
def entered(name: str) -> Iterator[None]:
    """The calling thread is in the namespace within the `with`; other threads are not."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(name)
        try:
            yield
        finally:
            _setns(home, "that we came from")
    finally:
        os.close(home)


def write_sysctls(name: str, values: dict[str, str]) -> None:
    """Sets /proc/sys/net/<key> in a namespace; keys that this kernel lacks are left out (IPv6, bridge
    netfilter)."""
    with entered(name):
        for key, value in values.items():
            try:
                Path("/proc/sys/net", key).write_text(value)
            except FileNotFoundError:
                continue


def _identify(file: Path | str) -> NetnsId | None:
    try:
        stat = os.stat(file)
    except OSError:
        return None  # gone, or not ours to see
    return stat.st_dev, stat.st_ino


def identify(name: str) -> NetnsId | None:
    """None if the name is not (or not yet, or no longer) that of a namespace."""
    found = _identify(path(name))
    own = _identify("/proc/self/ns/net")
    # A name without a mount behind it is a plain file of /run, on another device than every namespace.
    return found if found and own and found[0] == own[0] else None


@dataclass(frozen=True)
class Process:
    pid: int
    netns: NetnsId
    command: str


def _command(pid: int) -> str:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")
        if line:
            return line.replace(b"\0", b" ").decode(errors="replace")
        return "[" + Path(f"/proc/{pid}/comm").read_text().strip() + "]"
    except OSError:
        return "?"


def processes(ids: Iterable[NetnsId]) -> list[Process]:
    """The processes whose network namespace is one of these. Zombies have none."""
    wanted = set(ids)
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            netns = _identify(f"/proc/{entry}/ns/net")
            if netns in wanted:
                found.append(Process(int(entry), netns, _command(int(entry))))
    return sorted(found, key=lambda process: process.pid)


def _open_if_in(pid: int, wanted: set[NetnsId]) -> int | None:
    """A pidfd, if the process (and not a later one of the same number) is in one of the namespaces."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    if _identify(f"/proc/{pid}/ns/net") in wanted:
        return fd
    os.close(fd)
    return None


def _wait_for_exit(pidfds: list[int], deadline: float) -> None:
    poller = select.poll()
    for fd in pidfds:
        poller.register(fd, select.POLLIN)
    left = len(pidfds)
    while left and (timeout := deadline - time.monotonic()) > 0:
        for fd, _ in poller.poll(timeout * 1000):
            poller.unregister(fd)
            left -= 1


def end_processes(ids: Iterable[NetnsId], grace_s: float = 3.0, kill_s: float = 10.0) -> int:
    """Ends every process in these namespaces: SIGTERM, then after a grace SIGKILL, until none is found (they
    may fork meanwhile). Returns how many were found; raises if some outlive even that."""
    wanted = set(ids)
    if _identify("/proc/self/ns/net") in wanted:
        raise LabError("this command runs inside of the lab that it is to end: run it outside of it")
    if _identify("/proc/1/ns/net") in wanted:
        raise LabError("one of the lab's names stands for the machine's own network: not touching it")

    seen: set[int] = set()
    start = time.monotonic()
    while found := processes(wanted):
        now = time.monotonic()
        if now > start + grace_s + kill_s:
            them = ", ".join(f"{process.pid} ({process.command})" for process in found)
            raise LabError(f"processes survive SIGKILL: {them}; try again when they have ended")
        kill = now >= start + grace_s
        pidfds = [fd for process in found if (fd := _open_if_in(process.pid, wanted)) is not None]
        try:
            for fd in pidfds:
                try:
                    signal.pidfd_send_signal(fd, signal.SIGKILL if kill else signal.SIGTERM)
                    signal.pidfd_send_signal(fd, signal.SIGCONT)  # a stopped one must run to take SIGTERM
                except ProcessLookupError:
                    continue
            _wait_for_exit(pidfds, now + kill_s if kill else start + grace_s)
        finally:
            for fd in pidfds:
                os.close(fd)
        seen.update(process.pid for process in found)
    return len(seen)
