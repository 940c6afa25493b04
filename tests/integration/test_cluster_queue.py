# SPDX-License-Identifier: LGPL-2.1-or-later
"""More motions than the budgets allow: some run, the rest waits and says for what, all arrive."""


import pytest
from labkit import tiny
from labkit.vm import wait_until

N_VMS = 10
BUDGET_HOST = 8
BUDGET_NETWORK_1GBIT = 4


def names():
    return [f"tiny{i}" for i in range(N_VMS)]


@pytest.fixture(scope="module")
def fleet(cluster):
    """Ten small guests on host1, each writing its memory."""
    for name in names():
        document = tiny.document(name, "tcg", memory="ws=2M,rate=1M", memory_mib=64)
        cluster.create(document)
    for name in names():
        tiny.TinyMemory.of(cluster.vm(name, "host1"))
    yield cluster
    for name in names():
        cluster.call("POST", f"/v1/vms/{name}/power", {"action": "stop"})
        cluster.call("DELETE", f"/v1/vms/{name}")


@pytest.fixture
def speed(cluster):
    """Sets what the hosts say of their motion interfaces' speed, in Mbit/s; None: what the driver says."""

    def set_speed(mbit):
        for agent in cluster.agents.values():
            motion = {"interfaces": agent.sections["motion"]["interfaces"]}
            agent.reconfigure(motion={**motion, **({"speed-mbit": mbit} if mbit else {})})
        wanted = int(mbit or 10000) * 1_000_000

        def told():
            hosts = cluster.call("GET", "/v1/hosts")["hosts"]
            return all(each["speed_bits_per_s"] == wanted for host in hosts for each in host["facts"]["motion_interfaces"])

        wait_until(told, 10, "the center to know the speed", every_s=0.1)

    return set_speed


def watch(cluster, tasks):
    """The tasks once all have ended; the most that ran at once, and what the waiting ones waited for."""
    most, waited = 0, {}

    def ended():
        nonlocal most
        there_are = {task["id"]: task for task in cluster.call("GET", "/v1/tasks?limit=100")["tasks"]}  # at one moment
        now = [there_are[task] for task in tasks]
        most = max(most, sum(task["state"] == "running" for task in now))
        waited.update({task["vm"]: task["waits_for"] for task in now if task["state"] == "queued" and task["waits_for"]})
        return now if all(task["state"] in ("completed", "failed", "cancelled") for task in now) else None

    return wait_until(ended, 180, "the tasks to end", every_s=0.02), most, waited


@pytest.mark.parametrize(
    ("rate", "source", "destination", "budget", "word"),
    [
        pytest.param(None, "host1", "host2", BUDGET_HOST, "host1", id="ten-leave-a-host"),
        pytest.param("1000", "host2", "host1", BUDGET_NETWORK_1GBIT, "network", id="ten-leave-on-1gbit"),
    ],
)
def test_what_does_not_fit_waits_and_says_why_and_arrives(fleet, lab, speed, rate, source, destination, budget, word):
    speed(rate)
    tasks = [fleet.migrate(name, destination) for name in names()]
    ended, most, waited = watch(fleet, tasks)
    assert [task["state"] for task in ended] == ["completed"] * N_VMS, [task["error"] for task in ended]
    assert most == budget
    assert len(waited) >= N_VMS - budget
    assert all(word in text for text in waited.values()), waited
    vms = {vm["name"]: vm for vm in fleet.call("GET", "/v1/vms")["vms"]}
    assert {vms[name]["host"] for name in names()} == {destination}
    for name in names():
        vm = fleet.vm(name, destination)
        assert tiny.wrong_lines(vm) == []
        wait_until(lambda name=name: not fleet.vm(name, source).directory.exists(), 10, "the source to be clean")
