# SPDX-License-Identifier: LGPL-2.1-or-later
"""For the tests of checks: what `godwit vm check` says, compared with what docs/checks.md says that it says, and an
administrator who does what a finding's repair tells."""

import functools
import json
import re
import shlex
import subprocess
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from labkit import tiny
from labkit.vm import PORT_GROUP

ROOT = Path(__file__).resolve().parents[2]
CHECK_FAILED = 5  # the exit status


@dataclass(frozen=True)
class Documented:
    severity: str
    override: str | None  # None: a warning, which stops nothing


@functools.cache
def documented() -> dict[str, Documented]:
    """The tables of docs/checks.md, by id."""
    rows = re.findall(r"^\| `(motion\.[a-z.-]+)` \| (\w+) \| (\S+) \|", (ROOT / "docs/checks.md").read_text(), re.MULTILINE)
    found = {name: Documented(severity, None if override == "–" else override) for name, severity, override in rows}
    assert len(found) == len(rows) > 40
    return found


def document(name: str, **changes) -> dict:
    """A guest that is quick to make: the tiny one, with a NIC for the checks to look at."""
    nics = [{"port_group": PORT_GROUP, "mac": "52:54:00:00:77:%02x" % (zlib.crc32(name.encode()) & 0xFF)}]
    return {**tiny.document(name, "auto", memory="ws=1M,rate=0", nics=nics), **changes}


def commands_in(repair: str) -> list[str]:
    return re.findall(r"'([^']+)'", repair)


