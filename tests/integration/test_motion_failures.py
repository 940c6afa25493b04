# SPDX-License-Identifier: LGPL-2.1-or-later
"""What dies or falls silent at which step of a motion, and who runs the guest then: one table, every case of it tried.

The tests are the agent of both hosts, which does not exist yet: a supervisor that was killed is followed by another
(`godwit-vm adopt`), a destination that nobody will come to is told so."""

import os
import re
import signal
import subprocess
from contextlib import suppress

import pytest
from labkit import motion
from labkit.vm import ApiError, wait_until
from motion_rig import Hold, Traveller, is_alive, qemus, runs, threads

# S: the guest runs at the source. D: at the destination. -: nowhere, since the QEMU was killed that had the right to.
# ?: D or -, since whether QEMU's death is noticed before GO is a matter of microseconds. c: the destination waits for a
# source that has perhaps not reached it: whoever knows better cancels. r: its second supervisor may keep what the first had refused,
# for a source that asks: it is removed. h: both ends have to speak once more, so the link comes back once the source says
# that it does not know; without that see test_unresolved….
TABLE = """
    step           supervisor killed     QEMU killed           motion link
                   source  destination   source  destination   cut    stalled
    connect        S       S             -,c     S             S,c    S,c
    first-round    S       S             -       S             S      S
    later-round    S       S             -       S             S      S
    stopped        S       S             -       S             S      S
    device-state   S       S,r           ?       S             D,h    D,h
    before-go      S       S,r           ?       S             D,h    D,h
    after-go       D       D             D       -             D,h    D,h
    receiving      S       S             -       S             S      S
    loaded         D       S             D       S             D,h    D,h
    got-go         D       S             D       S             D,h    D,h
"""
FAULTS = (
    "source's supervisor", "destination's supervisor", "source's QEMU", "destination's QEMU", "cut", "stall"
)  # fmt: skip
# A connection takes seconds to be missed. To the ends it is all the same why nothing comes, and between the rounds when:
# those cases are for long runs.
SOAK = (
    "connect-cut", "later-round-cut", "receiving-cut", "connect-stall", "first-round-stall", "later-round-stall",
    "stopped-stall", "device-state-stall", "after-go-stall", "receiving-stall", "loaded-stall", "got-go-stall",
)  # fmt: skip
AT_DESTINATION = ("receiving", "loaded", "got-go")


def cases():
    for line in TABLE.strip().splitlines()[2:]:
        step, *cells = line.split()
        for fault, cell in zip(FAULTS, cells, strict=True):
            owner, _, more = cell.partition(",")
            name = f"{step}-{fault.replace(' ', '-')}"
            yield pytest.param(step, fault, owner, more, id=name, marks=[pytest.mark.soak] if name in SOAK else [])


@pytest.fixture(scope="module")
def the_traveller(rig):
    """A small guest that is booted once, and again whenever a case has cost it its life."""
    guest = rig.guest("traveller", memory="ws=8M,rate=20M,fill=random")
    return Traveller(rig, guest, memory_mib=128)


@pytest.fixture
def traveller(the_traveller):
    return the_traveller.ready()


@pytest.fixture
def link(lab):
    """The motion link of the first host; good again afterwards."""
    handle = lab.link("host1", "motion0")
    yield handle
    handle.up()
    # The kernel tells of the carrier within a second or so.
    ping = ["ping", "-n", "-q", "-c", "1", "-W", "1", lab.host("host2").address("motion0")]
    host = lab.host("host1")
    wait_until(lambda: host.run(ping, stdout=subprocess.DEVNULL, check=False).returncode == 0, 20, "the link")


def begin(rig, traveller, step, loaded=False):
    """A motion that stands still at the step: (source, destination, hold). `loaded`: and the destination has said LOADED,
    without which the source takes the guest back as soon as it misses its peer."""
    hold = Hold(rig.directory, step)
    said_loaded = Hold(rig.directory, "loaded")
    rig.supervise_anew(traveller.vm, hold.env)
    source = traveller.vm
    at_destination = hold if step in AT_DESTINATION else said_loaded if loaded else None
    destination, ticket = rig.prepare(source, env=at_destination and at_destination.env)
    with said_loaded:
        motion.send(source, ticket, streams=2)
        hold.await_reached()
        if loaded:
            said_loaded.await_reached()
    # What one end stands at, the other has acted on.
    if step == "loaded":
        wait_until(lambda: "go" in timeline(source), 10, "the source to have sent GO")
    elif step == "after-go":
        motion.await_state(destination, "running")
    return source, destination, hold


