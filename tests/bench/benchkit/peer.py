# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which QEMU is measured: the newest of this machine's own distribution and its backports, unpacked, not installed.

Debian 12's QEMU 7.2 loses updates of a TCG guest in its own pre-copy, so that a comparison with it says little. Its
backports suite has 10.0. apt gets package lists of its own below the output directory, with the mirror and the keys that
this machine's configuration names, and the packages that would have to be installed are unpacked there instead."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "qemu-system-x86"
BINARY = "usr/bin/qemu-system-x86_64"
WANTED_MAJOR = 10


class PeerError(Exception):
    """Why there is no newer QEMU to measure; what the machine has is measured then."""


@dataclass(frozen=True)
class Qemu:
    """`path` is the program itself and never a script: godwit's preloaded library would act in the shell that runs it."""

    path: Path
    version: str
    origin: str  # for people

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    @property
    def loses_updates(self) -> bool:
        """Pre-copy of a TCG guest before 9.0 (upstream's fix is 03bfc2188f)."""
        return self.major < 9


def _run(*command: object, cwd: Path | None = None) -> str:
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(f"{words[0]}: {error}") from error
    if done.returncode != 0:
        raise PeerError(f"{words[0]}: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
    return done.stdout


def version_of(path: Path) -> str:
    match = re.search(r"version ([0-9]+\.[0-9.]+)", _run(path, "--version"))
    if not match:
        raise PeerError(f"{path} does not tell its version")
    return match[1]


def installed(path: str | Path = f"/{BINARY}") -> Qemu:
    found = Path(path)
    return Qemu(found, version_of(found), "installed" if str(found) == f"/{BINARY}" else str(found))


class _Apt:
    """apt with lists of its own; what is installed is the machine's, so that only what differs is fetched."""

    def __init__(self, root: Path, suite: str) -> None:
        self.root = root
        self.suite = suite
        for directory in ("lists/partial", "archives/partial", "sources.d"):
            (root / directory).mkdir(parents=True, exist_ok=True)
        self.options = ["-q"]
        for key, value in {
            "Dir::Etc::sourcelist": root / "sources.list",
            "Dir::Etc::sourceparts": root / "sources.d",
            "Dir::State::lists": root / "lists",
            "Dir::Cache::archives": root / "archives",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "APT::Sandbox::User": "root",  # the directory may be one that apt's own user cannot enter
        }.items():
            self.options += ["-o", f"{key}={value}"]

    def write_sources(self) -> None:
        """The distribution's own lines, and its backports from the same mirror."""
        lines = []
        targets = _run("apt-get", "indextargets", "--format", "$(CREATED_BY) $(REPO_URI) $(RELEASE) $(COMPONENT)")
        for line in sorted(set(targets.splitlines())):
            kind, uri, release, component = line.split()
            if kind == "Packages" and component == "main":
                lines.append(f"deb {uri} {release} main")
                if release == self.suite.removesuffix("-backports"):
                    lines.append(f"deb {uri} {self.suite} main")
        if not any(self.suite in line for line in lines):
            raise PeerError(f"apt is configured with no mirror of {self.suite.removesuffix('-backports')}")
        (self.root / "sources.list").write_text("\n".join(dict.fromkeys(lines)) + "\n")

    def get(self, *words: str, cwd: Path | None = None) -> str:
        return _run("apt-get", *self.options, *words, cwd=cwd)

    def needed(self) -> list[tuple[str, str]]:
        """(package, version) of what an installation from the suite would add or replace."""
        plan = self.get("--simulate", "--no-install-recommends", "-t", self.suite, "install", PACKAGE)
        # Its data and firmware come with the package's dependencies.
        return re.findall(r"^Inst (\S+) (?:\[[^]]*\] )?\((\S+)", plan, re.MULTILINE)


def _codename() -> str:
    fields = dict(line.rstrip().split("=", 1) for line in Path("/etc/os-release").open() if "=" in line)
    return fields.get("VERSION_CODENAME", "").strip('"')


def unpack(output: Path) -> Qemu:
    """The backports' QEMU, unpacked below `output` unless that was done before."""
    suite = f"{_codename()}-backports"
    root = (output / "qemu").resolve()
    binary = root / BINARY
    if not binary.exists():
        apt = _Apt(output.resolve() / "apt", suite)
        apt.write_sources()
        apt.get("update")
        packages = apt.needed()
        if not any(name == PACKAGE for name, _ in packages):
            raise PeerError(f"{suite} has no newer {PACKAGE} than is installed")
        with tempfile.TemporaryDirectory(dir=output, prefix="qemu-") as name:
            scratch = Path(name)
            apt.get("download", *(f"{package}={version}" for package, version in packages), cwd=scratch)
            unpacked = scratch / "root"
            for deb in sorted(scratch.glob("*.deb")):
                _run("dpkg-deb", "--extract", deb, unpacked)
            shutil.rmtree(root, ignore_errors=True)
            unpacked.rename(root)
        root.chmod(0o755)  # QEMU runs as a user of its own
    # It finds its firmware relative to itself, and uses the libraries that are installed; if those are too old, this fails.
    return Qemu(binary, version_of(binary), f"{suite}, unpacked")


def choose(output: Path) -> tuple[Qemu, str | None]:
    """The QEMU to measure with, and why it is not the one that it should be."""
    if os.environ.get("GODWIT_QEMU"):
        return installed(os.environ["GODWIT_QEMU"]), None
    reason = None
    try:
        present = installed()
        if present.major >= WANTED_MAJOR:
            return present, None
        return unpack(output), None
    except PeerError as error:
        reason = str(error)
    return installed(), reason
