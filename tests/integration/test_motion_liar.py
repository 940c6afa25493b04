# SPDX-License-Identifier: LGPL-2.1-or-later
"""A liar for a peer: whatever it says at the door, in a motion, or as a destination, it is refused by name, the guest is
not disturbed, and nothing is left of it."""

import os
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from labkit import motion, tls
from labkit.guest import MEMORY_PORT
from labkit.vm import Prober, wait_until
from motion_rig import MIB, Traveller, await_motion_over, is_alive, threads
from motion_wire import ASK, DATA, END, HEADER, PAGE, Frame, Hello, Stream, client_tls, connect, listen, server_tls

MEMORY_MIB = 128
MEMORY = MEMORY_MIB * MIB
HELLO_S = 5  # a connection that has said no hello by then is dropped
LOST_S = 5  # a peer of which nothing is heard for so long is lost


@pytest.fixture(scope="module")
def the_traveller(rig):
    guest = rig.guest("traveller", memory="ws=8M,rate=20M,fill=random")
    return Traveller(rig, guest, memory_mib=MEMORY_MIB)


@pytest.fixture
def traveller(the_traveller):
    return the_traveller.ready()


# ------------------------------------------------------------------------------------------------------ at the door


class Door:
    """A destination that waits, and the way to it from the other host."""

    def __init__(self, rig, vm, with_tls):
        self.rig = rig
        self.source = vm
        self.with_tls = with_tls
        self.there, self.ticket = rig.prepare(vm, tls=with_tls)
        self.address = (self.ticket["addresses"][0]["address"], self.ticket["addresses"][0]["port"])

    def connect(self, context=None):
        own = client_tls(self.rig.tls_dirs[self.source.host.name]) if self.with_tls else None
        return connect(self.source.host, self.address, context or own)

    def connect_plain(self):
        return connect(self.source.host, self.address)

    def hello(self, **changes):
        return Hello.of(self.ticket, MEMORY, **changes)

    def refusals(self):
        return [event["why"] for event in self.there.events_so_far() if event["type"] == "motion.refused"]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "tls"])
def door(request, rig, the_traveller):
    """One destination for all who come to its door; in the end the real source comes."""
    the_traveller.ready()
    return Door(rig, the_traveller.vm, request.param)


def raw(frame, sequence=0):
    return frame.pack(sequence)


# What is said, and what the destination's log calls it.
AT_THE_DOOR = {
    "garbage": (lambda h: b"GET / HTTP/1.1\r\nHost: me\r\n\r\n" + bytes(100), "bad-magic"),
    "zeros": (lambda h: bytes(4096), "bad-magic"),
    "another session": (lambda h: raw(h(session=bytes(16)).frame()), "it asks for another session"),
    "a wrong secret": (lambda h: raw(h(secret=bytes(32)).frame()), "it has a wrong secret"),
    "no version of ours": (lambda h: raw(h(version_min=2, version_max=9).frame()), "bad-version|no version"),
    "versions upside down": (lambda h: raw(h(version_min=3, version_max=1).frame()), "bad-field"),
    "version zero": (lambda h: raw(h(version_min=0).frame()), "bad-field"),
    "another size": (lambda h: raw(h(memory_bytes=MEMORY * 2).frame()), "its VM has another size of memory"),
    "no whole pages": (lambda h: raw(h(memory_bytes=MEMORY + 1).frame()), "bad-field"),
    "large pages": (lambda h: raw(h(page_bytes=1 << 21).frame()), "bad-field"),
    "nine streams": (lambda h: raw(h(n_streams=9).frame()), "bad-field"),
    "a stream that is not": (lambda h: raw(h(kind=DATA, index=1).frame()), "bad-field"),
    "a kind that is not": (lambda h: raw(h(kind=3).frame()), "bad-field"),
    "a reserved byte": (lambda h: raw(h(reserved=1).frame()), "bad-reserved"),
    "not the first frame": (lambda h: raw(h().frame(), 1), "bad-sequence"),
    "a long hello": (lambda h: raw(Frame("HELLO", payload=bytes(81))), "bad-length"),
    "an endless hello": (lambda h: raw(Frame("HELLO", length=0xFFFFFFFF)), "bad-length"),
    "pages before a hello": (lambda h: raw(Frame("PAGES", 0, 1, bytes(PAGE))), "bad-place"),
    "GO before a hello": (lambda h: raw(Frame("GO", count=1)), "bad-place"),
    "no such type": (lambda h: raw(Frame(99)), "bad-type"),
    "half a hello": (lambda h: raw(h().frame())[:50], "half a hello"),
    "half a header": (lambda h: raw(h().frame())[:20], "no hello"),
    "nothing": (lambda h: b"", "no hello"),
    "data before control": (lambda h: raw(h(kind=DATA).frame()), "a stream that this motion has already, or does not have"),
}


