# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab does what lab/README.md says: networks, conditions, and going down whatever happened before.

Run as a script, this file is also what the tests run on a host: pinger, traffic source and sink, and a small
guest."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import select
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "lab"))

from labkit import cli, ip, netns, relay, state, topology  # noqa: E402
from labkit import lab as lab_module  # noqa: E402
from labkit.condition import Condition, shaper  # noqa: E402
from labkit.errors import LabError, UsageError  # noqa: E402
from labkit.lab import Host, Lab  # noqa: E402
from labkit.topology import Topology  # noqa: E402
from labkit.vm import wait_until  # noqa: E402

pytestmark = pytest.mark.alone

GODWIT_LAB = ROOT / "lab" / "godwit-lab"
DEADLINE_S = 15


# ------------------------------------------------------------------------------------------------------------
# On the hosts: `test_lab.py WHAT ARGUMENT…`


def helper_ping(destination: str, count: str, interval_s: str, wait_s: str) -> None:
    """Prints a list: milliseconds, or null for no answer within wait_s of the last request."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    ident, n = os.getpid() & 0xFFFF, int(count)
    sent: list[float] = []
    answers: list[float | None] = [None] * n
    start = time.monotonic()
    while True:
        now = time.monotonic()
        due = start + len(sent) * float(interval_s)
        if len(sent) < n and now >= due:
            header = struct.pack("!BBHHH", 8, 0, 0, ident, len(sent))
            total = sum(struct.unpack("!4H", header))
            total = (total & 0xFFFF) + (total >> 16)
            sent.append(time.monotonic())
            sock.sendto(header[:2] + struct.pack("!H", ~total & 0xFFFF) + header[4:], (destination, 0))
            continue
        end = sent[-1] + float(wait_s) if len(sent) == n else due
        if None not in answers or (len(sent) == n and now >= end):
            break
        if select.select([sock], [], [], max(0, end - now))[0]:
            packet, (source, _) = sock.recvfrom(2048)
            arrived = time.monotonic()
            kind, _, _, their_ident, number = struct.unpack("!BBHHH", packet[20:28])
            if kind == 0 and their_ident == ident and source == destination and answers[number] is None:
                answers[number] = (arrived - sent[number]) * 1000
    print(json.dumps(answers))


def helper_tcp_sink(port: str) -> None:
    """Prints "ready", then after one connection the megabits a second that came in after its first 0.3 s."""
    listener = socket.create_server(("", int(port)))
    print("ready", flush=True)
    connection, _ = listener.accept()
    buffer = bytearray(1 << 20)
    start = time.monotonic()
    counted, since, last = 0, None, start
    while n := connection.recv_into(buffer):
        last = time.monotonic()
        if since is not None:
            counted += n
        elif last - start > 0.3:
            since = last
    print(json.dumps(counted * 8 / (last - since) / 1e6 if since and last > since else 0))


def helper_tcp_source(destination: str, port: str, seconds: str) -> None:
    block = bytes(1 << 18)
    with socket.create_connection((destination, int(port)), timeout=DEADLINE_S) as connection:
        end = time.monotonic() + float(seconds)
        while time.monotonic() < end:
            connection.sendall(block)


_UDP = struct.Struct("!Q")
_UDP_END = 2**64 - 1


def helper_udp_sink(port: str) -> None:
    """Prints "ready", then after the end mark how many datagrams came, and how many after a later one."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind(("", int(port)))
    sock.settimeout(DEADLINE_S)
    print("ready", flush=True)
    seen: set[int] = set()
    highest, late = -1, 0
    while (number := _UDP.unpack_from(sock.recv(2048))[0]) != _UDP_END:
        seen.add(number)
        late += number < highest
        highest = max(highest, number)
    print(json.dumps({"received": len(seen), "late": late}))


def helper_udp_source(destination: str, port: str, count: str, per_s: str) -> None:
    # On one CPU: the kernel hands a veth's frames to the CPU of the sender, so that one which moves may
    # overtake itself, which is not what is tested.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((destination, int(port)))
    padding, start = bytes(1000), time.monotonic()
    for number in range(int(count)):
        wait = start + number / float(per_s) - time.monotonic()
        if wait > 0:
            select.select([], [], [], wait)
        sock.send(_UDP.pack(number) + padding)
    for _ in range(5):
        sock.send(_UDP.pack(_UDP_END))


def _tap(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    # TUNSETIFF with IFF_TAP | IFF_NO_PI
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000))
    return fd


