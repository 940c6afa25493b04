# SPDX-License-Identifier: LGPL-2.1-or-later
"""The agent of a host with real supervisors and guests: it can die, they can, and nothing is left in the end."""

import json
import mmap
import os
import signal
import subprocess
import uuid
from pathlib import Path

import pytest
from host_rig import Agent, Events
from labkit import tls
from labkit.guest import Guest
from labkit.vm import ApiError, Vm, config, wait_until


@pytest.fixture(scope="module")
def agents(lab, tmp_path_factory):
    directory = tmp_path_factory.mktemp("agents")
    directories = tls.make(directory / "tls", [host.name for host in lab.hosts])
    up = {host.name: Agent(host, directory, directories[host.name]) for host in lab.hosts}
    for agent in up.values():
        agent.start()
    yield up
    for agent in up.values():
        agent.close()
        assert list((agent.host.runtime_dir / "vms").iterdir()) == []
        links = agent.host.run(["ip", "-json", "link"], capture_output=True, text=True, check=True).stdout
        assert [link["ifname"] for link in json.loads(links) if link["ifname"].startswith("gw")] == []


@pytest.fixture
def agent(agents):
    return agents["host1"]


_numbers = iter(range(30, 90))


@pytest.fixture
def guest(agents, request):
    number = next(_numbers)
    yield Guest(number=number, name=f"vm{number}", memory="ws=1M,rate=0")
    for agent in agents.values():
        if f"vm{number}" in agent.vms():
            agent.remove_vm(f"vm{number}")


def qemu_pid(vm):
    return vm["qemu"]["pid"]


def test_life(agent, guest):
    with Events(agent) as events:
        vm = agent.start_vm(config(guest))
        assert (vm["name"], vm["state"], vm["supervised"], vm["memory_mib"]) == (guest.name, "running", True, 256)
        events.wait(lambda event: event["type"] == "vm.running" and event["vm"] == guest.name)
        events.wait(lambda event: event["type"] == "vm.status" and event["status"]["state"] == "running")
        load = events.wait(lambda event: event["type"] == "host.load" and event["vms"])
        assert load["vms"][0]["name"] == guest.name
        assert [each["name"] for each in load["datastores"]] == ["image", "ds"]

        Vm(agent.host, guest.name).wait_ready()
        console = agent.request("GET", f"/v1/vms/{guest.name}/console/0").decode(errors="replace")
        assert "GODWIT-GUEST-READY" in console
        agent.request("POST", f"/v1/vms/{guest.name}/console/0", raw=b"\n")
        assert agent.call("GET", f"/v1/vms/{guest.name}/config")["name"] == guest.name
        with pytest.raises(ApiError, match="there is a VM") as failure:
            agent.start_vm(config(guest))
        assert failure.value.code == "exists"
        with pytest.raises(ApiError, match="power it off first"):
            agent.call("DELETE", f"/v1/vms/{guest.name}")

        assert agent.call("POST", f"/v1/vms/{guest.name}/power", {"action": "pause"}) == {"state": "paused"}
        events.wait(lambda event: event["type"] == "vm.status" and event["status"]["state"] == "paused")
        agent.remove_vm(guest.name)
        events.wait(lambda event: event["type"] == "vm.status" and event["status"] is None)
    assert guest.name not in agent.vms()
    assert not (agent.host.runtime_dir / "vms" / guest.name).exists()


def test_another_vm_of_the_name_is_not_meant(agent, guest):
    """Whoever says which VM is meant gets nothing of another one that has its name."""
    document = config(guest)
    path = f"/v1/vms/{guest.name}"
    agent.start_vm(document)
    for method, suffix, body in [
        ("GET", "", None), ("GET", "/config", None), ("POST", "/power", {"action": "stop"}), ("GET", "/console/0", None),
        ("GET", "/motion/check", None), ("DELETE", "", None),
    ]:  # fmt: skip
        with pytest.raises(ApiError, match="is another one") as failure:
            agent.call(method, f"{path}{suffix}?uuid={uuid.uuid4()}", body)
        assert failure.value.code == "not-found"
    assert agent.call("GET", f"{path}?uuid={document['uuid'].upper()}")["state"] == "running"
    assert agent.call("POST", f"{path}/power?uuid={document['uuid']}", {"action": "stop"}) == {"state": "off"}