def timeline(vm):
    return [each["step"] for each in motion.motion(vm)["timeline"] or ()]


def kill_qemu(vm):
    """And its supervisor has noticed: its thread that listens to QEMU has ended."""
    pid, supervisor = vm.qemu_pid(), vm.supervisor_pid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid) and "qmp" not in threads(supervisor), 10, "QEMU to end")


def strike(fault, source, destination, link):
    if fault == "cut":
        link.down()
    elif fault == "stall":
        link.lose_peer()
    else:
        end = source if fault.startswith("source") else destination
        if "QEMU" in fault:
            kill_qemu(end)
        else:
            end.kill_supervisor()


def reason(vm):
    """What the motion's end, or the VM's own, is put down to."""
    result = motion.motion(vm)
    return result["error"] and result["error"]["message"]


def check_owner(rig, name, owner, source, destination):
    """The guest runs in exactly one place, and whose QEMU runs is what both supervisors say."""
    places = {"S": [source.host.name], "D": [destination.host.name], "-": []}
    wait_until(lambda: [host for host, _ in rig.running(name)] == places[owner], 20, f"the guest to run at {places[owner]}")
    # And once more: nothing else starts after a while.
    assert [host for host, _ in rig.running(name)] == places[owner]
    for vm in (source, destination):
        is_owner = [vm.host.name] == places[owner]
        assert (len(qemus(vm.host, name)) == 1) is is_owner or wait_until(
            lambda: not qemus(vm.host, name), 10, f"QEMU on {vm.host.name} to end"
        )


@pytest.mark.parametrize(("step", "fault", "owner", "more"), cases())
def test_exactly_one_runs(rig, traveller, link, step, fault, owner, more):
    source, destination, hold = begin(rig, traveller, step, loaded=step == "device-state" and more == "h")
    name = traveller.guest.name
    with hold:
        strike(fault, source, destination, link)
    # The agents.
    if fault == "source's supervisor":
        source.adopt()
    elif fault == "destination's supervisor":
        destination.adopt()
    if more == "c":
        assert motion.await_end(source, 30)["state"] in ("failed", "cancelled")
        with suppress(OSError, ApiError):  # or it has been reached, and is on its way out
            destination.call("DELETE", "/v1/motion")
    elif more == "h":
        states = (*motion.FINAL, "unresolved")
        if motion.await_end(source, 20, states)["state"] == "unresolved":
            assert source.state() == "paused" and not runs(source.qemu_pid())
            link.up()
    if owner == "?":
        owner = "D" if motion.await_end(source)["state"] == "completed" else "-"

    if owner == "S":
        await_failed(source)
    check_owner(rig, name, owner, source, destination)
    if owner == "S":
        motion.await_state(source, "running")
        assert reason(source)
        if more == "r":
            destination.remove()  # unless it has learnt that nobody will ask
        rig.await_gone(destination.host, name)
    elif owner == "D":
        motion.await_state(source, "moved")
        motion.await_state(destination, "running")
        assert motion.motion(source)["state"] == "completed"
        source.remove()
        rig.await_gone(source.host, name)
        traveller.vm = destination
    elif fault == "source's QEMU":
        motion.await_state(source, "crashed")
        assert re.search("QEMU (has )?(ended|closed)", reason(source)), reason(source)
        rig.await_gone(destination.host, name)
    else:
        motion.await_state(source, "moved")
        motion.await_state(destination, "crashed")
    if owner != "-":
        traveller.check()


def test_a_guest_that_has_only_been_loaded_is_nobodys(rig, traveller):
    """While its second supervisor finds out that it was never handed over, nobody may take it for one that has arrived: a
    center would let the source's go, which is the only one."""
    source, destination, hold = begin(rig, traveller, "before-go", loaded=True)
    with hold:
        destination.kill_supervisor()
        destination.adopt()
        motion.await_state(destination, "off")
        was = [event.get("was") for event in destination.events_so_far() if event["type"] == "vm.off"]
        types = {event["type"] for event in destination.events_so_far()}
        assert was == ["incoming"] and not types & {"vm.paused", "vm.running"}, types
    await_failed(source)
    check_owner(rig, traveller.guest.name, "S", source, destination)
    destination.remove()
    rig.await_gone(destination.host, traveller.guest.name)
    traveller.check()


def await_failed(vm):
    result = motion.await_end(vm, 30)
    assert result["state"] == "failed", result
    return result


# ------------------------------------------------------------------------------------------------------- unresolved