@pytest.mark.parametrize("said", AT_THE_DOOR)
def test_who_says_this_is_not_let_in(door, said):
    words, verdict = AT_THE_DOOR[said]
    before = len(door.refusals())
    stream = door.connect()
    stream.send_raw(words(door.hello))
    if said.startswith(("half", "nothing")):
        stream.close()
    else:
        assert stream.is_closed_by_peer(2)
        stream.close()
    why = wait_until(lambda: door.refusals()[before:], 5, "the refusal to be logged")
    assert any(word in why[0] for word in verdict.split("|")), why
    assert door.there.state() == "incoming" and motion.motion(door.there)["state"] == "waiting"


def test_who_says_nothing_is_dropped(door):
    before = len(door.refusals())
    streams = [door.connect_plain() for _ in range(3)]
    for stream in streams:
        assert stream.is_closed_by_peer(HELLO_S + 3)
        stream.close()
    wait_until(lambda: len(door.refusals()) == before + 3, 5, "three refusals")


@pytest.mark.parametrize("who", ["an impostor", "a stranger", "nobody"])
def test_a_certificate_of_another_authority_does_not_open_the_door(rig, door, who, tmp_path):
    directory = {
        "an impostor": lambda: tls.make_impostor(rig.directory / "tls", f"impostor-{door.source.host.name}"),
        "a stranger": lambda: tls.make(tmp_path, ["stranger"])["stranger"],
        "nobody": lambda: None,
    }[who]()
    before = len(door.refusals())
    with pytest.raises((OSError, EOFError)):
        stream = door.connect(client_tls(directory))
        stream.send(door.hello().frame())
        stream.await_frame("WELCOME", timeout_s=5)
    why = wait_until(lambda: door.refusals()[before:], 5, "the refusal to be logged")[0]
    expected = "it shows no certificate" if who == "nobody" else "certificate of"
    assert (expected if door.with_tls else "bad-magic") in why, why
    assert motion.motion(door.there)["state"] == "waiting"


def test_the_other_kind_of_connection_is_refused(door):
    before = len(door.refusals())
    if door.with_tls:
        stream = door.connect_plain()
        stream.send(door.hello().frame())
        assert stream.is_closed_by_peer(2)
    else:
        with pytest.raises(OSError):
            door.connect(client_tls(None))
    why = wait_until(lambda: door.refusals()[before:], 5, "the refusal to be logged")[0]
    assert ("TLS" if door.with_tls else "bad-magic") in why


def test_older_tls_is_refused(door):
    context = client_tls(door.rig.tls_dirs[door.source.host.name])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    before = len(door.refusals())
    with pytest.raises(OSError):
        door.connect(context)
    expected = "TLS 1.3" if door.with_tls else "bad-magic"
    wait_until(lambda: any(expected in why for why in door.refusals()[before:]), 5, "the refusal to be logged")


