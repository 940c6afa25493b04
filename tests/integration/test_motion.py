# SPDX-License-Identifier: LGPL-2.1-or-later
"""A running guest moves between two hosts and nobody notices: memory, disk, connections; and what is refused."""

import json
import os
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from labkit import motion, netns
from labkit.guest import DISK_PORT, MEMORY_PORT
from labkit.vm import ApiError, Prober, wait_until
from motion_rig import MIB, Hold, Traveller, await_motion_over, is_alive

pytestmark = pytest.mark.alone

MOTION_LINKS = 2

# The longest silence that a probe a millisecond sees of a guest that is copied but not stopped, under emulation on two
# shared cores: copying takes one of them for a while. A guest that was stopped in the tests below stood for longer.
CALM_GAP_MS = 400
PAGE_MAGIC = b"GWVPAGE1"


@pytest.fixture(scope="module")
def the_traveller(rig):
    """The guest that most tests share: it writes and verifies memory at 20 MB/s."""
    return Traveller(rig, rig.guest("traveller", memory="ws=32M,rate=20M,fill=random"))


@pytest.fixture
def traveller(the_traveller):
    return the_traveller.ready()


@pytest.fixture
def rates(lab):
    """Sets the rates of motion links, on both hosts; they are good again afterwards."""

    def set_rate(link, rate):
        for host in lab.hosts:
            lab.link(host.name, link).set_rate(rate)

    yield set_rate
    for link in ("motion0", "motion1"):
        set_rate(link, None)


