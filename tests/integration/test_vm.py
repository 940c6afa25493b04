# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest under its supervisor: it runs, is reachable, is spoken to, and ends, and leaves nothing behind."""

import json
import os
import pwd
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from labkit import netns
from labkit.errors import LabError
from labkit.guest import ECHO_PORT, Guest
from labkit.lab import Lab
from labkit.vm import GODWIT_VM, IMAGE_DIR, QEMU, ApiError, Prober, Vm, config, wait_until
from motion_rig import is_alive


@pytest.fixture(scope="module")
def web(module_vms):
    """A guest with a memory writer, shared by the tests that leave it running."""
    guest = module_vms.guest("web1", memory="ws=16M,rate=5M,fill=random")
    return guest, module_vms.start_guest(guest)


def taps(host):
    done = host.run(["ip", "-json", "link"], stdout=subprocess.PIPE, check=True)
    return {link["ifname"] for link in json.loads(done.stdout) if link["ifname"].startswith("gw")}


def test_guest_answers_ping_and_tcp_from_another_namespace(lab, web):
    guest, vm = web
    assert vm.state() == "running"
    assert guest.ping(lab)
    with guest.connect(lab, ECHO_PORT) as connection:
        connection.sendall(b"godwit")
        assert connection.recv(16) == b"godwit"


def test_status_says_what_runs(web):
    _, vm = web
    status = vm.status()
    assert status["qemu"]["accel"] in ("kvm", "tcg") and status["qemu"]["accel_why"]
    assert status["memory"]["size_bytes"] == 256 << 20
    assert 16 << 20 < status["memory"]["resident_bytes"] < 256 << 20
    assert status["supervisor"]["adopted"] is False
    assert status["last_exit"] is None


def test_qemu_is_unprivileged_and_holds_only_what_it_needs(web):
    _, vm = web
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{vm.qemu_pid()}/status").read_text().splitlines() if ":\t" in line
    )
    uid = str(pwd.getpwnam("godwit-qemu").pw_uid)
    assert status["Uid"].split() == [uid] * 4
    assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0
    assert status["Seccomp"].strip() == "2", "no seccomp filter"
    links = [os.readlink(fd) for fd in Path(f"/proc/{vm.qemu_pid()}/fd").iterdir()]
    assert not [link for link in links if "control.sock" in link or "journal" in link or "/lock" in link]
    assert links.count("anon_inode:[userfaultfd]") == 1
    assert not [link for link in links if link == "/dev/userfaultfd"]


def test_console_is_kept_and_takes_input(web):
    _, vm = web
    before = len(vm.console())
    vm.request("POST", "/v1/console/0", None)
    done = vm.host.run([GODWIT_VM, "console", vm.name, "--type", "echo sum-$((40 + 2))"], check=False)
    assert done.returncode == 0
    assert "sum-42" in vm.wait_for_console("sum-42")[before:]
    with pytest.raises(ApiError) as error:
        vm.request("GET", "/v1/console/3")
    assert error.value.status == 404 and "serial port 3" in error.value.message


def test_console_can_be_followed(web):
    _, vm = web
    follower = vm.host.popen([GODWIT_VM, "console", "-f", vm.name], stdout=subprocess.PIPE, text=True)
    try:
        vm.host.run([GODWIT_VM, "console", vm.name, "--type", "echo live-$((7 * 6))"], check=True)
        assert any("live-42" in line for line in follower.stdout if "$" not in line)
    finally:
        follower.kill()
        follower.wait()


def test_pause_and_resume(lab, web):
    guest, vm = web
    assert vm.power("pause") == {"state": "paused"}
    assert not guest.ping(lab)
    assert vm.power("resume") == {"state": "running"}
    wait_until(lambda: guest.ping(lab), 5, "the guest to answer again")
    types = [event["type"] for event in vm.events("vm.paused")]
    assert types[:2] == ["vm.starting", "vm.running"] and types[-1] == "vm.paused"


