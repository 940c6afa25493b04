# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest's announcement in a real network: bridges learn where it is although it says nothing itself."""

import json
import socket
import subprocess

import pytest
from labkit import netns
from labkit.guest import MEMORY_PORT
from labkit.vm import BRIDGE, BUILD, PORT_GROUP, config, wait_until

ANNOUNCE_GUEST = BUILD / "tests/integration/announce-guest"
SECOND_MAC = "52:54:00:72:ff:02"
ETH_P_RARP = 0x8035


@pytest.fixture(scope="module")
def silent(lab, module_vms):
    """A paused guest of two NICs, and its document. One NIC has its virtio-net header set to 12 bytes by QEMU, at its
    driver's wish; the other, of another model, has it as the TAP was made: 10."""
    guest = module_vms.guest("silent", memory="ws=1M,rate=0")
    nics = [
        {"port_group": PORT_GROUP, "mac": guest.mac},
        {"port_group": PORT_GROUP, "mac": SECOND_MAC, "model": "e1000"},
    ]
    vm = module_vms.start_guest(guest, nics=nics)
    guest.ask(lab, MEMORY_PORT, "status")  # its driver is up, and a client has reached it
    vm.power("pause")
    return guest, vm


def forget(lab):
    """No bridge knows any more where anything is."""
    for host in ("host1", "host2"):
        lab.host(host).run(["ip", "link", "set", BRIDGE, "type", "bridge", "fdb_flush"], check=True)


def port_of(host, mac):
    """The port of the host's bridge behind which `mac` was learnt; None if it was not."""
    shown = host.run(["bridge", "-j", "fdb", "show", "br", BRIDGE], stdout=subprocess.PIPE, text=True, check=True)
    ports = [entry["ifname"] for entry in json.loads(shown.stdout) if entry["mac"] == mac and "self" not in entry["flags"]]
    assert len(ports) <= 1
    return ports[0] if ports else None


def listener(host):
    """Receives the RARP frames that come to the host's bridge, from TAPs or from the uplink."""
    with netns.entered(host.netns):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_RARP))
        sock.bind((BRIDGE, ETH_P_RARP))
    sock.settimeout(5)
    return sock


def announce(vm, tmp_path):
    document = tmp_path / "config.json"
    document.write_text(json.dumps(vm.call("GET", "/v1/config")))
    done = vm.host.run([ANNOUNCE_GUEST, str(vm.qemu_pid()), document], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def expected_frame(mac):
    raw = bytes.fromhex(mac.replace(":", ""))
    head = b"\xff" * 6 + raw + b"\x80\x35" + bytes.fromhex("0001080006040003")
    return (head + raw + bytes(4) + raw + bytes(4)).ljust(60, b"\0")


def check_announcement(lab, guest, vm, tmp_path):
    here, there = lab.host("host1"), lab.host("host2")
    macs = [guest.mac, SECOND_MAC]
    forget(lab)
    assert [port_of(host, mac) for host in (here, there) for mac in macs] == [None] * 4
    with listener(there) as sock:
        took = announce(vm, tmp_path)
        frames = {sock.recv(2048) for _ in macs}
    assert frames == {expected_frame(mac) for mac in macs}
    taps = [f"gw{vm.call('GET', '/v1/config')['uuid'][:8]}.{i}" for i in range(2)]
    assert [port_of(here, mac) for mac in macs] == taps
    uplinks = {wait_until(lambda mac=mac: port_of(there, mac), 5, f"{mac} on host2's bridge") for mac in macs}
    assert len(uplinks) == 1 and not uplinks & set(taps)
    return took


def test_bridges_learn_a_silent_guest(lab, silent, tmp_path):
    guest, vm = silent
    took = check_announcement(lab, guest, vm, tmp_path)
    print(f"preparing took {took['prepare_us']} µs, sending {took['send_us']} µs for two NICs")
    # The copies of the TAPs were closed, and the guest's network is as it was.
    vm.power("resume")
    assert guest.ask(lab, MEMORY_PORT, "status")["write_errors"] == 0
    vm.power("pause")


def test_also_of_a_guest_that_was_adopted(lab, silent, tmp_path):
    """Then nobody but QEMU has the TAPs: the supervisor that opened them is gone."""
    guest, vm = silent
    vm.kill_supervisor()
    vm.adopt()
    check_announcement(lab, guest, vm, tmp_path)


def test_the_taps_go_with_qemu(lab, silent, tmp_path):
    guest, vm = silent
    announce(vm, tmp_path)
    vm.power("stop")
    vm.wait_state("off")
    links = lab.host("host1").run(["ip", "-o", "link"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "gw" + vm.call("GET", "/v1/config")["uuid"][:8] not in links