def test_the_real_source_gets_in_past_fifty_silent_connections(rig, the_traveller, door):
    """The last of this door: nothing that was said to it has harmed it."""
    assert the_traveller.vm is door.source
    pid = door.there.supervisor_pid()
    threads = len(os.listdir(f"/proc/{pid}/task"))
    silent = [door.connect_plain() for _ in range(50)]
    try:
        motion.send(door.source, door.ticket, streams=4)
        result = motion.await_end(door.source)
    finally:
        for stream in silent:
            stream.close()
    assert result["state"] == "completed", result
    assert threads < 12
    motion.await_state(door.source, "moved")
    motion.await_state(door.there, "running")
    door.source.remove()
    the_traveller.vm = door.there
    the_traveller.check()


# ---------------------------------------------------------------------------------------------- in the destination


class Intruder:
    """A source that knows the secret: its streams are let in. It need not have a VM."""

    def __init__(self, door, n_streams=2, n_connected=None):
        self.control = door.connect()
        self.control.send(door.hello(n_streams=n_streams).frame())
        self.control.await_frame("WELCOME")
        self.data = []
        for index in range(n_streams if n_connected is None else n_connected):
            stream = door.connect()
            stream.send(door.hello(kind=DATA, index=index, n_streams=n_streams).frame())
            stream.await_frame("WELCOME")
            self.data.append(stream)

    def close(self):
        for stream in (self.control, *self.data):
            stream.close()


@pytest.fixture
def intruded(rig, traveller):
    """A destination without TLS, what is said to it having no other meaning with it."""
    door = Door(rig, traveller.vm, False)
    yield door
    door.there.remove()
    traveller.check()


def pages(arg=0, count=1, size=None, **changes):
    return Frame("PAGES", arg, count, bytes(PAGE * count if size is None else size), **changes)


def on_data(*frames):
    def act(intruder):
        with suppress(OSError):  # the destination may end it in the midst of them
            intruder.data[0].send(*frames)

    return act


def on_control(*frames):
    return lambda intruder: intruder.control.send(*frames)


