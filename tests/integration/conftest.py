# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the integration tests share: a lab, VMs in it, and that nothing is left when they are done."""

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "lab"))

from labkit.guest import Guest  # noqa: E402
from labkit.lab import Lab, remove  # noqa: E402
from labkit.vm import GODWIT_VM, IMAGE_DIR, Vm, config  # noqa: E402
from motion_rig import Rig  # noqa: E402


def pytest_collection_modifyitems(items):
    """Says why, where this machine cannot run a test at all."""
    reasons = [
        (os.geteuid() != 0, "needs root for network namespaces"),
        (not Path("/dev/net/tun").exists(), "needs /dev/net/tun"),
        (shutil.which("qemu-system-x86_64") is None, "needs qemu-system-x86_64"),
    ]
    for condition, reason in reasons:
        if condition:
            for item in items:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def lab(request):
    """A lab of two hosts for the tests of one file, which may name its MOTION_LINKS."""
    assert GODWIT_VM.exists(), f"{GODWIT_VM} is not built"
    assert (IMAGE_DIR / "vmlinuz").exists(), f"no guest image in {IMAGE_DIR}: 'make image' builds it"
    name = f"t-{os.getpid()}"
    remove(name)
    with Lab.up(name, hosts=2, motion_links=getattr(request.module, "MOTION_LINKS", 1)) as up:
        yield up


@pytest.fixture(scope="module")
def host(lab):
    return lab.host("host1")


class VmFactory:
    """Starts VMs that end with the test."""

    def __init__(self, lab, directory):
        self.lab = lab
        self.directory = directory
        self.vms = []
        self.guests = 0

    def guest(self, name, **work):
        self.guests += 1
        return Guest(number=20 + self.guests, name=name, **work)

    def start(self, document, *options, host="host1", **kwargs):
        vm = Vm.start(self.lab.host(host), document, self.directory, *options, **kwargs)
        self.vms.append(vm)
        return vm

    def start_guest(self, guest, *options, **changes):
        """Starts a VM that runs the lab's guest, and waits until it is ready."""
        vm = self.start(config(guest, **changes), *options)
        vm.wait_ready()
        return vm

    def close(self):
        for vm in self.vms:
            vm.remove()


@pytest.fixture(scope="module")
def module_vms(lab, tmp_path_factory):
    """For a guest that the tests of a file share."""
    factory = VmFactory(lab, tmp_path_factory.mktemp("vms"))
    yield factory
    factory.close()


@pytest.fixture
def vms(lab, tmp_path):
    factory = VmFactory(lab, tmp_path)
    factory.guests = 100
    yield factory
    factory.close()


@pytest.fixture(scope="module")
def rig(lab, tmp_path_factory):
    """Both hosts ready for motions, for the tests of a file; nothing of them may be left in the end."""
    up = Rig(lab, tmp_path_factory.mktemp("rig"))
    yield up
    up.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A test of motions that failed tells what there was on both hosts."""
    outcome = yield
    rig = getattr(item, "funcargs", {}).get("rig")
    if rig and call.when == "call" and call.excinfo is not None:
        outcome.get_result().sections.append(("hosts", rig.describe()))
