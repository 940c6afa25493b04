# SPDX-License-Identifier: LGPL-2.1-or-later
"""What was measured on."""

from __future__ import annotations

import os
import re
from pathlib import Path


def describe() -> dict:
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    huge = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
    return {
        "cpu": cpu[1] if cpu else "of unknown kind",
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": int(memory[1]) / (1 << 20),
        "kernel": os.uname().release,
        "load_before": round(os.getloadavg()[0], 2),
        "shmem_huge_pages": re.search(r"\[(\w+)\]", huge.read_text())[1] if huge.exists() else None,
    }


def complaint(machine: dict) -> str | None:
    """Why figures from it would say little."""
    if machine["load_before"] > 0.5:
        return f"others use this machine (load {machine['load_before']} before the first run): figures scatter"
    return None
