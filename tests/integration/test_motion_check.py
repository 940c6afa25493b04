# SPDX-License-Identifier: LGPL-2.1-or-later
"""The check before a motion against a real QEMU: nothing to say of a guest as godwit starts it, and what another
process does with its memory is found."""

import json
import mmap
import os
import subprocess

import pytest
from labkit.vm import BUILD, config

CHECK_GUEST = BUILD / "tests/integration/check-guest"
# What this machine keeps from everybody has nothing to do with the guest.
OF_THE_HOST = {"motion.memory.unseen"}


@pytest.fixture(scope="module")
def vm(module_vms):
    """3.5 GiB: above what fits below the hole for PCI, so the guest sees its memory in two pieces."""
    guest = module_vms.guest("checked", memory="ws=1M,rate=0")
    return module_vms.start_guest(guest, memory_mib=3584)


def findings(vm, tmp_path):
    document = tmp_path / "config.json"
    document.write_text(json.dumps(vm.call("GET", "/v1/config")))
    done = subprocess.run([CHECK_GUEST, str(vm.qemu_pid()), document], stdout=subprocess.PIPE, text=True, check=True)
    return [finding for finding in json.loads(done.stdout) if finding["id"] not in OF_THE_HOST]


def map_memory(vm, protection):
    fd = vm.memory_fd()
    mapped = mmap.mmap(fd, 1 << 20, mmap.MAP_SHARED, protection)
    os.close(fd)
    return mapped


def test_nothing_to_say_of_a_guest_as_it_is(vm, tmp_path):
    assert findings(vm, tmp_path) == []


def test_also_while_it_is_traced(vm, tmp_path):
    vm.call("POST", "/v1/trace")
    try:
        assert findings(vm, tmp_path) == []
    finally:
        vm.call("DELETE", "/v1/trace")


@pytest.mark.parametrize(
    ("protection", "found"),
    [
        (mmap.PROT_READ | mmap.PROT_WRITE, ("motion.memory.foreign-mapping", "error")),
        (mmap.PROT_READ, ("motion.memory.foreign-reader", "warning")),
    ],
)
def test_this_process_maps_the_memory(vm, tmp_path, protection, found):
    mapped = map_memory(vm, protection)
    try:
        (finding,) = findings(vm, tmp_path)
    finally:
        mapped.close()
    assert (finding["id"], finding["severity"]) == found
    assert f"process {os.getpid()} " in finding["text"]
    assert findings(vm, tmp_path) == []


def test_also_after_an_adoption(vm, tmp_path):
    vm.kill_supervisor()
    vm.adopt()
    assert findings(vm, tmp_path) == []