class Checks:
    """The checks of one cluster. What was found and what was gone after its repair is noted, for `assert_done`."""

    def __init__(self, cluster) -> None:
        self.cluster = cluster
        self.lab = cluster.lab
        self.found: set[str] = set()
        self.gone: set[str] = set()

    # -- looking

    def look(self, vm: str, to: str = "host2", *, probe: bool = False, overrides: tuple[str, ...] = ()) -> list[dict]:
        """All that `godwit vm check` finds; its exit status and what may be overridden are as documented."""
        words = ["vm", "check", vm, "--to", to, "--json", *([] if probe else ["--no-probe"])]
        for each in overrides:
            words += ["--override", each]
        done = self.cluster.godwit(*words, check=False)
        assert done.returncode in (0, CHECK_FAILED), done.stderr
        (check,) = json.loads(done.stdout)["checks"]
        findings = check["findings"]
        errors = [finding for finding in findings if finding["severity"] == "error"]
        assert (done.returncode, check["possible"]) == ((CHECK_FAILED, False) if errors else (0, True)), findings
        for finding in findings:
            self._compare(finding, overrides)
        return findings

    @staticmethod
    def _compare(finding: dict, overrides: tuple[str, ...]) -> None:
        expected = documented()[finding["id"]]
        if finding["override"] == "applied":
            assert (finding["severity"], expected.override) == ("warning", "allowed"), finding
            assert finding["id"] in overrides, finding
        elif finding["severity"] == "error":
            assert (expected.severity, finding["override"]) == ("error", expected.override), finding

    def find(self, vm: str, name: str, *words: str, **options) -> dict:
        """The one finding of that id, whose text has all these words."""
        findings = [finding for finding in self.look(vm, **options) if finding["id"] == name]
        assert len(findings) == 1, f"{name}: {findings}"
        assert [word for word in words if word not in findings[0]["text"]] == [], findings[0]
        self.found.add(name)
        return findings[0]

    def assert_gone(self, vm: str, name: str, **options) -> None:
        assert name not in {finding["id"] for finding in self.look(vm, **options)}
        self.gone.add(name)

    def assert_refused(self, vm: str, name: str, to: str = "host2") -> None:
        """A motion ends with this finding before anything has happened to the guest."""
        home = self.cluster.home(vm)
        state = self.cluster.vm(vm, home).state()
        done = self.cluster.godwit("vm", "migrate", vm, "--to", to, check=False)
        assert done.returncode == CHECK_FAILED, done.stderr
        assert name in done.stdout + done.stderr
        assert (self.cluster.home(vm), self.cluster.vm(vm, home).state()) == (home, state)
        assert not self.cluster.vm(vm, to).directory.exists()

    def assert_printed(self, vm: str, finding: dict, to: str = "host2") -> None:
        """What people read has text, evidence and repair, however it is wrapped."""
        done = self.cluster.godwit("vm", "check", vm, "--to", to, "--no-probe", check=False)
        printed = " ".join(done.stdout.split())
        for text in (finding["id"], finding["text"], finding["source"], finding["destination"], finding["repair"]):
            assert not text or " ".join(text.split()) in printed, (text, done.stdout)

    def assert_moves(self, vm: str, to: str = "host2", *options: str) -> dict:
        """The motion completes; the guest is where it should be, and runs."""
        result = self.cluster.json("vm", "migrate", vm, "--to", to, *options)
        assert (result["state"], result["destination"]) == ("completed", to), result
        assert self.cluster.vm(vm, to).state() == "running"
        return result

    def assert_done(self, names: set[str]) -> None:
        assert names <= set(documented())
        assert names - self.found == set(), "never found"
        assert names - self.gone == set(), "never seen gone"

    # -- mending

    def follow(self, host: str, repair: str, *beginnings: str) -> None:
        """Runs the commands that a repair quotes: `godwit` from the administrator's chair, others on the host. At least
        one has to begin with each of `beginnings`; others are left out."""
        for beginning in beginnings:
            commands = [command for command in commands_in(repair) if command.startswith(beginning)]
            assert commands, f"no '{beginning} …' in: {repair}"
            for command in commands:
                self._run(host, command)

    def _run(self, host: str, command: str) -> None:
        program, *words = shlex.split(command)
        agent = self.cluster.agents[host]
        if program == "godwit":
            self._godwit(*words)
        elif program == "godwit-host":
            agent.command_line(*words)
        elif program == "godwit-vm":
            self.lab.host(host).run([self._vm_program(agent), *words], check=True, stdout=subprocess.DEVNULL)
        else:
            self.lab.host(host).run([program, *words], check=True)

    def _godwit(self, *words: object) -> None:
        """Where it would ask whether one is sure, one is."""
        self.cluster.godwit(*words, *(["--yes"] if words[:2] in (("vm", "stop"), ("vm", "rm")) else []))

    @staticmethod
    def _vm_program(agent) -> str:
        return agent.sections["host"]["vm-program"]

    def give_other_config(self, finding: dict, vm: str, **changes) -> None:
        """A VM with another configuration, as its repair tells; None takes a member out."""
        export, *others = commands_in(finding["repair"])
        assert export == f"godwit vm config {vm} > {vm}.json"
        config = {**json.loads(self.cluster.godwit("vm", "config", vm).stdout), **changes}
        path = self.cluster.directory / f"{vm}.json"
        path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
        done = []
        for command in (shlex.split(other) for other in others if other.startswith("godwit vm")):
            done.append(command[2])
            if command[2] == "shutdown":  # the tiny guest has no power button
                self.end(vm)
            else:
                self._godwit(*(path if word == path.name else word for word in command[1:]))
        assert done == ["shutdown", "rm", "create"]

    def end(self, vm: str) -> None:
        """Off, wherever and in whatever state it is."""
        if self.cluster.call("GET", f"/v1/vms/{vm}")["state"] not in ("off", "crashed"):
            self._godwit("vm", "stop", vm)

    def remove(self, vm: str) -> None:
        self.end(vm)
        self._godwit("vm", "rm", vm)

    @contextmanager
    def guest(self, name: str, *, start: bool = True, **changes):
        """A VM of that name on host1, for a while."""
        self.cluster.create(document(name, **changes), start=start)
        try:
            yield name
        finally:
            self.remove(name)

    @contextmanager
    def reconfigured(self, host: str, changes: dict[str, dict[str, str] | None]):
        """The host's configuration is another one for a while; sections as `Agent.reconfigure` takes them."""
        agent = self.cluster.agents[host]
        kept = dict(agent.sections)
        agent.reconfigure(**changes)
        try:
            yield
        finally:
            agent.sections = kept
            agent.reconfigure()

    def mend_host(self, finding: dict, host: str, changes: dict[str, dict[str, str] | None]) -> None:
        """As a repair tells that begins "on HOST, in /etc/godwit/host.conf, …"; what it names has to be in there."""
        assert finding["repair"].startswith(f"on {host}, in /etc/godwit/host.conf, "), finding
        assert finding["repair"].endswith("then 'godwit-host reload'"), finding
        for section, keys in changes.items():
            assert f"[{section}]" in finding["repair"], finding
            assert all(key in finding["repair"] for key in keys or ()), finding
        self.cluster.agents[host].reconfigure(**changes)


@pytest.fixture(scope="module")
def checks(cluster):
    return Checks(cluster)


@pytest.fixture(autouse=True)
def every_id_is_found_and_gone(request, checks):
    """What a test is said to make real (`makes`) it has made real, and mended."""
    checks.found.clear()
    checks.gone.clear()
    yield
    mark = request.node.get_closest_marker("makes")
    if mark and request.node.rep_call.passed:
        checks.assert_done(set(mark.args))
