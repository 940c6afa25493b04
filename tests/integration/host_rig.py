# SPDX-License-Identifier: LGPL-2.1-or-later
"""godwit-host on a host of the lab, and a client of it on its Unix socket."""

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

from labkit.errors import LabError
from labkit.vm import BRIDGE, BUILD, IMAGE_DIR, PORT_GROUP, QEMU, ApiError, wait_until

GODWIT_HOST = BUILD / "src/host/godwit-host"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout_s):
        super().__init__("host", timeout=timeout_s)
        self.path = path

    def connect(self):
        directory = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{directory}/{self.path.name}")
        finally:
            os.close(directory)


class Agent:
    """Started with start(); ended with stop() or kill(), and VMs run on."""

    def __init__(self, host, directory: Path, tls_dir: Path | None = None, port: int = 7441):
        self.host = host
        self.directory = directory
        self.config = directory / f"{host.name}.conf"
        self.log = directory / f"{host.name}.log"
        self.socket = host.runtime_dir / "host.sock"
        self.tls_dir = tls_dir or directory / f"{host.name}-tls"
        self.port = port
        self.process = None
        self.write_config()

    def write_config(self, listen=None, more=""):
        self.config.write_text(f"""
[host]
name={self.host.name}
listen={listen or self.host.address("mgmt")}
port={self.port}
runtime-dir={self.host.runtime_dir}
tls-dir={self.tls_dir}
qemu={QEMU}
vm-program={BUILD / "src/vm/godwit-vm"}
uffd-library={BUILD / "src/vmm/godwit-uffd-handover.so"}
[switch guests]
bridge={BRIDGE}
create=no
[port-group {PORT_GROUP}]
switch=guests
[motion]
interfaces=motion0;
[datastore image]
path={IMAGE_DIR}
[datastore ds]
path={self.directory}
{more}
""")

    def command(self, name, *options, **kwargs):
        """Another command of godwit-host, with the same configuration."""
        words = [GODWIT_HOST, name, "--config", self.config, *options]
        return self.host.run(words, capture_output=True, text=True, check=False, **kwargs)

    def start(self, **env):
        with open(self.log, "a") as log:
            self.process = self.host.popen(
                [GODWIT_HOST, "run", "--config", self.config],
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, 20, f"the agent of {self.host.name} (see {self.log})")
        return self

    def _answers(self):
        if self.process.poll() is not None:
            raise LabError(f"godwit-host: exit status {self.process.returncode}: {self.log.read_text()}")
        try:
            return self.call("GET", "/v1/vms")
        except OSError:
            return None

    def request(self, method, path, body=None, raw=None, timeout_s=120):
        connection = _UnixConnection(self.socket, timeout_s)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else raw)
            reply = connection.getresponse()
            data = reply.read()
        finally:
            connection.close()
        if reply.status >= 300:
            error = json.loads(data)["error"]
            raise ApiError(reply.status, error["code"], error["message"])
        return data

    def call(self, method, path, body=None):
        return json.loads(self.request(method, path, body))

    def vms(self):
        return {vm["name"]: vm for vm in self.call("GET", "/v1/vms")["vms"]}

    def start_vm(self, document, mode="start"):
        return self.call("POST", "/v1/vms", {"config": document, "mode": mode})

    def wait_vm(self, name, what, condition, timeout_s=30):
        """Until the VM is there as the condition wants it; what it is like then."""

        def look():
            vm = self.vms().get(name)
            return vm if vm and condition(vm) else None

        return wait_until(look, timeout_s, f"{name} to be {what}")

    def remove_vm(self, name):
        try:
            self.call("POST", f"/v1/vms/{name}/power", {"action": "stop"})
        except ApiError as error:
            if error.code not in ("wrong-state", "not-found"):
                raise
        self.call("DELETE", f"/v1/vms/{name}")

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def close(self):
        """Ends all that there is, whatever became of the test."""
        if self.process is None:
            return
        if self.process.poll() is not None:
            self.start()
        for name in self.vms():
            self.remove_vm(name)
        self.stop()


class Events:
    """Listens to an agent's stream from now on."""

    def __init__(self, agent):
        self.seen = []
        self._changed = threading.Condition()
        self._connection = _UnixConnection(agent.socket, None)
        self._connection.request("GET", "/v1/events")
        self._socket = self._connection.sock  # which the connection lets go of, as the answer has no length
        self._reply = self._connection.getresponse()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.wait(lambda event: event["type"] == "host.hello")

    def _read(self):
        try:
            for line in self._reply:
                if line.startswith(b"data: "):
                    with self._changed:
                        self.seen.append(json.loads(line[6:]))
                        self._changed.notify_all()
        except (OSError, ValueError, http.client.HTTPException):
            pass  # the agent has ended, or we have

    def wait(self, is_it, timeout_s=30):
        """The first event, also of the past, for which it is true."""
        at = 0
        with self._changed:

            def find():
                nonlocal at
                while at < len(self.seen):
                    if is_it(self.seen[at]):
                        return self.seen[at]
                    at += 1
                return None

            found = self._changed.wait_for(find, timeout_s)
        if not found:
            raise LabError(f"no such event within {timeout_s} s; seen: {[event['type'] for event in self.seen]}")
        return found

    def types_of(self, vm):
        with self._changed:
            return [event["type"] for event in self.seen if event.get("vm") == vm]

    def close(self):
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=10)
        self._reply.close()
        self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
