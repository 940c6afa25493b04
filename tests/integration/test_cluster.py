# SPDX-License-Identifier: LGPL-2.1-or-later
"""A cluster from an administrator's chair: hosts join, a VM is made, one command moves it."""

import json

import pytest
from labkit.cluster import GODWIT, CliError
from labkit.guest import Guest
from labkit.vm import config, wait_until

HOSTS = 3
RESULT = (
    "task", "vm", "source", "destination", "state", "error", "downtime_ms", "total_ms", "precopy_ms", "rounds",
    "bytes_on_wire", "pages_sent", "pages_zero", "streams",
)  # fmt: skip


@pytest.fixture(scope="module")
def guest(cluster, lab):
    """A guest that writes memory and disk, on host1 at first."""
    guest = Guest(40, "web1", memory="ws=16M,rate=20M,fill=random", disk="dev=/dev/vda,ws=16M,rate=1M")
    cluster.create(config(guest, disks=[cluster.disk("web1.raw")])).wait_ready()
    wait_until(lambda: guest.ping(lab), 20, "the guest to answer")
    return guest


def test_every_host_is_up_and_known_by_its_facts(cluster):
    hosts = {host["name"]: host for host in cluster.json("host", "ls")["hosts"]}
    assert sorted(hosts) == ["host1", "host2", "host3"]
    for name, host in hosts.items():
        assert host["state"] == "up", host
        facts = host["facts"]
        assert [port_group["name"] for port_group in facts["port_groups"]] == ["lan"]
        assert facts["motion_interfaces"][0]["address"].startswith("10.71.0."), name
        assert "pc-i440fx-7.2" in facts["qemu"]["machines"]
    table = cluster.godwit("host", "ls").stdout
    assert all(name in table for name in hosts)


def test_a_vm_is_moved_by_one_command_and_tells_how_it_went(cluster, guest):
    for to, source in (("host2", "host1"), ("host3", "host2"), ("host1", "host3")):
        result = cluster.json("vm", "migrate", "web1", "--to", to, "--reason", "a test")
        assert [name for name in RESULT if name not in result] == []
        assert (result["state"], result["error"], result["source"], result["destination"]) == (
            "completed", None, source, to
        )  # fmt: skip
        assert result["rounds"] and all(set(r) >= {"dirty_pages", "sent_bytes", "ms"} for r in result["rounds"])
        assert 0 < result["downtime_ms"] < 500 and result["bytes_on_wire"] > 16 << 20
        assert cluster.home("web1") == to
        wait_until(lambda at=source: not cluster.vm("web1", at).directory.exists(), 10, "the source to be clean")
        assert cluster.vm("web1", to).state() == "running"
    for port in (7001, 7002):
        answer = guest.ask(cluster.lab, port, "verify")
        assert answer["verified"] > 0 and answer["wrong"] == 0


def test_who_did_what_when_and_why_is_in_the_audit(cluster, guest):
    records = cluster.json("audit", "ls")["audit"]
    moves = [record for record in records if record["action"] == "vm.migrate"]
    assert moves and moves[0]["user"] == "admin" and moves[0]["reason"] == "a test"
    assert moves[0]["object"] == "vm/web1" and moves[0]["address"] == cluster.center.address
    assert "password" not in json.dumps(records)


def test_a_motion_to_where_it_is_already_is_refused(cluster, guest):
    with pytest.raises(CliError) as refused:
        cluster.godwit("vm", "migrate", "web1", "--to", cluster.home("web1"))
    assert "web1" in refused.value.stderr and refused.value.status == 9


def test_the_program_helps(cluster):
    for words in ((), ("vm",), ("vm", "migrate")):
        done = cluster.godwit(*words, "--help")
        assert "Usage" in done.stdout, words
    assert GODWIT.exists()
