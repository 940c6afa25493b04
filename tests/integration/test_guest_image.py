#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab's guest: it boots, answers, writes what it says, and finds every kind of damage done to it.

The damage is done from outside, in the memory file and the disk image, where a migration would do it.
"""

import contextlib
import ctypes
import json
import mmap
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest
from labkit.vm import wait_until

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("GW_BUILD_DIR", ROOT / "build"))
IMAGE_DIR = Path(os.environ.get("GW_GUEST_IMAGE_DIR", BUILD / "guest-image"))

GUEST_IP = "10.72.0.10"
CLIENT_IP = "10.72.0.1"
MEMORY_PORT = 7001
DISK_PORT = 7002

BOOT_TIMEOUT_S = 40  # some 3 s on an idle machine; the tests share theirs
PAGE_SIZE = 4096
MAGIC = b"GWVPAGE1"  # lab/guest/workload/verified-page.h

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root for network namespaces"),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs qemu-system-x86_64"),
]


def run(*command):
    """Runs a command that must succeed."""
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=30)


@contextlib.contextmanager
def inside(namespace):
    """Sockets made in this block belong to the namespace. This thread only."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as here, open(f"/run/netns/{namespace}", "rb") as there:
        if libc.setns(there.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
        try:
            yield
        finally:
            libc.setns(here.fileno(), 0)


class Network:
    """Two namespaces, a host's and a client's, on one bridge; the guest's TAP is in the host's."""

    n_made = 0

    def __init__(self):
        Network.n_made += 1
        prefix = f"gw-{os.getpid()}-{Network.n_made}"
        self.host, self.client = f"{prefix}-host", f"{prefix}-client"
        self.tap = "tap0"
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self):
        for namespace in (self.host, self.client):
            run("ip", "netns", "add", namespace)
            run("ip", "-n", namespace, "link", "set", "lo", "up")
        run("ip", "-n", self.host, "link", "add", "br0", "type", "bridge", "forward_delay", "0",
            "stp_state", "0")
        run("ip", "-n", self.host, "link", "add", "client0", "type", "veth", "peer", "name", "eth0",
            "netns", self.client)
        run("ip", "-n", self.host, "tuntap", "add", self.tap, "mode", "tap")
        for link in ("client0", self.tap):
            run("ip", "-n", self.host, "link", "set", link, "master", "br0", "up")
        run("ip", "-n", self.host, "link", "set", "br0", "up")
        run("ip", "-n", self.client, "address", "add", f"{CLIENT_IP}/16", "dev", "eth0")
        run("ip", "-n", self.client, "link", "set", "eth0", "up")

    def connect(self, port, timeout_s=10):
        """A TCP connection from the client to the guest."""
        with inside(self.client):
            connection = socket.create_connection((GUEST_IP, port), timeout=timeout_s)
        return connection

    def close(self):
        """Removes all of it."""
        for namespace in (self.host, self.client):
            subprocess.run(("ip", "netns", "del", namespace), stderr=subprocess.DEVNULL, check=False,
                           timeout=30)