def endless_state(intruder):
    piece = Frame("STATE", count=1, payload=bytes(65536))
    try:
        for _ in range((256 << 20) // 65536 + 1):
            intruder.control.send(piece)
    except OSError:
        pass  # it has had enough


def a_round(*behind):
    """Both streams end round 0, and then come these frames on control."""

    def act(intruder):
        for stream in intruder.data:
            stream.send(pages(), Frame("END", 0))
        intruder.control.await_frame("ROUND")
        intruder.control.send(*behind)

    return act


STATE = Frame("STATE", count=1, payload=b"this is no state of any VM")
HEAD = Frame("STATE", count=0, payload=b"QEVM")

IN_A_MOTION = {
    "no frame on data": (lambda i: i.data[0].send_raw(b"x" * 64), "bad-magic"),
    "a type that is not": (on_data(Frame(99)), "bad-type"),
    "a reserved byte": (on_data(pages(reserved=b"\0\1\0")), "bad-reserved"),
    "a repeated sequence": (on_data(pages(), pages(sequence=1)), "bad-sequence"),
    "a sequence left out": (on_data(pages(sequence=2)), "bad-sequence"),
    "pages outside": (on_data(pages(MEMORY)), "bad-range"),
    "pages over the end": (on_data(pages(MEMORY - PAGE, 2)), "bad-range"),
    "pages at the end of all": (on_data(pages(2**64 - PAGE, 2)), "bad-range"),
    "pages off the boundary": (on_data(pages(100)), "bad-range"),
    "no pages": (on_data(Frame("PAGES", 0, 0)), "bad-length"),
    "too many pages": (on_data(pages(0, 257)), "bad-length"),
    "four gigabytes of pages": (on_data(Frame("PAGES", 0, 1 << 20, length=0xFFFFFFFF)), "bad-length"),
    "fewer bytes than pages": (on_data(Frame("PAGES", 0, 2, bytes(PAGE))), "bad-length"),
    "zeros outside": (on_data(Frame("ZERO", MEMORY, 1)), "bad-range"),
    "no zeros": (on_data(Frame("ZERO", 0, 0)), "bad-range"),
    "zeros without end": (on_data(Frame("ZERO", 0, 0xFFFFFFFF)), "bad-range"),
    "zeros with bytes": (on_data(Frame("ZERO", 0, 1, bytes(PAGE))), "bad-length"),
    "the end of a later round": (on_data(Frame("END", 1)), "bad-place"),
    "a round's end repeated": (
        lambda i: (a_round()(i), i.data[0].send(Frame("END", 0))), "bad-place"
    ),  # fmt: skip
    "state on data": (on_data(STATE), "bad-place"),
    "hello again on data": (on_data(Frame("HELLO", payload=bytes(80))), "bad-place"),
    "pages on control": (on_control(pages()), "bad-place"),
    "hello again on control": (on_control(Frame("HELLO", payload=bytes(80))), "bad-place"),
    "a destination's word": (on_control(Frame("LOADED")), "bad-place"),
    "ASK on control": (on_control(Frame("ASK")), "bad-place"),
    "GO before all is there": (on_control(Frame("GO", count=1)), "bad-place"),
    "GO that is neither": (on_control(Frame("GO", count=2)), "bad-"),
    "DONE before GO": (on_control(Frame("DONE")), "bad-place"),
    "a long state": (on_control(Frame("STATE", count=1, length=65537)), "bad-length"),
    "an empty state": (on_control(Frame("STATE", count=1)), "bad-length"),
    "a state without end": (endless_state, "more device state than is allowed"),
    "a state that is not so long": (a_round(STATE, Frame("STATE_END", 5)), "bad-field"),
    "a state that is garbage": (a_round(STATE, Frame("STATE_END", len(STATE.payload))), "QEMU"),
    "the head behind the devices": (a_round(STATE, HEAD), "bad-place"),
    "half a frame": (lambda i: (i.data[0].send_raw(raw(pages(), 1)[:100]), i.data[0].close()), "the peer closed the connection"),
    "half a frame on control": (
        lambda i: (i.control.send_raw(raw(STATE, 1)[:40]), i.control.close()), "the peer closed the connection"
    ),
    "nothing more": (lambda i: i.close(), "the peer closed the connection"),
}  # fmt: skip


@pytest.mark.parametrize("said", IN_A_MOTION)
def test_a_source_that_says_this_has_no_motion(rig, intruded, said):
    act, verdict = IN_A_MOTION[said]
    there = intruded.there
    supervisor, qemu = there.supervisor_pid(), there.qemu_pid()
    intruder = Intruder(intruded)
    follower = Follower(there)
    try:
        act(intruder)
        if intruder.control.sock.fileno() >= 0:
            said_back = intruder.control.await_frame("ABORT")
            assert verdict in said_back.payload.decode(), said_back
    finally:
        intruder.close()
    assert verdict in follower.reason(), follower.reason()
    rig.await_gone(there.host, there.name)
    wait_until(lambda: not is_alive(supervisor) and not is_alive(qemu), 5, "supervisor and QEMU to end")


class Follower:
    """Listens to a VM's events, since its supervisor goes with the motion."""

    def __init__(self, vm):
        self.events = []
        self.thread = threading.Thread(target=self._listen, args=(vm,))
        self.thread.start()

    def _listen(self, vm):
        self.events = vm.events("motion.ended", 30)

    def reason(self):
        self.thread.join(30)
        assert self.events, "no word of the motion's end"
        return self.events[-1]["error"]


def test_streams_that_do_not_come_end_the_motion(rig, intruded):
    follower = Follower(intruded.there)
    intruder = Intruder(intruded, n_streams=4, n_connected=2)
    keep = threading.Thread(target=lambda: intruder.control.is_closed_by_peer(0.1))
    keep.start()
    with pytest.raises((EOFError, OSError)):
        intruder.control.await_frame("NONE", timeout_s=20)
    keep.join()
    intruder.close()
    assert "2 of 4 data streams have come" in follower.reason()
    rig.await_gone(intruded.there.host, intruded.there.name)


def test_a_source_that_falls_silent_is_lost(rig, intruded):
    follower = Follower(intruded.there)
    intruder = Intruder(intruded)
    began = time.monotonic()
    assert f"nothing heard from the peer for {LOST_S} s" in follower.reason()
    assert LOST_S - 1 < time.monotonic() - began < LOST_S + 3
    intruder.close()
    rig.await_gone(intruded.there.host, intruded.there.name)


def test_a_second_control_stream_and_a_replayed_hello_are_refused(rig, intruded):
    intruder = Intruder(intruded, n_streams=2, n_connected=1)
    for hello in (intruded.hello(n_streams=2), intruded.hello(kind=DATA, index=0, n_streams=2), intruded.hello(kind=DATA, n_streams=3)):
        stream = intruded.connect()
        stream.send(hello.frame())
        assert stream.is_closed_by_peer(3)
        stream.close()
    assert [why for why in intruded.refusals() if "has already, or does not have" in why] == intruded.refusals()
    assert len(intruded.refusals()) == 3
    # The motion itself goes on.
    stream = intruded.connect()
    stream.send(intruded.hello(kind=DATA, index=1, n_streams=2).frame())
    stream.await_frame("WELCOME")
    intruder.data.append(stream)
    a_round()(intruder)
    intruder.close()
    rig.await_gone(intruded.there.host, intruded.there.name)


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [(pages(), "bad-place"), (Frame("ASK", sequence=7), "bad-sequence"), (Frame("DONE", length=9), "bad-length")],
    ids=["pages", "a sequence left out", "a long frame"],
)
def test_who_asks_wrongly_is_refused_and_the_motion_goes_on(rig, traveller, intruded, frame, verdict):
    stream = intruded.connect()
    stream.send(intruded.hello(kind=ASK).frame())
    stream.await_frame("WELCOME")
    stream.send(frame)
    assert stream.is_closed_by_peer(3)
    stream.close()
    wait_until(lambda: intruded.refusals() == [verdict], 5, "the refusal to be logged")
    assert motion.motion(intruded.there)["state"] == "waiting"