def helper_guest(mac: str, address: str) -> None:
    """A guest as the bridge sees it: TAP tap0 on br-guest, and behind it a network stack of its own, which
    serves TCP port 7000 with the hash of what it is sent. Silent until spoken to. Commands on stdin:
    `announce`; its end is ours.

    The TAPs have no virtio-net header, so that a frame whose checksum was left open does not get through."""
    outer = _tap("tap0")
    subprocess.run(["ip", "link", "set", "tap0", "master", "br-guest", "up"], check=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000) != 0:  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    inner = _tap("eth0")
    ip.batch(None, ["link set lo up", f"link set eth0 address {mac} up", f"address add {address} dev eth0"])

    def serve() -> None:
        listener = socket.create_server(("", 7000))
        while True:
            connection, _ = listener.accept()
            with connection:
                digest = hashlib.sha256()
                while data := connection.recv(1 << 16):
                    digest.update(data)
                connection.sendall(digest.hexdigest().encode())

    threading.Thread(target=serve, daemon=True).start()
    print("ready", flush=True)
    while True:
        ready = select.select([outer, inner, 0], [], [])[0]
        for source, sink in ((outer, inner), (inner, outer)):
            if source in ready:
                os.write(sink, os.read(source, 1 << 16))
        if 0 in ready:
            if not (command := os.read(0, 64)):
                return
            if command.strip() == b"announce":
                hardware = bytes.fromhex(mac.replace(":", ""))
                rarp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 3) + (hardware + bytes(4)) * 2
                os.write(outer, b"\xff" * 6 + hardware + b"\x80\x35" + rarp.ljust(46, b"\0"))
                print("announced", flush=True)


def helper_send_for_hash(destination: str, size: str) -> None:
    data = os.urandom(int(size))
    with socket.create_connection((destination, 7000), timeout=DEADLINE_S) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(100):
            answer += part
    print(json.dumps(answer.decode() == hashlib.sha256(data).hexdigest()))


def helper_sniff_udp(interface: str, port: str) -> None:
    """Prints "ready", then whether the UDP checksum of the first datagram to `port` that it reads raw is
    right."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
    sock.bind((interface, 0))
    sock.settimeout(DEADLINE_S)
    print("ready", flush=True)
    while True:
        packet = sock.recv(1 << 16)[14:]
        if packet[9:10] == b"\x11" and packet[22:24] == struct.pack("!H", int(port)):
            break
    datagram = packet[20 : 20 + struct.unpack_from("!H", packet, 24)[0]]
    summed = packet[12:20] + struct.pack("!HH", 17, len(datagram)) + datagram + b"\0" * (len(datagram) % 2)
    total = sum(struct.unpack(f"!{len(summed) // 2}H", summed))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    print(json.dumps(total == 0xFFFF))


# ------------------------------------------------------------------------------------------------------------
# On the machine


def missing() -> str | None:
    if os.geteuid() != 0:
        return "a lab needs root"
    for tool in ("ip", "tc", "nsenter"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"/dev/net/tun: {error.strerror}"
    return None


needs_lab = pytest.mark.skipif(missing() is not None, reason=missing() or "")


def until(what: str, condition, timeout_s: float = DEADLINE_S):
    return wait_until(condition, timeout_s, what)


def start_helper(host: Host, *args: object) -> subprocess.Popen:
    return host.popen(
        [sys.executable, __file__, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def read_line(process: subprocess.Popen) -> str:
    assert select.select([process.stdout], [], [], DEADLINE_S)[0], f"no answer from {process.args}"
    return process.stdout.readline().strip()


def run_helper(host: Host, *args: object):
    done = host.run(
        [sys.executable, __file__, *map(str, args)], capture_output=True, text=True, timeout=4 * DEADLINE_S
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def ping(host: Host, destination: str, count: int = 3, interval_s: float = 0.02, wait_s: float = 0.3) -> list:
    return run_helper(host, "ping", destination, count, interval_s, wait_s)


def reaches(host: Host, destination: str) -> bool:
    return None not in ping(host, destination)


def is_cut_off(host: Host, destination: str) -> bool:
    return set(ping(host, destination)) == {None}


class Listening:
    """A helper that says "ready" and later prints a result."""

    def __init__(self, host: Host, *args: object) -> None:
        self.process = start_helper(host, *args)
        try:
            assert read_line(self.process) == "ready"
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Listening:
        return self

    def command(self, word: str) -> str:
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return read_line(self.process)

    def result(self):
        return json.loads(read_line(self.process))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=DEADLINE_S)

    def __exit__(self, *_: object) -> None:
        self.close()


def throughput(source: Host, sink: Host, interface: str, seconds: float) -> float:
    with Listening(sink, "tcp-sink", 5001) as receiver:
        run_helper(source, "tcp-source", sink.address(interface), 5001, seconds)
        return receiver.result()


def command(*args: object, timeout: float = 60) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, GODWIT_LAB, *map(str, args)], capture_output=True, text=True, timeout=timeout
    )


def remains(name: str) -> list[str]:
    """What there still is of a lab."""
    found = [f"namespace {each}" for each in netns.names_of_lab(name)]
    found += [str(path) for path in state.ROOT.glob(f"{name}*")] if state.ROOT.exists() else []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if relay.PROGRAM.encode() in line and f"/{name}/".encode() in line:
                found.append(f"relay {entry.name}")
    return found


@pytest.fixture(scope="session")
def relay_program(tmp_path_factory) -> str:
    """The delay relay: that of the build tree, or if there is none, one built here."""
    try:
        return relay.find_program()
    except LabError:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            pytest.skip("no gw-delay-relay in the build tree, and no C compiler")
        program = tmp_path_factory.mktemp("relay") / relay.PROGRAM
        sources = [ROOT / "lab" / "relay" / name for name in ("delay-relay.c", "relay-options.c", "delay-queue.c")]
        subprocess.run(
            [compiler, "-std=gnu17", "-O2", "-D_GNU_SOURCE", "-o", program, *sources], check=True, timeout=60
        )
        os.environ["GODWIT_LAB_RELAY"] = str(program)
        return str(program)


@pytest.fixture(scope="module")
def shared_lab(relay_program):
    name = f"t{os.getpid()}"
    with Lab.up(name, hosts=2, motion_links=2) as lab:
        yield lab
    assert remains(name) == []


@pytest.fixture
def lab(shared_lab):
    """The module's lab, every link good at the start of each test."""
    conditions = {
        link.key: (node, link)
        for node in shared_lab.topology.nodes
        for link in node.links
        if shared_lab.link(node.name, link.interface).condition != Condition()
    }
    for node, link in conditions.values():
        shared_lab.link(node.name, link.interface).amend(["up", "rate", "none", "rtt", "none"])
    return shared_lab


