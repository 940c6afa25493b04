# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks before a motion, each with its condition made for real: CPU, QEMU (an older one at the destination), and what only
the supervisor sees (a QEMU with more in it than a VM of godwit has). And that no check is without a test."""

import mmap
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import checks_rig
import pytest
import test_cluster_checks
import test_cluster_checks_storage
from checks_rig import checks, documented, every_id_is_found_and_gone  # noqa: F401
from labkit.vm import BUILD, QEMU, wait_until

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from benchkit import peer  # noqa: E402

# What no lab without such hardware, kernels or QEMUs can have; the rules are tested in tests/unit.
NOT_MADE_HERE = {
    "motion.cpu.pmu": "counters are a matter of KVM, and of hosts with different CPUs: these are one machine",
    "motion.trace.unavailable": "a VM whose userfaultfd is not handed over does not start",
    "motion.qemu.unasked": "the supervisor's check fails as a whole if QEMU does not answer",
    "motion.qemu.capability": "needs a QEMU older than 7.2, which no host takes",
    "motion.disk.direct-io": "every QEMU that we start has the library that touches what O_DIRECT has read",
    "motion.disk.unseen": "needs VFIO hardware (nvme://) or a QEMU with libblkio",
    "motion.memory.confidential": "needs SEV or TDX hardware",
    "motion.memory.huge-pages": "supervisors give no hugetlb memory",
}


def makes(module) -> set[str]:
    marks = [mark for test in vars(module).values() for mark in getattr(test, "pytestmark", [])]
    return {name for mark in marks if mark.name == "makes" for name in mark.args}


def test_every_check_has_a_test_or_a_reason():
    modules = (test_cluster_checks, test_cluster_checks_storage, sys.modules[__name__])
    tested = set().union(*map(makes, modules))
    assert tested & set(NOT_MADE_HERE) == set()
    assert tested | set(NOT_MADE_HERE) == set(documented())


def use_qemu(checks, host, path):
    return checks.reconfigured(host, {"host": {**checks.cluster.agents[host].sections["host"], "qemu": str(path)}})


# -- what a configuration says


@pytest.mark.makes("motion.cpu.pinned")
def test_pinned_vcpus(checks):
    """By number, which may be overridden; or taken out."""
    with checks.guest("pinned", pinning=[[0]]) as vm:
        finding = checks.find(vm, "motion.cpu.pinned", "1 of 1 vCPUs are pinned", "host1", "/pinning", "host2")
        assert 'take "pinning" out' in finding["repair"]
        checks.assert_printed(vm, finding)
        checks.assert_refused(vm, "motion.cpu.pinned")
        checks.assert_moves(vm, "host2", "--override", "motion.cpu.pinned")
        checks.assert_moves(vm, "host1", "--override", "motion.cpu.pinned")
        checks.give_other_config(finding, vm, pinning=None)
        checks.assert_gone(vm, "motion.cpu.pinned")
        checks.assert_moves(vm)


@pytest.mark.makes("motion.cpu.pinned-missing")
def test_pinned_to_cpus_that_no_host_has(checks):
    """It cannot start, here or there: a configuration that came from a larger host."""
    n_cpus = os.cpu_count() or 1
    with checks.guest("far", start=False, pinning=[[n_cpus + 5]]) as vm:
        finding = checks.find(vm, "motion.cpu.pinned-missing", "vCPU 0", "/pinning/0", f"{n_cpus + 5}", "host2")
        assert finding["destination"] == f"{n_cpus} CPUs"
        checks.give_other_config(finding, vm, pinning=[[0]])
        checks.assert_gone(vm, "motion.cpu.pinned-missing")


@pytest.mark.makes("motion.accel.different", "motion.cpu.nested")
def test_a_vm_that_insists_on_kvm_and_nests(checks):
    """It is off: these hosts have no KVM for QEMU's user."""
    if checks.cluster.json("host", "show", "host2")["facts"]["qemu"]["accel"] == "kvm":
        pytest.skip("the hosts have KVM")
    with checks.guest("nested", start=False, accel="kvm", cpu_model="qemu64,+vmx") as vm:
        finding = checks.find(vm, "motion.cpu.nested", "'qemu64,+vmx'", "/cpu_model", "vmx")
        assert '"cpu_model": "qemu64,+vmx,-vmx,-svm"' in finding["repair"]
        finding = checks.find(vm, "motion.accel.different", "KVM", "/accel", "host2")
        assert (finding["source"], finding["destination"]) == ("KVM", "TCG (emulation)")
        assert "kvm_intel" in finding["repair"]  # or another accelerator, which is the one that can be had here:
        export = checks.find(vm, "motion.cpu.nested")
        checks.give_other_config(export, vm, accel="tcg", cpu_model="qemu64,-vmx,-svm")
        checks.assert_gone(vm, "motion.cpu.nested")
        checks.assert_gone(vm, "motion.accel.different")