def test_the_prober_sees_a_pause_as_long_as_it_was(lab, web):
    """200 ms by the supervisor's own events, ± 10 ms by the client. The guest's waking up on a busy machine is part of
    what a client sees, so the best of three counts; none may be reported shorter than it was."""
    guest, vm = web
    gaps = []
    with Prober(lab, guest.address) as prober:
        for _ in range(3):
            prober.mark()
            paused = time.monotonic()
            vm.power("pause")
            signal.sigtimedwait([], max(0, paused + 0.2 - time.monotonic()))
            vm.power("resume")
            wait_until(lambda: guest.ping(lab), 5, "the guest to answer again")
            events = [event for event in vm.events_so_far() if event["type"] in ("vm.paused", "vm.running")]
            paused_ms = (events[-1]["monotonic_us"] - events[-2]["monotonic_us"]) / 1000
            window = prober.mark()
            gaps.append(window["longest_gap_ms"] - paused_ms)
            assert paused_ms > 100, "what is compared is no pause"
        report = prober.stop()
    assert min(gaps) > -3, gaps
    assert min(abs(gap) for gap in gaps) < 10, gaps
    assert not report["tcp"]["lost"] and report["tcp"]["wrong_bytes"] == 0


def test_power_refuses_what_makes_no_sense(web):
    _, vm = web
    with pytest.raises(ApiError) as error:
        vm.power("start")
    assert error.value.code == "wrong-state" and "running" in error.value.message
    with pytest.raises(ApiError) as error:
        vm.power("explode")
    assert error.value.status == 400 and "'explode'" in error.value.message
    with pytest.raises(ApiError) as error:
        vm.call("DELETE", "/v1/vm")
    assert error.value.code == "wrong-state"
    assert vm.state() == "running"


