# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks before a motion, each with its condition made for real: the hosts, the way between them, networks, room. Each
finding is seen, the motion is refused for it, its repair is done, and it is gone. Datastores are in
test_cluster_checks_storage.py, the rest in test_cluster_checks_qemu.py."""

import json
import os
import signal
import uuid
from contextlib import contextmanager

import checks_rig
import pytest
from checks_rig import checks, every_id_is_found_and_gone  # noqa: F401
from labkit import ip, netns
from labkit.errors import LabError
from labkit.vm import BRIDGE, PORT_GROUP, Vm, wait_until

MOTION_LINKS = 2
WRONG_STATE = 9  # the exit status


@pytest.fixture(scope="module")
def web1(checks):
    """A guest that runs on host1, for tests in which nothing happens to it."""
    with checks.guest("web1") as name:
        yield name


def test_nothing_is_to_be_said_of_a_guest_as_it_is(checks, web1):
    """But that this machine keeps a process from everybody, if it does."""
    # What is measured depends on what else the machine does: it is measured again.
    wait_for(lambda: assert_silent(checks, web1))


def assert_silent(checks, vm):
    assert {finding["id"] for finding in checks.look(vm, probe=True)} <= {"motion.memory.unseen"}


# -- the hosts and the VM


@pytest.mark.makes("motion.host.same")
def test_the_destination_is_where_it_is(checks, web1):
    finding = checks.find(web1, "motion.host.same", "web1", "host1", to="host1")
    assert finding["repair"] == "name another host"
    checks.assert_gone(web1, "motion.host.same", to="host2")


@pytest.mark.makes("motion.host.unreachable")
def test_the_destinations_agent_is_dead(checks, cluster, web1):
    cluster.agents["host2"].kill()
    try:
        finding = checks.find(web1, "motion.host.unreachable", "host2", "destination", probe=True)
        assert finding["destination"] == "does not answer"
        assert [each["id"] for each in checks.look(web1) if each["severity"] == "error"] == ["motion.host.unreachable"]
        checks.assert_refused(web1, "motion.host.unreachable")
        assert "systemctl status godwit-host" in checks_rig.commands_in(finding["repair"])
        checks.follow("host2", finding["repair"], "godwit host show")
    finally:
        cluster.agents["host2"].start()
    cluster.await_hosts()
    checks.assert_gone(web1, "motion.host.unreachable")


def test_the_sources_agent_is_dead(checks, cluster, web1):
    cluster.agents["host1"].kill()
    try:
        (finding,) = checks.look(web1, probe=True)
        assert finding["id"] == "motion.host.unreachable" and "host1, the source" in finding["text"]
        assert (finding["source"], finding["destination"]) == ("does not answer", None)
    finally:
        cluster.agents["host1"].start()
    cluster.await_hosts()
    checks.assert_gone(web1, "motion.host.unreachable")


@pytest.mark.makes("motion.host.maintenance")
def test_the_destination_is_in_maintenance(checks, cluster, web1):
    cluster.godwit("host", "maintenance", "host2", "on")
    finding = checks.find(web1, "motion.host.maintenance", "host2", "maintenance")
    checks.assert_printed(web1, finding)
    checks.assert_refused(web1, "motion.host.maintenance")
    checks.follow("host2", finding["repair"], "godwit host maintenance")
    checks.assert_gone(web1, "motion.host.maintenance")


@pytest.mark.makes("motion.host.problem")
def test_qemus_user_does_not_exist_at_the_destination(checks, cluster, web1):
    plain = cluster.agents["host2"].sections["host"]
    with checks.reconfigured("host2", {"host": {**plain, "qemu-user": "nobody-of-that-name"}}):
        finding = checks.find(web1, "motion.host.problem", "host2", "nobody-of-that-name")
        assert "qemu-user" in finding["repair"]
        checks.assert_refused(web1, "motion.host.problem")
    checks.assert_gone(web1, "motion.host.problem")


@pytest.mark.makes("motion.state")
@pytest.mark.parametrize("how", ["off", "crashed"])
def test_the_vm_does_not_run(checks, cluster, how):
    with checks.guest("idle") as vm:
        if how == "off":
            checks.end(vm)
        else:
            os.kill(cluster.vm(vm, "host1").qemu_pid(), signal.SIGKILL)
        wait_until(lambda: cluster.call("GET", f"/v1/vms/{vm}")["state"] == how, 20, f"the VM to be {how}")
        finding = checks.find(vm, "motion.state", f"'{how}'", "host1")
        done = cluster.godwit("vm", "migrate", vm, "--to", "host2", check=False)
        assert done.returncode == WRONG_STATE and f"is {how}" in done.stderr, done.stderr
        checks.follow("host1", finding["repair"], "godwit vm start")
        checks.assert_gone(vm, "motion.state")
        cluster.godwit("vm", "pause", vm)
        checks.assert_gone(vm, "motion.state")


@pytest.mark.makes("motion.activity", "motion.path.slow")
def test_another_motion_is_under_way_on_a_slow_way(checks, cluster, lab, web1):
    """100 Mbit/s, and then so little that a motion takes a while."""
    links = [lab.link("host2", name) for name in ("motion0", "motion1")]
    try:
        for link in links:
            link.set_rate("100mbit")
        wait_for(lambda: assert_slow(checks, web1, 2))
        links[1].set_rate(None)
        words = ("motion0", "Mbit/s were measured", "should have 250")
        finding = wait_for(lambda: checks.find(web1, "motion.path.slow", *words, probe=True))
        assert "motion0" in finding["source"] and "motion0" in finding["destination"]
        links[0].set_rate(None)
        wait_for(lambda: checks.assert_gone(web1, "motion.path.slow", probe=True))

        with checks.guest("busy", boot=busy_boot()) as vm:
            for link in links:
                link.set_rate("2mbit")
            task = cluster.migrate(vm, "host2")
            wait_until(lambda: cluster.task(task)["step"] == "copy", 30, "memory to be copied")
            finding = checks.find(vm, "motion.activity", vm, "host1", "motion")
            again = cluster.godwit("vm", "migrate", vm, "--to", "host2", check=False)
            assert again.returncode == WRONG_STATE and task in again.stderr, again.stderr
            checks.follow("host1", finding["repair"], "godwit task ls")
            assert "godwit task cancel TASK" in checks_rig.commands_in(finding["repair"])
            cluster.godwit("task", "cancel", task)
            assert cluster.await_task(task)["state"] == "cancelled"
            checks.assert_gone(vm, "motion.activity")
    finally:
        for link in links:
            link.set_rate(None)


def assert_slow(checks, vm, n):
    slow = [finding for finding in checks.look(vm, probe=True) if finding["id"] == "motion.path.slow"]
    assert len(slow) == n, slow


def busy_boot():
    boot = checks_rig.document("x")["boot"]
    return {**boot, "command_line": "gw.mem=ws=32M,rate=20M"}


def test_somebody_traces_the_vms_memory(checks, cluster, lab, web1):
    vm = cluster.vm(web1, "host1")
    vm.call("POST", "/v1/trace")
    finding = checks.find(web1, "motion.activity", "host1", "trace")
    checks.assert_refused(web1, "motion.activity")
    (command,) = checks_rig.commands_in(finding["repair"])
    lab.host("host1").run(command.replace("/run/godwit", str(vm.directory.parents[1])).split(), check=True)
    checks.assert_gone(web1, "motion.activity")


@pytest.mark.makes("motion.vm.duplicate")
def test_the_destination_has_the_vm_too(checks, cluster, lab, tmp_path):
    with checks.guest("twin") as vm:
        document = json.loads(cluster.godwit("vm", "config", vm).stdout)
        other = Vm.start(lab.host("host2"), document, tmp_path)
        try:
            finding = wait_for(lambda: checks.find(vm, "motion.vm.duplicate", "host1", "host2", vm))
            done = cluster.godwit("vm", "migrate", vm, "--to", "host2", check=False)
            assert done.returncode != 0
            checks.follow("host2", finding["repair"], "godwit-vm power")
            wait_for(lambda: checks.assert_gone(vm, "motion.vm.duplicate"))
            wait_until(lambda: not other.directory.exists(), 20, "the center to have removed the rest")
            assert cluster.vm(vm, "host1").state() == "running"
        finally:
            other.remove()


@pytest.mark.makes("motion.vm.namesake")
def test_the_destination_has_another_vm_of_that_name(checks, cluster, lab, tmp_path):
    with checks.guest("namesake") as vm:
        document = {**json.loads(cluster.godwit("vm", "config", vm).stdout), "uuid": str(uuid.uuid4())}
        other = Vm.start(lab.host("host2"), document, tmp_path)
        try:
            other.power("stop")
            finding = checks.find(vm, "motion.vm.namesake", "host2", vm, document["uuid"])
            done = cluster.godwit("vm", "migrate", vm, "--to", "host2", check=False)
            assert done.returncode == checks_rig.CHECK_FAILED and "motion.vm.namesake" in done.stderr
            assert other.state() == "off", "what is somebody else's is still there"
            checks.follow("host2", finding["repair"], "godwit-vm rm")
            wait_for(lambda: checks.assert_gone(vm, "motion.vm.namesake"))
        finally:
            other.remove()


def wait_for(assertion, timeout_s=20):
    """What hosts tell by themselves takes a moment to arrive."""

    def holds():
        try:
            return (assertion(),)
        except AssertionError:
            return None

    try:
        return wait_until(holds, timeout_s, "")[0]
    except LabError:
        return assertion()


# -- the way between them


@pytest.mark.makes("motion.interface.missing")
def test_no_motion_interface_is_up(checks, lab, web1):
    host2 = lab.host("host2")
    for name in host2.motion_interfaces:
        host2.run(["ip", "link", "set", name, "down"], check=True)
    try:
        finding = checks.find(web1, "motion.interface.missing", "host2", "destination", "is up", probe=True)
        assert "motion0" in finding["destination"] and "(down)" in finding["destination"]
        checks.assert_refused(web1, "motion.interface.missing")
        checks.follow("host2", finding["repair"], "ip link set motion0 up")
        checks.assert_gone(web1, "motion.interface.missing", probe=True)
    finally:
        for name in host2.motion_interfaces:
            host2.run(["ip", "link", "set", name, "up"], check=True)


@pytest.mark.parametrize("host", ["host1", "host2"])
def test_no_motion_interface_is_configured(checks, web1, host):
    with checks.reconfigured(host, {"motion": {}}):
        finding = checks.find(web1, "motion.interface.missing", host, "has no motion interface")
        checks.mend_host(finding, host, {"motion": {"interfaces": "motion0;"}})
        checks.assert_gone(web1, "motion.interface.missing")


@contextmanager
def ipv6_alone(lab, host, interface, address):
    """The interface has an IPv6 address, and no other."""
    node = lab.host(host)
    old = ip.query(node.netns, ["address", "show", "dev", interface])[0]["addr_info"][0]
    old = f"{old['local']}/{old['prefixlen']}"
    netns.write_sysctls(node.netns, {f"ipv6/conf/{interface}/disable_ipv6": "0"})
    node.run(["ip", "address", "del", old, "dev", interface], check=True)
    node.run(["ip", "address", "add", address, "dev", interface, "nodad"], check=True)
    try:
        yield old
    finally:
        node.run(["ip", "-6", "address", "flush", "dev", interface], check=True)
        node.run(["ip", "address", "replace", old, "dev", interface], check=True)


@pytest.mark.makes("motion.interface.family")
def test_one_host_has_ipv6_and_the_other_ipv4(checks, lab, web1):
    with (
        checks.reconfigured("host2", {"motion": {"interfaces": "motion0;"}}),
        ipv6_alone(lab, "host2", "motion0", "fd71::2/64") as old,
    ):
        finding = checks.find(web1, "motion.interface.family", "host1 have IPv4", "host2 IPv6", probe=True)
        assert "fd71::2/64" in finding["destination"] and "10.71." in finding["source"]
        assert "host2 an address of IPv4" in finding["repair"]
        checks.assert_refused(web1, "motion.interface.family")
        lab.host("host2").run(["ip", "address", "add", old, "dev", "motion0"], check=True)
        checks.assert_gone(web1, "motion.interface.family", probe=True)


@pytest.mark.makes("motion.path.unreachable", "motion.path.none")
def test_ways_that_lead_nowhere(checks, lab):
    """First one of two, which may be overridden; then both."""
    with checks.guest("lost") as vm:
        links = [lab.link("host2", name) for name in ("motion0", "motion1")]
        try:
            links[1].lose_peer()
            finding = checks.find(vm, "motion.path.unreachable", "motion1", "host1", "host2", probe=True)
            assert "motion1" in finding["source"] and "motion1" in finding["destination"]
            checks.assert_refused(vm, "motion.path.unreachable")
            checks.assert_moves(vm, "host2", "--override", "motion.path.unreachable")

            links[0].lose_peer()
            finding = checks.find(vm, "motion.path.none", "host1", "host2", "2 ways", to="host1", probe=True)
            assert "motion0" in finding["source"] and "10.71." in finding["destination"]
            assert any(command.startswith("ping -I 10.71.") for command in checks_rig.commands_in(finding["repair"]))
            checks.assert_refused(vm, "motion.path.none", to="host1")
        finally:
            for link in links:
                link.up()
        for name in ("motion.path.none", "motion.path.unreachable"):
            wait_for(lambda name=name: checks.assert_gone(vm, name, to="host1", probe=True))
        checks.assert_moves(vm, "host1")


def test_an_interface_without_a_way_is_taken_out(checks, lab, web1):
    """The other repair of a way that does not connect."""
    link = lab.link("host2", "motion1")
    link.lose_peer()
    try:
        finding = checks.find(web1, "motion.path.unreachable", "motion1", probe=True)
        assert "take the interface out of [motion] interfaces" in finding["repair"]
        with checks.reconfigured("host2", {"motion": {"interfaces": "motion0;"}}):
            with checks.reconfigured("host1", {"motion": {"interfaces": "motion0;"}}):
                checks.assert_gone(web1, "motion.path.unreachable", probe=True)
    finally:
        link.up()


# -- networks


@pytest.mark.makes("motion.network.missing")
@pytest.mark.parametrize(("there", "words"), [(None, ()), ("LAN", ("'LAN' there differs in case",))])
def test_the_destination_has_no_such_port_group(checks, web1, there, words):
    other = {f"port-group {there}": {"switch": "guests"}} if there else {}
    with checks.reconfigured("host2", {f"port-group {PORT_GROUP}": None, **other}):
        finding = checks.find(web1, "motion.network.missing", "host2", f"'{PORT_GROUP}'", "nic0 (/nics/0)", *words)
        assert "uplinks uplink" in finding["source"]
        checks.assert_printed(web1, finding)
        checks.assert_refused(web1, "motion.network.missing")
        checks.mend_host(finding, "host2", {f"port-group {PORT_GROUP}": {"switch": "guests"}} if not there else {})
        if there:
            assert f"rename [port-group {there}] to [port-group {PORT_GROUP}]" in finding["repair"]
            renamed = {f"port-group {there}": None, f"port-group {PORT_GROUP}": {"switch": "guests"}}
            checks.mend_host(finding, "host2", {f"port-group {there}": None})
            checks.cluster.agents["host2"].reconfigure(**{f"port-group {PORT_GROUP}": renamed[f"port-group {PORT_GROUP}"]})
        checks.assert_gone(web1, "motion.network.missing")


@pytest.mark.makes("motion.network.internal")
def test_a_switch_without_uplinks(checks, cluster, lab):
    """Its override works, and who asked for it is on record; one of what may not be overridden is refused."""
    with checks.guest("inner") as vm, checks.reconfigured("host2", {"switch guests": {"bridge": BRIDGE}}):
        finding = checks.find(vm, "motion.network.internal", "nic0 (/nics/0)", "guests", "host2", "no uplink")
        assert "no uplink" in finding["destination"] and "uplinks uplink" in finding["source"]
        checks.assert_refused(vm, "motion.network.internal")
        (applied,) = [
            each for each in checks.look(vm, overrides=("motion.network.internal",)) if each["override"] == "applied"
        ]
        assert applied["id"] == "motion.network.internal"

        n_tasks = len(cluster.json("task", "ls")["tasks"])
        refusals = {
            "motion.network.missing": "would lose data, or cannot work",
            "motion.path.slow": "is a warning",
            "motion.nothing": "no check is called so",
        }
        for name, why in refusals.items():
            for what in ("check", "migrate"):
                done = cluster.godwit("vm", what, vm, "--to", "host2", "--override", name, check=False)
                assert done.returncode == 2 and name in done.stderr and why in done.stderr, done.stderr
        assert len(cluster.json("task", "ls")["tasks"]) == n_tasks

        checks.assert_moves(vm, "host2", "--override", "motion.network.internal", "--reason", "an island for a while")
        (record,) = [
            each
            for each in cluster.json("audit", "ls")["audit"]
            if each["action"] == "vm.migrate" and each["reason"] == "an island for a while"
        ]
        assert record["user"] == "admin" and "motion.network.internal" in json.dumps(record), record

        checks.find(vm, "motion.network.internal", "host2", to="host1")  # where it is now
        assert "[switch guests] uplinks=" in finding["repair"]
        checks.cluster.agents["host2"].reconfigure(**{"switch guests": {"bridge": BRIDGE, "uplinks": "uplink"}})
        checks.assert_gone(vm, "motion.network.internal", to="host1")
        checks.assert_moves(vm, "host1")


# -- room


@pytest.mark.makes("motion.cpu.room", "motion.memory.room")
def test_a_vm_that_is_too_large_for_the_destination(checks, cluster):
    """Its memory is not there before the guest has written to it."""
    n_cpus = os.cpu_count() or 1
    total_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    with checks.guest("large", vcpus=n_cpus + 1, memory_mib=total_mib + 1024) as vm:
        checks.find(vm, "motion.cpu.room", f"{n_cpus + 1} vCPUs", f"host2 has {n_cpus} CPUs")
        finding = checks.find(vm, "motion.memory.room", "host2", f"may come to hold {total_mib + 1024} MiB")
        assert finding["severity"] == "warning" and "MiB available" in finding["destination"]
    # A larger host is not to be had in one machine, so it is a smaller VM that moves.
    with checks.guest("large", vcpus=n_cpus, memory_mib=128) as vm:
        checks.assert_gone(vm, "motion.cpu.room")
        checks.assert_gone(vm, "motion.memory.room")
