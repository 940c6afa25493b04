# SPDX-License-Identifier: LGPL-2.1-or-later
"""A lab: made, looked at, changed, and removed whatever state it is in.

    with Lab.up("demo", hosts=2) as lab:
        lab.link("host1", "motion0").set_rtt_ms(100)
        lab.host("host1").run(["godwit-host", "--version"])
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from . import ip, links, netns, state
from .condition import Condition, parse_rate
from .errors import LabError
from .relay import Relay
from .state import Lock, State
from .topology import CLIENT, GUEST_BRIDGE, Link, Node, Topology, check_lab_name, netns_name

# Bridges and ports do not speak IPv6: its announcements would teach the fabric's bridges addresses, and hide
# that a guest did not announce itself. `default` is for interfaces made later (TAPs of guests); `lo` is there
# before, and keeps ::1. Frames between guests are not a matter for this machine's firewall.
_SYSCTLS = {
    "ipv6/conf/default/disable_ipv6": "1",
    "bridge/bridge-nf-call-iptables": "0",
    "bridge/bridge-nf-call-ip6tables": "0",
    "bridge/bridge-nf-call-arptables": "0",
}

JSON_FORMAT = 1


def _need_root() -> None:
    if os.geteuid() != 0:
        raise LabError("a lab is made of network namespaces, which needs root: run it with sudo")


def _exists(name: str) -> bool:
    return state.lab_directory(name).exists() or bool(netns.names_of_lab(name))


def all_names() -> list[str]:
    """Every lab that there is anything of."""
    return sorted(state.labs_present() | netns.labs_present())


# ------------------------------------------------------------------------------------------------------------
# Up and down


def _fabric_commands(topology: Topology) -> list[str]:
    commands = ["link set lo up"]
    for network in topology.networks:
        commands += [
            f"link add {network.bridge} type bridge {links.BRIDGE_OPTIONS}",
            f"link set {network.bridge} up",
        ]
    for node in topology.nodes:
        for link in node.links:
            commands += [
                f"link add {link.port} type veth peer name {link.interface} "
                f"address {link.mac} netns {node.netns}",
                f"link set {link.port} master {link.network.bridge} up",
            ]
    return commands


def _node_commands(node: Node) -> list[str]:
    commands = ["link set lo up"]
    for link in node.links:
        if link.address is None:
            # The address is fixed, since a bridge without one takes its ports', anew with each TAP that comes
            # or goes.
            commands += [
                f"link add {GUEST_BRIDGE} address {_bridge_mac(link)} type bridge {links.BRIDGE_OPTIONS}",
                f"link set {GUEST_BRIDGE} up",
                f"link set {link.interface} master {GUEST_BRIDGE} up",
            ]
        else:
            commands += [
                f"link set {link.interface} up",
                f"address add {link.address} broadcast + dev {link.interface}",
            ]
    return commands


def _bridge_mac(uplink: Link) -> str:
    parts = uplink.mac.split(":")
    return ":".join([*parts[:4], "01", parts[5]])


def _make(topology: Topology, lock: Lock) -> None:
    keep = [lock.fd]
    for node in topology.nodes:
        state.runtime_directory(topology.name, node.name).mkdir(mode=0o755, parents=True, exist_ok=True)
    ip.batch(None, [f"netns add {name}" for name in topology.all_netns], keep_fds=keep)
    for name in topology.all_netns:
        netns.write_sysctls(name, _SYSCTLS)
    ip.batch(topology.fabric_netns, _fabric_commands(topology), keep_fds=keep)
    for node in topology.nodes:
        ip.batch(node.netns, _node_commands(node), keep_fds=keep)
    _fill_in_checksums(topology)
    _keep_order(topology, lock)


def _keep_order(topology: Topology, lock: Lock) -> None:
    """A veth hands its frames to the CPU of whoever sends; a sender that moves, or a shaper whose timer fires on the
    other CPU, would let frames overtake each other, which a cable does not (seen: 20,000 retransmissions in 3 s of
    one TCP stream; 0 with this). So each network has one CPU on which its frames are received."""
    usable = sorted(cpu for cpu in os.sched_getaffinity(0) if cpu < 32)  # a mask in one word
    links = [link for node in topology.nodes for link in node.links]
    networks = list(dict.fromkeys(link.network for link in links))
    cpus = {network: usable[i % len(usable)] for i, network in enumerate(networks)}
    ip.receive_on(topology.fabric_netns, {link.port: cpus[link.network] for link in links}, keep_fds=[lock.fd])
    for node in topology.nodes:
        ip.receive_on(
            node.netns, {link.interface: cpus[link.network] for link in node.links}, keep_fds=[lock.fd]
        )


def _fill_in_checksums(topology: Topology) -> None:
    """Frames of the guests' network carry checksums, for those who read them raw (AF_PACKET, a TAP without
    virtio-net headers): a veth would otherwise pass them on as "to be computed by hardware" that is never
    met. It costs these interfaces segmentation offload. Management and motion keep both: only TCP stacks,
    which understand, are there."""
    guest_links = [link for node in topology.nodes for link in node.links if link.is_guest]
    ip.disable_tx_checksum(topology.fabric_netns, [link.port for link in guest_links])
    for link in guest_links:
        ip.disable_tx_checksum(netns_name(topology.name, link.node), [link.interface])


def _tear_down(name: str) -> bool:
    """Removes all that there is of a lab, in whatever state; False if there was nothing. Does not need its
    state."""
    found = _exists(name)
    with suppress(LabError):  # unreadable: it is about to go
        if known := State.load(name):
            known.phase = state.GOING_DOWN
            known.save()

    names = netns.names_of_lab(name)
    fds: list[int] = []
    try:
        # Held open, so that a namespace keeps its number until the last look for processes in it.
        ids = []
        for each in names:
            if (identity := netns.identify(each)) is not None:
                fds.append(os.open(netns.path(each), os.O_RDONLY | os.O_CLOEXEC))
                ids.append(identity)
        netns.end_processes(ids)
        for each in names:
            _remove_netns(each)
        netns.end_processes(ids)  # who came in between
    finally:
        for fd in fds:
            os.close(fd)
    _remove_cgroups(name)
    State.remove(name)
    return found


def _remove_cgroups(name: str) -> None:
    """The control groups of VMs whose supervisors did not live to remove them. Their configurations name them."""
    root = Path("/sys/fs/cgroup")
    for config in (state.ROOT / name).glob("*/run/vms/*/config.json"):
        with suppress(OSError, ValueError, KeyError):
            uuid = json.loads(config.read_text())["uuid"]
            for group in (*root.glob(f"godwit/{uuid}"), *root.glob(f"*/godwit/{uuid}")):
                group.rmdir()


def _remove_netns(name: str) -> None:
    try:
        ip.batch(None, [f"netns delete {name}"])
    except LabError:
        # A name without a mount behind it: killed between the two steps of `ip netns add`.
        if netns.identify(name) is not None:
            raise
        netns.path(name).unlink(missing_ok=True)


def remove(name: str) -> bool:
    """`down`. False if there was nothing to remove."""
    check_lab_name(name)
    _need_root()
    with Lock(name):
        return _tear_down(name)


# ------------------------------------------------------------------------------------------------------------
# Handles


class Host:
    """A host of a lab, or its client."""

    def __init__(self, lab: Lab, node: Node) -> None:
        self._lab = lab
        self._node = node

    @property
    def name(self) -> str:
        return self._node.name

    @property
    def netns(self) -> str:
        return self._node.netns

    @property
    def runtime_dir(self) -> Path:
        return state.runtime_directory(self._lab.name, self.name)

    @property
    def motion_interfaces(self) -> list[str]:
        return [link.interface for link in self._node.links if link.interface.startswith("motion")]

    def address(self, interface: str) -> str:
        """Without prefix length."""
        address = self._node.link(interface).address
        if address is None:
            raise LabError(f"{self.name}/{interface} has no address: it is the uplink of {GUEST_BRIDGE}")
        return address.partition("/")[0]

    def environment(self) -> dict[str, str]:
        return {
            "GODWIT_RUNTIME_DIR": str(self.runtime_dir),
            "GODWIT_LAB_NAME": self._lab.name,
            "GODWIT_LAB_HOST": self.name,
        }

    def _prepare(
        self, argv: Sequence[str], env: Mapping[str, str] | None
    ) -> tuple[list[str], dict[str, str]]:
        command = ["nsenter", f"--net={netns.path(self.netns)}", "--", *map(str, argv)]
        return command, {**(os.environ if env is None else env), **self.environment()}

    def popen(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **kwargs
    ) -> subprocess.Popen:
        """subprocess.Popen on this host; its pid is that of the command, since nsenter replaces itself."""
        command, env = self._prepare(argv, env)
        return subprocess.Popen(command, env=env, **kwargs)

    def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, **kwargs
    ) -> subprocess.CompletedProcess:
        command, env = self._prepare(argv, env)
        return subprocess.run(command, env=env, **kwargs)

    def execute(self, argv: Sequence[str]) -> None:
        """Replaces this process by the command; returns only by raising."""
        netns.enter(self.netns)
        try:
            os.execvpe(argv[0], list(argv), {**os.environ, **self.environment()})
        except OSError as error:
            raise LabError(f"running {argv[0]} on {self.name}: {error.strerror}") from error


class LinkHandle:
    """One link of a host, to be looked at and changed."""

    def __init__(self, lab: Lab, node: Node, link: Link) -> None:
        self._lab = lab
        self._node = node
        self._link = link

    @property
    def condition(self) -> Condition:
        return self._lab._load().condition(self._link.key)

    def _change(self, **fields) -> None:
        with self._lab._changing() as (current, lock):
            wanted = replace(current.condition(self._link.key), **fields)
            links.change(current, self._node, self._link, wanted, lock.fd)

    def amend(self, words: list[str]) -> None:
        """As the command line does: amend(["rate", "1gbit", "rtt", "20ms"])."""
        with self._lab._changing() as (current, lock):
            wanted = current.condition(self._link.key).amend(words)
            links.change(current, self._node, self._link, wanted, lock.fd)

    def down(self) -> None:
        self._change(down=True)

    def lose_peer(self) -> None:
        self._change(lose_peer=True)

    def up(self) -> None:
        """Heals down() and lose_peer(); rate and rtt stay."""
        self._change(down=False, lose_peer=False)

    def set_rate(self, rate: str | None) -> None:
        self._change(rate_bits_per_s=None if rate is None else parse_rate(rate))

    def set_rtt_ms(self, rtt_ms: float | None) -> None:
        self._change(rtt_us=None if not rtt_ms else round(rtt_ms * 1000))

    def relay_stats(self) -> dict | None:
        """The counters of the delay relay, None without an rtt."""
        return Relay(self._lab.name, self._lab.topology.fabric_netns, self._link).stats()


class _Changing:
    """The lock and the state that it protects."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._lock = Lock(lab.name)

    def __enter__(self) -> tuple[State, Lock]:
        self._lock.__enter__()
        try:
            return self._lab._load(), self._lock
        except BaseException:
            self._lock.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._lock.__exit__()