def test_a_console_is_followed(agent, guest):
    agent.start_vm(config(guest))
    path = f"http://host/v1/vms/{guest.name}/console/0?follow=1"
    follower = subprocess.Popen(["curl", "-sN", "--unix-socket", agent.socket, path], stdout=subprocess.PIPE)
    try:
        seen = b""
        while b"GODWIT-GUEST-READY" not in seen:
            piece = follower.stdout.read1()
            assert piece, "the stream ended"
            seen += piece
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close()


def test_the_agent_is_killed(agent, guest):
    before = agent.start_vm(config(guest))
    agent.kill()
    os.kill(qemu_pid(before), 0)
    agent.start()
    after = agent.wait_vm(guest.name, "found again", lambda vm: vm["supervised"])
    assert qemu_pid(after) == qemu_pid(before)
    assert after["supervisor"] == before["supervisor"]


def test_the_supervisor_is_killed(agent, guest):
    before = agent.start_vm(config(guest))
    with Events(agent) as events:
        os.kill(before["supervisor"]["pid"], signal.SIGKILL)
        after = agent.wait_vm(guest.name, "adopted", lambda vm: vm["supervised"] and vm["supervisor"]["adopted"], 10)
        events.wait(lambda event: event["type"] == "vm.adopted" and event["vm"] == guest.name)
        events.wait(lambda event: event["type"] == "vm.status" and event["status"]["state"] == "unsupervised")
        events.wait(lambda event: event["type"] == "vm.status" and event["status"].get("state") == "running")
    assert after["state"] == "running"
    assert qemu_pid(after) == qemu_pid(before)


def test_supervisor_and_agent_are_killed(agent, guest):
    before = agent.start_vm(config(guest))
    agent.kill()
    os.kill(before["supervisor"]["pid"], signal.SIGKILL)
    agent.start()
    after = agent.wait_vm(guest.name, "adopted", lambda vm: vm["supervised"], 10)
    assert qemu_pid(after) == qemu_pid(before)
    assert after["supervisor"]["adopted"]


def test_the_supervisor_is_told_to_end(agent, guest):
    """An agent is there so that VMs are not alone."""
    before = agent.start_vm(config(guest))
    os.kill(before["supervisor"]["pid"], signal.SIGTERM)
    other = before["supervisor"]["pid"]
    after = agent.wait_vm(guest.name, "adopted", lambda vm: vm["supervised"] and vm["supervisor"]["pid"] != other, 10)
    assert qemu_pid(after) == qemu_pid(before)


def test_qemu_and_the_supervisor_are_killed(agent, guest):
    vm = agent.start_vm(config(guest))
    os.kill(vm["supervisor"]["pid"], signal.SIGKILL)
    os.kill(qemu_pid(vm), signal.SIGKILL)
    agent.wait_vm(guest.name, "crashed", lambda vm: vm["state"] == "crashed", 10)
    agent.call("DELETE", f"/v1/vms/{guest.name}")
    assert guest.name not in agent.vms()


def test_one_started_by_hand_is_noticed(agent, guest, tmp_path):
    with Events(agent) as events:
        vm = Vm.start(agent.host, config(guest), tmp_path)
        events.wait(lambda event: event["type"] == "vm.running" and event["vm"] == guest.name)
        agent.wait_vm(guest.name, "running", lambda vm: vm["state"] == "running", 10)  # its status is told behind that
    assert agent.vms()[guest.name]["state"] == "running"
    vm.remove()
    wait_until(lambda: guest.name not in agent.vms(), 10, "the VM to be gone")


def test_a_start_that_fails_leaves_nothing(agent, guest):
    disk = {"datastore": "ds", "path": "absent.qcow2", "format": "qcow2"}
    with pytest.raises(ApiError, match=r"absent\.qcow2"):
        agent.start_vm(config(guest, disks=[disk]))
    with pytest.raises(ApiError) as failure:
        agent.start_vm(config(guest, vcpus=0))
    assert failure.value.code == "invalid-config"
    assert guest.name not in agent.vms()
    assert not (agent.host.runtime_dir / "vms" / guest.name).exists()