@pytest.fixture
def own_name():
    """The name of a lab that the test makes and breaks itself."""
    name = f"o{os.getpid()}"
    yield name
    lab_module.remove(name)
    assert remains(name) == []


# ------------------------------------------------------------------------------------------------------------
# Names, addresses and conditions, without a lab


def test_names_fit_and_differ():
    biggest = Topology("a" * 16, topology.MAX_HOSTS, topology.MAX_MOTION_LINKS)
    every = [link for node in biggest.nodes for link in node.links]
    devices = [
        name for link in every for name in (link.port, link.splice_bridge, link.tap_near, link.tap_far)
    ]
    devices += [network.bridge for network in biggest.networks]
    assert len(set(devices)) == len(devices)
    assert max(map(len, devices)) <= topology.IFNAME_MAX
    assert len({link.mac for link in every}) == len(every)
    addresses = [link.address for link in every if link.address]
    assert len(set(addresses)) == len(addresses)


def test_addresses():
    small = Topology("lab", 2, 2)
    assert [(link.interface, link.address) for link in small.node("host2").links] == [
        ("mgmt", "10.70.0.2/24"),
        ("motion0", "10.71.0.2/24"),
        ("motion1", "10.71.1.2/24"),
        ("uplink", None),
    ]
    assert small.client.link("guest0").address == "10.72.255.254/16"
    assert topology.guest_address(0) == "10.72.0.10/16"


@pytest.mark.parametrize("lab_name", ["a", "a-b", "x-client", "0"])
def test_namespace_names_are_read_back(lab_name):
    for node in Topology(lab_name, 1, 0).all_netns:
        assert topology.parse_netns_name(node)[0] == lab_name
    assert topology.parse_netns_name("godwit-lab.a.b.host1") is None
    assert topology.parse_netns_name("godwit-lab.a.host0") is None


@pytest.mark.parametrize("bad", ["", "A", "a.b", "a/b", "-a", "a" * 17, ".."])
def test_bad_lab_names(bad):
    with pytest.raises(UsageError):
        topology.check_lab_name(bad)


