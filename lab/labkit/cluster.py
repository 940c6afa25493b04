# SPDX-License-Identifier: LGPL-2.1-or-later
"""A cluster in a lab, set up as an administrator does it: a center on the lab's client, an agent on every host, each of
them joined with a token, and the command `godwit` logged in.

    with Lab.up("demo", hosts=3) as lab, Cluster(lab, directory) as cluster:
        cluster.godwit("vm", "migrate", "web1", "--to", "host2")
        cluster.call("GET", "/v1/vms")

Datastore `image` is the guest's image, `ds` a directory that all hosts share."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPSConnection
from pathlib import Path

from . import netns
from .daemon import Daemon
from .errors import LabError
from .lab import Host, Lab
from .vm import BRIDGE, BUILD, GODWIT_VM, IMAGE_DIR, PORT_GROUP, QEMU, ApiError, Vm, wait_until

GODWIT = BUILD / "src/cli/godwit"
GODWIT_CENTER = BUILD / "src/center/godwit-center"
GODWIT_HOST = BUILD / "src/host/godwit-host"
UFFD_LIBRARY = BUILD / "src/vmm/godwit-uffd-handover.so"
CENTER_PORT = 7440
HOST_PORT = 7441
FINAL = ("completed", "failed", "cancelled")


class CliError(LabError):
    """`godwit` ended with another status than 0."""

    def __init__(self, words: Sequence[object], done: subprocess.CompletedProcess) -> None:
        super().__init__(f"godwit {' '.join(map(str, words))}: exit status {done.returncode}: {done.stderr.strip()}")
        self.status = done.returncode
        self.stdout = done.stdout
        self.stderr = done.stderr


class _Connection(HTTPSConnection):
    """To the center, from within a network namespace; the socket stays there."""

    def __init__(self, node: Host, address: str, port: int, authority: Path, timeout_s: float) -> None:
        super().__init__(address, port, timeout=timeout_s, context=ssl.create_default_context(cafile=str(authority)))
        self._node = node

    def connect(self) -> None:
        with netns.entered(self._node.netns):
            super().connect()


class Agent(Daemon):
    """godwit-host on one host, and its configuration, which is made by `write`."""

    def __init__(self, host: Host, directory: Path, shared: Path) -> None:
        self.directory = directory / host.name
        self.directory.mkdir(exist_ok=True)
        self.config = self.directory / "host.conf"
        self.sections = self._sections(host, shared)
        self.write()
        super().__init__(
            host,
            [GODWIT_HOST, "run", "--config", self.config],
            self.directory / "godwit-host.log",
            lambda: self.status() is not None,
        )

    def _sections(self, host: Host, shared: Path) -> dict[str, dict[str, str]]:
        return {
            "host": {
                "name": host.name,
                "listen": host.address("mgmt"),
                "port": str(HOST_PORT),
                "runtime-dir": str(host.runtime_dir),
                "tls-dir": str(self.directory / "tls"),
                "vm-program": str(GODWIT_VM),
                "uffd-library": str(UFFD_LIBRARY),
                "qemu": QEMU,
            },
            "switch guests": {"bridge": BRIDGE, "uplinks": "uplink;"},
            f"port-group {PORT_GROUP}": {"switch": "guests"},
            "motion": {"interfaces": "".join(f"{name};" for name in host.motion_interfaces)},
            "datastore ds": {"path": str(shared)},
            "datastore image": {"path": str(IMAGE_DIR)},
        }

    def write(self) -> None:
        lines = []
        for section, keys in self.sections.items():
            lines += [f"[{section}]", *(f"{key}={value}" for key, value in keys.items()), ""]
        self.config.write_text("\n".join(lines))

    def command_line(self, *words: object, check: bool = True) -> subprocess.CompletedProcess:
        """`godwit-host WORDS` on this host, with this configuration."""
        done = self.host.run(
            [GODWIT_HOST, words[0], "--config", self.config, *words[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise LabError(f"godwit-host {words[0]}: exit status {done.returncode}: {done.stderr.strip()}")
        return done

    def status(self) -> str | None:
        done = self.command_line("status", check=False)
        return done.stdout if done.returncode == 0 else None

    def reconfigure(self, **changes: dict[str, str] | None) -> None:
        """Sections replaced by name, or removed where None, and the agent told to read them."""
        for section, keys in changes.items():
            if keys is None:
                del self.sections[section]
            else:
                self.sections[section] = keys
        self.write()
        self.command_line("reload")


class Center(Daemon):
    """godwit-center, on the lab's client."""

    def __init__(self, node: Host, directory: Path) -> None:
        self.directory = directory / "center"
        self.directory.mkdir(exist_ok=True)
        self.data = self.directory / "data"
        self.socket = self.directory / "center.sock"
        self.address = node.address("mgmt")
        self.config = self.directory / "center.conf"
        self.config.write_text(
            f"[center]\nlisten={self.address}\nport={CENTER_PORT}\naddresses={self.address};\n"
            f"data-dir={self.data}\nsocket={self.socket}\n"
        )
        super().__init__(
            node,
            [GODWIT_CENTER, "run", "--config", self.config],
            self.directory / "godwit-center.log",
            self._answers,
        )

    @property
    def url(self) -> str:
        return f"https://{self.address}:{CENTER_PORT}"

    @property
    def authority(self) -> Path:
        return self.data / "tls" / "ca.pem"

    def _answers(self) -> bool:
        if not self.authority.exists():
            return False
        connection = _Connection(self.host, self.address, CENTER_PORT, self.authority, 5)
        try:
            connection.request("GET", "/v1/about")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def first_password(self) -> str:
        return (self.data / "initial-password").read_text().strip()