def test_commands_for_people(web):
    _, vm = web
    listed = vm.host.run([GODWIT_VM, "list"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "web1" in listed and "running" in listed
    shown = vm.host.run([GODWIT_VM, "status", "web1"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "running since" in shown and "nic0" in shown
    absent = vm.host.run([GODWIT_VM, "status", "nobody"], stderr=subprocess.PIPE, text=True, check=False)
    assert absent.returncode == 1 and "there is no VM 'nobody'" in absent.stderr


def test_documented_curl_works(web):
    _, vm = web
    done = subprocess.run(
        ["curl", "-sS", "--fail", "--unix-socket", vm.directory / "control.sock", "http://vm/v1/status"],
        stdout=subprocess.PIPE,
        check=True,
    )
    assert json.loads(done.stdout)["name"] == "web1"


def test_a_second_vm_of_the_same_name_is_refused(module_vms, web):
    guest, vm = web
    with pytest.raises(LabError, match="there is a VM 'web1' on this host already"):
        Vm.start(vm.host, config(guest), module_vms.directory)
    assert vm.state() == "running"


def test_configuration_with_five_errors_names_all_five(vms):
    document = config(vms.guest("bad"))
    document["vcpus"] = 0
    document["machine"] = "q35"
    document["memory_mb"] = 256
    document["nics"][0]["mac"] = "01:00:5e:00:00:01"
    document["uuid"] = "no-uuid"
    path = vms.directory / "bad.json"
    path.write_text(json.dumps(document))
    done = subprocess.run([GODWIT_VM, "check-config", path], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "5 errors in the VM's configuration:" in done.stderr
    for place in ("/vcpus", "/machine", "/memory_mb", "/nics/0/mac", "/uuid"):
        assert f"  {place}: " in done.stderr
    with pytest.raises(LabError, match="5 errors"):
        vms.start(document)
    assert not (vms.lab.host("host1").runtime_dir / "vms/bad").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nics": [{"port_group": "dmz", "mac": "52:54:00:00:00:09"}]}, "port group 'dmz' is not on this host"),
        ({"disks": [{"datastore": "nfs", "path": "a", "format": "raw"}]}, "datastore 'nfs'"),
        ({"disks": [{"datastore": "ds", "path": "absent.raw", "format": "raw"}]}, "absent.raw in datastore 'ds'"),
        ({"disks": [{"datastore": "ds", "path": "out.raw", "format": "raw"}]}, "leads out of datastore 'ds'"),
        ({"disks": [{"datastore": "ds", "path": "disk.raw", "format": "qcow2"}]}, "not in qcow2 format"),
        ({"cpu_model": "no-such-cpu"}, "unable to find CPU model 'no-such-cpu'"),
        ({"machine": "pc-i440fx-99.1"}, "unsupported machine type"),
        ({"pinning": [[4000]]}, "pinning vCPU 0"),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_nothing(vms, change, words):
    (vms.directory / "disk.raw").write_bytes(b"\0" * 65536)
    (vms.directory / "out.raw").symlink_to("/etc/hostname")
    host = vms.lab.host("host1")
    before = taps(host), holders_of_memory(host)
    with pytest.raises(LabError) as error:
        vms.start(config(vms.guest("unlucky"), **change))
    assert words in str(error.value)
    assert not (host.runtime_dir / "vms/unlucky").exists()
    assert (taps(host), holders_of_memory(host)) == before


def holders_of_memory(host):
    """Processes on the host that hold a guest's memory."""
    holders = set()
    for process in netns.processes([netns.identify(host.netns)]):
        for fd in Path(f"/proc/{process.pid}/fd").glob("*"):
            with suppress(OSError):
                if os.readlink(fd).startswith("/memfd:godwit-"):
                    holders.add(process.pid)
    return holders


def answers(vm):
    with suppress(OSError):
        return vm.status()
    return None


def test_a_killed_parent_leaves_the_vm_running(lab, vms):
    guest = vms.guest("orphan")
    document = vms.directory / "orphan.json"
    document.write_text(json.dumps(config(guest)))
    host = lab.host("host1")
    # A shell that is the supervisor's parent and in its process group, killed as a terminal would.
    parent = host.popen(
        ["sh", "-c", f'"$@" & echo started; wait', "sh", GODWIT_VM, "run", "--qemu", QEMU, "--datastore", f"image={IMAGE_DIR}",
         "--port-group", "lan=br-guest", document],
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    vm = Vm(host, "orphan")
    vms.vms.append(vm)
    wait_until(lambda: answers(vm), 10, "the supervisor to answer")
    vm.wait_ready()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    os.killpg(parent.pid, signal.SIGHUP)
    assert vm.state() == "running"
    assert guest.ping(lab)


def test_qemus_end_is_reported_within_a_second_in_its_own_words(vms):
    vm = vms.start(config(vms.guest("fragile")))
    pid = vm.qemu_pid()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not is_alive(pid), 10, "QEMU's end")
    wait_until(lambda: vm.state() == "crashed", 1, "the crash to be reported")
    last = vm.status()["last_exit"]
    assert last["expected"] is False
    assert "terminating on signal 15" in last["last_words"]
    assert vm.events("vm.crashed")[-1]["was"] == "running"

    vm.power("start")
    os.kill(vm.qemu_pid(), signal.SIGKILL)
    wait_until(lambda: vm.state() == "crashed", 1, "the crash to be reported")
    assert vm.status()["last_exit"]["how"] == "killed by SIGKILL"


def test_shutdown_is_orderly_and_start_works_again(lab, vms):
    guest = vms.guest("cycle")
    vm = vms.start_guest(guest)
    host = vm.host
    done = host.run([GODWIT_VM, "power", "cycle", "shutdown", "--wait", "30"], check=False)
    assert done.returncode == 0
    assert vm.state() == "off"
    last = vm.status()["last_exit"]
    assert last["expected"] is True and last["reason"] == "guest-shutdown"
    name = vm.status()["nics"][0]["tap"]
    assert name not in taps(host)
    vm.power("start")
    assert name in taps(host)
    wait_until(lambda: guest.ping(lab), 30, "the guest to answer after the second start")
    vm.power("stop")
    assert vm.state() == "off"
    assert host.run([GODWIT_VM, "rm", "cycle"], check=False).returncode == 0
    wait_until(lambda: not vm.directory.exists(), 5, "the directory to go")


def test_exit_when_off_removes_everything(vms):
    guest = vms.guest("brief")
    vm = vms.start_guest(guest, "--exit-when-off")
    pid = vm.supervisor_pid()
    vm.power("shutdown")
    wait_until(lambda: not vm.directory.exists(), 30, "the directory to go")
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 5, "the supervisor to end")


def test_waiting_for_a_shutdown_that_ends_the_supervisor_too(vms):
    vm = vms.start_guest(vms.guest("both"), "--exit-when-off")
    done = vm.host.run([GODWIT_VM, "power", "both", "shutdown", "--wait", "30"], stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not vm.directory.exists(), 5, "the directory to go")


def test_a_vm_that_is_being_started_cannot_be_removed(vms):
    vm = vms.start(config(vms.guest("busy")), "--paused")
    for _ in range(5):
        vm.power("stop")
        with ThreadPoolExecutor() as pool:
            started = pool.submit(vm.power, "start", paused=True)
            outcomes = [pool.submit(vm.call, "DELETE", "/v1/vm") for _ in range(4)]
        refused = [outcome for outcome in outcomes if isinstance(outcome.exception(), ApiError)]
        if len(refused) < 4:
            # It was removed before the start was heard of: then there is nothing, and nobody.
            wait_until(lambda: not vm.directory.exists(), 5, "the directory to go")
            return
        assert all(outcome.exception().code == "wrong-state" for outcome in refused)
        assert started.result()["state"] == "paused"
        assert vm.status()["qemu"] is not None


def test_sigterm_leaves_the_guest_running(lab, vms):
    guest = vms.guest("upgrade")
    vm = vms.start_guest(guest)
    supervisor, qemu = vm.supervisor_pid(), vm.qemu_pid()
    os.kill(supervisor, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{supervisor}").exists(), 10, "the supervisor to end")
    assert guest.ping(lab)
    vm.adopt()
    assert vm.qemu_pid() == qemu and vm.state() == "running"


def test_shares_limit_and_pins_hold(vms):
    guest = vms.guest("bound")
    vm = vms.start(config(guest, cpu_shares=2000, cpu_limit_percent=20, pinning=[[0]]))
    pid = vm.qemu_pid()
    groups = Path(f"/proc/{pid}/cgroup").read_text()
    assert f"/godwit/{vm.status()['uuid']}" in groups
    pinned = [
        task.name
        for task in Path(f"/proc/{pid}/task").iterdir()
        if (task / "comm").read_text().startswith("CPU 0/") and os.sched_getaffinity(int(task.name)) == {0}
    ]
    assert len(pinned) == 1

    def cpu_seconds():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # The guest boots, which takes all that it gets: 20 % of a CPU.
    used, began = cpu_seconds(), time.monotonic()
    wait_until(lambda: time.monotonic() - began > 2, 5, "two seconds to pass")
    share = (cpu_seconds() - used) / (time.monotonic() - began)
    assert 0.1 < share < 0.27
    uuid_text = vm.status()["uuid"]
    vm.remove()
    assert not [path for path in Path("/sys/fs/cgroup").glob(f"*/godwit/{uuid_text}")]


def test_body_limits_and_garbage_leave_the_supervisor_alone(web):
    _, vm = web
    with pytest.raises(ApiError) as error:
        vm.request("POST", "/v1/power", {"action": "x" * (2 << 20)})
    assert error.value.status == 413
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(vm.directory / "control.sock"))
        raw.sendall(os.urandom(4096))
    silent = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    for each in silent:
        each.connect(str(vm.directory / "control.sock"))
    assert vm.state() == "running"
    for each in silent:
        each.close()


def test_nothing_grows_in_a_hundred_requests(web):
    _, vm = web
    folder = Path(f"/proc/{vm.supervisor_pid()}")
    vm.status()
    before = len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir()))
    for _ in range(100):
        vm.status()
    after = len(list((folder / "fd").iterdir())), len(list((folder / "task").iterdir()))
    assert after[0] <= before[0] + 1 and after[1] <= before[1] + 1


def test_check_host_finds_nothing_missing(lab):
    done = lab.host("host1").run([GODWIT_VM, "check-host", "--json"], stdout=subprocess.PIPE, text=True, check=False)
    findings = {finding["id"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert findings["kernel.trace"]["verdict"] == "ok"


def test_check_host_says_what_is_missing(lab):
    done = lab.host("host1").run(
        [GODWIT_VM, "check-host", "--json", "--qemu", "/bin/true", "--qemu-user", "nobody-at-all"],
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    findings = {finding["id"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 1
    assert findings["qemu"]["verdict"] == findings["user"]["verdict"] == "missing"
    assert findings["user"]["repair"]


def test_a_lab_that_goes_down_takes_its_vms_along(tmp_path):
    """With a supervisor that lives and one that was killed, and control groups of both."""
    with Lab.up(f"d-{os.getpid()}", hosts=1, motion_links=1) as doomed:
        vms = [
            Vm.start(doomed.host("host1"), config(Guest(n, f"vm{n}"), cpu_shares=500), tmp_path) for n in (1, 2)
        ]
        pids = [vm.qemu_pid() for vm in vms] + [vm.supervisor_pid() for vm in vms]
        uuids = [vm.status()["uuid"] for vm in vms]
        vms[1].kill_supervisor()
    wait_until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), 5, "every process to end")
    assert not [group for name in uuids for group in Path("/sys/fs/cgroup").glob(f"*/godwit/{name}")]
    assert not vms[0].directory.exists()


def test_names_that_would_climb_are_refused(vms):
    document = config(Guest(number=250, name="../../etc"))
    with pytest.raises(LabError, match="/name"):
        vms.start(document)