def test_conditions_combine():
    condition = Condition().amend(["rate", "2.5gbit", "rtt", "0.5ms"]).amend(["loss-of-peer"]).amend(["down"])
    assert condition == Condition(down=True, lose_peer=True, rate_bits_per_s=2_500_000_000, rtt_us=500)
    assert str(condition) == "down loss-of-peer rate 2.5gbit rtt 500us"
    assert Condition.from_json(condition.to_json()) == condition
    assert str(condition.amend(["up", "rtt", "none"])) == "rate 2.5gbit"
    assert str(Condition()) == "good"


@pytest.mark.parametrize(
    "words",
    [["rate"], ["rate", "1"], ["rate", "1gb"], ["rate", "1kbit"], ["rtt", "-1ms"], ["rtt", "11s"], ["fast"]],
)
def test_bad_conditions(words):
    with pytest.raises(UsageError):
        Condition().amend(words)


@pytest.mark.parametrize("rate", [64_000, 10**8, 10**9, 10**10, 10**11])
def test_shaper_is_bounded(rate):
    wanted = shaper(Condition(rate_bits_per_s=rate, rtt_us=10_000_000))
    assert 1514 <= wanted.burst_bytes < wanted.limit_bytes <= 256 << 20
    assert shaper(Condition(rtt_us=1)) is None


# ------------------------------------------------------------------------------------------------------------
# Networks


@needs_lab
def test_every_host_reaches_every_other(lab):
    host1, host2 = lab.hosts
    for interface in ("mgmt", "motion0", "motion1"):
        assert reaches(host1, host2.address(interface)), interface
        assert reaches(host2, host1.address(interface)), interface
    assert reaches(lab.client, host1.address("mgmt"))


@needs_lab
def test_networks_are_apart(lab):
    """A frame on one motion network is not seen on the other: the fabric's bridges do not touch."""
    host1, host2 = lab.hosts
    lab.link("host2", "motion0").down()
    until("motion0 lost", lambda: is_cut_off(host1, host2.address("motion0")))
    assert reaches(host1, host2.address("motion1"))


@needs_lab
def test_moved_guest_is_lost_until_it_announces_itself(lab):
    """The fabric learns addresses, so that a motion which forgets its RARP is seen to fail."""
    mac, address = "52:54:00:00:00:07", topology.guest_address(0)
    plain = address.partition("/")[0]
    # Without ARP, whose retries would announce the guest by and by.
    ip.batch(lab.client.netns, [f"neigh replace {plain} lladdr {mac} dev guest0 nud permanent"])
    with Listening(lab.host("host1"), "guest", mac, address):
        until("guest on host1 answers", lambda: reaches(lab.client, plain))
    with Listening(lab.host("host2"), "guest", mac, address) as guest:
        assert set(ping(lab.client, plain, count=5, interval_s=0.1)) == {None}
        assert guest.command("announce") == "announced"
        until("guest on host2 answers", lambda: reaches(lab.client, plain))


@needs_lab
@pytest.mark.parametrize("rtt_ms", [None, 10])
def test_checksums_are_whole_at_a_guests_tap(lab, rtt_ms):
    address = topology.guest_address(1)
    lab.link("host1", "uplink").set_rtt_ms(rtt_ms)
    with Listening(lab.host("host1"), "guest", "52:54:00:00:00:08", address):
        assert run_helper(lab.client, "send-for-hash", address.partition("/")[0], 1 << 20)


@needs_lab
@pytest.mark.parametrize("rtt_ms", [None, 1])
def test_checksums_are_whole_in_raw_frames(lab, rtt_ms):
    """For who reads frames from a packet socket: the client leaves no checksum to hardware that is not
    there."""
    lab.link("host1", "uplink").set_rtt_ms(rtt_ms)
    unknown = "10.72.1.1"  # no guest has it: flooded to every host
    ip.batch(lab.client.netns, [f"neigh replace {unknown} lladdr 52:54:00:00:00:09 dev guest0 nud permanent"])
    with Listening(lab.host("host1"), "sniff-udp", "uplink", 5003) as sniffer:
        run_helper(lab.client, "udp-source", unknown, 5003, 3, 1000)
        assert sniffer.result() is True


@needs_lab
def test_labs_side_by_side(lab, own_name):
    other = Lab.up(own_name, hosts=2, motion_links=1)
    address = lab.host("host2").address("motion0")
    assert other.host("host2").address("motion0") == address
    other.link("host2", "motion0").lose_peer()
    assert is_cut_off(other.host("host1"), address)
    assert reaches(lab.host("host1"), address)
    other.down()
    assert remains(own_name) == []
    assert reaches(lab.host("host1"), address)