class PlainGuest:
    """A guest under plain QEMU, its memory in a memfd. The one place that knows how guests are started."""

    def __init__(self, image_dir, network, directory, options="", disk=None, memory_mib=256):
        self.network = network
        self.console_path = Path(directory) / "console"
        self.qmp_path = Path(directory) / "qmp"
        self.disk = disk
        self._qmp = None
        self.memory_fd = os.memfd_create("godwit-test")
        os.ftruncate(self.memory_fd, memory_mib << 20)
        command = [
            "ip", "netns", "exec", network.host, "qemu-system-x86_64",
            "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", str(memory_mib),
            "-object", f"memory-backend-file,id=ram,share=on,size={memory_mib}M,"
                       f"mem-path=/proc/self/fd/{self.memory_fd}",
            "-machine", "pc,memory-backend=ram", "-nodefaults", "-no-user-config", "-no-reboot",
            "-vga", "none", "-display", "none", "-serial", f"file:{self.console_path}",
            "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
            "-kernel", str(image_dir / "vmlinuz"), "-initrd", str(image_dir / "initrd.img"),
            "-append", f"console=ttyS0 quiet gw.name=test gw.ip={GUEST_IP}/16 {options}",
            "-netdev", f"tap,id=net0,ifname={network.tap},script=no,downscript=no",
            "-device", "virtio-net-pci,netdev=net0,romfile=",
        ]
        if disk is not None:
            command += ["-drive", f"file={disk},format=raw,if=virtio"]
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(self.memory_fd,))

    def console(self):
        """All that the guest printed so far."""
        try:
            return self.console_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_for_console(self, pattern, timeout_s=BOOT_TIMEOUT_S):
        """Waits for a line that matches and returns the match."""
        def look():
            assert self.process.poll() is None, f"QEMU ended:\n{self.console()}"
            return re.search(pattern + r".*\n", self.console())
        try:
            return wait_until(look, timeout_s, f"{pattern!r} on the console")
        except AssertionError:
            print(self.console())
            raise

    def wait_ready(self):
        """Waits until all of the guest is up; returns how long that took."""
        self.wait_for_console("GODWIT-GUEST-READY")
        assert "GODWIT-GUEST-FAILED" not in self.console()
        return time.monotonic() - self.started_at

    def qmp(self, command):
        """Executes a QMP command and returns its result."""
        if self._qmp is None:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(10)
            connection.connect(str(self.qmp_path))
            self._qmp = connection.makefile("rw")
            connection.close()  # the file keeps it
            self._qmp.readline()
            self.qmp("qmp_capabilities")
        self._qmp.write(json.dumps({"execute": command}) + "\n")
        self._qmp.flush()
        while True:
            answer = json.loads(self._qmp.readline())
            if "event" not in answer:
                return answer["return"]

    def ask(self, port, *lines):
        """Sends command lines to a workload; returns the parsed answers, or the one answer to one line."""
        with self.network.connect(port) as connection:
            connection.settimeout(30)
            stream = connection.makefile("rw")
            answers = []
            for line in lines:
                stream.write(line + "\n")
                stream.flush()
                answers.append(json.loads(stream.readline()))
        return answers if len(lines) > 1 else answers[0]

    def find_pages(self, region):
        """{page number: offset in the memory file} of a region's verified pages."""
        wanted = int(region, 16)
        pages = {}
        with mmap.mmap(self.memory_fd, 0, prot=mmap.PROT_READ) as memory:
            at = memory.find(MAGIC)
            while at >= 0:
                if at % PAGE_SIZE == 0:
                    region_id, page_no = struct.unpack_from("<QQ", memory, at + 8)
                    if region_id == wanted:
                        assert page_no not in pages, "a page is there twice"
                        pages[page_no] = at
                at = memory.find(MAGIC, at + len(MAGIC))
        return pages

    def kill(self):
        """Ends QEMU at once, as a crash would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)

    def close(self):
        """Kills the guest and frees what it had."""
        self.kill()
        if self._qmp is not None:
            self._qmp.close()
        os.close(self.memory_fd)


@pytest.fixture(name="image", scope="session")
def fixture_image():
    """Where kernel and initrd are; built if they are not up to date."""
    subprocess.run((ROOT / "lab/guest/build-image", "--output", IMAGE_DIR, "--workloads",
                    BUILD / "lab/guest/workload"), check=True, timeout=120)
    return IMAGE_DIR


@pytest.fixture(name="network", scope="module")
def fixture_network():
    """A network of this module's own."""
    network = Network()
    yield network
    network.close()


def make_disk(directory, size_mib=16):
    """An empty raw disk image."""
    path = Path(directory) / "disk.raw"
    with open(path, "wb") as disk:
        disk.truncate(size_mib << 20)
    return path


@pytest.fixture(name="guest", scope="module")
def fixture_guest(image, network, tmp_path_factory):
    """A guest with all of its workloads under way."""
    directory = tmp_path_factory.mktemp("guest")
    guest = PlainGuest(image, network, directory, disk=make_disk(directory),
                       options="gw.mem=ws=16M,rate=20M,order=random gw.touch=8M,fill=text "
                               "gw.disk=dev=/dev/vda,ws=8M,rate=1M")
    try:
        guest.boot_s = guest.wait_ready()
        yield guest
    finally:
        guest.close()


@pytest.fixture(name="paused")
def fixture_paused(guest):
    """The guest while it writes nothing; what a test damages is written anew afterwards."""
    guest.ask(MEMORY_PORT, "pause")
    guest.ask(DISK_PORT, "pause")
    yield guest
    n_pages = guest.ask(MEMORY_PORT, "status")["areas"][0]["pages"]
    guest.ask(MEMORY_PORT, f"write 0 {n_pages}", "resume")
    n_blocks = guest.ask(DISK_PORT, "status")["areas"][0]["pages"]
    guest.ask(DISK_PORT, f"write 0 {n_blocks}", "resume")


