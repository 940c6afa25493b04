# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the integration tests share: a lab, VMs in it, and that nothing is left when they are done."""

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "lab"))

from labkit.cluster import Cluster  # noqa: E402
from labkit.guest import Guest  # noqa: E402
from labkit.lab import Lab, remove  # noqa: E402
from labkit.vm import GODWIT_VM, IMAGE_DIR, Vm, config  # noqa: E402
from motion_rig import Rig, taps  # noqa: E402


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
    """A lab for the tests of one file, which may name its HOSTS (two) and MOTION_LINKS (one)."""
    assert GODWIT_VM.exists(), f"{GODWIT_VM} is not built"
    assert (IMAGE_DIR / "vmlinuz").exists(), f"no guest image in {IMAGE_DIR}: 'make image' builds it"
    name = f"t-{os.getpid()}"
    remove(name)
    hosts, links = (getattr(request.module, what, n) for what, n in (("HOSTS", 2), ("MOTION_LINKS", 1)))
    with Lab.up(name, hosts=hosts, motion_links=links) as up:
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


@pytest.fixture(scope="module")
def cluster(lab, tmp_path_factory):
    """A center and an agent on each host of the lab, for the tests of a file."""
    up = Cluster(lab, tmp_path_factory.mktemp("cluster"))
    try:
        yield up.up()
    finally:
        up.close()
    for host in lab.hosts:
        vms = host.runtime_dir / "vms"
        assert not vms.exists() or list(vms.iterdir()) == [], "a VM's directory is left"
        assert taps(host) == [], "a TAP is left"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A test of motions that failed tells what there was on the hosts."""
    outcome = yield
    setattr(item, f"rep_{call.when}", outcome.get_result())
    if call.when != "call" or call.excinfo is None:
        return
    for name in ("rig", "cluster"):
        if fixture := getattr(item, "funcargs", {}).get(name):
            outcome.get_result().sections.append((name, fixture.describe()))
