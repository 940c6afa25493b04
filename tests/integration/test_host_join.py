# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host joins a real center: with a token that counts once, a key that stays, and an agent that listens from then
on, to that center alone."""

import os
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from center_rig import Center, free_port
from host_rig import Agent
from labkit.vm import wait_until


class ThisMachine:
    """In place of a host of the lab."""

    name = "host1"

    def __init__(self, runtime_dir: Path):
        self.runtime_dir = runtime_dir

    def address(self, _):
        return "127.0.0.1"

    def run(self, words, **kwargs):
        return subprocess.run(list(map(str, words)), **kwargs)

    def popen(self, words, **kwargs):
        return subprocess.Popen(list(map(str, words)), **kwargs)


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    up = Center(tmp_path_factory.mktemp("center"))
    up.start()
    yield up
    up.stop()


@pytest.fixture
def agent(tmp_path):
    runtime_dir = tmp_path / "run"
    runtime_dir.mkdir()
    up = Agent(ThisMachine(runtime_dir), tmp_path, port=free_port())
    yield up
    up.close()


def new_token(center, **members):
    answer = center.call("POST", "/v1/hosts/tokens", members, local=True)
    assert answer.status in (200, 201), answer.body
    return answer.body["token"]


def join(agent, center, token, *options):
    return agent.command("join", f"https://127.0.0.1:{center.port}", "--token-file", "-", *options, input=token)


def is_open(agent):
    try:
        with socket.create_connection(("127.0.0.1", agent.port), 5):
            return True
    except OSError:
        return False


def test_joins(center, agent):
    agent.start()
    assert not is_open(agent)
    assert "center   none" in agent.command("status").stdout
    token = new_token(center)
    done = join(agent, center, token)
    assert done.returncode == 0, done.stderr
    assert "joined" in done.stdout
    wait_until(lambda: is_open(agent), 10, "the agent to listen")
    assert (agent.tls_dir / "key.pem").stat().st_mode & 0o777 == 0o600
    assert "joined as host1" in agent.command("status").stdout
    assert token not in agent.log.read_text() + center.log.read_text()

    # Whoever is not the center is not even heard: neither without a certificate nor as a host.
    context = ssl.create_default_context(cafile=agent.tls_dir / "ca.pem")
    with pytest.raises(OSError):  # noqa: PT011 - the handshake breaks in one of many ways
        say(agent, context)
    context.load_cert_chain(agent.tls_dir / "cert.pem", agent.tls_dir / "key.pem")
    assert b" 403 " in say(agent, context)

    again = join(agent, center, new_token(center))
    assert again.returncode == 1
    assert "--again" in again.stderr
    used = join(agent, center, token, "--again")
    assert used.returncode == 1
    key = (agent.tls_dir / "key.pem").read_bytes()
    done = join(agent, center, new_token(center, host="host1"), "--again")
    assert done.returncode == 0, done.stderr
    assert (agent.tls_dir / "key.pem").read_bytes() != key
    assert b" 403 " in say(agent, context)


def say(agent, context):
    """The beginning of the answer to GET /v1/vms."""
    with (
        socket.create_connection(("127.0.0.1", agent.port), 10) as plain,
        context.wrap_socket(plain, server_hostname="host1") as connection,
    ):
        connection.sendall(b"GET /v1/vms HTTP/1.1\r\nHost: host1\r\n\r\n")
        answer = connection.recv(4096)
        if not answer:
            raise OSError("closed")
        return answer


def test_without_an_agent(center, agent):
    done = join(agent, center, new_token(center), "--name", "host7", "--address", "127.0.0.7")
    assert done.returncode == 0, done.stderr
    assert "host7" in done.stdout
    assert "does not run" in done.stdout
    assert "host1" in done.stderr  # as its configuration calls it: another name
    hosts = {host["name"]: host for host in center.call("GET", "/v1/hosts", local=True).body["hosts"]}
    assert (hosts["host7"]["address"], hosts["host7"]["port"]) == ("127.0.0.7", agent.port)


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"), "not trusted"),
        (lambda token: "x" + token, "token"),
        (lambda token: token.partition(".")[0], "SECRET.FINGERPRINT"),
    ],
)
def test_a_token_that_is_none(center, agent, spoil, part):
    done = join(agent, center, spoil(new_token(center)))
    assert done.returncode in (1, 2)
    assert part in done.stderr
    assert not agent.tls_dir.exists() or os.listdir(agent.tls_dir) == []