def test_boots_fast(guest):
    match = re.search(r"GODWIT-GUEST-READY name=(\S+) ip=(\S+) uptime=(\S+)", guest.console())
    assert match.group(1, 2) == ("test", GUEST_IP)
    print(f"ready after {guest.boot_s:.2f} s, uptime {match.group(3)} s")
    assert guest.boot_s < 15  # 3–5 s where it has a core to itself


def test_echoes_tcp_and_udp(guest):
    text = bytes(range(256)) * 256
    with guest.network.connect(7) as connection:
        connection.sendall(text)
        received = b""
        while len(received) < len(text):
            received += connection.recv(65536)
    assert received == text
    with inside(guest.network.client):
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with datagrams:
        datagrams.settimeout(5)
        datagrams.sendto(b"hello", (GUEST_IP, 7))
        assert datagrams.recvfrom(100) == (b"hello", (GUEST_IP, 7))


def test_writes_at_the_rate_asked_for(guest):
    def settled():
        status = guest.ask(MEMORY_PORT, "status")
        return status if status["uptime_s"] > 1.2 and status["rate_bytes_per_s"] > 0.8 * (20 << 20) else None
    status = wait_until(settled, 20, "the memory writer's rate")
    assert status["target_bytes_per_s"] == 20 << 20
    assert status["rate_bytes_per_s"] < 1.3 * (20 << 20)
    assert status["written_pages"] > 0
    assert status["verified"] > 0
    assert status["wrong"] == 0
    wait_until(lambda: guest.ask(DISK_PORT, "status")["written_pages"] > 100, 20, "the disk writer")
    assert guest.ask(DISK_PORT, "status")["io_errors"] == 0


def test_changes_its_rate(guest):
    answers = guest.ask(MEMORY_PORT, "rate max", "rate 0")
    assert answers == [{"ok": True}, {"ok": True}]
    before, after = (guest.ask(MEMORY_PORT, "status")["written_pages"] for _ in range(2))
    assert before == after
    guest.ask(MEMORY_PORT, "rate 20M")
    wait_until(lambda: guest.ask(MEMORY_PORT, "status")["written_pages"] > after, 10, "the writer going on")


def test_finds_nothing_wrong_while_it_writes(guest):
    answer = guest.ask(MEMORY_PORT, "verify")
    assert answer["verified"] == (16 + 8) << 8
    assert answer["wrong"] == 0
    answer = guest.ask(DISK_PORT, "verify")
    assert answer["verified"] == 8 << 8
    assert (answer["wrong"], answer["io_errors"]) == (0, 0)


def test_measures_its_own_stalls(guest):
    guest.ask(MEMORY_PORT, "timer-gap start", "reset-gap")
    wait_until(lambda: guest.ask(MEMORY_PORT, "timer-gap")["count"] > 20, 20, "the timer thread")
    gaps = guest.ask(MEMORY_PORT, "timer-gap stop")
    assert 0 < gaps["p50_us"] <= gaps["p99_us"] <= gaps["p999_us"] <= gaps["max_us"]
    assert guest.ask(MEMORY_PORT, "timer-gap 50")["count"] > 0
    assert guest.ask(MEMORY_PORT, "status")["longest_gap_ms"] > 0


@pytest.mark.parametrize("line, error", [
    ("frobnicate", "unknown command"), ("", "empty line"), ("rate", "wrong number of arguments"),
    ("rate fast", "bad number"), ("rate 99999999999999999999G", "bad number"), ("write 0 1", "not paused"),
    ("x" * 2000, "line too long"), ("a b c d e f g h i j", "too many words"), ("timer-gap x y", "want start"),
    ("\x00\xff{}", ""),
])
def test_refuses_bad_commands(guest, line, error):
    assert guest.ask(MEMORY_PORT, line)["error"].startswith(error)


def test_serves_many_clients(guest):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(guest.network.connect(MEMORY_PORT)) for _ in range(20)]
        for client in clients:
            client.sendall(b"verify\nstatus\n")
        for client in clients:
            client.settimeout(30)
            lines = client.makefile("r")
            assert json.loads(lines.readline())["wrong"] == 0
            assert json.loads(lines.readline())["wrong"] == 0


