# SPDX-License-Identifier: LGPL-2.1-or-later
"""A godwit-center of its own on 127.0.0.1, and a client whose answers are all held to docs/openapi.yaml."""

import http.client
import json
import os
import socket
import ssl
import subprocess
import time
from pathlib import Path

from labkit.vm import BUILD, wait_until
from openapi import OpenApi

CENTER = BUILD / "src/center/godwit-center"
API = OpenApi()


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def code(self):
        return self.body["error"]["code"]

    @property
    def message(self):
        return self.body["error"]["message"]


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("center", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Center:
    """Started with start(); ended with stop() or kill()."""

    running = set()

    def __init__(self, directory: Path, **keys):
        self.data = directory / "data"
        self.socket = directory / "center.sock"
        self.config = directory / "center.conf"
        self.log = directory / "center.log"
        self.port = free_port()
        values = {
            "listen": "127.0.0.1", "port": self.port, "names": "center.test;localhost;", "addresses": "127.0.0.1;",
            "data-dir": self.data, "socket": self.socket, "log-level": "debug", **keys,
        }  # fmt: skip
        self.config.write_text("[center]\n" + "".join(f"{key}={value}\n" for key, value in values.items()))
        self.process = None
        self.password = None
        self.context = None
        self.seen = set()  # (method, documented path, status) of every answer

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [CENTER, "run", "--config", self.config, "--show-password"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        Center.running.add(self)
        self.wait_ready()
        if self.password is None:
            os.set_blocking(self.process.stdout.fileno(), False)
            words = (self.process.stdout.read() or b"").decode().split()
            self.password = next(word for word in words if len(word) == 20 and word.isalnum())

    def wait_ready(self):
        wait_until(self._answers, 20, "the center to answer")
        about = self.call("GET", "/v1/about", local=True).body
        self.context = ssl.create_default_context(cadata=about["ca"])

    def _answers(self):
        assert self.process.poll() is None, f"the center ended at its start: {self.log.read_text()[-2000:]}"
        try:
            self.call("GET", "/v1/about", local=True)
            return True
        except OSError:
            return False

    def stop(self):
        """Ends it as a service manager would, and says how long that took."""
        began = time.monotonic()
        self.process.terminate()
        assert self.process.wait(20) == 0, self.log.read_text()[-2000:]
        took = time.monotonic() - began
        self._forget()
        return took

    def _forget(self):
        self.process.stdout.close()
        Center.running.discard(self)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._forget()

    def connection(self, context=None):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context or self.context)

    def call(self, method, target, body=None, token=None, local=False, headers=None, raw=None):
        """The answer, which is as documented."""
        connection = _UnixConnection(self.socket) if local else self.connection()
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = raw if raw is not None else (json.dumps(body).encode() if body is not None else None)
        try:
            connection.request(method, target, data, sent)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.getheader("Content-Type", "").startswith("application/json"):
            content = json.loads(content)
            API.check_answer(method, target, response.status, content)
        found = API.find(method, target)
        if found:
            self.seen.add((method, found[0], response.status))
        return Answer(response.status, response.headers, content)

    def login(self, user="admin", password=None):
        answer = self.call("POST", "/v1/login", {"user": user, "password": password or self.password})
        assert answer.status == 200, answer.body
        return answer.body["token"]

    def audit(self, limit=50):
        """Newest first."""
        return self.call("GET", f"/v1/audit?limit={limit}", local=True).body["audit"]