def sent_bytes(host, link):
    shown = host.run(["ip", "-j", "-s", "link", "show", "dev", link], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(shown.stdout)[0]["stats64"]["tx"]["bytes"]


# ------------------------------------------------------------------------------------------------ guests that move


@pytest.mark.parametrize(
    ("machine", "vcpus", "tls"),
    [("pc-i440fx-7.2", 1, True), ("pc-q35-7.2", 2, False)],
    ids=["i440fx-1-vcpu-tls", "q35-2-vcpus-plain"],
)
def test_there_and_back_while_it_writes_memory_and_disk(lab, rig, machine, vcpus, tls):
    guest = rig.guest(f"works{vcpus}", memory="ws=48M,rate=50M,fill=random", disk="dev=/dev/vda,ws=16M,rate=8M")
    vm = rig.boot(guest, machine=machine, vcpus=vcpus, disks=[rig.disk(f"works{vcpus}.raw")])
    differences = []
    with Prober(lab, guest.address) as prober:
        for _ in range(2):
            left = vm.host
            prober.mark()
            vm, result = rig.move(vm, tls=tls)
            guest.ask(lab, MEMORY_PORT, "status")  # it has answered from its new place: the gap is closed
            window = prober.mark()
            assert vm.host is not left and vm.state() == "running"
            assert [host for host, _ in rig.running(guest.name)] == [vm.host.name]
            assert not rig.left(left, guest.name)
            # It was live: pages that had gone were written again and went again.
            assert len(result["rounds"]) >= 2 and result["pages_resent"] > 0, result
            assert result["encrypted"] is tls
            assert 0 < result["downtime_ms"] < 500, result
            differences.append(motion.gap_around_pause(window, result) - result["downtime_ms"])
        report = prober.stop()
    # What is reported is what a client saw: it cannot have seen less, and not much more than a guest under emulation
    # takes to wake up with a cold translation cache on a busy machine.
    assert min(differences) > -5 and min(differences) < 100, differences
    assert report["tcp"]["connected"] and not report["tcp"]["lost"] and report["tcp"]["wrong_bytes"] == 0
    status = rig.check_memory(guest)
    assert status["rate_bytes_per_s"] > 0
    disk = guest.ask(lab, DISK_PORT, "verify")
    assert disk["verified"] > 0 and (disk["wrong"], disk["io_errors"]) == (0, 0), disk
    rig.check_it_can_end(vm)
    vm.remove()


def test_a_paused_guest_arrives_paused_and_goes_on_with_its_memory(lab, rig, traveller):
    vm, guest = traveller.vm, traveller.guest
    before = guest.ask(lab, MEMORY_PORT, "status")["written_pages"]
    vm.power("pause")
    result = traveller.move()
    assert traveller.vm.state() == "paused" and rig.running(guest.name) == []
    assert result["downtime_ms"] is None, "nothing stood still that had run"
    assert not guest.ping(lab)
    traveller.vm.power("resume")
    traveller.check()
    assert guest.ask(lab, MEMORY_PORT, "status")["written_pages"] > before


def test_a_guest_that_has_hardly_touched_its_memory_is_a_small_guest(rig, traveller):
    """Holes cost nothing, on either side."""
    result = traveller.move()
    assert result["bytes_on_wire"] < 200 * MIB
    fd = traveller.vm.memory_fd()
    try:
        assert os.fstat(fd).st_blocks * 512 < 200 * MIB < os.fstat(fd).st_size
    finally:
        os.close(fd)


@pytest.mark.parametrize("streams", [1, 2, 4, 8])
def test_streams_share_the_work(lab, rig, traveller, rates, streams):
    """Each is a connection of its own, and each carries its part."""
    rates("motion0", "400mbit")
    source = traveller.vm.host
    there, ticket = rig.prepare(traveller.vm)
    motion.send(traveller.vm, ticket, streams=streams)
    port = ticket["addresses"][0]["port"]

    def carried():
        done = source.run(
            ["ss", "-HtnOi", "state", "established", "dport", "=", str(port)], stdout=subprocess.PIPE, text=True, check=True
        )
        return sorted(int(n) for n in re.findall(r"bytes_acked:(\d+)", done.stdout))

    def all_carry():
        counts = carried()
        # Control carries next to nothing until the device state.
        return counts if len(counts) == streams + 1 and counts[1] > MIB else None

    counts = wait_until(all_carry, 20, f"{streams} streams to carry something")
    assert counts[0] < MIB / 4, counts
    result = motion.await_end(traveller.vm)
    assert result["state"] == "completed" and result["streams"] == streams
    motion.await_state(traveller.vm, "moved")
    motion.await_state(there, "running")
    traveller.vm.remove()
    traveller.vm = there
    traveller.check()


def test_two_links_of_unequal_rate_are_both_used_and_the_faster_carries_more(lab, traveller, rates):
    rates("motion0", "100mbit")
    rates("motion1", "400mbit")
    source = traveller.vm.host
    before = [sent_bytes(source, link) for link in ("motion0", "motion1")]
    result = traveller.move(links=("motion0", "motion1"), streams=4)
    slow, fast = (sent_bytes(source, link) - was for link, was in zip(("motion0", "motion1"), before, strict=True))
    assert slow > result["bytes_on_wire"] / 20, (slow, fast)
    assert fast > 2 * slow, (slow, fast)
    # No link waits for the other: together they carry what both can.
    assert result["bytes_on_wire"] / (result["precopy_ms"] / 1000) > 0.6 * (500e6 / 8), result
    traveller.check()


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_what_is_on_the_wire_can_be_read_only_without_tls(rig, traveller, tls):
    """Pages of the guest's writer carry a magic word; whoever listens on the link looks for it."""
    to = rig.other(traveller.vm.host)
    with netns.entered(to.netns):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    tap.bind(("motion0", 3))
    tap.settimeout(0.2)
    heard, done = [], threading.Event()

    def listen():
        while not done.is_set():
            try:
                heard.append(tap.recv(70000).count(PAGE_MAGIC))
            except TimeoutError:
                continue

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        result = traveller.move(tls=tls)
    finally:
        done.set()
        listener.join()
        tap.close()
    assert result["encrypted"] is tls
    assert ("AES" in result["cipher"]) is tls and result["cipher"].startswith("TLS1.3 " if tls else "none")
    assert len(heard) > 100
    assert (sum(heard) == 0) is tls
    traveller.check()


# ----------------------------------------------------------------------------------------------- what is told of it

SHOWN = {
    "role": str, "session": str, "state": str, "step": str, "encrypted": bool, "cipher": str, "peer": str, "streams": int,
    "converging": bool, "round": int, "rounds": list, "memory_bytes": int, "remaining_bytes": int, "link_bytes_per_s": int,
    "write_bytes_per_s": int, "expected_pause_ms": float, "total_ms": float, "precopy_ms": float, "bytes_on_wire": int,
    "pages_sent": int, "pages_zero": int, "pages_resent": int, "rtt_us": int, "timeline": list,
}  # fmt: skip


def test_everything_is_told_while_it_happens_and_afterwards(rig, traveller):
    hold = Hold(rig.directory, "later-round")
    rig.supervise_anew(traveller.vm, hold.env)
    vm = traveller.vm
    with pytest.raises(ApiError, match="not been in a motion") as error:
        motion.motion(vm)
    assert error.value.status == 404
    there, ticket = rig.prepare(vm)
    assert len(ticket["session"]) == 32 and len(ticket["secret"]) == 64 and ticket["tls"] is True
    assert motion.motion(there)["state"] == "waiting" and there.state() == "incoming"
    begun = motion.send(vm, ticket)
    assert begun["role"] == "source" and begun["session"] == ticket["session"]
    hold.await_reached()
    now = motion.motion(vm)
    assert now["state"] == "pre-copy" and now["error"] is None and now["downtime_ms"] is None
    assert now["link_bytes_per_s"] > 0 and now["remaining_bytes"] > 0 and now["expected_pause_ms"] > 0
    assert "secret" not in now and "secret" not in begun
    hold.release()
    source = motion.await_end(vm)
    motion.await_state(there, "running")
    destination = motion.await_end(there)
    for told, role in ((source, "source"), (destination, "destination")):
        assert (told["role"], told["state"], told["error"]) == (role, "completed", None)
    for field, kind in SHOWN.items():
        assert field in destination
        assert isinstance(source[field], kind), (field, source[field])
    assert [r["round"] for r in source["rounds"]] == list(range(len(source["rounds"])))
    assert source["rounds"][0]["found_pages"] * 4096 > 32 * MIB and source["eta_ms"] is not None
    steps = [step["step"] for step in source["timeline"]]
    assert steps == [
        "flushing", "setting-up", "stopping", "stopped", "drained", "memory-complete", "state-saved", "verified",
        "peer-loaded", "go", "runs",
    ]  # fmt: skip
    times = [step["at_us"] for step in source["timeline"]]
    assert times == sorted(times) and times[steps.index("stopped")] == 0
    assert source["downtime_ms"] == pytest.approx(times[-1] / 1000, abs=0.1)

    motion.await_state(vm, "moved")
    types = [event["type"] for event in vm.events_so_far()]
    assert types.count("motion.round") >= 1 and types[-1] == "vm.moved" and "motion.ended" in types, types
    # What is left at the source cannot be started, and goes when asked to.
    status = vm.status()
    assert status["state"] == "moved" and status["qemu"] is None
    with pytest.raises(ApiError, match="moved") as error:
        vm.power("start")
    assert error.value.status == 409
    vm.remove()
    assert not rig.left(vm.host, vm.name)
    traveller.vm = there
    traveller.check()


def test_while_one_motion_is_under_way_nothing_else_is_begun(rig, traveller):
    hold = Hold(rig.directory, "first-round")
    rig.supervise_anew(traveller.vm, hold.env)
    vm = traveller.vm
    there, ticket = rig.prepare(vm)
    motion.send(vm, ticket)
    hold.await_reached()
    with hold:
        for each, body in ((vm, {**ticket, "action": "send"}), (there, {"action": "receive", "listen": ["127.0.0.1"]})):
            with pytest.raises(ApiError, match="a motion is under way") as error:
                each.call("POST", "/v1/motion", body)
            assert error.value.status == 409
        for action in ("pause", "resume", "reset", "start"):
            for each in (vm, there):
                with pytest.raises(ApiError) as error:
                    each.power(action)
                assert error.value.status == 409, (action, each.host.name)
        with pytest.raises(ApiError) as error:
            vm.call("POST", "/v1/trace")
        assert error.value.status == 409
        with pytest.raises(ApiError, match="not unresolved"):
            vm.call("POST", "/v1/motion/resolve", {"outcome": "run"})
    assert motion.await_end(vm)["state"] == "completed"
    motion.await_state(vm, "moved")
    motion.await_state(there, "running")
    vm.remove()
    traveller.vm = there
    traveller.check()


# ------------------------------------------------------------------------------------------------------- taken back


# To the destination the others are the same as the step before.
CANCELLED = [
    *((step, "source") for step in ("connect", "first-round", "later-round", "stopped", "device-state", "before-go")),
    *((step, "destination") for step in ("first-round", "stopped", "before-go")),
]


@pytest.mark.parametrize(("step", "by"), CANCELLED)
def test_a_motion_that_is_cancelled_leaves_the_guest_where_it_was(lab, rig, traveller, step, by):
    hold = Hold(rig.directory, step)
    rig.supervise_anew(traveller.vm, hold.env)
    vm, guest = traveller.vm, traveller.guest
    there, ticket = rig.prepare(vm)
    supervisor = there.supervisor_pid()
    with Prober(lab, guest.address) as prober:
        prober.mark()
        motion.send(vm, ticket)
        hold.await_reached()
        with hold:
            (vm if by == "source" else there).call("DELETE", "/v1/motion")
        result = motion.await_end(vm)
        motion.await_state(vm, "running")
        guest.ask(lab, MEMORY_PORT, "status")
        window = prober.mark()
        report = prober.stop()
    assert window["longest_gap_ms"] < CALM_GAP_MS, window
    assert not report["tcp"]["lost"] and report["tcp"]["wrong_bytes"] == 0
    assert result["error"]["message"] and result["downtime_ms"] is None
    if by == "source":
        assert result["state"] == "cancelled" and result["error"]["code"] == "cancelled"
    else:
        assert result["state"] == "failed" and "cancelled on request" in result["error"]["message"]
    rig.await_gone(there.host, there.name)
    wait_until(lambda: not is_alive(supervisor), 5, "the last thread of the supervisor to end")
    traveller.check()
    with pytest.raises(ApiError, match="no motion is under way"):
        vm.call("DELETE", "/v1/motion")


def test_a_guest_that_writes_faster_than_the_link_carries_stays_and_it_is_said_why(lab, rig, traveller, rates):
    vm, guest = traveller.vm, traveller.guest
    rates("motion0", "200mbit")
    guest.ask(lab, MEMORY_PORT, "rate 200M")
    try:
        there, ticket = rig.prepare(vm)
        with Prober(lab, guest.address) as prober:
            motion.send(vm, ticket, deadline_s=8)
            result = motion.await_end(vm, 60)
            report = prober.stop()
    finally:
        guest.ask(lab, MEMORY_PORT, "rate 20M")
    assert result["state"] == "failed" and result["error"]["code"] == "not-converging", result
    assert "deadline of 8 s" in result["error"]["message"] and "MB/s" in result["error"]["message"], result
    assert result["converging"] is False and "faster link" in result["explanation"], result
    assert result["total_ms"] < 10_000
    assert "motion.not-converging" in [event["type"] for event in vm.events_so_far()]
    assert report["longest_gap_ms"] < CALM_GAP_MS and not report["tcp"]["lost"]
    rig.await_gone(there.host, there.name)
    traveller.check()


def test_a_deadline_that_passes_while_memory_is_first_copied_says_how_far_it_came(rig, traveller, rates):
    rates("motion0", "100mbit")
    there, ticket = rig.prepare(traveller.vm)
    motion.send(traveller.vm, ticket, deadline_s=1)
    result = motion.await_end(traveller.vm, 30)
    assert result["state"] == "failed" and result["error"]["code"] == "not-converging", result
    assert re.search(r"deadline of 1 s.*MB of .* MB.*MB/s", result["error"]["message"]), result["error"]
    rig.await_gone(there.host, there.name)
    traveller.check()


# ------------------------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": "fly"}, "action: expected send or receive"),
        ({"session": "12"}, "session: expected 32 hex"),
        ({"secret": "g" * 64}, "secret: expected 64 hex"),
        ({"addresses": []}, "addresses: expected a list of 1 to 8"),
        ({"addresses": [{"address": "host2", "port": 1}]}, "numeric \"address\""),
        ({"addresses": [{"address": "10.71.0.2", "port": 0}]}, "a \"port\" from 1 to 65535"),
        ({"addresses": [{"address": "10.71.0.2", "port": 1, "local": "x"}]}, "numeric \"local\""),
        ({"streams": 9}, "streams: expected a whole number from 1 to 8"),
        ({"streams": 0}, "streams: expected a whole number from 1 to 8"),
        ({"switchover_goal_ms": 1}, "switchover_goal_ms: expected a whole number from 10 to 60000"),
        ({"deadline_s": 0}, "deadline_s: expected a whole number"),
        ({"tls": "yes"}, "tls: expected true or false"),
    ],
    ids=str,
)
def test_wrong_requests_are_refused_by_name(traveller, change, message):
    body = {
        "action": "send", "session": "00" * 16, "secret": "00" * 32, "addresses": [{"address": "10.71.0.2", "port": 9}]
    }  # fmt: skip
    with pytest.raises(ApiError) as error:
        traveller.vm.call("POST", "/v1/motion", {**body, **change})
    assert error.value.status == 400 and message in error.value.message
    assert traveller.vm.state() == "running"