def test_finds_a_corrupt_page(paused):
    region = paused.ask(MEMORY_PORT, "status")["areas"][0]["region"]
    pages = paused.find_pages(region)
    assert sorted(pages) == list(range(16 << 8))
    page_no, word = 1234, 300
    (byte,) = os.pread(paused.memory_fd, 1, pages[page_no] + 8 * word)
    os.pwrite(paused.memory_fd, bytes([byte ^ 4]), pages[page_no] + 8 * word)
    answer = paused.ask(MEMORY_PORT, "verify")
    assert answer["wrong"] == answer["kinds"]["corrupt"] == 1
    (finding,) = answer["first"]
    assert (finding["area"], finding["page"]) == ("ws", page_no)
    assert (finding["what"], finding["word"]) == ("corrupt", word)
    paused.wait_for_console(f"GODWIT-WRONG memory area=ws page={page_no} what=corrupt", 5)


def test_finds_a_corrupt_page_that_is_never_written(paused):
    region = paused.ask(MEMORY_PORT, "status")["areas"][1]["region"]
    offset = paused.find_pages(region)[77]
    saved = os.pread(paused.memory_fd, PAGE_SIZE, offset)
    os.pwrite(paused.memory_fd, bytes(PAGE_SIZE), offset)  # as a lost page would look
    answer = paused.ask(MEMORY_PORT, "verify")
    os.pwrite(paused.memory_fd, saved, offset)
    assert [(f["area"], f["page"], f["what"]) for f in answer["first"]] == [("touch", 77, "wrong-magic")]
    assert paused.ask(MEMORY_PORT, "verify")["wrong"] == 0


def test_finds_a_stale_page(paused):
    region = paused.ask(MEMORY_PORT, "status")["areas"][0]["region"]
    offset = paused.find_pages(region)[99]
    old = os.pread(paused.memory_fd, PAGE_SIZE, offset)
    assert paused.ask(MEMORY_PORT, "write 99 1") == {"ok": True}
    new = os.pread(paused.memory_fd, PAGE_SIZE, offset)
    assert new != old
    assert paused.ask(MEMORY_PORT, "verify")["wrong"] == 0

    os.pwrite(paused.memory_fd, old, offset)
    (finding,) = paused.ask(MEMORY_PORT, "verify")["first"]
    assert (finding["page"], finding["what"]) == (99, "stale")
    assert finding["found"] + 1 == finding["expected"]

    os.pwrite(paused.memory_fd, new[:2048] + old[2048:], offset)
    paused.ask(MEMORY_PORT, "write 0 99", "write 100 1")  # others may go on
    (finding,) = paused.ask(MEMORY_PORT, "verify")["first"]
    assert (finding["page"], finding["what"]) == (99, "torn")


def test_the_writer_notices_by_itself(paused):
    region = paused.ask(MEMORY_PORT, "status")["areas"][0]["region"]
    before = paused.ask(MEMORY_PORT, "status")["wrong"]
    pages = paused.find_pages(region)
    other = os.pread(paused.memory_fd, PAGE_SIZE, pages[8])
    os.pwrite(paused.memory_fd, other, pages[7])
    paused.ask(MEMORY_PORT, "write 7 1")
    status = paused.ask(MEMORY_PORT, "status")
    assert status["wrong"] == before + 1
    assert status["kinds"]["wrong-number"] == 1
    assert paused.ask(MEMORY_PORT, "verify")["wrong"] == 0  # it was written anew


def test_finds_a_corrupt_block(paused):
    with open(paused.disk, "r+b", buffering=0) as disk:
        disk.seek(1000 * PAGE_SIZE + 8 * 200)
        (byte,) = disk.read(1)
        disk.seek(1000 * PAGE_SIZE + 8 * 200)
        disk.write(bytes([byte ^ 1]))
    answer = paused.ask(DISK_PORT, "verify")
    (finding,) = answer["first"]
    assert (finding["page"], finding["what"], finding["word"]) == (1000, "corrupt", 200)


def test_powers_off(image, tmp_path):
    network = Network()
    try:
        guest = PlainGuest(image, network, tmp_path)
        try:
            guest.wait_ready()
            guest.qmp("system_powerdown")
            assert guest.process.wait(timeout=20) == 0
            assert "Power down" in guest.console()
        finally:
            guest.close()
    finally:
        network.close()
