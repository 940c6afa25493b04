# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest under KVM, and the same under TCG: it runs, it is paused, its writes are traced, and it moves, with its memory and
the state of its CPU as they were. It is the tiny guest (lab/guest/tiny), which any KVM can run."""

import os
import random
import re
import subprocess
import time
from pathlib import Path

import pytest
from labkit import motion, tiny
from labkit.tiny import PAGE, TinyMemory
from labkit.vm import wait_until

N_MOTIONS = 20


def why_no_kvm():
    """An empty text if KVM can be used."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    return ""


@pytest.fixture(
    params=[pytest.param("kvm", marks=pytest.mark.skipif(bool(why_no_kvm()), reason=why_no_kvm() or "KVM")), "tcg"]
)
def accel(request):
    return request.param


@pytest.fixture
def options():
    """Who may open /dev/kvm is this machine's own affair; with its usual owners QEMU's user is in the group kvm."""
    mode = Path("/dev/kvm").stat().st_mode if Path("/dev/kvm").exists() else 0o666
    return () if mode & 0o006 == 0o006 else ("--qemu-user", "root")


@pytest.fixture
def guest(vms, accel, options):
    """A running tiny guest and where its pages are."""
    assert tiny.IMAGE.exists(), f"no {tiny.IMAGE}: 'make image' builds it"
    vm = vms.start(tiny.document("tiny", accel), *options)
    return vm, TinyMemory.of(vm)


def assert_all_is_well(vm, answer):
    assert tiny.wrong_lines(vm) == []
    assert (answer["wrong"], answer["state-wrong"]) == (0, 0)
    assert answer["verified"] > 0 and answer["state-checks"] > 0


def wait_for_writes(vm):
    """Until it has written some hundred pages more; what it says then."""
    start = tiny.command(vm, "s")["written"]
    return wait_until(
        lambda: (answer := tiny.command(vm, "s"))["written"] > start + 500 and answer, 30, "the guest to write"
    )


def test_it_runs_and_finds_nothing_wrong(guest, accel):
    vm, _ = guest
    assert vm.status()["qemu"]["accel"] == accel
    answer = wait_for_writes(vm)
    assert_all_is_well(vm, answer)
    swept = tiny.command(vm, "v")
    assert_all_is_well(vm, swept)
    assert swept["ticks"] > answer["ticks"] and swept["tsc"] > answer["tsc"]


def test_pausing_stops_it_and_it_goes_on_where_it_was(guest):
    vm, memory = guest
    with memory.view(vm) as view:
        for _ in range(10):
            vm.power("pause")
            before = view.map[:]
            time.sleep(0.05)
            assert view.map[:] == before, "a paused guest wrote"
            vm.power("resume")
            answer = wait_for_writes(vm)
            assert_all_is_well(vm, answer)


def test_the_trace_finds_exactly_the_pages_that_it_wrote(guest):
    vm, memory = guest
    vm.call("POST", "/v1/trace")
    with memory.view(vm) as view:
        for _ in range(10):
            vm.power("pause")
            scanned_pages(vm)
            before = view.pages()
            vm.power("resume")
            wait_for_writes(vm)
            vm.power("pause")
            scanned = scanned_pages(vm)
            changed = {view.offset(number) for number, page in enumerate(view.pages()) if page != before[number]}
            assert len(changed) > 100
            pages = range(view.offset(0), view.offset(memory.n_pages), PAGE)
            written = {offset for offset in scanned if offset in pages}
            # One it may have been about to fill when it was paused: opened, and nothing changed in it yet.
            assert written >= changed and len(written - changed) <= 1
            vm.power("resume")
    vm.call("DELETE", "/v1/trace")
    assert_all_is_well(vm, tiny.command(vm, "v"))


