# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two hosts and what a motion between them needs: certificates, a directory that both share, and the look at what is
left of a VM on either of them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from labkit import motion, netns, tls
from labkit.errors import LabError
from labkit.guest import MEMORY_PORT, Guest
from labkit.vm import QEMU, Vm, config, wait_until

MIB = 1 << 20
RUNNING_NS = 2_000_000


class Hold:
    """A step at which a supervisor's motion stands still until it is released: the environment that says so."""

    def __init__(self, directory: Path, step: str) -> None:
        self.step = step
        self.file = directory / f"hold-{step}-{time.monotonic_ns()}"
        self.file.touch()
        self._reached = Path(f"{self.file}.reached")
        self.env = {"GODWIT_MOTION_HOLD": step, "GODWIT_MOTION_HOLD_FILE": str(self.file)}

    def is_reached(self) -> bool:
        return self._reached.exists()

    def await_reached(self, timeout_s: float = 30) -> None:
        wait_until(self._reached.exists, timeout_s, f"the motion to reach '{self.step}'")

    def release(self) -> None:
        self.file.unlink(missing_ok=True)

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_alive(pid: int) -> bool:
    """Also if only its first thread has ended: its files and memory are there until the last one has."""
    process = Path(f"/proc/{pid}")
    try:
        is_zombie = (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return not is_zombie or len(list((process / "task").iterdir())) > 1
    except OSError:
        return False


def processes(host, name: str) -> dict[int, str]:
    """Supervisors and QEMUs of the VM on that host: pid → command."""
    found = netns.processes([netns.identify(host.netns)])
    return {p.pid: p.command for p in found if is_alive(p.pid) and name in p.command}


def threads(pid: int) -> list[str]:
    names = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                names.append((task / "comm").read_text().strip())
    return names


def await_motion_over(vm: Vm) -> None:
    """Until the supervisor has nothing of its last motion any more."""
    pid = vm.supervisor_pid()
    wait_until(lambda: not any(name.startswith("gw-") for name in threads(pid)), 10, "the motion's threads to end")


def taps(host) -> list[str]:
    """Names of the TAPs there are on that host, of any VM."""
    done = host.run(["ip", "-j", "-d", "link", "show"], stdout=subprocess.PIPE, text=True, check=True)
    return [each["ifname"] for each in json.loads(done.stdout) if each.get("linkinfo", {}).get("info_kind") == "tun"]


def qemus(host, name: str) -> list[int]:
    """QEMUs on that host which hold the memory of the VM."""
    found = []
    for pid, command in processes(host, name).items():
        if f"guest={name}," not in command:
            continue
        with suppress(OSError):
            links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
            if any(link.startswith("/memfd:godwit-") for link in links):
                found.append(pid)
    return found


def _vcpu_time_ns(pid: int) -> int:
    total = 0
    with suppress(OSError):  # it ends just now
        for task in Path(f"/proc/{pid}/task").iterdir():
            if (task / "comm").read_text().startswith("CPU "):
                total += int((task / "schedstat").read_text().split()[0])
    return total


def runs(pid: int, watch_s: float = 0.15) -> bool:
    """Whether the guest of this QEMU executes instructions, whatever anybody says of it: a stopped vCPU's thread takes
    next to no time (its registers are read when the state is saved), and one that runs a writer takes ten times that."""
    before = _vcpu_time_ns(pid)
    time.sleep(watch_s)  # not a wait for anything: this is how long it is watched
    return is_alive(pid) and _vcpu_time_ns(pid) > before + RUNNING_NS


class Rig:
    """Starts guests whose disks are on a directory that both hosts have, and moves them."""

    def __init__(self, lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory
        self.tls_dirs = tls.make(directory / "tls", [host.name for host in lab.hosts])
        self.vms: list[Vm] = []
        self.uuids: dict[str, str] = {}
        self.n_guests = 0

    # -- guests

    def guest(self, name: str, **work) -> Guest:
        self.n_guests += 1
        return Guest(number=200 + self.n_guests, name=name, **work)

    def options(self, host) -> list[str]:
        return ["--tls-dir", str(self.tls_dirs[host.name])]

    def start(
        self, document: dict, *options: str, host: str = "host1", env: dict | None = None, qemu: str = QEMU
    ) -> Vm:
        on = self.lab.host(host)
        self.uuids[document["name"]] = document["uuid"]
        return self.keep(Vm.start(on, document, self.directory, *self.options(on), *options, env=env, qemu=qemu))

    def boot(
        self, guest: Guest, host: str = "host1", env: dict | None = None, qemu: str = QEMU, **changes
    ) -> Vm:
        vm = self.start(config(guest, **changes), host=host, env=env, qemu=qemu)
        vm.wait_ready()
        # It has said nothing on the network yet. If one with its address ran elsewhere before, bridges and clients look
        # for it there: they are to ask anew.
        self.lab.client.run(["ip", "neigh", "flush", "all"], check=True)
        wait_until(lambda: guest.ping(self.lab), 20, f"{guest.name} to answer")
        return vm

    def keep(self, vm: Vm) -> Vm:
        """To be removed in the end."""
        self.vms.append(vm)
        return vm

    def disk(self, name: str, size: int = 64 * MIB) -> dict:
        """A disk in the shared directory, as a configuration names it."""
        with (self.directory / name).open("wb") as image:
            image.truncate(size)
        return {"datastore": "ds", "path": name, "format": "raw"}

    def supervise_anew(self, vm: Vm, env: dict | None = None) -> None:
        """The guest gets another supervisor, with this environment."""
        vm.kill_supervisor()
        vm.adopt(env)

    # -- motions

    def other(self, host):
        return self.lab.host("host2" if host.name == "host1" else "host1")

    def prepare(self, vm: Vm, **arguments) -> tuple[Vm, dict]:
        to = self.other(vm.host)
        options = [*self.options(to), *arguments.pop("options", ())]
        there, ticket = motion.prepare(vm, to, self.directory, options=options, **arguments)
        return self.keep(there), ticket

    def move(self, vm: Vm, **arguments) -> tuple[Vm, dict]:
        to = self.other(vm.host)
        there, result = motion.move(vm, to, self.directory, options=self.options(to), **arguments)
        return self.keep(there), result

    # -- looks

    def check_it_can_end(self, vm: Vm) -> None:
        """A guest that has moved still reboots and powers off: all of its devices take a reset."""
        vm.power("reset")
        vm.wait_ready()
        vm.power("shutdown")
        wait_until(lambda: vm.state() in ("off", "crashed"), 30, f"{vm.name} to power off")
        assert vm.state() == "off", vm.status()["last_exit"]

    def check_memory(self, guest: Guest) -> dict:
        """Every page of the guest's writer is as it was written last."""
        answer = guest.ask(self.lab, MEMORY_PORT, "verify")
        assert answer["verified"] > 0 and answer["wrong"] == 0, answer
        status = guest.ask(self.lab, MEMORY_PORT, "status")
        assert status["wrong"] == 0, status
        return status

    def running(self, name: str) -> list[tuple[str, int]]:
        """Where the guest executes instructions: (host, QEMU's pid). More than one is the worst that can happen."""
        return [(host.name, pid) for host in self.lab.hosts for pid in qemus(host, name) if runs(pid)]

    def left(self, host, name: str) -> list[str]:
        """All that there is of a VM on a host: processes, TAPs, files and sockets."""
        directory = host.runtime_dir / "vms" / name
        return [
            *(f"process {pid}: {command[:60]}" for pid, command in processes(host, name).items()),
            *(f"TAP {tap}" for tap in taps(host) if tap.startswith(f"gw{self.uuids[name][:8]}.")),
            *(os.path.join(at, name) for at, _, names in os.walk(directory) for name in ("", *names)),
        ]

    def await_gone(self, host, name: str, timeout_s: float = 15) -> None:
        """Until nothing of the VM is left on the host."""
        try:
            wait_until(lambda: not self.left(host, name), timeout_s, f"all of {name} on {host.name} to be gone")
        except LabError as error:
            raise LabError(f"{error}: there is {self.left(host, name)}") from error

    def describe(self) -> str:
        """What there is on both hosts, for whoever reads of a failed test."""
        texts = []
        for host in self.lab.hosts:
            for directory in sorted((host.runtime_dir / "vms").glob("*")):
                vm = Vm(host, directory.name)
                texts.append(f"--- {vm.name} on {host.name}: {', '.join(processes(host, vm.name).values())}")
                with suppress(OSError, LabError):
                    texts.append(json.dumps(vm.status()))
                    texts.append(json.dumps(motion.motion(vm)))
                for name in ("journal", "supervisor.log", "qemu.log", "console0.log"):
                    with suppress(OSError):
                        lines = (directory / name).read_text(errors="replace").splitlines()[-15:]
                        texts.append("\n".join([f"- {name}", *lines]))
        return "\n".join(texts)

    def close(self) -> None:
        for link in (f"motion{i}" for i in range(len(self.lab.topology.hosts[0].links))):
            with suppress(LabError, KeyError):
                for host in self.lab.hosts:
                    self.lab.link(host.name, link).up()
        for vm in self.vms:
            vm.remove()
        for host in self.lab.hosts:
            vms = host.runtime_dir / "vms"
            assert not vms.exists() or list(vms.iterdir()) == [], "a VM's directory is left"
            assert taps(host) == [], "a TAP is left"


class Traveller:
    """One guest that the tests of a file share, wherever it is at the moment."""

    def __init__(self, rig: Rig, guest: Guest, **changes) -> None:
        self.rig = rig
        self.guest = guest
        self.changes = changes
        self.vm = rig.boot(guest, **changes)

    def move(self, **arguments) -> dict:
        self.vm, result = self.rig.move(self.vm, **arguments)
        return result

    def check(self) -> None:
        """It runs, in one place, and nothing in its memory is wrong."""
        assert [host for host, _ in self.rig.running(self.guest.name)] == [self.vm.host.name]
        self.rig.check_memory(self.guest)

    def ready(self) -> Traveller:
        """Whatever the test before did to it: it runs somewhere, and there is nothing of it elsewhere."""
        places = [Vm(host, self.guest.name) for host in self.rig.lab.hosts]
        alive = [vm for vm in places if self._is_running(vm)]
        for vm in places:
            if vm not in alive[:1]:
                with suppress(OSError, LabError):
                    vm.call("POST", "/v1/motion/resolve", {"outcome": "discard"})
                    motion.await_end(vm, 10)
                vm.remove()
                self.rig.await_gone(vm.host, vm.name)
        self.vm = alive[0] if alive else self.rig.boot(self.guest, **self.changes)
        return self

    def _is_running(self, vm: Vm) -> bool:
        with suppress(OSError, LabError):
            return vm.state() == "running" and self.guest.ping(self.rig.lab)
        return False