# ------------------------------------------------------------------------------------------------------------
# Conditions


@needs_lab
@pytest.mark.parametrize("rate,mbit", [("100mbit", 100), ("1gbit", 1000)])
@pytest.mark.parametrize("source,sink", [("host1", "host2"), ("host2", "host1")], ids=["out", "in"])
def test_rate(lab, rate, mbit, source, sink):
    lab.link("host1", "motion0").set_rate(rate)
    # A neighbour's burst of work disturbs a window; a shaper that is wrong is wrong in all of them.
    seen = []
    for _ in range(4):
        seen.append(throughput(lab.host(source), lab.host(sink), "motion0", 1.3))
        if 0.90 * mbit <= seen[-1] <= 1.05 * mbit:
            return
    pytest.fail(f"{seen} Mbit/s, expected {mbit}")


@needs_lab
def test_rtt(lab):
    host1, host2 = lab.hosts
    link = lab.link("host1", "motion0")
    assert reaches(host1, host2.address("motion0"))  # ARP is done
    link.set_rtt_ms(100)
    until("reached through the relay", lambda: reaches_far(host1, host2.address("motion0")))
    # Never early. Late only by what a busy machine adds, which is not the same each time.
    for _ in range(4):
        times = ping(host1, host2.address("motion0"), count=15, interval_s=0.03, wait_s=1)
        assert None not in times
        assert 100 <= min(times), times
        if statistics.median(times) <= 102:
            break
    else:
        pytest.fail(f"{times} ms, expected 100 to 102")
    assert link.condition == Condition(rtt_us=100_000)

    link.set_rtt_ms(None)
    assert statistics.median(ping(host1, host2.address("motion0"), count=9)) < 20
    fabric = {entry["ifname"] for entry in ip.query(lab.topology.fabric_netns, ["link", "show"])}
    assert not [name for name in fabric if name.startswith(("ra-", "rb-", "rz-"))]


def reaches_far(host: Host, destination: str) -> bool:
    return None not in ping(host, destination, wait_s=2)


@needs_lab
def test_far_and_slow_link_loses_and_reorders_nothing(lab):
    """Numbered datagrams beside a bulk transfer that fills the link, while the rtt is changed up and down."""
    host1, host2 = lab.hosts
    link = lab.link("host1", "motion0")
    link.amend(["rate", "200mbit", "rtt", "40ms"])
    with Listening(host2, "udp-sink", 5002) as datagrams, Listening(host2, "tcp-sink", 5001) as bulk:
        senders = [
            start_helper(host1, "udp-source", host2.address("motion0"), 5002, 2500, 1000),
            start_helper(host1, "tcp-source", host2.address("motion0"), 5001, 2.5),
        ]
        try:
            for rtt_ms in (60, 20):
                frames = link.relay_stats()["frames"][0]
                until("traffic goes on", lambda: link.relay_stats()["frames"][0] > frames + 1000)
                link.set_rtt_ms(rtt_ms)
            for sender in senders:
                sender.wait(timeout=DEADLINE_S)
        finally:
            for sender in senders:
                sender.kill()
                sender.communicate(timeout=DEADLINE_S)
        assert datagrams.result() == {"received": 2500, "late": 0}
        assert bulk.result() > 100
    stats = link.relay_stats()
    assert stats["refused"] == [0, 0]
    # Segmentation offload gets through the relay, or 10 Gbit/s would be out of reach.
    assert stats["bytes"][0] / stats["frames"][0] > 2000, stats


@needs_lab
def test_full_relay_holds_back_and_loses_nothing(lab, relay_program, tmp_path, monkeypatch):
    """A relay with little memory: less than a TCP stream has under way in 100 ms."""
    small = tmp_path / relay.PROGRAM
    small.write_text(f'#!/bin/sh\nexec {relay_program} --queue-mib 2 "$@"\n')
    small.chmod(0o755)
    monkeypatch.setenv("GODWIT_LAB_RELAY", str(small))
    host1, host2 = lab.hosts
    link = lab.link("host1", "motion0")
    link.set_rtt_ms(100)
    with Listening(host2, "udp-sink", 5002) as datagrams, Listening(host2, "tcp-sink", 5001) as bulk:
        bulk_sender = start_helper(host1, "tcp-source", host2.address("motion0"), 5001, 3)
        try:
            until("the queue is full", lambda: link.relay_stats()["stalls"][0] > 0)
            run_helper(host1, "udp-source", host2.address("motion0"), 5002, 500, 1000)
        finally:
            bulk_sender.communicate(timeout=DEADLINE_S)
        assert datagrams.result() == {"received": 500, "late": 0}
        assert bulk.result() > 10
    assert link.relay_stats()["refused"] == [0, 0]


