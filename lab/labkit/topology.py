# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a lab consists of: names and addresses, derived from its name and size alone. No I/O.

             client                host1                          host2
           mgmt  guest0    mgmt motion0… uplink─br-guest   mgmt motion0… uplink─br-guest
             │     │         │     │       │                 │     │       │
    fabric:  c-…   c-…       h1-…  h1-…    h1-…              h2-…  h2-…    h2-…
             └ every port on the bridge of its network: br-mgmt, br-motion0…, br-guest

Names carry the lab's name only where the machine is shared (network namespaces, directories); within a
namespace they are the same in every lab. That is why two labs do not meet, although their addresses are
equal."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import UsageError

MAX_HOSTS = 200
MAX_MOTION_LINKS = 8
IFNAME_MAX = 15

# A dot parts the fields, since a lab's name has none: `godwit-lab.a-b.host1` can be read in one way only.
NETNS_PREFIX = "godwit-lab"

_LAB_NAME = re.compile(r"[a-z0-9-]{1,16}")
_NETNS_NAME = re.compile(rf"{NETNS_PREFIX}\.([a-z0-9-]{{1,16}})\.(host[1-9][0-9]*|client|fabric)")

FABRIC = "fabric"
CLIENT = "client"
GUEST_BRIDGE = "br-guest"


def check_lab_name(name: str) -> str:
    if not _LAB_NAME.fullmatch(name) or name.startswith("-"):
        raise UsageError(
            f"lab name {name!r}: expected 1 to 16 of a-z, 0-9 and '-', the first of them not '-'"
        )
    return name


def netns_name(lab: str, node: str) -> str:
    return f"{NETNS_PREFIX}.{lab}.{node}"


def parse_netns_name(netns: str) -> tuple[str, str] | None:
    """(lab, node) of a namespace that is ours, else None."""
    match = _NETNS_NAME.fullmatch(netns)
    return (match[1], match[2]) if match else None


@dataclass(frozen=True)
class Network:
    """One layer-2 network of the fabric."""

    name: str  # mgmt, motion0, …, guest
    number: int  # third part of MAC addresses

    @property
    def bridge(self) -> str:
        return f"br-{self.name}"


@dataclass(frozen=True)
class Link:
    """The cable from an interface of a host or of the client to its port in the fabric."""

    node: str
    interface: str
    network: Network
    port: str
    mac: str
    address: str | None  # with prefix length; None: the interface is enslaved in the host's guest bridge

    @property
    def key(self) -> str:
        return f"{self.node}/{self.interface}"

    @property
    def is_guest(self) -> bool:
        return self.network.name == "guest"

    # The three devices that a delay puts between port and network; the longest is 15 characters.
    @property
    def splice_bridge(self) -> str:
        return f"rb-{self.port}"

    @property
    def tap_near(self) -> str:
        return f"ra-{self.port}"

    @property
    def tap_far(self) -> str:
        return f"rz-{self.port}"


@dataclass(frozen=True)
class Node:
    """A namespace with links: a host, or the client."""

    name: str
    netns: str
    links: tuple[Link, ...]

    @property
    def is_host(self) -> bool:
        return self.name != CLIENT

    def link(self, interface: str) -> Link:
        for link in self.links:
            if link.interface == interface:
                return link
        names = ", ".join(link.interface for link in self.links)
        raise UsageError(f"{self.name} has no link {interface!r}: it has {names}")

    def select(self, name: str) -> list[Link]:
        """The links that a link argument of the command line stands for."""
        if name != "all-motion":
            return [self.link(name)]
        links = [link for link in self.links if link.interface.startswith("motion")]
        if not links:
            raise UsageError(f"{self.name} has no motion links")
        return links


def _mac(network: Network, index: int) -> str:
    # Locally administered, and not QEMU's 52:54:00, so that no guest meets a host's address.
    return f"02:67:77:{network.number:02x}:00:{index:02x}"


@dataclass(frozen=True)
class Topology:
    name: str
    n_hosts: int
    n_motion_links: int

    def __post_init__(self) -> None:
        check_lab_name(self.name)
        if not 1 <= self.n_hosts <= MAX_HOSTS:
            raise UsageError(f"{self.n_hosts} hosts: expected 1 to {MAX_HOSTS}")
        if not 0 <= self.n_motion_links <= MAX_MOTION_LINKS:
            raise UsageError(f"{self.n_motion_links} motion links: expected 0 to {MAX_MOTION_LINKS}")

    @property
    def fabric_netns(self) -> str:
        return netns_name(self.name, FABRIC)

    @property
    def networks(self) -> tuple[Network, ...]:
        motion = (Network(f"motion{k}", 16 + k) for k in range(self.n_motion_links))
        return (Network("mgmt", 0), *motion, Network("guest", 1))

    def _host(self, index: int) -> Node:
        name = f"host{index}"
        links = []
        for network in self.networks:
            if network.name == "guest":
                interface, address = "uplink", None
            elif network.name == "mgmt":
                interface, address = "mgmt", f"10.70.0.{index}/24"
            else:
                interface, address = network.name, f"10.71.{network.number - 16}.{index}/24"
            links.append(
                Link(name, interface, network, f"h{index}-{interface}", _mac(network, index), address)
            )
        return Node(name, netns_name(self.name, name), tuple(links))

    @property
    def hosts(self) -> tuple[Node, ...]:
        return tuple(self._host(index) for index in range(1, self.n_hosts + 1))

    @property
    def client(self) -> Node:
        mgmt, guest = self.networks[0], self.networks[-1]
        links = (
            Link(CLIENT, "mgmt", mgmt, "c-mgmt", _mac(mgmt, 254), "10.70.0.254/24"),
            Link(CLIENT, "guest0", guest, "c-guest0", _mac(guest, 254), "10.72.255.254/16"),
        )
        return Node(CLIENT, netns_name(self.name, CLIENT), links)

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (*self.hosts, self.client)

    @property
    def all_netns(self) -> tuple[str, ...]:
        return (self.fabric_netns, *(node.netns for node in self.nodes))

    def node(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        last = f" to host{self.n_hosts}" if self.n_hosts > 1 else ""
        raise UsageError(f"lab {self.name} has no host {name!r}: it has host1{last}, and client")


def guest_address(number: int) -> str:
    """The address of guest 0, 1, …; labs and tests take these so that they do not meet."""
    host = 10 + number
    if not 0 <= number or host >= 255 * 256:
        raise UsageError(f"guest number {number} is out of range")
    return f"10.72.{host // 256}.{host % 256}/16"