# -------------------------------------------------------------------------------------------------- in the source

WELCOME = Frame("WELCOME", payload=b"\1" + bytes(15))


class Impostor:
    """A destination that is none. It drains what it is sent, and on control does what an honest one does, up to a moment
    (`at`): then it says `frames`, and nothing more but PONG; at "state" it still tells of rounds, of which the last may end
    later than the state."""

    def __init__(self, host, at=None, frames=(), welcome=WELCOME, context=None, deaf=False):
        self.at = at
        self.frames = frames
        self.welcome = welcome
        self.context = context
        self.deaf = deaf
        self.heard = []
        self.over = threading.Event()
        self.n_ends = {}  # by round: streams that have said END
        self.lock = threading.Lock()  # of n_ends
        self.listening = listen(host, host.address("motion0"))
        self.sockets = [self.listening]
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def ticket(self, with_tls=False):
        address, port = self.listening.getsockname()
        return {
            "session": os.urandom(16).hex(), "secret": os.urandom(32).hex(), "tls": with_tls,
            "addresses": [{"address": address, "port": port}],
        }  # fmt: skip

    def _accept(self):
        with suppress(OSError):
            while True:
                sock, _ = self.listening.accept()
                self.sockets.append(sock)
                self.threads.append(threading.Thread(target=self._serve, args=(sock,)))
                self.threads[-1].start()

    def _serve(self, sock):
        with suppress(OSError, EOFError, AssertionError):
            stream = Stream(self.context.wrap_socket(sock, server_side=True) if self.context else sock)
            self.sockets.append(stream.sock)
            kind = stream.receive().payload[4]
            if isinstance(self.welcome, bytes):
                stream.send_raw(self.welcome)
                stream.close()
                return
            stream.send(self.welcome)
            if kind == DATA:
                self._drain(stream)
            elif self.deaf:
                self.over.wait(60)
            else:
                self._answer(stream)
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    def _drain(self, stream):
        buffer = bytearray(MIB)
        while True:
            _, number, _, length, _, _, arg = HEADER.unpack(stream.take(HEADER.size))
            while length:
                n = stream.sock.recv_into(buffer, min(length, len(buffer)))
                if n == 0:
                    return
                length -= n
            if number == END:
                with self.lock:
                    self.n_ends[arg] = self.n_ends.get(arg, 0) + 1

    def _answer(self, control):
        said, n_rounds = False, 0
        while self.heard[-1:] != ["ABORT"]:
            if not said and self._is_there():
                control.send(*self.frames)
                said = True
            while (not said or self.at == "state") and self.n_ends.get(n_rounds) == 2:
                control.send(Frame("ROUND", n_rounds, 2))
                n_rounds += 1
            if not control.has_bytes(0.02):
                continue
            frame = control.receive()
            if frame.type == "PING":
                control.send(Frame("PONG", frame.arg))
            self.heard.append(frame.type)

    def _is_there(self):
        if self.at == "round":
            return self.n_ends.get(0) == 2
        if self.at == "state":
            return "STATE_END" in self.heard
        return self.at == "welcome"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        for sock in self.sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self.threads:
            thread.join(10)


