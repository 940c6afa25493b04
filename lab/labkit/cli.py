# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line of the lab."""

from __future__ import annotations

import argparse
import json
import signal
import sys

from . import lab as labs
from .condition import Condition
from .errors import LabError, UsageError
from .lab import Lab

_DESCRIPTION = """\
Several hosts of a godwit cluster on one machine. Each host is a network namespace with a management
interface (mgmt), motion interfaces (motion0 …) and a bridge for guests (br-guest, over uplink); a fabric
of bridges joins them, and a client sits on the guests' network to see what a guest's user would see.
Needs root.
"""

_EXAMPLES = """\
examples:
  godwit-lab up --hosts 3 --motion-links 2
  godwit-lab exec host1 -- ip address
  godwit-lab link host1 motion0 rate 1gbit rtt 100ms
  godwit-lab link host2 all-motion loss-of-peer
  godwit-lab status
  godwit-lab down
"""

_LINK_DESCRIPTION = """\
Shows or changes the condition of a link, the cable between an interface and the fabric.

LINK is mgmt, motion0 …, uplink, or all-motion for every motion link of the host; the client has mgmt
and guest0.

CONDITION is one or more of these, which hold together with those set before:
  down           no carrier at the host
  loss-of-peer   carrier stays, but every frame is lost
  up             undoes these two
  rate RATE      as fast as this in each direction: 100mbit, 1gbit, 10gbit …; none for no limit
  rtt TIME       this much added round-trip time: 500us, 20ms, 1s …; none for none
Without one, the link's condition is shown.
"""


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="godwit-lab", description=_DESCRIPTION, epilog=_EXAMPLES, formatter_class=raw
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help_text: str, description: str | None = None) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=help_text, description=description or help_text.capitalize() + ".", formatter_class=raw
        )
        command.add_argument("--name", default="lab", help="name of the lab (default: %(default)s)")
        return command

    up = add("up", "make a lab")
    up.add_argument("--hosts", type=int, required=True, metavar="N", help="number of hosts: host1 … hostN")
    up.add_argument(
        "--motion-links",
        type=int,
        default=1,
        metavar="K",
        help="motion interfaces of each host (default: %(default)s)",
    )
    up.add_argument("--json", action="store_true", help="print the new lab's status as JSON")

    down = add("down", "end the processes of a lab and remove it, also what a crash left of it")
    down.add_argument("--all", action="store_true", help="every lab on this machine")

    status = add("status", "show hosts, addresses, links and processes")
    status.add_argument("--json", action="store_true", help="print it as JSON")

    execute = add(
        "exec",
        "run a command on a host or on the client",
        "Runs a command in the network of a host, or of the client. The command replaces this process, so\n"
        "that signals and exit status are its own. It finds GODWIT_RUNTIME_DIR (a directory of that host),\n"
        "GODWIT_LAB_NAME and GODWIT_LAB_HOST in its environment.",
    )
    execute.usage = "godwit-lab exec [-h] [--name NAME] HOST -- COMMAND [ARGUMENT …]"
    execute.add_argument("host", metavar="HOST", help="host1 …, or client")
    execute.add_argument("argv", metavar="COMMAND", nargs=argparse.REMAINDER, help="what to run")

    link = add("link", "show or change the condition of a link", _LINK_DESCRIPTION)
    link.add_argument("host", metavar="HOST", help="host1 …, or client")
    link.add_argument("link", metavar="LINK", help="mgmt, motion0 …, uplink or all-motion")
    link.add_argument("condition", metavar="CONDITION", nargs="*", help="see above")
    return parser


def _print_node(node: dict) -> None:
    print(node["name"] + ("" if node["present"] else "  MISSING: its namespace is gone; take the lab down"))
    for link in node["links"]:
        condition = Condition.from_json(link["condition"])
        carrier = "carrier" if link["carrier"] else "no carrier"
        dead = "  RELAY DEAD: set the rtt again" if link["relay_alive"] is False else ""
        print(f"  {link['name']:8} {link['address'] or 'br-guest':18} {carrier:10}  {condition}{dead}")
    for process in node["processes"]:
        print(f"  process  {process['pid']} {process['command']}")


def _print_status(status: dict, as_json: bool) -> None:
    if as_json:
        print(json.dumps(status, indent=2))
        return
    print(f"lab {status['name']}: {status['phase']}")
    for node in [*status["hosts"], status["client"]]:
        _print_node(node)


def _up(args: argparse.Namespace) -> None:
    lab = Lab.up(args.name, hosts=args.hosts, motion_links=args.motion_links)
    if args.json:
        _print_status(lab.status(), True)
    else:
        print(f"lab {args.name} is up: {', '.join(host.name for host in lab.hosts)}, client")


def _down(args: argparse.Namespace) -> None:
    errors = []
    for name in labs.all_names() if args.all else [args.name]:
        try:
            removed = labs.remove(name)
        except LabError as error:
            errors.append(error)  # one that resists does not keep the others up
        else:
            print(f"lab {name} is down" if removed else f"lab {name}: nothing to take down")
    if errors:
        kind = UsageError if all(isinstance(error, UsageError) for error in errors) else LabError
        raise kind("; ".join(map(str, errors)))


def _status(args: argparse.Namespace) -> None:
    _print_status(Lab.open(args.name).status(), args.json)


def _exec(args: argparse.Namespace) -> None:
    argv = args.argv[1:] if args.argv[:1] == ["--"] else args.argv
    if not argv:
        raise UsageError("exec needs a command: godwit-lab exec HOST -- COMMAND…")
    Lab.open(args.name).host(args.host).execute(argv)


def _link(args: argparse.Namespace) -> None:
    lab = Lab.open(args.name)
    Condition().amend(args.condition)  # all of it is understood before any of it is done
    for link in lab.topology.node(args.host).select(args.link):
        handle = lab.link(link.node, link.interface)
        if args.condition:
            handle.amend(args.condition)
        print(f"{link.key}: {handle.condition}")


def _leave_on_signal(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)  # so that a lab half made is unmade


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    if args.command != "exec":
        signal.signal(signal.SIGTERM, _leave_on_signal)
        signal.signal(signal.SIGHUP, _leave_on_signal)
    commands = {"up": _up, "down": _down, "status": _status, "exec": _exec, "link": _link}
    try:
        commands[args.command](args)
    except LabError as error:
        print(f"godwit-lab: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return 130
    return 0
