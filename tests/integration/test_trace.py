# SPDX-License-Identifier: LGPL-2.1-or-later
"""The trace against the truth: what PAGEMAP_SCAN reports of a guest is what its writer wrote, no page more or less."""

import mmap
import os
import random
import time

import pytest
from labkit.guest import MEMORY_PORT
from labkit.vm import ApiError

PAGE = 4096
MAGIC = b"GWVPAGE1"  # the layout is in lab/guest/workload/verified-page.h
WORKING_SET_PAGES = 4096


@pytest.fixture(scope="module")
def paused_writer(lab, module_vms):
    """A guest whose memory writer writes only when it is told to."""
    guest = module_vms.guest("traced", memory=f"ws={WORKING_SET_PAGES * PAGE},rate=0,fill=random")
    vm = module_vms.start_guest(guest)
    guest.ask(lab, MEMORY_PORT, "pause")
    return guest, vm


class GuestMemory:
    """The memory file, and the writer's pages in it."""

    def __init__(self, vm):
        fd = vm.memory_fd()
        self.map = mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        os.close(fd)

    def pages(self):
        """page number -> (offset in the memory file, generation), of every page that the writer owns."""
        found = {}
        for offset in range(0, len(self.map), PAGE):
            if self.map[offset : offset + 8] == MAGIC:
                number = int.from_bytes(self.map[offset + 16 : offset + 24], "little")
                generation = int.from_bytes(self.map[offset + 24 : offset + 32], "little")
                if number not in found or found[number][1] < generation:
                    found[number] = (offset, generation)
        return found

    def close(self):
        self.map.close()


@pytest.fixture
def memory(paused_writer):
    opened = GuestMemory(paused_writer[1])
    yield opened
    opened.close()


def scanned_pages(vm):
    """Offsets of the pages that were written since the last scan."""
    result = vm.call("POST", "/v1/trace/scan")
    assert result["runs_total"] == len(result["runs"]), "the list was cut short"
    pages = {offset for start, size in result["runs"] for offset in range(start, start + size, PAGE)}
    assert len(pages) * PAGE == result["written_bytes"]
    return pages


def test_the_trace_finds_exactly_the_pages_that_the_writer_wrote(lab, paused_writer, memory):
    guest, vm = paused_writer
    before = memory.pages()
    assert len(before) == WORKING_SET_PAGES
    ours = {offset for offset, _ in before.values()}
    vm.call("POST", "/v1/trace")
    rng = random.Random(7)
    try:
        scanned_pages(vm)
        for _ in range(20):
            first = rng.randrange(WORKING_SET_PAGES - 64)
            count = rng.randrange(1, 64)
            guest.ask(lab, MEMORY_PORT, f"write {first} {count}")
            traced = scanned_pages(vm) & ours

            after = memory.pages()
            written = {number for number in after if after[number][1] != before[number][1]}
            assert written == set(range(first, first + count)), "the writer did something else than it was told"
            assert traced == {after[number][0] for number in written}
            before = after
    finally:
        vm.call("DELETE", "/v1/trace")


def test_reading_is_not_writing(lab, paused_writer, memory):
    guest, vm = paused_writer
    ours = {offset for offset, _ in memory.pages().values()}
    vm.call("POST", "/v1/trace")
    try:
        scanned_pages(vm)
        assert guest.ask(lab, MEMORY_PORT, "verify")["wrong"] == 0
        assert not scanned_pages(vm) & ours
    finally:
        vm.call("DELETE", "/v1/trace")


def test_the_trace_loses_nothing_of_a_fast_writer(lab, paused_writer, memory):
    """Scans run against a writer at full tilt. Once it is still, each page must have been read, after a scan that reported
    it, in the generation that it has in the end: had a write been lost, an older one would stand there."""
    guest, vm = paused_writer
    ours = {offset for offset, _ in memory.pages().values()}
    seen = {}
    scans = 0
    deadline = time.monotonic() + 30
    vm.call("POST", "/v1/trace")
    try:
        guest.ask(lab, MEMORY_PORT, "rate 100M")
        guest.ask(lab, MEMORY_PORT, "resume")
        # Every page at least once, and most of them often.
        while (scans < 200 or not ours <= set(seen)) and time.monotonic() < deadline:
            scans += 1
            # Read after the scan: it is this generation or a later one, whose write is in a later scan.
            for offset in scanned_pages(vm) & ours:
                seen[offset] = memory.map[offset + 24 : offset + 32]
        guest.ask(lab, MEMORY_PORT, "pause")
        for offset in scanned_pages(vm) & ours:
            seen[offset] = memory.map[offset + 24 : offset + 32]
        assert ours == set(seen), "the writer did not come round to every page"
        stale = [
            number
            for number, (offset, generation) in memory.pages().items()
            if int.from_bytes(seen[offset], "little") != generation
        ]
        assert stale == []
    finally:
        vm.call("DELETE", "/v1/trace")
        guest.ask(lab, MEMORY_PORT, "rate 0")


def test_a_page_corrupted_through_the_memory_file_is_found_and_named(lab, paused_writer, memory):
    guest, vm = paused_writer
    number, (offset, _) = random.Random(3).choice(sorted(memory.pages().items()))
    assert guest.ask(lab, MEMORY_PORT, "verify")["wrong"] == 0
    byte = memory.map[offset + 1000]
    memory.map[offset + 1000] = byte ^ 0x10
    assert guest.ask(lab, MEMORY_PORT, "verify")["wrong"] == 1
    vm.wait_for_console(f"GODWIT-WRONG memory area=ws page={number} what=corrupt")
    memory.map[offset + 1000] = byte
    assert guest.ask(lab, MEMORY_PORT, "verify")["wrong"] == 0


def test_the_trace_says_when_it_cannot(paused_writer):
    _, vm = paused_writer
    with pytest.raises(ApiError) as error:
        vm.call("POST", "/v1/trace/scan")
    assert error.value.code == "wrong-state"
    vm.call("POST", "/v1/trace")
    with pytest.raises(ApiError) as error:
        vm.call("POST", "/v1/trace")
    assert error.value.code == "wrong-state"
    vm.call("DELETE", "/v1/trace")