@pytest.fixture
def misled(rig, traveller):
    """The source of a motion to somebody who is no destination; afterwards it is as it was before."""
    vm = traveller.vm
    await_motion_over(vm)
    pid = vm.supervisor_pid()
    before = held(pid)
    for _ in range(2):  # our own last question may still have a socket there
        time.sleep(0.02)
        before = min(before, held(pid), key=len)

    def send(impostor, with_tls=False, **options):
        motion.send(vm, impostor.ticket(with_tls), streams=2, **options)
        result = motion.await_end(vm, 40)
        assert result["state"] == "failed" and result["downtime_ms"] is None, result
        motion.await_state(vm, "running")
        return result["error"]

    yield send
    traveller.check()
    wait_until(lambda: held(pid) == before, 5, f"the supervisor to have closed all but {before}, of {held(pid)}")


def held(pid):
    """What the supervisor holds open and has running."""
    names = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # the list's own
            names.append(os.readlink(fd).split(":[")[0])
    return sorted(names) + sorted(name for name in threads(pid) if not name.startswith("pool-"))  # GLib's, for later


TERMINAL = b"\x1b[31mred\r\n\0\xff"
LONGEST = TERMINAL + b"A" * (1024 - len(TERMINAL))

WELCOMES = {
    "garbage": (b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(32), "bad-magic"),
    "nothing": (b"", "closed the connection"),
    "half a welcome": (WELCOME.pack(0)[:40], "closed the connection"),
    "another version": (Frame("WELCOME", payload=b"\2" + bytes(15)), "bad-version"),
    "a reserved byte": (Frame("WELCOME", payload=b"\1" + bytes(14) + b"\1"), "bad-reserved"),
    "a long welcome": (Frame("WELCOME", payload=b"\1" + bytes(16)), "bad-length"),
    "not the first frame": (Frame("WELCOME", payload=b"\1" + bytes(15), sequence=1), "bad-sequence"),
    "RUNS": (Frame("RUNS"), "bad-place"),
    "ABORT": (Frame("ABORT", payload=LONGEST), "the destination refused: ?[31mred????AAAA"),
    "a long ABORT": (Frame("ABORT", payload=LONGEST + b"A"), "bad-length"),
}


@pytest.mark.parametrize("said", WELCOMES)
def test_who_welcomes_like_this_is_no_destination(rig, traveller, misled, said):
    welcome, verdict = WELCOMES[said]
    with Impostor(rig.other(traveller.vm.host), welcome=welcome) as impostor:
        error = misled(impostor)
    assert verdict in error["message"], error
    assert error["message"].isprintable()


ROUND = Frame("ROUND", 0, 2)