@needs_lab
def test_down_takes_the_carrier(lab):
    host1, host2 = lab.hosts
    link = lab.link("host1", "motion0")

    def carrier() -> bool:
        links = lab.status()["hosts"][0]["links"]
        return next(each["carrier"] for each in links if each["name"] == "motion0")

    assert carrier()
    link.down()
    until("no carrier", lambda: not carrier())
    assert is_cut_off(host2, host1.address("motion0"))
    link.up()
    until("carrier", carrier)
    until("reached again", lambda: reaches(host2, host1.address("motion0")))


@needs_lab
@pytest.mark.parametrize("rtt_ms", [None, 1])
def test_loss_of_peer_keeps_the_carrier(lab, rtt_ms):
    host1, host2 = lab.hosts
    link = lab.link("host1", "motion0")
    link.set_rtt_ms(rtt_ms)
    assert reaches_far(host2, host1.address("motion0"))
    link.lose_peer()
    assert is_cut_off(host2, host1.address("motion0"))
    assert is_cut_off(host1, host2.address("motion0"))
    assert all(each["carrier"] for each in lab.status()["hosts"][0]["links"])
    link.up()
    until("reached again", lambda: reaches_far(host2, host1.address("motion0")))


@needs_lab
def test_dead_relay_is_shown_and_replaced(lab):
    host1, host2 = lab.hosts
    link = lab.link("host1", "motion1")

    def status() -> dict:
        return next(each for each in lab.status()["hosts"][0]["links"] if each["name"] == "motion1")

    link.set_rtt_ms(1)
    assert status()["relay_alive"]
    os.kill(status()["relay_pid"], signal.SIGKILL)
    until("relay is seen dead", lambda: not status()["relay_alive"])
    assert is_cut_off(host1, host2.address("motion1"))
    link.set_rtt_ms(1)
    until("reached again", lambda: reaches(host1, host2.address("motion1")))


@needs_lab
def test_unfinished_splice_is_made_anew(lab, monkeypatch):
    """As a `link` that was killed right after it had started the relay leaves it."""
    host1, host2 = lab.hosts
    link = lab.link("host1", "motion1")
    killed = KeyboardInterrupt  # not an Exception: nothing is undone
    batch = ip.batch

    def die_at_the_splice(where: str | None, commands: list[str], **kwargs) -> None:
        if any("txqueuelen" in each for each in commands):
            raise killed
        batch(where, commands, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ip, "batch", die_at_the_splice)
        with pytest.raises(killed):
            link.set_rtt_ms(5)
    assert link.relay_stats() is not None
    link.set_rtt_ms(5)
    until("reached through the relay", lambda: reaches(host1, host2.address("motion1")))
    assert min(ping(host1, host2.address("motion1"))) >= 5


@needs_lab
def test_conditions_from_the_command_line(lab):
    done = command("link", "--name", lab.name, "host2", "all-motion", "rate", "1gbit", "rtt", "20ms")
    assert done.stdout.splitlines() == [f"host2/motion{k}: rate 1gbit rtt 20ms" for k in (0, 1)], done.stderr
    assert command("link", "--name", lab.name, "host2", "motion1", "rtt", "none").returncode == 0
    assert command("link", "--name", lab.name, "host2", "motion1").stdout == "host2/motion1: rate 1gbit\n"
    shown = json.loads(command("status", "--name", lab.name, "--json").stdout)
    conditions = {each["name"]: each["condition"] for each in shown["hosts"][1]["links"]}
    assert conditions["motion0"] == {
        "down": False,
        "lose_peer": False,
        "rate_bits_per_s": 1_000_000_000,
        "rtt_us": 20_000,
    }
    assert conditions["mgmt"] == Condition().to_json()
    assert "rate 1gbit rtt 20ms" in command("status", "--name", lab.name).stdout


# ------------------------------------------------------------------------------------------------------------
# exec


