# SPDX-License-Identifier: LGPL-2.1-or-later
"""Motions between hosts of the lab, by the supervisors' API: a destination prepared, a source told, the end awaited."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from .errors import LabError
from .lab import Host
from .vm import QEMU, ApiError, Vm, wait_until

FINAL = ("completed", "failed", "cancelled")


class MotionError(LabError):
    """A motion that did not come to its end; `result` is the source's last word."""

    def __init__(self, result: dict) -> None:
        error = result.get("error") or {}
        super().__init__(f"motion {result['state']}: {error.get('message', 'no reason given')}")
        self.result = result
        self.code = error.get("code")


def motion_addresses(host: Host, links: Sequence[str] = ("motion0",)) -> list[str]:
    return [host.address(link) for link in links]


def prepare(
    vm: Vm,
    to: Host,
    directory: Path,
    *,
    tls: bool = True,
    links: Sequence[str] = ("motion0",),
    qemu: str = QEMU,
    datastores: dict[str, Path] | None = None,
    options: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> tuple[Vm, dict]:
    """A supervisor and a QEMU on `to` that wait for the VM, and the ticket that lets it in."""
    document = json.loads(vm.request("GET", "/v1/config"))
    there = Vm.start(to, document, directory, "--incoming", *options, qemu=qemu, datastores=datastores, env=env)
    request = {"action": "receive", "listen": motion_addresses(to, links), "tls": tls}
    try:
        ticket = there.call("POST", "/v1/motion", request)
    except ApiError:
        there.remove()
        raise
    for address, link in zip(ticket["addresses"], links, strict=True):
        address["local"] = vm.host.address(link)
    return there, ticket


def send(
    vm: Vm,
    ticket: dict,
    *,
    streams: int | None = None,
    goal_ms: int = 500,
    deadline_s: int = 60,
) -> dict:
    """Tells the source to go; returns at once."""
    body = {**ticket, "action": "send", "switchover_goal_ms": goal_ms, "deadline_s": deadline_s}
    if streams:
        body["streams"] = streams
    return vm.call("POST", "/v1/motion", body)


def motion(vm: Vm) -> dict:
    return vm.call("GET", "/v1/motion")


def await_end(vm: Vm, timeout_s: float = 120, states: Sequence[str] = FINAL) -> dict:
    """The motion's last word, once it has one."""
    deadline = time.monotonic() + timeout_s
    while (now := motion(vm))["state"] not in states:
        if time.monotonic() > deadline:
            raise LabError(f"{vm.name}: the motion is still {now['state']} ({now['step']}) after {timeout_s:g} s")
        time.sleep(0.02)
    return now


def await_state(vm: Vm, *states: str, timeout_s: float = 30) -> None:
    """Until the VM itself is in one of the states: what a motion's end leads to follows it by a moment."""
    wait_until(lambda: vm.state() in states, timeout_s, f"{vm.name} to be {' or '.join(states)}")


def move(
    vm: Vm,
    to: Host,
    directory: Path,
    *,
    tls: bool = True,
    streams: int | None = None,
    goal_ms: int = 500,
    deadline_s: int = 60,
    links: Sequence[str] = ("motion0",),
    qemu: str = QEMU,
    datastores: dict[str, Path] | None = None,
    options: Sequence[str] = (),
) -> tuple[Vm, dict]:
    """Moves a VM; returns it at its new host, and the source's account of the motion. What is left at the source is
    removed. Raises MotionError, and then the VM is where it was."""
    there, ticket = prepare(
        vm, to, directory, tls=tls, links=links, qemu=qemu, datastores=datastores, options=options
    )
    try:
        send(vm, ticket, streams=streams, goal_ms=goal_ms, deadline_s=deadline_s)
        result = await_end(vm, deadline_s + 30)
    except ApiError:
        there.remove()
        raise
    if result["state"] != "completed":
        raise MotionError(result)
    await_state(vm, "moved")
    await_state(there, "running", "paused")
    vm.remove()
    return there, result


def gap_around_pause(window: dict, result: dict) -> float:
    """The client's longest gap that overlaps the pause, in ms: under emulation on a busy machine there are others, which
    the motion did not make."""
    stopped_ns = result["stopped_monotonic_us"] * 1000
    runs_ns = stopped_ns + round(result["downtime_ms"] * 1e6)
    around = [
        gap["ms"]
        for gap in window["gaps"]
        if gap["start_monotonic_ns"] <= runs_ns and gap["end_monotonic_ns"] >= stopped_ns
    ]
    return max(around, default=window["longest_gap_ms"])