ANSWERS = {
    "no frame": ("welcome", [Frame("PING", magic=1)], "bad-magic"),
    "a type that is not": ("welcome", [Frame(99)], "bad-type"),
    "a sequence left out": ("welcome", [Frame("PING", sequence=9)], "bad-sequence"),
    "pages": ("welcome", [pages()], "bad-place PAGES"),
    "a source's word": ("welcome", [Frame("GO", count=1)], "bad-place GO"),
    "what is for who asks": ("welcome", [Frame("READY")], "bad-place READY"),
    "welcome again": ("welcome", [WELCOME], "bad-place WELCOME"),
    "a round that was not sent": ("welcome", [Frame("ROUND", 1, 2)], "bad-place ROUND"),
    "a round of another day": ("round", [Frame("ROUND", 7, 2)], "bad-place ROUND"),
    "a round twice": ("round", [ROUND, ROUND], "bad-place ROUND"),
    "a round of many streams": ("round", [Frame("ROUND", 0, 9)], "bad-"),
    "LOADED at once": ("welcome", [Frame("LOADED")], "bad-place LOADED"),
    "LOADED before the state": ("round", [ROUND, Frame("LOADED")], "bad-place LOADED"),
    "RUNS at once": ("welcome", [Frame("RUNS", 5)], "bad-place RUNS"),
    "RUNS without GO": ("state", [Frame("RUNS", 5)], "bad-place RUNS"),
    "ABORT": ("round", [Frame("ABORT", 3, payload=LONGEST)], "the destination gave up: ?[31mred????AAAA"),
    "a long ABORT": ("round", [Frame("ABORT", payload=LONGEST + b"A")], "bad-length"),
}


@pytest.mark.parametrize("said", ANSWERS)
def test_who_answers_like_this_gets_no_vm(rig, traveller, misled, said):
    at, frames, verdict = ANSWERS[said]
    with Impostor(rig.other(traveller.vm.host), at, frames) as impostor:
        error = misled(impostor)
        assert "GO" not in impostor.heard
    assert verdict in error["message"], error
    assert error["message"].isprintable() and len(error["message"]) < 1200


def test_a_destination_that_falls_silent_is_lost(rig, traveller, misled):
    began = time.monotonic()
    with Impostor(rig.other(traveller.vm.host), deaf=True) as impostor:
        error = misled(impostor)
    assert error["code"] == "peer-lost" and f"nothing heard from the peer for {LOST_S} s" in error["message"], error
    assert time.monotonic() - began < LOST_S + 3


def test_a_destination_that_never_has_enough_meets_the_deadline(rig, traveller, misled):
    with Impostor(rig.other(traveller.vm.host), "round") as impostor:
        error = misled(impostor, deadline_s=3)
    assert error["code"] == "not-converging" and "deadline of 3 s" in error["message"], error


def test_a_guest_does_not_stand_still_for_a_destination_that_never_loads(lab, rig, traveller, misled):
    with Impostor(rig.other(traveller.vm.host), "state") as impostor, Prober(lab, traveller.guest.address) as prober:
        error = misled(impostor, goal_ms=100)
        traveller.guest.ask(lab, MEMORY_PORT, "status")
        report = prober.stop()
    assert error["code"] == "timed-out" and "loading the device state at the destination" in error["message"], error
    # Ten times its goal, and two seconds.
    assert report["longest_gap_ms"] < 4500 and not report["tcp"]["lost"], report


@pytest.mark.parametrize("who", ["of another authority", "old TLS", "plain"])
def test_a_source_gives_its_secret_to_no_stranger(rig, traveller, misled, who, tmp_path):
    """The hello with the secret in it comes behind the handshake: a destination that is refused has not heard it."""
    to = rig.other(traveller.vm.host)
    directory = tls.make(tmp_path, [to.name])[to.name] if who == "of another authority" else rig.tls_dirs[to.name]
    context = None if who == "plain" else server_tls(directory)
    if who == "old TLS":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Impostor(to, context=context) as impostor:
        error = misled(impostor, with_tls=True)
        assert not impostor.heard
    words = {"of another authority": "is refused: it is not from the authority", "old TLS": "TLS", "plain": "TLS"}
    assert words[who] in error["message"], error