@needs_lab
def test_exec_becomes_the_command(lab):
    def on_host(*argv: str) -> subprocess.CompletedProcess:
        return command("exec", "--name", lab.name, "host1", "--", *argv)

    assert on_host("sh", "-c", "exit 7").returncode == 7
    assert on_host("sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM
    assert on_host("printenv", "GODWIT_RUNTIME_DIR", "GODWIT_LAB_HOST", "GODWIT_LAB_NAME").stdout.split() == [
        f"/run/godwit-lab/{lab.name}/host1/run",
        "host1",
        lab.name,
    ]
    assert lab.host("host1").runtime_dir.stat().st_mode & 0o777 == 0o755
    # The machine's mounts, control groups among them, are those of the host.
    assert on_host("readlink", "/proc/self/ns/mnt").stdout.strip() == os.readlink("/proc/self/ns/mnt")
    missing_program = on_host("/no/such/program")
    assert missing_program.returncode == 1
    assert "running /no/such/program on host1: No such file or directory" in missing_program.stderr
    assert "Traceback" not in missing_program.stderr


@needs_lab
def test_status_shows_processes(lab):
    with lab.host("host2").popen(["sleep", "60"]) as process:
        try:
            until("the command runs", lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
            assert {"pid": process.pid, "command": "sleep 60"} in lab.status()["hosts"][1]["processes"]
            assert lab.status()["hosts"][0]["processes"] == []
        finally:
            process.kill()


# ------------------------------------------------------------------------------------------------------------
# Going down


@needs_lab
@pytest.mark.parametrize("stage", ["state", "first-namespace", "last-namespace", "interfaces"])
def test_down_after_up_was_killed(own_name, stage):
    plan = Topology(own_name, 12, 2)
    last = netns.path(plan.client.netns)
    reached = {
        "state": lambda: (state.lab_directory(own_name) / "state.json").exists(),
        "first-namespace": lambda: bool(netns.names_of_lab(own_name)),
        "last-namespace": last.exists,
        # host1 is done after the fabric is; host12 is not yet
        "interfaces": lambda: interfaces_of(plan.node("host1").netns) >= {"br-guest"},
    }[stage]
    arguments = [sys.executable, GODWIT_LAB, "up", "--name", own_name, "--hosts", "12", "--motion-links", "2"]
    with subprocess.Popen(arguments) as process:
        try:
            deadline = time.monotonic() + DEADLINE_S
            while not reached():  # no pause: the stage is short
                assert time.monotonic() < deadline and process.poll() is None
        finally:
            process.kill()
    assert remains(own_name) != []
    assert command("status", "--name", own_name).returncode == 1
    assert command("up", "--name", own_name, "--hosts", "1").returncode == 1  # not over the remains
    assert command("down", "--name", own_name).returncode == 0
    assert remains(own_name) == []
    assert command("down", "--name", own_name).stdout == f"lab {own_name}: nothing to take down\n"


def interfaces_of(name: str) -> set[str]:
    try:
        return {entry["ifname"] for entry in ip.query(name, ["link", "show"])}
    except LabError:
        return set()


@needs_lab
def test_down_ends_processes_even_stubborn_ones(own_name):
    lab = Lab.up(own_name, hosts=1)
    ignoring = "trap '' TERM; echo ready; exec sleep 60"
    stubborn = lab.host("host1").popen(["sh", "-c", ignoring], stdout=subprocess.PIPE)
    meek = lab.client.popen(["sleep", "60"])
    outside = subprocess.Popen(["sleep", "60"])
    try:
        assert stubborn.stdout.readline() == b"ready\n"
        until("the command runs", lambda: Path(f"/proc/{meek.pid}/comm").read_text() == "sleep\n")
        lab.down()
        assert stubborn.wait(timeout=0) == -signal.SIGKILL
        assert meek.wait(timeout=0) == -signal.SIGTERM
        assert outside.poll() is None
    finally:
        for process in (stubborn, meek, outside):
            process.kill()
            process.communicate(timeout=DEADLINE_S)


@needs_lab
def test_down_without_state_and_half_of_the_namespaces(own_name, relay_program):
    lab = Lab.up(own_name, hosts=3)
    lab.link("host1", "motion0").set_rtt_ms(5)
    lab.link("host2", "uplink").set_rtt_ms(5)
    shutil.rmtree(state.lab_directory(own_name))
    ip.batch(None, [f"netns delete {lab.host('host2').netns}"])
    assert command("down", "--name", own_name).stdout == f"lab {own_name} is down\n"
    assert remains(own_name) == []


@needs_lab
def test_unreadable_state_is_told_and_removed(own_name):
    Lab.up(own_name, hosts=1)
    (state.lab_directory(own_name) / "state.json").write_text("{")
    done = command("status", "--name", own_name)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"down --name {own_name}" in done.stderr
    lab_module.remove(own_name)
    assert remains(own_name) == []


@needs_lab
def test_relay_ends_with_its_lab(own_name, relay_program):
    """Even when the lab is removed behind labkit's back."""
    lab = Lab.up(own_name, hosts=1)
    lab.link("host1", "motion0").set_rtt_ms(5)
    assert [each for each in remains(own_name) if each.startswith("relay")]
    ip.batch(None, [f"netns delete {name}" for name in lab.topology.all_netns])
    until("relay is gone", lambda: not [each for each in remains(own_name) if each.startswith("relay")])


@needs_lab
def test_up_that_fails_undoes_itself(own_name, monkeypatch):
    def fail(_: object) -> None:
        raise LabError("no luck")

    monkeypatch.setattr(lab_module, "_fill_in_checksums", fail)
    with pytest.raises(LabError, match="no luck"):
        Lab.up(own_name, hosts=2)
    assert remains(own_name) == []


@needs_lab
def test_down_all(own_name, monkeypatch, capsys):
    Lab.up(own_name, hosts=1)
    assert own_name in lab_module.all_names()
    monkeypatch.setattr(lab_module, "all_names", lambda: [own_name])  # not the labs of others on this machine
    assert cli.main(["down", "--all"]) == 0
    assert capsys.readouterr().out == f"lab {own_name} is down\n"
    assert remains(own_name) == []


@needs_lab
def test_one_of_two_concurrent_ups_wins(own_name):
    arguments = [sys.executable, GODWIT_LAB, "up", "--name", own_name, "--hosts", "2"]
    both = [subprocess.Popen(arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) for _ in range(2)]
    errors = [process.communicate(timeout=DEADLINE_S)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    assert b"exists already" in b"".join(errors)
    assert command("status", "--name", own_name).returncode == 0


# ------------------------------------------------------------------------------------------------------------
# Errors


@needs_lab
@pytest.mark.parametrize(
    "arguments,status,text",
    [
        (["up", "--name", "Bad", "--hosts", "2"], 2, "lab name 'Bad'"),
        (["up", "--name", "{own}", "--hosts", "0"], 2, "0 hosts: expected 1 to 200"),
        (["up", "--name", "{own}", "--hosts", "2", "--motion-links", "9"], 2, "9 motion links"),
        (["up", "--name", "{lab}", "--hosts", "2"], 1, "exists already"),
        (["status", "--name", "{own}"], 1, "there is no lab"),
        (["exec", "--name", "{lab}", "host9", "--", "true"], 2, "no host 'host9': it has host1 to host2"),
        (["exec", "--name", "{lab}", "host1"], 2, "needs a command"),
        (["link", "--name", "{lab}", "host1", "motion7", "down"], 2, "host1 has no link 'motion7'"),
        (["link", "--name", "{lab}", "client", "all-motion", "down"], 2, "client has no motion links"),
        (["link", "--name", "{lab}", "host1", "motion0", "rate", "fast"], 2, "rate 'fast'"),
        (["link", "--name", "{lab}", "host1", "motion0", "sideways"], 2, "no such condition 'sideways'"),
        (["frobnicate"], 2, "invalid choice"),
    ],
)
def test_errors_name_what_is_wrong(lab, own_name, arguments, status, text):
    done = command(*(word.format(lab=lab.name, own=own_name) for word in arguments))
    assert done.returncode == status
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@needs_lab
def test_failed_change_leaves_the_link_as_it_was(lab, monkeypatch):
    monkeypatch.setenv("GODWIT_LAB_RELAY", "/no/such/relay")
    with pytest.raises(LabError, match="link host1/motion0: .*it is still rate 1gbit"):
        lab.link("host1", "motion0").amend(["rate", "1gbit"])
        lab.link("host1", "motion0").set_rtt_ms(10)
    assert lab.link("host1", "motion0").condition == Condition(rate_bits_per_s=10**9)
    assert reaches(lab.host("host1"), lab.host("host2").address("motion0"))


if __name__ == "__main__":
    helpers = {
        "ping": helper_ping,
        "tcp-sink": helper_tcp_sink,
        "tcp-source": helper_tcp_source,
        "udp-sink": helper_udp_sink,
        "udp-source": helper_udp_source,
        "guest": helper_guest,
        "send-for-hash": helper_send_for_hash,
        "sniff-udp": helper_sniff_udp,
    }
    helpers[sys.argv[1]](*sys.argv[2:])
