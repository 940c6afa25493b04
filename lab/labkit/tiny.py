# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tiny guest (lab/guest/tiny): its configuration, its commands, and its memory seen from outside."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import uuid
from dataclasses import dataclass, field

from .errors import LabError
from .vm import BUILD, IMAGE_DIR, Vm, wait_until

PAGE = 4096
IMAGE = IMAGE_DIR / "tiny.elf"

# What lab/guest/workload/verified-page.h declares.
_VERDICTS = ("ok", "wrong-magic", "wrong-region", "wrong-number", "stale", "future", "torn", "corrupt")


class _Region(ctypes.Structure):
    _fields_ = [("region_id", ctypes.c_uint64), ("seed", ctypes.c_uint64), ("fill", ctypes.c_int)]


class _Finding(ctypes.Structure):
    _fields_ = [("verdict", ctypes.c_int), ("bad_word", ctypes.c_uint), ("generation", ctypes.c_uint64)]


def _load_verifier():
    library = ctypes.CDLL(str(BUILD / "lab/guest/workload/libgw-verified-page.so"))
    verify = library.gw_verified_page_verify
    verify.restype = _Finding
    verify.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Region), ctypes.c_uint64, ctypes.c_uint64]
    return verify


def document(name: str, accel: str, *, memory: str = "ws=32M,rate=20M", **changes) -> dict:
    """A VM's configuration that runs the tiny guest."""
    result = {
        "name": name,
        "uuid": str(uuid.uuid4()),
        "machine": "pc-i440fx-7.2",
        "vcpus": 1,
        "cpu_model": "qemu64",
        "memory_mib": 128,
        "accel": accel,
        "boot": {
            "kind": "kernel",
            "kernel": {"datastore": "image", "path": IMAGE.name},
            "command_line": f"gw.mem={memory}",
        },
    }
    return {key: value for key, value in {**result, **changes}.items() if value is not None}


def wrong_lines(vm: Vm) -> list[str]:
    """What the guest has complained of on this supervisor's console."""
    return [line for line in vm.console().splitlines() if "GODWIT-WRONG" in line]


def command(vm: Vm, letter: str, timeout_s: float = 30) -> dict[str, int]:
    """One command (lab/guest/README.md), and the numbers of its answer."""
    before = len(_answers(vm))
    # The API types bytes as they are.
    vm.request("POST", "/v1/console/0", raw=letter.encode())
    answers = wait_until(lambda: _answers(vm)[before:], timeout_s, f"{vm.name}'s answer to '{letter}'")
    return {name: int(value) for name, value in re.findall(r"([a-z-]+)=([0-9]+)", answers[0])}


def _answers(vm: Vm) -> list[str]:
    return [line for line in re.findall(r"TINY [^\r\n]*\r\n", vm.console()) if not line.startswith("TINY status")]


@dataclass
class TinyMemory:
    """Where the guest's pages are; what it said of that when it was ready. The same wherever it runs."""

    n_pages: int
    pages_at: int
    generations_at: int
    region: _Region = field(repr=False)

    @staticmethod
    def of(vm: Vm, timeout_s: float = 60) -> TinyMemory:
        """Waits until it is ready."""
        pattern = r"GODWIT-GUEST-READY name=tiny pages=(\d+) at=(\w+) generations=(\w+) region=(\w+) seed=(\d+) rate=\d+\r\n"
        try:
            found = wait_until(lambda: re.search(pattern, vm.console()), timeout_s, f"{vm.name} to be ready")
        except LabError as error:
            raise LabError(f"{error}; its console: {vm.console()[-500:]!r}") from None
        region = _Region(int(found[4], 16), int(found[5]), 0)
        return TinyMemory(int(found[1]), int(found[2], 16), int(found[3], 16), region)

    def view(self, vm: Vm) -> TinyView:
        return TinyView(self, vm)


class TinyView:
    """The memory of a guest at one host, mapped. Low memory: an address of the guest is an offset in its file."""

    def __init__(self, memory: TinyMemory, vm: Vm) -> None:
        self.memory = memory
        fd = vm.memory_fd()
        self.map = mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        os.close(fd)

    def offset(self, page_no: int) -> int:
        return self.memory.pages_at + page_no * PAGE

    def page(self, page_no: int) -> bytes:
        return self.map[self.offset(page_no) : self.offset(page_no) + PAGE]

    def pages(self) -> list[bytes]:
        return [self.page(page_no) for page_no in range(self.memory.n_pages)]

    def generations(self) -> list[int]:
        """What the guest believes of each page."""
        start = self.memory.generations_at
        table = self.map[start : start + 4 * self.memory.n_pages]
        return list(memoryview(table).cast("I"))

    def wrong_pages(self) -> list[str]:
        """Each page compared in full with what it must be; the guest is still meanwhile, and not half way in a page."""
        verify = _load_verifier()
        found = []
        for page_no, generation in enumerate(self.generations()):
            buffer = ctypes.create_string_buffer(self.page(page_no), PAGE)
            finding = verify(buffer, ctypes.byref(self.memory.region), page_no, generation)
            if finding.verdict:
                what = _VERDICTS[finding.verdict]
                found.append(f"page {page_no}: {what}, expected {generation}, found {finding.generation}")
        return found

    def close(self) -> None:
        self.map.close()

    def __enter__(self) -> TinyView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
