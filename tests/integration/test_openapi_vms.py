# SPDX-License-Identifier: LGPL-2.1-or-later
"""The calls of docs/openapi.yaml that need hosts, with two real agents and a real guest: each answer is as documented.

Both agents are on this machine, told apart by port and runtime directory; the loopback interface is their motion
network. What motions are worth is tested in the lab, not here."""

import json
import subprocess


import pytest
from center_rig import API, Center, free_port
from labkit.vm import BUILD, IMAGE_DIR, wait_until
from test_openapi import Events, join_token

AGENT = BUILD / "src/host/godwit-host"
UUID = "7d3a4f0e-52c1-4b7e-9a60-1f2e3d4c5b6b"


class Agent:
    def __init__(self, center, directory, name):
        self.name = name
        self.directory = directory
        directory.mkdir()
        self.port = free_port()
        self.config = directory / "host.conf"
        self.config.write_text(
            f"[host]\nname={name}\nlisten=127.0.0.1\nport={self.port}\nruntime-dir={directory}/run\n"
            f"tls-dir={directory}/tls\n[motion]\ninterfaces=lo;\n[datastore image]\npath={IMAGE_DIR}\n"
        )
        token = directory / "token"
        token.write_text(join_token(center))
        self.run("join", "--token-file", token, f"https://127.0.0.1:{center.port}")
        self.log = (directory / "log").open("wb")
        self.process = subprocess.Popen([AGENT, "run", "--config", self.config], stderr=self.log, stdout=self.log)

    def run(self, command, *arguments):
        done = subprocess.run(
            [AGENT, command, "--config", self.config, *arguments], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr

    def close(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    assert (IMAGE_DIR / "vmlinuz").exists(), f"no guest image in {IMAGE_DIR}: 'make image' builds it"
    directory = tmp_path_factory.mktemp("center")
    center = Center(directory)
    center.start()
    agents = [Agent(center, directory / name, name) for name in ("host1", "host2")]
    for agent in agents:
        wait_until(lambda name=agent.name: get(center, f"/v1/hosts/{name}")["state"] == "up", 30, f"{agent.name} up")
    yield center
    for vm in get(center, "/v1/vms")["vms"]:
        center.call("POST", f"/v1/vms/{vm['name']}/power", {"action": "stop"}, local=True)
        center.call("DELETE", f"/v1/vms/{vm['name']}", local=True)
    for agent in agents:
        agent.close()
    center.stop()


def get(center, target):
    answer = center.call("GET", target, local=True)
    assert answer.status == 200, answer.body
    return answer.body


def post(center, target, body, status=200):
    answer = center.call("POST", target, body, local=True)
    assert answer.status == status, answer.body
    return answer.body


def vm_config(name="api1"):
    return {
        "name": name, "uuid": UUID, "machine": "pc-i440fx-7.2", "vcpus": 1, "cpu_model": "qemu64", "memory_mib": 128,
        "boot": {
            "kind": "kernel",
            "kernel": {"datastore": "image", "path": "vmlinuz"}, "initrd": {"datastore": "image", "path": "initrd.img"},
            "command_line": "console=ttyS0",
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def vm(center):
    made = post(center, "/v1/vms", {"config": vm_config(), "host": "host1", "start": True}, 201)
    assert (made["state"], made["host"]) == ("running", "host1") and made["status"] is not None
    return "api1"


def test_facts_and_views(center, vm):
    host = get(center, "/v1/hosts/host1")
    assert host["facts"]["motion_interfaces"] and host["n_vms"] == 1
    wait_until(lambda: get(center, "/v1/hosts/host1")["load"], 10, "the host's load")
    (store,) = get(center, "/v1/datastores")["datastores"]
    assert store["shared"] and [h["host"] for h in store["hosts"]] == ["host1", "host2"] and store["vms"] == [vm]


def test_probe(center):
    paths = post(center, "/v1/hosts/host1/probe", {"to": "host2", "duration_ms": 500})["paths"]
    assert paths and all(path["reachable"] and path["bits_per_s"] > 0 for path in paths)


def test_power(center, vm):
    for action, state in (("pause", "paused"), ("resume", "running"), ("suspend", "paused"), ("resume", "running")):
        assert post(center, f"/v1/vms/{vm}/power", {"action": action})["state"] == state
    again = center.call("POST", f"/v1/vms/{vm}/power", {"action": "start"}, local=True)
    assert (again.status, again.code) == (409, "wrong-state")
    assert center.call("DELETE", f"/v1/vms/{vm}", local=True).code == "wrong-state"


def test_console(center, vm):
    target = f"/v1/vms/{vm}/console/0"
    wait_until(lambda: len(center.call("GET", target, local=True).body) > 100, 60, "the guest's first words")
    connection = center.connection()
    connection.request("GET", f"{target}?follow=1", headers={"Authorization": f"Bearer {center.login()}"})
    response = connection.getresponse()
    assert response.getheader("Content-Type") == "application/octet-stream"
    assert response.read1(100)
    answer = center.call("POST", target, raw=b"\n", local=True)
    assert answer.status == 200, answer.body
    record = center.audit()[0]
    assert (record["action"], record["object"], record["details"]) == ("vm.console-input", f"vm/{vm}", None)
    connection.close()
    assert center.call("GET", f"/v1/vms/{vm}/console/1", local=True).status == 404


def test_check_and_migrate(center, vm):
    checks = post(center, f"/v1/vms/{vm}/check", {"all_hosts": True})["checks"]
    assert [(c["source"], c["destination"]) for c in checks] == [("host1", "host2")]
    errors = [f for f in checks[0]["findings"] if f["severity"] == "error"]
    assert checks[0]["possible"] == (not errors)
    unknown = {"to": "host2", "overrides": ["no.such.check"]}
    assert center.call("POST", f"/v1/vms/{vm}/check", unknown, local=True).code == "invalid-argument"

    events = Events(center, token=center.login())
    overrides = [f["id"] for f in errors if f["override"] == "allowed"]
    task = post(center, f"/v1/vms/{vm}/migrate", {"to": "host2", "overrides": overrides, "reason": "why not"}, 202)
    assert center.audit()[0]["result"] == "accepted"
    seen = []
    told = "queued"
    while told in ("queued", "running"):
        _, kind, data = events.next("task.state", "task.progress", "vm.home-changed")
        if kind == "task.state" and data["task"]["id"] == task["id"]:
            API.check({**data["task"], "findings": []}, {"$ref": "#/components/schemas/Task"}, "task.state")
            seen.append(data["task"]["step"])
            told = data["task"]["state"]
        get(center, f"/v1/tasks/{task['id']}")
    events.close()
    task = get(center, f"/v1/tasks/{task['id']}")
    assert task["state"] == "completed", task["error"]
    assert {"check", "prepare", "record"} <= set(seen)
    assert {"copy", "switchover"} & set(seen)  # five looks a second may miss one of them
    assert get(center, f"/v1/vms/{vm}")["host"] == "host2"
    motion = task["motion"]
    assert motion["rounds"] and motion["downtime_ms"] > 0 and motion["encrypted"]
    gap = {"gap_ms": 12.5, "prober": "a test"}
    answer = post(center, f"/v1/tasks/{task['id']}/client-gap", gap)
    assert answer["motion"]["client"] == gap
    assert get(center, f"/v1/tasks?vm={vm}&state=completed")["tasks"][0]["id"] == task["id"]
    late = center.call("DELETE", f"/v1/tasks/{task['id']}", local=True)
    assert (late.status, late.code) == (409, "wrong-state")


def test_adopt(center):
    """A VM that somebody started at the agent."""
    body = {"config": {**vm_config("api2"), "uuid": UUID.replace("6b", "6c")}, "mode": "start"}
    events = Events(center, token=center.login())
    done = subprocess.run(
        ["curl", "-sS", "--fail", "--unix-socket", center.data.parent / "host2/run/host.sock", "http://host/v1/vms",
         "-d", json.dumps(body)], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    _, _, data = events.next("vm.unknown")
    assert (data["vm"], data["host"]) == ("api2", "host2")
    events.close()
    assert center.call("GET", "/v1/vms/api2", local=True).code == "not-found"
    adopted = post(center, "/v1/vms/api2/adopt", {"host": "host2", "reason": "it is ours"}, 201)
    assert (adopted["host"], adopted["state"]) == ("host2", "running")


def test_a_motion_is_cancelled(center):
    task = post(center, "/v1/vms/api2/migrate", {"to": "host1", "switchover_goal_ms": 10}, 202)
    answer = center.call("DELETE", f"/v1/tasks/{task['id']}", {"reason": "on second thoughts"}, local=True)
    assert answer.status == 200 or answer.code == "wrong-state", answer.body
    ended = wait_until(lambda: get(center, "/v1/tasks?vm=api2&open=1")["tasks"] == [], 60, "the task's end")
    task = get(center, f"/v1/tasks/{task['id']}")
    assert ended and task["state"] in (("cancelled",) if answer.status == 200 else ("completed",))
    home = get(center, "/v1/vms/api2")
    assert home["host"] == ("host1" if task["state"] == "completed" else "host2") and home["state"] == "running"


def test_remove(center, vm):
    home = get(center, f"/v1/vms/{vm}")["host"]
    assert center.call("POST", f"/v1/vms/{vm}/adopt", {"host": home}, local=True).code == "exists"
    assert post(center, f"/v1/vms/{vm}/power", {"action": "stop"})["state"] == "off"
    resolved = center.call("POST", f"/v1/vms/{vm}/resolve", {"outcome": "run", "host": home}, local=True)
    assert resolved.status in (404, 409), resolved.body
    removed = center.call("DELETE", f"/v1/vms/{vm}", local=True)
    assert removed.status == 200, removed.body
    assert [vm["name"] for vm in get(center, "/v1/vms")["vms"]] == ["api2"]
