# SPDX-License-Identifier: LGPL-2.1-or-later
"""Motions between QEMUs of several versions: the same one at both ends, and from an older to a newer with one version of
the machine. The newer QEMU is that of the distribution's backports suite, unpacked and not installed."""

import sys
from pathlib import Path

import pytest
from labkit import motion
from labkit.vm import BUILD, QEMU

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from benchkit import peer  # noqa: E402


@pytest.fixture(scope="module")
def newer():
    """A QEMU of version 10 or newer."""
    if peer.installed(QEMU).major >= 10:
        return QEMU
    try:
        output = BUILD / "bench"
        output.mkdir(parents=True, exist_ok=True)
        return str(peer.unpack(output).path)
    except peer.PeerError as error:
        pytest.skip(f"no QEMU 10 is to be had here: {error}")


def boot(rig, name, qemu):
    guest = rig.guest(name, memory="ws=16M,rate=20M,fill=random", disk="dev=/dev/vda,ws=4M,rate=1M")
    vm = rig.boot(guest, qemu=qemu, disks=[rig.disk(f"{name}.raw")])
    return guest, vm


def test_the_newer_qemu_at_both_ends(rig, newer):
    guest, vm = boot(rig, "new-new", newer)
    for _ in range(4):
        vm, result = rig.move(vm, qemu=newer)
        assert vm.status()["qemu"]["version"].startswith("1")
        assert result["pages_resent"] > 0
        rig.check_memory(guest)
    rig.check_it_can_end(vm)


def test_from_the_older_to_the_newer_qemu_with_one_machine_version(rig, newer):
    if newer == QEMU:
        pytest.skip("the installed QEMU is the newer one already")
    guest, vm = boot(rig, "old-new", QEMU)
    assert vm.status()["qemu"]["version"].startswith("7.")
    vm, _ = rig.move(vm, qemu=newer)
    assert vm.status()["qemu"]["version"].startswith("1")
    rig.check_memory(guest)
    # And on, where it is now at home.
    vm, _ = rig.move(vm, qemu=newer)
    rig.check_memory(guest)