def test_one_that_waits_is_removed(agent, guest):
    vm = agent.start_vm(config(guest), "incoming")
    assert vm["state"] == "incoming"
    agent.call("DELETE", f"/v1/vms/{guest.name}")
    assert guest.name not in agent.vms()
    vm = agent.start_vm(config(guest), "incoming")
    receive = {"action": "receive", "listen": [agent.host.address("motion0")]}
    agent.call("POST", f"/v1/vms/{guest.name}/motion", receive)
    agent.call("DELETE", f"/v1/vms/{guest.name}")
    assert guest.name not in agent.vms()
    assert not Path(f"/proc/{qemu_pid(vm)}").exists()


def test_findings_of_a_motion(agent, guest):
    agent.start_vm(config(guest))
    path = f"/v1/vms/{guest.name}/motion/check"

    def ids():
        return {finding["id"] for finding in agent.call("GET", path)["findings"]}

    assert "motion.memory.foreign-mapping" not in ids()
    fd = Vm(agent.host, guest.name).memory_fd()
    with mmap.mmap(fd, 1 << 20, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE):
        os.close(fd)
        assert "motion.memory.foreign-mapping" in ids()
    agent.call("POST", f"/v1/vms/{guest.name}/power", {"action": "stop"})
    with pytest.raises(ApiError) as failure:
        agent.call("GET", path)
    assert failure.value.code == "wrong-state"


def test_a_motion(agents, guest):
    """As a center makes it, call by call."""
    source, destination = agents["host1"], agents["host2"]
    source.start_vm(config(guest))
    Vm(source.host, guest.name).wait_ready()
    where = f"/v1/vms/{guest.name}"
    with Events(source) as left, Events(destination) as arrived:
        destination.start_vm(source.call("GET", f"{where}/config"), "incoming")
        listen = [destination.host.address("motion0")]
        ticket = destination.call("POST", f"{where}/motion", {"action": "receive", "listen": listen})
        source.call("POST", f"{where}/motion", {**ticket, "action": "send"})
        end = left.wait(lambda event: event["type"] == "motion.ended", 60)
        assert (end["vm"], end["outcome"]) == (guest.name, "left")
        end = arrived.wait(lambda event: event["type"] == "motion.ended", 60)
        assert (end["vm"], end["outcome"]) == (guest.name, "arrived")
        moved = source.wait_vm(guest.name, "moved", lambda vm: vm["state"] == "moved")
        assert moved["motion"]["role"] == "source"
        assert moved["motion"]["session"] == ticket["session"]
        running = destination.wait_vm(guest.name, "running", lambda vm: vm["state"] == "running")
        assert running["motion"]["role"] == "destination"
        assert source.call("GET", f"{where}/motion")["state"] == "completed"
        source.call("DELETE", where)
    assert guest.name not in source.vms()
    assert destination.vms()[guest.name]["state"] == "running"


def test_reload(agent):
    agent.write_config(more=f"[datastore more]\npath={agent.directory / 'tls'}\n")
    assert agent.command("reload").returncode == 0
    assert "more" in [each["name"] for each in agent.call("GET", "/v1/host")["datastores"]]
    agent.write_config(listen="127.0.0.2")
    done = agent.command("reload")
    assert done.returncode == 1
    assert "restart" in done.stderr
    agent.write_config(more="[datastore x]\n")
    with pytest.raises(ApiError) as failure:
        agent.call("POST", "/v1/reload")
    assert failure.value.code == "invalid-config"
    agent.write_config()
    agent.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: [each["name"] for each in agent.call("GET", "/v1/host")["datastores"]] == ["image", "ds"],
        10,
        "the configuration to be read again",
    )


def test_only_one_agent(agent):
    done = agent.command("run")
    assert done.returncode == 1
    assert "another godwit-host runs" in done.stderr


def test_status_and_clean(agent, guest):
    agent.start_vm(config(guest))
    done = agent.command("status")
    assert done.returncode == 0
    assert guest.name in done.stdout
    assert "joined as host1" in done.stdout
    done = agent.command("clean")
    assert done.returncode == 1
    assert guest.name in done.stderr


def test_ends_when_told(agent, guest):
    before = agent.start_vm(config(guest))
    with Events(agent):
        assert agent.stop() == 0
    assert not agent.socket.exists()
    os.kill(qemu_pid(before), 0)
    assert Vm(agent.host, guest.name).state() == "running"
    done = agent.command("status")
    assert done.returncode == 1
    assert "no agent runs" in done.stderr
    agent.start()
    assert agent.wait_vm(guest.name, "found", lambda vm: vm["supervised"])["supervisor"] == before["supervisor"]