# -- an older QEMU at the destination


@pytest.fixture(scope="module")
def newer():
    """A QEMU of version 10 or newer, where the installed one is older."""
    if peer.installed(QEMU).major >= 10:
        pytest.skip("the installed QEMU is new already, and there is no older one")
    try:
        output = BUILD / "bench"
        output.mkdir(parents=True, exist_ok=True)
        return peer.unpack(output).path
    except peer.PeerError as error:
        pytest.skip(f"no QEMU 10 is to be had here: {error}")


@pytest.fixture
def new_to_old(checks, newer):
    """host1 has the newer one."""
    with use_qemu(checks, "host1", newer):
        yield newer


@pytest.mark.makes("motion.qemu.machine", "motion.qemu.older")
def test_the_destinations_qemu_is_older(checks, new_to_old):
    with checks.guest("modern", machine="pc-i440fx-10.0") as vm:
        finding = checks.find(vm, "motion.qemu.machine", "host2", "7.2", "pc-i440fx-10.0", "/machine")
        assert finding["source"].startswith("QEMU 10") and finding["destination"].startswith("QEMU 7.2")
        checks.assert_refused(vm, "motion.qemu.machine")
        older = checks.find(vm, "motion.qemu.older", "host2 has QEMU 7.2", "10.0")
        assert "install QEMU 10" in older["repair"] and older["override"] == "allowed"
        checks.assert_refused(vm, "motion.qemu.older")
        with use_qemu(checks, "host2", new_to_old):  # installed, as told
            checks.assert_gone(vm, "motion.qemu.machine")
            checks.assert_gone(vm, "motion.qemu.older")
            checks.assert_moves(vm)


@pytest.mark.makes("motion.cpu.model")
def test_the_destinations_qemu_does_not_know_the_model(checks, new_to_old):
    with checks.guest("granite", cpu_model="GraniteRapids-v1") as vm:
        finding = checks.find(vm, "motion.cpu.model", "host2", "'GraniteRapids-v1'", "/cpu_model", "7.2")
        assert finding["source"].startswith("QEMU 10") and "install the QEMU of host1" in finding["repair"]
        checks.assert_refused(vm, "motion.cpu.model")
        with use_qemu(checks, "host2", new_to_old):
            checks.assert_gone(vm, "motion.cpu.model")
            checks.assert_moves(vm)


@pytest.mark.makes("motion.cpu.features")
def test_the_destination_lacks_features_of_the_model(checks, new_to_old):
    """The newer QEMU emulates SHA-NI, the older does not."""
    with checks.guest("epyc", cpu_model="EPYC-v1") as vm:
        finding = checks.find(vm, "motion.cpu.features", "'EPYC-v1'", "/cpu_model", "host1", "host2", "sha-ni")
        assert "emulated by QEMU 10" in finding["source"] and "emulated by QEMU 7.2" in finding["destination"]
        checks.assert_refused(vm, "motion.cpu.features")
        wanted = finding["repair"].partition('"cpu_model": "')[2].partition('"')[0]
        assert wanted.startswith("EPYC-v1,-")
        checks.give_other_config(finding, vm, cpu_model=wanted)
        checks.assert_gone(vm, "motion.cpu.features")


