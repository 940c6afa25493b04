# SPDX-License-Identifier: LGPL-2.1-or-later
"""Putting a link into a condition.

    down           the fabric's port is set down, so that the host's interface has no carrier
    loss-of-peer   the port leaves its bridge: carrier stays, frames go nowhere. (Rejected: the bridge's port
                   state, which any later carrier event sets back to forwarding.)
    rate           tbf at both ends of the cable: at the host's interface, and at the port
    rtt            the port moves from the network's bridge to a small one of its own, and a delay relay joins
                   the two
"""

from __future__ import annotations

from . import ip
from .condition import Condition, Shaper, shaper
from .errors import LabError
from .relay import Relay
from .state import State
from .topology import Link, Node

BRIDGE_OPTIONS = "stp_state 0 forward_delay 0 mcast_snooping 0"

# The relay is a process, and may not run for a while on a busy machine; its TAP holds frames meanwhile. At 10
# Gbit/s in frames of 1500 bytes this is 39 ms. A full-size ring would cost half a megabyte, and memory for
# frames as they come.
_TAP_QUEUE_FRAMES = 32768


def _master(link: Link, condition: Condition) -> str | None:
    if condition.lose_peer:
        return None
    return link.splice_bridge if condition.rtt_us is not None else link.network.bridge


def _splice(state: State, link: Link, relay: Relay, rtt_us: int, lock_fd: int) -> None:
    """Starts the relay and joins it to the network; the port is moved by the caller."""
    fabric = state.topology.fabric_netns
    state.relay_pids[link.key] = None
    state.save()
    pid = relay.start(rtt_us)
    taps = (link.tap_near, link.tap_far)
    ip.batch(fabric, [f"link set {tap} txqueuelen {_TAP_QUEUE_FRAMES}" for tap in taps], keep_fds=[lock_fd])
    # Named, since the default may be one that drops by age (fq_codel).
    ip.batch(
        fabric,
        [f"qdisc replace dev {tap} root pfifo limit {_TAP_QUEUE_FRAMES}" for tap in taps],
        tool="tc",
        keep_fds=[lock_fd],
    )
    ip.batch(
        fabric,
        [
            f"link add {link.splice_bridge} type bridge {BRIDGE_OPTIONS}",
            f"link set {link.splice_bridge} up",
            f"link set {link.tap_near} master {link.splice_bridge} up",
            f"link set {link.tap_far} master {link.network.bridge} up",
        ],
        keep_fds=[lock_fd],
    )
    # Last, so that a recorded number means a whole splice: if we are killed before, the next change makes one.
    state.relay_pids[link.key] = pid
    state.save()


def _unsplice(state: State, link: Link, relay: Relay, lock_fd: int) -> None:
    """Undoes _splice(), or what there is of it. The TAPs go with their process."""
    fabric = state.topology.fabric_netns
    relay.stop(state.relay_pids.get(link.key))
    names = {entry["ifname"] for entry in ip.query(fabric, ["link", "show"])}
    if link.splice_bridge in names:
        ip.batch(fabric, [f"link del {link.splice_bridge}"], keep_fds=[lock_fd])
    state.relay_pids.pop(link.key, None)
    state.save()


def _set_shaper(netns_name: str, interface: str, wanted: Shaper | None, lock_fd: int) -> None:
    if wanted is None:
        # A veth's own default; unlike `del`, this can be repeated.
        command = f"qdisc replace dev {interface} root noqueue"
    else:
        command = (
            f"qdisc replace dev {interface} root tbf rate {wanted.rate_bits_per_s}bit "
            f"burst {wanted.burst_bytes} limit {wanted.limit_bytes}"
        )
    ip.batch(netns_name, [command], tool="tc", keep_fds=[lock_fd])


def _apply(state: State, node: Node, link: Link, wanted: Condition, lock_fd: int) -> None:
    """Brings the link into the condition from whatever it is in; can be repeated."""
    fabric = state.topology.fabric_netns
    relay = Relay(state.topology.name, fabric, link)
    if wanted.rtt_us is not None:
        if state.relay_pids.get(link.key) is not None and relay.is_alive():
            relay.set_rtt(wanted.rtt_us)
        else:
            _unsplice(state, link, relay, lock_fd)  # the remains of one that died, or was never finished
            _splice(state, link, relay, wanted.rtt_us, lock_fd)

    master = _master(link, wanted)
    ip.batch(
        fabric,
        [
            f"link set {link.port} master {master}" if master else f"link set {link.port} nomaster",
            f"link set {link.port} {'down' if wanted.down else 'up'}",
        ],
        keep_fds=[lock_fd],
    )
    if wanted.rtt_us is None and link.key in state.relay_pids:
        _unsplice(state, link, relay, lock_fd)

    _set_shaper(node.netns, link.interface, shaper(wanted), lock_fd)
    _set_shaper(fabric, link.port, shaper(wanted), lock_fd)


def change(state: State, node: Node, link: Link, wanted: Condition, lock_fd: int) -> None:
    """Records the condition, then makes it so; on failure, back to the one before."""
    before = state.condition(link.key)
    state.conditions[link.key] = wanted
    state.save()
    try:
        _apply(state, node, link, wanted, lock_fd)
    except LabError as error:
        state.conditions[link.key] = before
        state.save()
        try:
            _apply(state, node, link, before, lock_fd)
        except LabError as second:
            raise LabError(
                f"link {link.key}: {error}; going back to {before!s} failed too: {second}; "
                f"take the lab down and up again"
            ) from error
        raise LabError(f"link {link.key}: {error}; it is still {before!s}") from error
