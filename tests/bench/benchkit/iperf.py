# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the motion link carries, by iperf3 between the two hosts: the measure of an engine's throughput."""

from __future__ import annotations

import json
import subprocess

from labkit.errors import LabError
from labkit.lab import Host

from .contender import MOTION_LINK

PORT = 5201


def gbit_s(source: Host, destination: Host, streams: int, seconds: float) -> float:
    """Payload received at the destination, in 10^9 bits per second."""
    server = destination.popen(
        ["iperf3", "--server", "--one-off", "--port", str(PORT), "--forceflush"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for line in server.stdout:
            if "listening" in line:
                break
        done = source.run(
            ["iperf3", "--client", destination.address(MOTION_LINK), "--port", str(PORT), "--json",
             "--parallel", str(streams), "--time", f"{seconds:g}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=seconds + 30,
        )  # fmt: skip
        result = json.loads(done.stdout or "{}")
        if done.returncode != 0 or "end" not in result:
            raise LabError(f"iperf3: {result.get('error') or done.stderr.strip() or done.returncode}")
        return result["end"]["sum_received"]["bits_per_second"] / 1e9
    finally:
        if server.poll() is None:
            server.terminate()
        server.wait(timeout=10)
        server.stdout.close()
