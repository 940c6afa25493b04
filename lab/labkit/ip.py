# SPDX-License-Identifier: LGPL-2.1-or-later
"""Running iproute2, many commands a process, and the two things that it cannot do for us."""

from __future__ import annotations

import array
import fcntl
import json
import socket
import struct
import subprocess
from collections.abc import Sequence

from . import netns
from .errors import LabError

_TIMEOUT_S = 60

_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17


def _run(
    netns_name: str | None, tool: str, args: Sequence[str], text: str | None, keep_fds: Sequence[int]
) -> str:
    command = [tool, *args]
    if netns_name is not None:
        command = ["nsenter", f"--net={netns.path(netns_name)}", "--", *command]
    try:
        done = subprocess.run(
            command,
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            pass_fds=keep_fds,
        )
    except FileNotFoundError as error:
        package = "util-linux" if error.filename == "nsenter" else "iproute2"
        raise LabError(f"{error.filename} is not installed: install the package {package}") from error
    except subprocess.TimeoutExpired as error:
        where = netns_name or "the machine"
        raise LabError(f"{tool} did not return within {_TIMEOUT_S} s in {where}") from error
    if done.returncode != 0:
        raise LabError(_describe(netns_name, tool, args, text, done.stderr))
    return done.stdout


def _describe(netns_name: str | None, tool: str, args: Sequence[str], text: str | None, stderr: str) -> str:
    """Names the line of the batch that failed, which iproute2 gives by number only."""
    lines = [line for line in stderr.strip().splitlines() if line]
    what = f"{tool} {' '.join(args)}"
    for line in lines:
        _, mark, number = line.partition("Command failed -:")
        if mark and text is not None and number.strip().isdigit():
            what = f"{tool} {text.splitlines()[int(number) - 1]}"
    reason = "; ".join(line for line in lines if not line.startswith("Command failed")) or "no reason given"
    return f"{what} (in {netns_name or 'the machine'}): {reason}"


def batch(
    netns_name: str | None, commands: Sequence[str], *, tool: str = "ip", keep_fds: Sequence[int] = ()
) -> None:
    """Runs `ip` (or `tc`, or `bridge`) commands in order in a namespace, or the machine's if None; the first
    that fails ends it. `keep_fds` are inherited: a lock among them is held until iproute2 has ended, even if
    we are killed."""
    if commands:
        _run(netns_name, tool, ["-batch", "-"], "\n".join(commands) + "\n", keep_fds)


def query(netns_name: str, args: Sequence[str]) -> list[dict]:
    return json.loads(_run(netns_name, "ip", ["-json", *args], None, ()) or "[]")


def disable_tx_checksum(netns_name: str, interfaces: Sequence[str]) -> None:
    """`ethtool -K … tx off`, by the ioctl: ethtool is one package more, for one call."""
    with netns.entered(netns_name):
        # The socket stays in the namespace that it was made in.
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        for interface in interfaces:
            value = array.array("B", struct.pack("II", _ETHTOOL_STXCSUM, 0))
            request = struct.pack("16sP", interface.encode(), value.buffer_info()[0])
            try:
                fcntl.ioctl(sock, _SIOCETHTOOL, request.ljust(40, b"\0"))
            except OSError as error:
                raise LabError(
                    f"turning off the transmit checksums of {interface} in {netns_name}: {error.strerror}"
                ) from error


def receive_on(netns_name: str, cpus: dict[str, int], *, keep_fds: Sequence[int] = ()) -> None:
    """Has the frames that come in at each interface dealt with on one CPU (Documentation/networking/scaling.rst,
    "RPS"). A kernel without it has no such file. The files are in the namespace's own /sys, which `ip netns exec` mounts."""
    lines = [
        f"f=/sys/class/net/{interface}/queues/rx-0/rps_cpus; [ ! -e $f ] || echo {1 << cpu:x} > $f"
        for interface, cpu in cpus.items()
    ]
    if lines:
        _run(None, "ip", ["netns", "exec", netns_name, "sh", "-ec", "\n".join(lines)], None, keep_fds)
