# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill -9 of everything that takes part in a motion, at every named step of it, in a whole cluster. Agents and center are
started again, as systemd does; supervisors are followed by others, which is the agents' work. Afterwards the guest runs
exactly once, or nowhere if its own QEMU was killed, and center and task say what is true."""

import os
import signal
from contextlib import suppress

import pytest
from labkit.errors import LabError
from labkit.guest import Guest
from labkit.vm import ApiError, config, wait_until
from motion_rig import processes, qemus, runs, taps

VICTIMS = ("center", "source's agent", "destination's agent", "source's supervisor", "destination's supervisor",
           "source's QEMU", "destination's QEMU")  # fmt: skip
AT_CENTER = ("check", "prepare", "connect", "record", "clean-up")
AT_SOURCE = ("first-round", "stopped", "before-go", "after-go")
STEPS = ("check", "prepare", "connect", *AT_SOURCE, "record", "clean-up")
NAME = "traveller"


def cases():
    for step in STEPS:
        for victim in VICTIMS:
            not_there_yet = step in ("check", "prepare") and victim in VICTIMS[4::2]
            not_there_any_more = step in ("record", "clean-up") and victim == "source's QEMU"
            if not (not_there_yet or not_there_any_more):
                yield pytest.param(step, victim, id=f"{step}-{victim.replace(' ', '-')}")


class HoldFile:
    """Names the step at which a program's motion stands still; the program got the path with its environment."""

    def __init__(self, path, variable):
        self.path = path
        self.reached = path.with_name(path.name + ".reached")
        self.environment = {variable: str(path)}

    def set(self, step):
        self.reached.unlink(missing_ok=True)  # of one that was killed while it stood there
        self.path.write_text(step)

    def await_reached(self, step):
        wait_until(lambda: self.reached.exists() and self.reached.read_text() == step, 30, f"the motion to reach '{step}'")

    def release(self):
        self.path.unlink(missing_ok=True)


class Stage:
    """The cluster with its holds, and one guest that is booted again whenever a case has cost it its life."""

    def __init__(self, cluster, directory):
        self.cluster = cluster
        self.lab = cluster.lab
        self.center_hold = HoldFile(directory / "hold-center", "GODWIT_CENTER_HOLD_FILE")
        self.host_holds = {
            name: HoldFile(directory / f"hold-{name}", "GODWIT_MOTION_HOLD_FILE") for name in cluster.agents
        }
        self.restart(cluster.center, self.center_hold)
        for name, agent in cluster.agents.items():
            self.restart(agent, self.host_holds[name])
        cluster.await_hosts()
        self.guest = Guest(60, NAME, memory="ws=8M,rate=10M,fill=random")
        cluster.create(config(self.guest, memory_mib=128), start=False)

    def restart(self, daemon, hold):
        daemon.stop()
        daemon.environment.update(hold.environment)
        daemon.start()

    def ready(self):
        """Whatever the case before did: everybody is up, the guest runs at home. Returns source and destination."""
        for hold in (self.center_hold, *self.host_holds.values()):
            hold.release()
        self.cluster.await_hosts()
        vm = self.vm()
        if vm["state"] != "running":
            self.cluster.call("POST", f"/v1/vms/{NAME}/power", {"action": "start"})
            self.cluster.vm(NAME, vm["host"]).wait_ready()
            self.lab.client.run(["ip", "neigh", "flush", "all"], check=True)
        wait_until(lambda: self.guest.ping(self.lab), 20, "the guest to answer")
        source = vm["host"]
        return source, next(name for name in self.cluster.agents if name != source)

    def vm(self):
        return self.cluster.call("GET", f"/v1/vms/{NAME}")

    def pid(self, victim, source, destination):
        end, _, what = victim.partition("'s ")
        vm = self.cluster.vm(NAME, source if end == "source" else destination)
        return vm.supervisor_pid() if what == "supervisor" else vm.qemu_pid()

    def kill(self, victim, source, destination):
        """What to start again, or None."""
        daemons = {"center": self.cluster.center, "source's agent": self.cluster.agents[source],
                   "destination's agent": self.cluster.agents[destination]}  # fmt: skip
        if victim in daemons:
            daemons[victim].kill()
            return daemons[victim]
        os.kill(self.pid(victim, source, destination), signal.SIGKILL)
        return None

    def running(self):
        return [host.name for host in self.lab.hosts for pid in qemus(host, NAME) if runs(pid)]

    def left(self, host):
        """What there is of the guest on a host: processes, TAPs, files."""
        directory = host.runtime_dir / "vms" / NAME
        return [*processes(host, NAME).values(), *taps(host), *([str(directory)] if directory.exists() else [])]


@pytest.fixture(scope="module")
def stage(cluster, tmp_path_factory):
    return Stage(cluster, tmp_path_factory.mktemp("holds"))


def settled(stage, task_id):
    """The task has ended, and the inventory knows the guest's state: what a host tells takes a moment to arrive."""
    task = stage.cluster.await_task(task_id, 90)
    stage.cluster.await_hosts()

    def agreed():
        vm, running = stage.vm(), stage.running()
        where = {"running": [vm["host"]], "crashed": [], "off": []}.get(vm["state"])
        return (vm, running) if running == where else None

    with suppress(LabError):
        return task, *wait_until(agreed, 20, "inventory and hosts to agree")
    return task, stage.vm(), stage.running()


@pytest.mark.parametrize(("step", "victim"), cases())
def test_the_guest_runs_once_whatever_dies(stage, step, victim):
    source, destination = stage.ready()
    hold = stage.center_hold if step in AT_CENTER else stage.host_holds[source]
    hold.set(step)
    task_id = stage.cluster.migrate(NAME, destination, deadline_s=60)
    hold.await_reached(step)
    daemon = stage.kill(victim, source, destination)
    hold.release()
    if daemon:
        daemon.start()

    task, vm, running = settled(stage, task_id)
    home = vm["host"]
    lost_its_qemu = vm["state"] in ("crashed", "off")
    if lost_its_qemu:
        assert victim.endswith("QEMU") and running == [], (victim, task, vm, running)
    else:
        assert running == [home], (task, vm, running)
        answer = stage.guest.ask(stage.lab, 7001, "verify")
        assert answer["verified"] > 0 and answer["wrong"] == 0
    assert (task["state"] == "completed") == (home == destination), (task, vm)
    if task["state"] == "failed":
        assert task["error"]["message"], task
    for host in stage.lab.hosts:
        if host.name != home:
            try:
                wait_until(lambda host=host: not stage.left(host), 20, f"nothing to be left on {host.name}")
            except LabError as error:
                raise LabError(f"{error}: there is {stage.left(host)}") from error
