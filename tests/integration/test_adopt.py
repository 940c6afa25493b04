# SPDX-License-Identifier: LGPL-2.1-or-later
"""A supervisor dies, the guest does not: whoever comes next takes it over, or says truly that it is gone."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from labkit.errors import LabError
from labkit.guest import MEMORY_PORT
from labkit.vm import GODWIT_VM, IMAGE_DIR, QEMU, Prober, Vm, config, wait_until
from motion_rig import is_alive

pytestmark = pytest.mark.alone

# The longest silence that a probe a millisecond sees of an undisturbed guest under emulation on two shared cores
# (measured: 2 to 20 ms); a stopped guest would be silent for as long as the adoption takes, seconds at least here.
CALM_GAP_MS = 60


def test_kill_9_of_the_supervisor_is_not_seen_by_the_guests_clients(lab, vms):
    guest = vms.guest("adopted", memory="ws=16M,rate=10M,fill=random")
    vm = vms.start_guest(guest)
    qemu = vm.qemu_pid()
    vm.call("POST", "/v1/trace")
    gaps = []  # what else the machine does is in each of them, an adoption that stops the guest in all
    with Prober(lab, guest.address) as prober:
        for _ in range(3):
            prober.mark()
            vm.kill_supervisor()
            with pytest.raises(OSError):
                vm.status()
            listed = vm.host.run([GODWIT_VM, "list"], stdout=subprocess.PIPE, text=True, check=True).stdout
            assert "unsupervised" in listed
            vm.adopt()
            gaps.append(prober.mark()["longest_gap_ms"])
        report = prober.stop()
    assert min(gaps) < CALM_GAP_MS, gaps
    assert report["lost"] == 0 and not report["tcp"]["lost"]

    status = vm.status()
    assert status["state"] == "running" and status["supervisor"]["adopted"] is True
    assert status["qemu"]["pid"] == qemu
    # The trace works again, though the dead supervisor had left one armed.
    vm.call("POST", "/v1/trace")
    written = [0]

    def writer_seen():
        written[0] += vm.call("POST", "/v1/trace/scan")["written_bytes"]
        return written[0] > 5 << 20

    wait_until(writer_seen, 10, "the writer's pages in the trace")
    assert guest.ask(lab, MEMORY_PORT, "verify")["wrong"] == 0
    # And everything else: console, power, end.
    vm.host.run([GODWIT_VM, "console", vm.name, "--type", "echo sum-$((1 + 1))"], check=True)
    vm.wait_for_console("sum-2")
    vm.power("shutdown")
    vm.wait_state("off")


def test_a_living_supervisor_is_not_robbed(vms):
    vm = vms.start(config(vms.guest("owned")))
    with pytest.raises(LabError, match="supervisor is alive"):
        vm.adopt()
    assert vm.state() == "running"


def test_nothing_to_adopt(lab):
    with pytest.raises(LabError, match="there is no VM 'nobody'"):
        Vm(lab.host("host1"), "nobody").adopt()


def test_a_paused_guest_is_adopted_paused(vms):
    vm = vms.start(config(vms.guest("still")), "--paused")
    assert vm.state() == "paused"
    vm.kill_supervisor()
    vm.adopt()
    assert vm.state() == "paused"
    vm.power("resume")
    vm.wait_ready()


def test_a_guest_that_ended_meanwhile_is_reported_as_lost(vms):
    vm = vms.start(config(vms.guest("gone")))
    pid = vm.qemu_pid()
    vm.kill_supervisor()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not is_alive(pid), 5, "QEMU to end")
    vm.adopt()
    status = vm.status()
    assert status["state"] == "crashed"
    assert "no supervisor watched" in status["last_exit"]["how"]
    assert "terminating on signal 15" in status["last_exit"]["last_words"]
    vm.power("start")
    assert vm.state() == "running"


def test_anothers_pid_is_not_taken_for_qemu(vms):
    vm = vms.start(config(vms.guest("recycled")))
    qemu = vm.qemu_pid()
    vm.kill_supervisor()
    os.kill(qemu, signal.SIGKILL)
    wait_until(lambda: not is_alive(qemu), 5, "QEMU to end")
    with subprocess.Popen(["sleep", "60"]) as stranger:
        journal = vm.directory / "journal"
        journal.write_text(journal.read_text().replace(f'"pid":{qemu}}}', f'"pid":{stranger.pid}}}'))
        vm.adopt()
        assert vm.state() == "crashed"
        vm.power("stop")
        assert stranger.poll() is None
        stranger.kill()


def test_a_torn_journal_is_no_obstacle(vms):
    vm = vms.start(config(vms.guest("torn")))
    qemu = vm.qemu_pid()
    vm.kill_supervisor()
    with (vm.directory / "journal").open("a") as journal:
        journal.write('{"step":"ended","at":"20')
    vm.adopt()
    assert vm.qemu_pid() == qemu and vm.state() == "running"


def test_an_order_to_stop_that_was_written_is_carried_out(vms):
    vm = vms.start(config(vms.guest("doomed")))
    qemu = vm.qemu_pid()
    vm.kill_supervisor()
    with (vm.directory / "journal").open("a") as journal:
        journal.write('{"step":"kill","at":"2026-01-01T00:00:00Z"}\n')
    vm.adopt()
    assert vm.state() == "off"
    assert not is_alive(qemu)


def begin_start(vms, host, guest):
    """A supervisor that is about to start the guest, and is to be disturbed in that."""
    path = vms.directory / "vm.json"
    path.write_text(json.dumps(config(guest)))
    vm = Vm(host, guest.name)
    vms.vms.append(vm)
    command = [GODWIT_VM, "run", "--qemu", QEMU, "--datastore", f"image={IMAGE_DIR}", "--port-group", "lan=br-guest", path]
    return vm, host.popen(command, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("after_ms", [0, 5, 10, 20, 30, 40, 60, 80])
def test_kill_9_at_any_moment_of_a_start_loses_nothing(lab, vms, after_ms):
    """Whenever the supervisor dies while it starts a guest: either there is a QEMU that can be adopted and then
    runs, or there is none. Never one that nobody knows."""
    guest = vms.guest(f"start{after_ms}")
    host = lab.host("host1")
    vm, supervisor = begin_start(vms, host, guest)
    wait_until(lambda: (vm.directory / "journal").exists(), 10, "the journal")
    signal.sigtimedwait([], after_ms / 1000)
    supervisor.kill()
    supervisor.wait()
    try:
        vm.adopt()
    except LabError as error:
        # Killed before it had written what it was to start: debris, which can be removed, or taken by the next start.
        assert "was never started" in str(error)
        assert host.run([GODWIT_VM, "rm", guest.name], check=False).returncode == 0
        assert not vm.directory.exists()
        return
    known = vm.status()["qemu"]
    link = f"/memfd:godwit-{vm.status()['uuid']} (deleted)"
    holders = {int(fd.parts[2]) for fd in qemu_memory_descriptors(link)} - {vm.supervisor_pid()}
    if known:
        assert holders == {known["pid"]}
        wait_until(lambda: vm.state() == "running", 5, "the start to be finished")
    else:
        assert holders == set()
        assert vm.state() in ("off", "crashed")


@pytest.mark.parametrize("after_ms", [0, 3, 6, 10, 15, 20, 40, 80])
def test_sigterm_at_any_moment_of_a_start_leaves_a_known_guest_or_none(lab, vms, after_ms):
    guest = vms.guest(f"term{after_ms}")
    host = lab.host("host1")
    vm, supervisor = begin_start(vms, host, guest)
    signal.sigtimedwait([], after_ms / 1000)
    supervisor.terminate()
    supervisor.wait(timeout=20)
    holders = {fd.parts[2] for fd in Path("/proc").glob("[0-9]*/fd/*") if holds_memory(fd, vm)}
    if not vm.directory.exists() or not (vm.directory / "config.json").exists():
        assert not holders
        assert host.run([GODWIT_VM, "rm", guest.name], stderr=subprocess.DEVNULL, check=False).returncode in (0, 1)
    else:
        vm.adopt()
        assert vm.state() in ("running", "off")
    vm.remove()


def holds_memory(fd, vm):
    """Whether a process' descriptor is the memory of a guest whose command line names `vm`."""
    try:
        if not os.readlink(fd).startswith("/memfd:godwit-"):
            return False
        return f"guest={vm.name},".encode() in Path(f"/proc/{fd.parts[2]}/cmdline").read_bytes()
    except OSError:
        return False


def test_an_orderly_end_that_nobody_watched_is_no_crash(vms):
    vm = vms.start_guest(vms.guest("farewell"))
    qemu = vm.qemu_pid()
    vm.power("shutdown")
    vm.kill_supervisor()
    wait_until(lambda: not is_alive(qemu), 20, "the guest to power off")
    vm.adopt()
    assert vm.state() == "off" and vm.status()["last_exit"]["expected"] is True


def qemu_memory_descriptors(link):
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(fd) == link:
                yield fd
        except OSError:
            continue