def make_unresolved(rig, traveller, link):
    """GO has arrived, the answer cannot: the destination runs the guest, and the source does not know."""
    source, destination, hold = begin(rig, traveller, "got-go")
    link.down()
    hold.release()
    assert motion.await_end(source, 20, ("unresolved",))
    motion.await_state(destination, "running")
    return source, destination


def test_a_source_that_does_not_know_keeps_still_until_it_is_told(rig, traveller, link):
    source, destination = make_unresolved(rig, traveller, link)
    name = traveller.guest.name
    assert "motion.state" in [event["type"] for event in source.events_so_far()]
    assert source.state() == "paused"
    # Nothing lets the guest run here by mistake.
    for action in ("resume", "start", "reset", "stop"):
        with pytest.raises(ApiError) as error:
            source.power(action)
        assert error.value.status == 409, action
    with pytest.raises(ApiError) as error:
        source.call("DELETE", "/v1/motion")
    assert error.value.status == 409
    with pytest.raises(ApiError) as error:
        source.call("DELETE", "/v1/vm")
    assert error.value.status == 409
    with pytest.raises(ApiError, match="expected run or discard"):
        source.call("POST", "/v1/motion/resolve", {"outcome": "perhaps"})
    # Nor does another supervisor: it does not know either.
    rig.supervise_anew(source)
    assert motion.await_end(source, 20, ("unresolved",)) and source.state() == "paused"
    assert [host for host, _ in rig.running(name)] == [destination.host.name]

    source.call("POST", "/v1/motion/resolve", {"outcome": "discard"})
    motion.await_state(source, "moved")
    check_owner(rig, name, "D", source, destination)
    source.remove()
    rig.await_gone(source.host, name)
    traveller.vm = destination
    traveller.check()


def test_a_source_whose_destination_died_with_its_host_runs_when_told_so(rig, traveller, link):
    source, destination, hold = begin(rig, traveller, "got-go")
    name = traveller.guest.name
    link.down()
    qemu = destination.qemu_pid()
    destination.kill_supervisor()
    os.kill(qemu, signal.SIGKILL)
    hold.release()
    motion.await_end(source, 20, ("unresolved",))
    assert rig.running(name) == []
    source.call("POST", "/v1/motion/resolve", {"outcome": "run"})
    result = motion.await_end(source, 20)
    assert result["state"] == "failed" and result["error"]["message"], result
    motion.await_state(source, "running")
    check_owner(rig, name, "S", source, destination)
    traveller.check()
    destination.adopt()  # the host is back
    motion.await_end(destination, 20)
    destination.remove()
    rig.await_gone(destination.host, name)


@pytest.mark.parametrize(("outcome", "owner"), [("run", "D"), ("discard", "-")])
def test_a_destination_whose_source_died_with_its_host_does_what_it_is_told(rig, traveller, link, outcome, owner):
    """All is there, and nobody will ever say GO: the guest's only copy waits for a person."""
    source, destination, hold = begin(rig, traveller, "before-go")
    name = traveller.guest.name
    qemu = source.qemu_pid()
    source.kill_supervisor()
    os.kill(qemu, signal.SIGKILL)
    hold.release()
    motion.await_end(destination, 20, ("unresolved",))
    assert rig.running(name) == []
    destination.call("POST", "/v1/motion/resolve", {"outcome": outcome})
    if owner == "D":
        motion.await_state(destination, "running")
        check_owner(rig, name, owner, source, destination)
        traveller.vm = destination
        traveller.check()
    else:
        destination.remove()
        rig.await_gone(destination.host, name)
    source.adopt()  # the host is back, with a QEMU that is gone
    motion.await_end(source)
    motion.await_state(source, "crashed")
    source.remove()
    rig.await_gone(source.host, name)


@pytest.mark.soak
def test_a_destination_that_cannot_hear_its_source_gives_up_by_itself(rig, traveller, link):
    """The source has taken the guest back and cannot say so. It takes half a minute, and nobody has to do anything."""
    source, destination, hold = begin(rig, traveller, "before-go")
    link.down()
    wait_until(lambda: motion.motion(destination)["state"] == "unresolved", 15, "the destination to miss its source")
    hold.release()
    assert await_failed(source)["error"]["code"] == "peer-lost"
    motion.await_state(source, "running")
    with pytest.raises(ApiError, match="too late|no motion") as error:
        source.call("DELETE", "/v1/motion")
    assert error.value.status == 409
    wait_until(lambda: not qemus(destination.host, traveller.guest.name), 40, "the destination to give up")
    destination.remove()
    check_owner(rig, traveller.guest.name, "S", source, destination)
    rig.await_gone(destination.host, traveller.guest.name)
    traveller.check()