@pytest.mark.parametrize(
    ("action", "message"),
    [("receive", "cannot receive: the VM is running"), ("send", "cannot move: the VM is incoming")],
)
def test_the_wrong_end_is_told_so(rig, traveller, action, message):
    there, ticket = rig.prepare(traveller.vm)
    there.call("DELETE", "/v1/motion")
    rig.await_gone(there.host, there.name)
    end = traveller.vm
    if action == "send":
        end = rig.start(json.loads(traveller.vm.request("GET", "/v1/config")), "--incoming", host=there.host.name)
    with pytest.raises(ApiError, match=message) as error:
        end.call("POST", "/v1/motion", {**ticket, "action": action, "listen": ["127.0.0.1"]})
    assert error.value.status == 409
    if end is not traveller.vm:
        end.remove()


def fails(vm, ticket, **options):
    motion.send(vm, ticket, **options)
    result = motion.await_end(vm, 40)
    assert result["state"] == "failed", result
    assert vm.state() == "running"
    return result["error"]


def test_a_destination_that_is_not_there(rig, traveller):
    vm = traveller.vm
    there, ticket = rig.prepare(vm)
    address = ticket["addresses"][0]
    error = fails(vm, {**ticket, "addresses": [{**address, "port": 9}]})
    assert error["code"] == "peer-lost" and f"{address['address']} port 9" in error["message"], error
    assert "refused" in error["message"]
    error = fails(vm, {**ticket, "addresses": [{**address, "local": "10.99.0.1"}]})
    assert "10.99.0.1" in error["message"], error
    # The destination waits on: the right ticket still lets the VM in.
    motion.send(vm, ticket)
    assert motion.await_end(vm)["state"] == "completed"
    motion.await_state(vm, "moved")
    vm.remove()
    motion.await_state(there, "running")
    traveller.vm = there
    traveller.check()