class Lab:
    """A lab that is up. As a context manager it goes down at the end."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology

    @staticmethod
    def up(name: str, hosts: int = 2, motion_links: int = 1) -> Lab:
        topology = Topology(name, hosts, motion_links)
        _need_root()
        with Lock(name) as lock:
            if _exists(name):
                raise LabError(
                    f"lab {name} exists already, whole or in part: `godwit-lab down --name {name}` removes it"
                )
            current = State(topology)
            try:
                current.save()
                _make(topology, lock)
                current.phase = state.UP
                current.save()
            except BaseException:
                _tear_down(name)
                raise
        return Lab(topology)

    @staticmethod
    def open(name: str) -> Lab:
        """A lab that is up already."""
        check_lab_name(name)
        return Lab(Lab._load_named(name).topology)

    @staticmethod
    def _load_named(name: str) -> State:
        current = State.load(name)
        if current is None:
            others = ", ".join(all_names())
            raise LabError(
                f"there is no lab {name}: `godwit-lab up --name {name} --hosts 2` makes one"
                + (f"; there is {others}" if others else "")
            )
        if current.phase != state.UP:
            raise LabError(
                f"lab {name} is not up but {current.phase}: wait for the command that does it, or, "
                f"if that was killed, `godwit-lab down --name {name}`"
            )
        return current

    def _load(self) -> State:
        return self._load_named(self.name)

    def _changing(self) -> _Changing:
        return _Changing(self)

    @property
    def name(self) -> str:
        return self.topology.name

    @property
    def hosts(self) -> list[Host]:
        return [Host(self, node) for node in self.topology.hosts]

    @property
    def client(self) -> Host:
        return self.host(CLIENT)

    def host(self, name: str) -> Host:
        return Host(self, self.topology.node(name))

    def link(self, host: str, link: str) -> LinkHandle:
        node = self.topology.node(host)
        return LinkHandle(self, node, node.link(link))

    def down(self) -> None:
        remove(self.name)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def status(self) -> dict:
        """As `status --json` prints it; fields are added, not changed, within one `format`."""
        current = self._load()
        ids = {node.name: netns.identify(node.netns) for node in self.topology.nodes}
        running = netns.processes(identity for identity in ids.values() if identity)
        nodes = []
        for node in self.topology.nodes:
            own = [process for process in running if process.netns == ids[node.name]]
            nodes.append(
                {
                    "name": node.name,
                    "netns": node.netns,
                    "present": ids[node.name] is not None,
                    "runtime_dir": str(state.runtime_directory(self.name, node.name)),
                    "links": self._link_status(current, node) if ids[node.name] else [],
                    "processes": [{"pid": process.pid, "command": process.command} for process in own],
                }
            )
        return {
            "format": JSON_FORMAT,
            "name": self.name,
            "phase": current.phase,
            "motion_links": self.topology.n_motion_links,
            "hosts": nodes[:-1],
            "client": nodes[-1],
        }

    def _link_status(self, current: State, node: Node) -> list[dict]:
        flags = {entry["ifname"]: entry["flags"] for entry in ip.query(node.netns, ["link", "show"])}
        result = []
        for link in node.links:
            condition = current.condition(link.key)
            relay = Relay(self.name, self.topology.fabric_netns, link)
            result.append(
                {
                    "name": link.interface,
                    "address": link.address,
                    "mac": link.mac,
                    "carrier": "LOWER_UP" in flags.get(link.interface, []),
                    "condition": condition.to_json(),
                    "relay_pid": current.relay_pids.get(link.key),
                    "relay_alive": None if condition.rtt_us is None else relay.is_alive(),
                }
            )
        return result
