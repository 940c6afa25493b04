# SPDX-License-Identifier: LGPL-2.1-or-later
"""The peer's command line: that of godwit's own QEMU, word for word, with paths where godwit passes descriptors. Pure.

So devices, machine, CPU and memory backend are the same for both contenders, also when godwit changes what it gives. Where
a word that has to be replaced is missing, this fails rather than measure something else."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path


class UnknownCommandLine(Exception):
    """godwit's command line is not as this file expects it."""


@dataclass(frozen=True)
class Places:
    """What a descriptor of godwit's becomes."""

    memory_fd: int
    kernel: Path
    initrd: Path
    tap: str
    qmp: Path
    console: Path  # a file that QEMU writes


def _chardev(options: str, places: Places) -> str:
    name = re.search(r"id=([^,]+)", options)[1]
    if name == "gw.qmp":
        return f"socket,id={name},path={places.qmp},server=on,wait=off"
    if name == "gw.serial0.char":
        return f"file,id={name},path={places.console}"
    raise UnknownCommandLine(f"-chardev {options}")


def _replace(option: str, value: str, places: Places) -> str:
    match option:
        case "-kernel":
            return str(places.kernel)
        case "-initrd":
            return str(places.initrd)
        case "-chardev":
            return _chardev(value, places)
        case "-netdev":
            replaced, n = re.subn(r"\bfd=\d+", f"ifname={places.tap},script=no,downscript=no", value)
            if n != 1:
                raise UnknownCommandLine(f"-netdev {value}")
            return replaced
        case "-object" if '"memory-backend-file"' in value:
            backend = json.loads(value)
            backend["mem-path"] = f"/proc/self/fd/{places.memory_fd}"
            return json.dumps(backend)
    return value


def rewrite(godwit: list[str], binary: Path, places: Places, incoming: bool) -> list[str]:
    """A destination has no -S, which would leave it paused, and waits for an address."""
    words = [str(binary)]
    replaced = set()
    i = 1
    while i < len(godwit):
        option = godwit[i]
        i += 1
        if option == "-S":
            if not incoming:
                words.append(option)
            continue
        if i >= len(godwit):
            raise UnknownCommandLine(f"{option} has no value")
        value = godwit[i]
        i += 1
        if option == "-incoming":
            raise UnknownCommandLine("the model is a destination")
        new = _replace(option, value, places)
        if new != value:
            replaced.add(option)
        words += [option, new]
    missing = {"-kernel", "-initrd", "-chardev", "-netdev", "-object"} - replaced
    if missing:
        raise UnknownCommandLine(f"no {', '.join(sorted(missing))} in godwit's command line")
    left = [word for word in words if re.search(r"/proc/self/fd/(?!%d\b)|\bfd=\d" % places.memory_fd, word)]
    if left:
        raise UnknownCommandLine(f"a descriptor of godwit's is left: {left[0]}")
    return words + (["-incoming", "defer"] if incoming else [])