@pytest.mark.parametrize(
    ("field", "reason"), [("session", "asks for another session"), ("secret", "has a wrong secret")]
)
def test_a_wrong_ticket_does_not_open_the_door(rig, traveller, field, reason):
    there, ticket = rig.prepare(traveller.vm)
    error = fails(traveller.vm, {**ticket, field: "ab" * (len(ticket[field]) // 2)})
    assert "closed the connection; its log says why" in error["message"] and error["code"] == "not-permitted"
    refused = [event for event in there.events_so_far() if event["type"] == "motion.refused"]
    assert reason in refused[-1]["why"], refused
    assert ticket["secret"] not in there.request("GET", "/v1/status").decode()
    there.call("DELETE", "/v1/motion")
    rig.await_gone(there.host, there.name)


def test_a_vm_of_another_size_is_refused(rig, traveller):
    vm = traveller.vm
    document = {**json.loads(vm.request("GET", "/v1/config")), "memory_mib": 128}
    there = rig.start(document, "--incoming", host=rig.other(vm.host).name)
    ticket = there.call("POST", "/v1/motion", {"action": "receive", "listen": motion.motion_addresses(there.host)})
    error = fails(vm, ticket)
    assert "closed the connection" in error["message"], error
    refused = [event["why"] for event in there.events_so_far() if event["type"] == "motion.refused"]
    assert refused == ["its VM has another size of memory"]
    there.call("DELETE", "/v1/motion")
    rig.await_gone(there.host, there.name)


@pytest.mark.parametrize("tls_at", ["source", "destination"])
def test_tls_at_one_end_only_is_no_motion(rig, traveller, tls_at):
    there, ticket = rig.prepare(traveller.vm, tls=tls_at == "destination")
    error = fails(traveller.vm, {**ticket, "tls": tls_at == "source"})
    assert "TLS" in error["message"], error
    # It is told behind the connection's end, which is what the source has failed by.
    wait_until(
        lambda: "motion.refused" in [event["type"] for event in there.events_so_far()],
        5,
        "the destination to say that it refused somebody",
    )
    there.call("DELETE", "/v1/motion")
    rig.await_gone(there.host, there.name)


def test_without_certificates_there_is_no_motion_with_tls(rig, traveller, tmp_path):
    vm = traveller.vm
    document = json.loads(vm.request("GET", "/v1/config"))
    there = rig.start(document, "--incoming", "--tls-dir", str(tmp_path), host=rig.other(vm.host).name)
    with pytest.raises(ApiError, match=f"TLS: .*{tmp_path}/ca.pem"):
        there.call("POST", "/v1/motion", {"action": "receive", "listen": motion.motion_addresses(there.host)})
    there.remove()
    assert not rig.left(there.host, there.name)


def test_a_machine_that_differs_is_refused_by_qemu_and_the_guest_stays(rig, traveller):
    """Another number of devices: only QEMU can tell, and it does in the pause. The guest is taken back."""
    vm = traveller.vm
    document = json.loads(vm.request("GET", "/v1/config"))
    document["vcpus"] = document["topology"]["sockets"] = 2
    there = rig.start(document, "--incoming", host=rig.other(vm.host).name)
    ticket = there.call("POST", "/v1/motion", {"action": "receive", "listen": motion.motion_addresses(there.host)})
    motion.send(vm, ticket)
    result = motion.await_end(vm, 40)
    assert result["state"] == "failed" and "the destination gave up" in result["error"]["message"], result
    rig.await_gone(there.host, there.name)
    motion.await_state(vm, "running")
    traveller.check()


# ------------------------------------------------------------------------------------------------------ many in a row


def resources(pid):
    """What the process holds when nobody asks it anything: a connection that is just being closed is not its own."""
    samples = []
    for _ in range(3):
        samples.append(resources_now(pid))
        time.sleep(0.05)  # no wait for anything: three looks
    return {what: min(sample[what] for sample in samples) for what in samples[0]}


def resources_now(pid):
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "rss_kib": int(status["RssAnon"].split()[0]),  # without what it maps of the guest's memory
        "threads": int(status["Threads"]),
        "fds": len(os.listdir(f"/proc/{pid}/fd")),
    }


def test_a_supervisor_that_has_tried_often_is_as_small_as_before(rig, traveller):
    """Motions that are called off leave nothing in the source's supervisor."""
    vm = traveller.vm
    rig.supervise_anew(vm)
    seen = []
    for _ in range(8):
        there, ticket = rig.prepare(vm)
        motion.send(vm, ticket, streams=4)
        wait_until(lambda: motion.motion(vm)["state"] != "connecting", 10, "the streams")
        vm.call("DELETE", "/v1/motion")
        assert motion.await_end(vm)["state"] in ("cancelled", "completed")
        assert vm.state() == "running"
        rig.await_gone(there.host, there.name)
        await_motion_over(vm)
        seen.append(resources(vm.supervisor_pid()))
    assert seen[-1]["fds"] == seen[1]["fds"] and seen[-1]["threads"] <= seen[1]["threads"], seen
    assert seen[-1]["rss_kib"] < seen[2]["rss_kib"] + 2048, seen
    traveller.check()


def many_motions(lab, rig, n):
    """There and back and there again; returns what each supervisor held when its guest had just arrived."""
    guest = rig.guest(f"many{n}", memory="ws=48M,rate=50M,fill=random", disk="dev=/dev/vda,ws=16M,rate=8M")
    vm = rig.boot(guest, disks=[rig.disk(f"many{n}.raw")])
    held = []
    with Prober(lab, guest.address) as prober:
        for number in range(1, n + 1):
            left = vm.host
            vm, result = rig.move(vm, tls=number % 2 == 0, streams=1 + number % 4)
            assert result["state"] == "completed" and result["error"] is None
            assert not rig.left(left, guest.name), number
            await_motion_over(vm)
            held.append(resources(vm.supervisor_pid()))
            if number % 10 == 0:
                rig.check_memory(guest)
        report = prober.stop()
    assert not report["tcp"]["lost"] and report["tcp"]["wrong_bytes"] == 0
    rig.check_memory(guest)
    disk = guest.ask(lab, DISK_PORT, "verify")
    assert disk["verified"] > 0 and (disk["wrong"], disk["io_errors"]) == (0, 0), disk
    vm.remove()
    return held


def test_five_motions_in_a_row(lab, rig):
    assert len(many_motions(lab, rig, 5)) == 5


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_hundred_motions_in_a_row(lab, rig):
    held = many_motions(lab, rig, 100)
    early, late = held[5:15], held[-10:]
    for what in ("fds", "threads"):
        assert max(h[what] for h in late) <= max(h[what] for h in early), (what, early, late)
    assert min(h["rss_kib"] for h in late) < 1.1 * max(h["rss_kib"] for h in early), (early, late)