def test_the_trace_loses_no_write_of_a_running_guest(guest):
    """Each page is read once, and again whenever a scan has reported it. Once the guest is still, what was read last is
    what stands there: else a write was lost."""
    vm, memory = guest
    start = tiny.command(vm, "s")["written"]
    vm.call("POST", "/v1/trace")
    n_reported = 0
    with memory.view(vm) as view:
        numbers = {view.offset(number): number for number in range(memory.n_pages)}
        read = dict(enumerate(view.pages()))

        def read_what_is_reported():
            reported = [numbers[offset] for offset in scanned_pages(vm) if offset in numbers]
            read.update((number, view.page(number)) for number in reported)
            return len(reported)

        deadline = time.monotonic() + 60
        while n_reported < 1000 and time.monotonic() < deadline:
            n_reported += read_what_is_reported()
        answer = tiny.command(vm, "q")
        n_reported += read_what_is_reported()
        assert n_reported >= 1000 and answer["written"] - start >= 1000
        assert [number for number in read if read[number] != view.page(number)] == []
    vm.call("DELETE", "/v1/trace")


def scanned_pages(vm):
    """Offsets of the pages that were written since the last scan."""
    result = vm.call("POST", "/v1/trace/scan")
    assert result["runs_total"] == len(result["runs"]), "the list was cut short"
    return {offset for start, size in result["runs"] for offset in range(start, start + size, PAGE)}


def test_it_finds_a_page_that_is_damaged_and_one_that_is_old(guest):
    vm, memory = guest
    number = random.Random(5).randrange(memory.n_pages)
    with memory.view(vm) as view:
        tiny.command(vm, "q")
        assert view.wrong_pages() == []
        old, generation = view.page(number), view.generations()[number]
        view.map[view.offset(number) + 2000] ^= 1
        assert view.wrong_pages() == [f"page {number}: corrupt, expected {generation}, found {generation}"]
        assert tiny.command(vm, "v")["wrong"] == 1
        assert f"page={number} what=corrupt" in tiny.wrong_lines(vm)[0]
        assert view.page(number) == old, "it writes a wrong page anew"

        tiny.command(vm, "g")
        wait_until(lambda: view.generations()[number] > generation, 60, f"page {number} to be written")
        tiny.command(vm, "q")
        view.map[view.offset(number) : view.offset(number) + PAGE] = old
        newest = view.generations()[number]
        assert view.wrong_pages() == [f"page {number}: stale, expected {newest}, found {generation}"]
        assert tiny.command(vm, "v")["wrong"] == 2
        assert f"page={number} what=stale" in tiny.wrong_lines(vm)[1]


def test_it_finds_registers_that_are_not_what_they_were(guest):
    """Registers cannot be reached from here, but the words that they are compared with can."""
    vm, memory = guest
    canaries = symbol("gw_tiny_canaries")
    with memory.view(vm) as view:

        def disturb():
            # It waits most of the time; where it does not, these words are about to be replaced.
            vm.power("pause")
            view.map[canaries] ^= 1
            vm.power("resume")
            return tiny.command(vm, "s")["state-wrong"]

        assert wait_until(disturb, 30, "a wrong register to be found") == 1
    # Its first word is in rbx (bit 0) and xmm0 (bit 16).
    assert "state what=registers expected=0 found=10001" in tiny.wrong_lines(vm)[0]


def symbol(name):
    """Its address in the guest's image, and thus in its memory."""
    listing = subprocess.run(["nm", tiny.IMAGE], check=True, capture_output=True, text=True).stdout
    return int(re.search(rf"^([0-9a-f]+) \w {name}$", listing, re.MULTILINE)[1], 16)


@pytest.mark.timeout(600)
def test_it_moves_twenty_times(lab, vms, guest, options):
    vm, memory = guest
    last = tiny.command(vm, "s")
    n_found_later = 0
    for i in range(N_MOTIONS):
        to = lab.host(("host2", "host1")[i % 2])
        vm, result = motion.move(vm, to, vms.directory, tls=False, options=options)
        vms.vms.append(vm)
        assert result["state"] == "completed"
        n_found_later += sum(entry["found_pages"] for entry in result["rounds"][1:])
        answer = wait_for_writes(vm)
        assert_all_is_well(vm, answer)
        for what in ("ticks", "tsc", "written", "verified", "state-checks"):
            assert answer[what] > last[what], f"{what} went back in motion {i + 1}"
        last = answer
    assert n_found_later > 0, "no motion saw a page written twice: the guest stood still"

    tiny.command(vm, "q")
    answer = tiny.command(vm, "v")
    assert_all_is_well(vm, answer)
    vm.power("pause")
    with memory.view(vm) as view:
        assert view.wrong_pages() == []
        assert sum(view.generations()) - memory.n_pages == answer["written"]