@pytest.mark.makes("motion.cpu.host-model", "motion.cpu.host-dependent")
def test_a_model_that_is_another_one_with_each_qemu(checks, new_to_old, newer):
    with checks.guest("maximal", cpu_model="max") as vm:
        finding = checks.find(vm, "motion.cpu.host-model", "'max'", "/cpu_model", "host1", "host2", "sha-ni")
        checks.find(vm, "motion.cpu.host-dependent", "'max'", "QEMU versions are not known to be the same")
        checks.assert_refused(vm, "motion.cpu.host-model")
        checks.give_other_config(finding, vm, cpu_model="qemu64")
        checks.assert_gone(vm, "motion.cpu.host-model")
        checks.assert_gone(vm, "motion.cpu.host-dependent")


# -- what only the supervisor sees


@pytest.fixture(scope="module")
def place():
    """A directory that QEMU's user can read."""
    directory = Path(tempfile.mkdtemp(prefix="godwit-checks-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@contextmanager
def guest_with(checks, place, name, *options):
    """A VM whose QEMU got these options besides."""
    program = place / f"qemu-{name}"
    shutil.copy(BUILD / "tests/integration/qemu-with-more", program)
    program.with_name(f"{program.name}.args").write_text("\n".join((QEMU, *options)) + "\n")
    with checks.guest(name, start=False) as vm:
        with use_qemu(checks, "host1", program):
            checks.cluster.godwit("vm", "start", vm)
        yield vm


def take_it_off(checks, vm, *names):
    """The VM is made anew, as godwit makes VMs: a supervisor stays with the QEMU that it was told."""
    checks.remove(vm)
    checks.cluster.create(checks_rig.document(vm))
    for name in names:
        checks.assert_gone(vm, name)


@pytest.mark.makes("motion.qemu.blocked")
def test_a_device_whose_state_cannot_be_saved(checks, place):
    with guest_with(checks, place, "blocked", "-device", "nvme,serial=godwit,id=fast,addr=1d") as vm:
        checks.find(vm, "motion.qemu.blocked", "QEMU cannot save its state", "nvme")
        checks.assert_refused(vm, "motion.qemu.blocked")
        take_it_off(checks, vm, "motion.qemu.blocked")
        checks.assert_moves(vm)


@pytest.mark.makes("motion.disk.async-io")
def test_native_aio_past_the_page_cache(checks, place):
    image = place / "native.raw"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    image.chmod(0o666)
    node = f"driver=file,filename={image},node-name=native,aio=native,cache.direct=on"
    with guest_with(checks, place, "aio", "-blockdev", node, "-device", "virtio-blk-pci,drive=native,addr=1d") as vm:
        finding = checks.find(vm, "motion.disk.async-io", "native AIO")
        assert "aio=threads" in finding["repair"]
        checks.assert_refused(vm, "motion.disk.async-io")
        take_it_off(checks, vm, "motion.disk.async-io")


@pytest.mark.makes("motion.device.unseen")
def test_a_device_in_another_process(checks, place):
    """A vhost-user disk: its server has guest memory mapped, and writes it."""
    socket, image = place / "vhost.sock", place / "vhost.raw"
    with image.open("wb") as file:
        file.truncate(1 << 20)
    server = subprocess.Popen(
        ["qemu-storage-daemon", "--blockdev", f"driver=file,filename={image},node-name=disk", "--export",
         f"type=vhost-user-blk,id=disk,node-name=disk,writable=on,addr.type=unix,addr.path={socket}"],
    )  # fmt: skip
    try:
        wait_until(socket.exists, 10, "the server's socket")
        socket.chmod(0o666)
        options = ("-chardev", f"socket,id=vhost,path={socket}", "-device", "vhost-user-blk-pci,chardev=vhost,id=far,addr=1d")
        with guest_with(checks, place, "vhost", *options) as vm:
            checks.find(vm, "motion.device.unseen", "far (vhost-user-blk-pci)")
            checks.assert_refused(vm, "motion.device.unseen")
            take_it_off(checks, vm, "motion.device.unseen")
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.makes("motion.memory.devices", "motion.memory.balloon")
def test_memory_besides_and_memory_given_back(checks, place):
    options = (
        "-m", "slots=2,maxmem=1G", "-object", "memory-backend-ram,id=more,size=64M", "-device",
        "pc-dimm,memdev=more,id=dimm0", "-device", "virtio-balloon-pci,id=balloon0,addr=1d",
    )  # fmt: skip
    with guest_with(checks, place, "dimm", *options) as vm:
        checks.find(vm, "motion.memory.devices", "dimm0")
        checks.find(vm, "motion.memory.balloon", "balloon0")
        checks.assert_refused(vm, "motion.memory.devices")
        take_it_off(checks, vm, "motion.memory.devices", "motion.memory.balloon")


@pytest.mark.makes("motion.memory.second-mapping")
def test_a_part_of_guest_memory_mapped_twice(checks, place):
    again = "memory-backend-file,id=again,mem-path=@memory,size=16M,share=on"
    with guest_with(checks, place, "twice", "-object", again) as vm:
        checks.find(vm, "motion.memory.second-mapping", "mapped twice", str(checks.cluster.vm(vm, "host1").qemu_pid()))
        checks.assert_refused(vm, "motion.memory.second-mapping")
        take_it_off(checks, vm, "motion.memory.second-mapping")


@pytest.mark.makes("motion.memory.foreign-mapping", "motion.memory.foreign-reader")
def test_another_process_maps_guest_memory(checks):
    kinds = {mmap.PROT_READ: "motion.memory.foreign-reader", mmap.PROT_READ | mmap.PROT_WRITE: "motion.memory.foreign-mapping"}
    with checks.guest("mapped") as vm:
        fd = checks.cluster.vm(vm, "host1").memory_fd()
        for protection, name in kinds.items():
            with mmap.mmap(fd, 1 << 20, mmap.MAP_SHARED, protection):
                finding = checks.find(vm, name, f"process {os.getpid()} ")
                assert finding["repair"] == "end that process"
                if finding["severity"] == "error":
                    checks.assert_refused(vm, name)
            checks.assert_gone(vm, name)
        os.close(fd)
        checks.assert_moves(vm)


def hidden_processes() -> list[str]:
    """Those whose mappings this machine lets not even root see."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                (entry / "maps").open().close()
            except PermissionError:
                found.append(entry.name)
            except OSError:
                continue
    return found


@pytest.mark.makes("motion.memory.unseen", "motion.memory.not-mapped")
def test_processes_whose_mappings_the_supervisor_is_not_let_see(checks, cluster):
    """Its agent came without the capability SYS_PTRACE, nor those that stand in for it in newer kernels; what it starts
    has them no more. Then even QEMU is among what is not seen."""
    agent = cluster.agents["host1"]
    whole = agent.command
    agent.stop()
    agent.command = ["setpriv", "--bounding-set=-sys_ptrace,-perfmon,-sys_admin", *whole]
    agent.start()
    try:
        cluster.await_hosts()
        with checks.guest("blind") as vm:
            finding = checks.find(vm, "motion.memory.unseen", "processes have guest memory mapped cannot be seen")
            assert "SYS_PTRACE" in finding["repair"]
            pid = cluster.vm(vm, "host1").qemu_pid()
            finding = checks.find(vm, "motion.memory.not-mapped", f"process {pid}", " 0 of ")
            assert f"/proc/{pid}/maps" in finding["repair"]
            checks.assert_refused(vm, "motion.memory.not-mapped")
    finally:
        agent.stop()
        agent.command = whole
        agent.start()
        cluster.await_hosts()
    with checks.guest("seeing") as vm:
        checks.assert_gone(vm, "motion.memory.not-mapped")
        hidden = hidden_processes()
        if not hidden:
            checks.assert_gone(vm, "motion.memory.unseen")
            return
        # Then it is what this machine keeps from everybody, and nothing else.
        finding = checks.find(vm, "motion.memory.unseen", f"process {hidden[0]} (", "cannot be seen")
        assert len(hidden) > 1 or "processes" not in finding["text"]
        checks.gone.add("motion.memory.unseen")