class Cluster:
    """Set up by `up`; closed with everything that it started, guests too."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.directory = directory
        self.shared = directory / "ds"
        self.shared.mkdir(exist_ok=True)
        self.center = Center(lab.client, directory)
        self.agents = {host.name: Agent(host, directory, self.shared) for host in lab.hosts}
        self.token = ""

    def up(self) -> Cluster:
        self.center.start()
        self.login("admin", self.center.first_password())
        for agent in self.agents.values():
            agent.start()
        for name in self.agents:
            self.join(name)
        self.await_hosts()
        return self

    def __enter__(self) -> Cluster:
        return self.up()

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- setting up

    def login(self, user: str, password: str) -> None:
        secret = self.directory / "password"
        secret.touch(mode=0o600)
        secret.write_text(password + "\n")
        self.godwit("login", self.center.url, "--user", user, "--password-file", secret, "--ca", self.center.authority)
        secret.unlink()
        self.token = self.call("POST", "/v1/login", {"user": user, "password": password})["token"]

    def join(self, name: str) -> None:
        token = json.loads(self.godwit("host", "add-token", "--json").stdout)["token"]
        secret = self.directory / f"token-{name}"
        secret.touch(mode=0o600)
        secret.write_text(token)
        self.agents[name].command_line("join", self.center.url, "--token-file", secret)
        secret.unlink()

    def await_hosts(self, timeout_s: float = 20) -> None:
        def up() -> bool:
            return all(host["state"] == "up" for host in self.call("GET", "/v1/hosts")["hosts"])

        wait_until(up, timeout_s, "every host to be up", every_s=0.1)

    # -- the command and the API

    def command(self, *words: object) -> list[str]:
        return [str(GODWIT), *map(str, words)]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "XDG_CONFIG_HOME": str(self.directory / "config"), "NO_COLOR": "1"}

    def godwit(
        self, *words: object, check: bool = True, timeout_s: float = 120, **options
    ) -> subprocess.CompletedProcess:
        done = self.lab.client.run(
            self.command(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=timeout_s,
            **options,
        )
        if check and done.returncode != 0:
            raise CliError(words, done)
        return done

    def json(self, *words: object) -> dict:
        return json.loads(self.godwit(*words, "--json").stdout)

    def request(
        self, method: str, path: str, body: dict | bytes | None = None, *, token: str | None = None, timeout_s: float = 60
    ) -> tuple[int, bytes]:
        """One request as it comes; status and body. `token` None: the administrator's, "": none."""
        connection = _Connection(self.lab.client, self.center.address, CENTER_PORT, self.center.authority, timeout_s)
        token = self.token if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            connection.request(method, path, json.dumps(body) if isinstance(body, dict) else body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def call(self, method: str, path: str, body: dict | None = None, *, token: str | None = None) -> dict:
        status, data = self.request(method, path, body, token=token)
        if status >= 300:
            error = json.loads(data)["error"]
            raise ApiError(status, error["code"], error["message"])
        return json.loads(data)

    # -- VMs and motions

    def vm(self, name: str, host: str) -> Vm:
        """The supervisor's own socket on that host, past agent and center: to see what is really there."""
        return Vm(self.lab.host(host), name)

    def home(self, name: str) -> str:
        return self.call("GET", f"/v1/vms/{name}")["host"]

    def create(self, document: dict, host: str = "host1", *, start: bool = True) -> Vm:
        self.call("POST", "/v1/vms", {"config": document, "host": host, "start": start})
        return self.vm(document["name"], host)

    def disk(self, name: str, size_bytes: int = 64 << 20) -> dict:
        """A raw disk in the shared datastore, as a configuration names it."""
        with (self.shared / name).open("wb") as image:
            image.truncate(size_bytes)
        return {"datastore": "ds", "path": name, "format": "raw"}

    def migrate(self, name: str, to: str, **request) -> str:
        """Asks for a motion; the task's id."""
        return self.call("POST", f"/v1/vms/{name}/migrate", {"to": to, **request})["id"]

    def task(self, task: str) -> dict:
        return self.call("GET", f"/v1/tasks/{task}")

    def await_task(self, task: str, timeout_s: float = 60) -> dict:
        def ended() -> dict | None:
            with suppress(OSError):  # the center may be dead for a while
                now = self.task(task)
                return now if now["state"] in FINAL else None
            return None

        # Each look is a new connection with TLS, which would take the guest's CPU.
        return wait_until(ended, timeout_s, f"task {task} to end", every_s=0.2)

    def move(self, name: str, to: str, timeout_s: float = 60, **request) -> dict:
        """A motion, whatever it comes to: the task."""
        return self.await_task(self.migrate(name, to, **request), timeout_s)

    def describe(self) -> str:
        """What center and hosts say, for whoever reads of a failed test."""
        texts = []
        with suppress(OSError, LabError):
            texts += [json.dumps(task) for task in self.call("GET", "/v1/tasks?limit=3")["tasks"]]
            texts += [json.dumps(vm) for vm in self.call("GET", "/v1/vms")["vms"]]
        for daemon in (self.center, *self.agents.values()):
            with suppress(OSError):
                texts.append(f"--- {daemon.name}\n{daemon.last_words()}")
        for host in self.lab.hosts:
            for log in sorted((host.runtime_dir / "vms").glob("*/supervisor.log")):
                with suppress(OSError):
                    lines = log.read_text(errors="replace").splitlines()[-10:]
                    texts.append("\n".join([f"--- {log.parent.name} on {host.name}", *lines]))
        return "\n".join(texts)

    # -- the end

    def _remove_vms(self) -> None:
        for host in self.lab.hosts:
            for entry in sorted((host.runtime_dir / "vms").glob("*")):
                with suppress(LabError, OSError):
                    Vm(host, entry.name).remove()

    def close(self) -> None:
        self.center.stop()
        for agent in self.agents.values():
            agent.stop()
        self._remove_vms()
