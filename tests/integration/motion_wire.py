# SPDX-License-Identifier: LGPL-2.1-or-later
"""The motion protocol (docs/protocol.md) as somebody else would write it: frames that are right, or wrong in one place,
and the two ends that tests play."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from labkit import netns

PAGE = 4096
MAGIC = 0x6F4D7747
HEADER = struct.Struct("<IB3sIIQQ")
HELLO_PAYLOAD = struct.Struct("<HHBBBBIIQ16s32s8s")
NAMES = (
    "HELLO", "WELCOME", "ABORT", "PAGES", "ZERO", "END", "PING", "PONG", "ROUND", "STATE", "STATE_END", "LOADED", "GO",
    "RUNS", "DONE", "ASK", "NEVER", "READY",
)  # fmt: skip
NUMBERS = {name: number for number, name in enumerate(NAMES, 1)}
CONTROL, DATA, ASK = 0, 1, 2
END = NUMBERS["END"]


@dataclass(frozen=True)
class Frame:
    """As it goes out. Fields that are None are filled in as they should be."""

    type: str | int
    arg: int = 0
    count: int = 0
    payload: bytes = b""
    sequence: int | None = None
    length: int | None = None
    magic: int = MAGIC
    reserved: bytes = b"\0\0\0"

    def pack(self, sequence: int) -> bytes:
        number = NUMBERS[self.type] if isinstance(self.type, str) else self.type
        header = HEADER.pack(
            self.magic, number, self.reserved, len(self.payload) if self.length is None else self.length, self.count,
            sequence if self.sequence is None else self.sequence, self.arg,
        )  # fmt: skip
        return header + self.payload


@dataclass(frozen=True)
class Hello:
    session: bytes
    secret: bytes
    memory_bytes: int
    kind: int = CONTROL
    index: int = 0
    n_streams: int = 1
    version_min: int = 1
    version_max: int = 1
    page_bytes: int = PAGE
    reserved: int = 0

    def frame(self) -> Frame:
        payload = HELLO_PAYLOAD.pack(
            self.version_min, self.version_max, self.kind, self.index, self.n_streams, self.reserved, self.page_bytes, 0,
            self.memory_bytes, self.session, self.secret, bytes(8),
        )  # fmt: skip
        return Frame("HELLO", payload=payload)

    @staticmethod
    def of(ticket: dict, memory_bytes: int, /, **changes) -> Hello:
        known = Hello(bytes.fromhex(ticket["session"]), bytes.fromhex(ticket["secret"]), memory_bytes)
        return replace(known, **changes)


class Stream:
    """One connection, plain or TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sent = 0

    def send(self, *frames: Frame) -> None:
        data = bytearray()
        for frame in frames:
            data += frame.pack(self.sent)
            self.sent += 1
        self.sock.sendall(data)

    def send_raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def take(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self.sock.recv(min(size - len(data), 1 << 20))
            if not piece:
                raise EOFError("the other end closed the connection")
            data += piece
        return bytes(data)

    def receive(self) -> Frame:
        magic, number, reserved, length, count, sequence, arg = HEADER.unpack(self.take(HEADER.size))
        assert magic == MAGIC, "what came is no frame"
        return Frame(NAMES[number - 1], arg, count, self.take(length), sequence, length, magic, reserved)

    def await_frame(self, *types: str, timeout_s: float = 20) -> Frame:
        """The next frame of one of these types; PINGs on the way are answered, others passed over."""
        self.sock.settimeout(timeout_s)
        while (frame := self.receive()).type not in types:
            if frame.type == "PING":
                self.send(Frame("PONG", frame.arg))
        return frame

    def has_bytes(self, timeout_s: float) -> bool:
        """Whether there is something to be received, or an end."""
        pending = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()
        return bool(pending or select.select([self.sock], [], [], timeout_s)[0])

    def is_closed_by_peer(self, timeout_s: float = 10) -> bool:
        """Whether the other end ends the connection, whatever it says before."""
        self.sock.settimeout(timeout_s)
        try:
            while self.sock.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def close(self) -> None:
        with suppress(OSError):
            self.sock.close()


def client_tls(directory: Path | None) -> ssl.SSLContext:
    """TLS as a source with that directory's certificate, or without one, that takes any destination's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if directory:
        context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context


def server_tls(directory: Path) -> ssl.SSLContext:
    """TLS as a destination, that takes any source's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context


def connect(host, address: tuple[str, int], tls: ssl.SSLContext | None = None) -> Stream:
    """A connection from a host of the lab."""
    with netns.entered(host.netns):
        sock = socket.create_connection(address, timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Stream(tls.wrap_socket(sock) if tls else sock)


def listen(host, address: str) -> socket.socket:
    with netns.entered(host.netns):
        return socket.create_server((address, 0))
