# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a cluster with real agents refuses: each time with a clear error, with nothing changed, and others served.

What the center's API refuses by itself is in test_openapi.py."""

import json
import os
import resource
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from contextlib import ExitStack, suppress

import pytest
from host_rig import _UnixConnection as UnixConnection
from labkit import netns, tiny, tls
from labkit.cluster import CENTER_PORT, FINAL, HOST_PORT, CliError
from labkit.vm import wait_until

PASSWORD = "correct horse battery"
SERVED_S = 3
NOT_PERMITTED, UNREACHABLE = 3, 8


@pytest.fixture(scope="module")
def guest(cluster):
    """A VM on host1 that writes memory."""
    vm = cluster.create(tiny.document("web1", "tcg", memory="ws=16M,rate=5M"))
    vm.wait_ready()
    return vm


def everything(cluster):
    """What a refusal must leave as it was."""
    get = lambda target: cluster.call("GET", target)  # noqa: E731
    return {
        "vms": [(vm["name"], vm["host"], vm["state"]) for vm in get("/v1/vms")["vms"]],
        "hosts": [(h["name"], h["address"], h["port"], h["state"]) for h in get("/v1/hosts")["hosts"]],
        "users": [(user["name"], user["role"]) for user in get("/v1/users")["users"]],
        "tasks": sorted(task["id"] for task in get("/v1/tasks")["tasks"]),
        "shared": sorted(os.listdir(cluster.shared)),
        "directories": {h.name: sorted(os.listdir(h.runtime_dir / "vms")) for h in cluster.lab.hosts},
        "keys": {name: tls_files(agent) for name, agent in cluster.agents.items()},
    }


def tls_files(agent):
    return {file.name: file.read_bytes() for file in sorted((agent.directory / "tls").iterdir())}


@pytest.fixture
def unchanged(cluster, guest):
    """Around a test: everything is as before, and served in time."""
    before = everything(cluster)
    newest = cluster.call("GET", "/v1/audit?limit=1")["audit"][0]["id"]

    def refused():
        """Audit records of the test that are refusals, oldest first, as (user, action, object, result)."""
        records = cluster.call("GET", "/v1/audit?limit=500")["audit"]
        records = [r for r in reversed(records) if r["id"] > newest and r["result"] != "done"]
        return [(r["user"], r["action"], r["object"], r["result"]) for r in records]

    yield refused
    began = time.monotonic()
    assert everything(cluster) == before
    assert time.monotonic() - began < SERVED_S


def add_user(cluster, name, role):
    cluster.call("POST", "/v1/users", {"name": name, "role": role, "password": PASSWORD})
    return cluster.call("POST", "/v1/login", {"user": name, "password": PASSWORD})["token"]


def refusal(cluster, *request, **options):
    status, data = cluster.request(*request, **options)
    assert status >= 400, data
    return status, json.loads(data)["error"]


def secret_file(directory, text):
    path = directory / "secret"
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def token(cluster, *words):
    return json.loads(cluster.godwit("host", "add-token", "--json", *words).stdout)["token"]


def join(cluster, host, secret, directory, url=None):
    path = secret_file(directory, secret)
    return cluster.agents[host].command_line("join", url or cluster.center.url, "--token-file", path, "--again", check=False)


# -- People


def test_a_wrong_password(cluster, unchanged, tmp_path):
    words = ("--user", "admin", "--password-file", secret_file(tmp_path, "a guess\n"), "--ca", cluster.center.authority)
    with pytest.raises(CliError) as refused:
        cluster.godwit("login", cluster.center.url, *words)
    assert refused.value.status == NOT_PERMITTED and "wrong name or password" in refused.value.stderr
    assert cluster.godwit("vm", "ls").stdout  # the session that there was is still good
    assert unchanged() == [("admin", "session.login", "user/admin", "not-authenticated")]


def test_who_may_only_read_does_not_migrate(cluster, guest, tmp_path):
    bob = add_user(cluster, "bob", "read-only")
    before = everything(cluster)
    status, error = refusal(cluster, "POST", "/v1/vms/web1/migrate", {"to": "host2"}, token=bob)
    assert (status, error["code"]) == (403, "not-permitted")
    assert "bob" in error["message"] and "operator" in error["message"]
    assert len(cluster.call("GET", "/v1/vms", token=bob)["vms"]) == 1
    assert everything(cluster) == before and guest.state() == "running"
    record = cluster.call("GET", "/v1/audit?limit=1")["audit"][0]
    assert (record["user"], record["action"], record["object"], record["result"]) == (
        "bob", "vm.migrate", "vm/web1", "not-permitted")  # fmt: skip


def test_a_user_who_is_removed_is_out_at_once(cluster, guest):
    olga = add_user(cluster, "olga", "operator")
    cluster.call("DELETE", "/v1/users/olga")
    before = everything(cluster)
    for call in (("GET", "/v1/vms"), ("POST", "/v1/vms/web1/power", {"action": "stop"})):
        assert refusal(cluster, *call, token=olga)[1]["code"] == "not-authenticated"
    assert everything(cluster) == before and guest.state() == "running"


def test_a_center_that_is_down_and_what_has_expired_meanwhile(cluster, guest, tmp_path):
    """Session and join token end while the center does not run; the guest notices nothing of it."""
    eve = add_user(cluster, "eve", "operator")
    late = token(cluster)
    before = everything(cluster)
    cluster.center.stop()
    try:
        done = join(cluster, "host2", late, tmp_path)
        assert done.returncode == 1 and f"{cluster.center.address}:{CENTER_PORT}" in done.stderr
        assert "refused" in done.stderr.lower() and late not in done.stderr
        with pytest.raises(CliError) as unreached:
            cluster.godwit("vm", "ls")
        assert unreached.value.status == UNREACHABLE
        with sqlite3.connect(cluster.center.data / "center.db") as database:
            database.execute("UPDATE sessions SET expires_us = 1 WHERE user_name = 'eve'")
            database.execute("UPDATE join_tokens SET expires_us = 1 WHERE used_us IS NULL")
    finally:
        cluster.center.start()
    cluster.await_hosts()
    status, error = refusal(cluster, "POST", "/v1/vms/web1/power", {"action": "stop"}, token=eve)
    assert (status, error["code"]) == (401, "not-authenticated") and "log in" in error["message"]
    done = join(cluster, "host2", late, tmp_path)
    assert done.returncode == 1 and "expired" in done.stderr
    assert everything(cluster) == before and guest.state() == "running"


# -- Hosts that join


def test_tokens_that_are_used_or_for_another(cluster, unchanged, tmp_path):
    other = token(cluster, "--host", "host1")
    done = join(cluster, "host2", other, tmp_path)
    assert done.returncode == 1 and "host1" in done.stderr
    any_host = token(cluster)
    done = join(cluster, "host2", any_host, tmp_path)  # host2 is there: it takes a token for it
    assert done.returncode == 1 and "--host host2" in done.stderr
    assert [(action, what) for _, action, what, _ in unchanged()] == [("host.join", "host/host2")] * 2


def test_a_token_counts_once(cluster, guest, tmp_path):
    once = token(cluster, "--host", "host2")
    assert join(cluster, "host2", once, tmp_path).returncode == 0
    wait_until(lambda: cluster.call("GET", "/v1/hosts/host2")["state"] == "up", 20, "host2 with its new certificate")
    before = everything(cluster)
    done = join(cluster, "host2", once, tmp_path)
    assert done.returncode == 1 and "used already" in done.stderr
    assert everything(cluster) == before


def test_the_secret_is_sent_to_the_center_of_the_fingerprint_alone(cluster, unchanged, tmp_path):
    impostor = tls.make(tmp_path, ["center"])["center"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(impostor / "cert.pem", impostor / "key.pem")
    heard = []
    with netns.entered(cluster.lab.client.netns):
        server = socket.create_server((cluster.center.address, 0))

    def serve():
        server.settimeout(20)
        plain, _ = server.accept()
        plain.settimeout(10)
        with plain, suppress(OSError):
            with context.wrap_socket(plain, server_side=True) as connection:
                heard.append("handshake")
                while data := connection.recv(65536):
                    heard.append(data)

    thread = threading.Thread(target=serve)
    with server:
        thread.start()
        secret = token(cluster, "--host", "host2")
        url = f"https://{cluster.center.address}:{server.getsockname()[1]}"
        done = join(cluster, "host2", secret, tmp_path, url)
        thread.join()
    assert done.returncode == 1 and "not trusted" in done.stderr and secret.partition(".")[0] not in done.stderr
    assert [data for data in heard if data != "handshake"] == []


# -- Certificates of others


def test_an_agent_of_another_authority(cluster, guest, tmp_path):
    """The center does not take it for host2; the host is there again when its agent has its own certificate."""
    agent = cluster.agents["host2"]
    before = everything(cluster)
    foreign = tls.make_impostor(cluster.directory / "lab-tls", "host2")
    (foreign / "ca.pem").write_bytes(cluster.center.authority.read_bytes())
    own = agent.sections["host"]["tls-dir"]

    def restart(directory):
        agent.stop()
        agent.sections["host"]["tls-dir"] = directory
        agent.write()
        agent.start()

    restart(str(foreign))
    try:
        host = wait_until(lambda: not_up(cluster, "host2"), 20, "host2 to be refused for its certificate")
        assert host["state"] == "unreachable"
        task = cluster.move("web1", "host2")
        assert (task["state"], task["step"]) == ("failed", "check") and "certificate" in task["error"]["message"]
        assert cluster.home("web1") == "host1" and guest.state() == "running"
    finally:
        restart(own)
    cluster.await_hosts()
    assert everything(cluster) == {**before, "tasks": sorted([*before["tasks"], task["id"]])}


def not_up(cluster, name):
    host = cluster.call("GET", f"/v1/hosts/{name}")
    return host if host["state"] != "up" and "certificate" in json.dumps(host) else None


def ask_agent(cluster, host, context, request=b"GET /v1/vms HTTP/1.1\r\nHost: x\r\n\r\n"):
    """The beginning of what an agent answers on its TLS port."""
    with netns.entered(cluster.lab.client.netns):
        plain = socket.create_connection((cluster.lab.host(host).address("mgmt"), HOST_PORT), timeout=10)
    with plain, context.wrap_socket(plain, server_hostname=host) as connection:
        connection.sendall(request)
        return connection.recv(4096)


def foreign_center(directory):
    """Role and name are right, the authority is not."""
    subprocess.run(
        ["openssl", "req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
         "-subj", "/CN=center/OU=center", "-keyout", directory / "key.pem", "-out", directory / "cert.pem"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return directory


def test_an_agent_obeys_its_center_alone(cluster, unchanged, tmp_path):
    order = b'{"action":"stop"}'
    stop = b"POST /v1/vms/web1/power HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(order), order)
    for directory in (foreign_center(tmp_path), None):
        context = ssl.create_default_context(cafile=cluster.center.authority)
        if directory:
            context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
        try:
            answer = ask_agent(cluster, "host1", context, stop)
        except OSError:
            answer = b""
        assert answer == b""
    context = ssl.create_default_context(cafile=cluster.center.authority)
    other = cluster.agents["host2"].directory / "tls"
    context.load_cert_chain(other / "cert.pem", other / "key.pem")
    assert b" 403 " in ask_agent(cluster, "host1", context, stop).split(b"\r\n")[0]


# -- Paths that climb


def test_a_path_that_climbs_out_of_a_datastore(cluster, unchanged):
    outside = cluster.directory / "outside.raw"
    outside.write_bytes(b"x" * 4096)
    disk = {"datastore": "ds", "path": "../outside.raw", "format": "raw"}
    document = tiny.document("climber", "tcg", disks=[disk])
    status, error = refusal(cluster, "POST", "/v1/vms", {"config": document, "host": "host1", "start": True})
    assert (status, error["code"]) == (422, "invalid-config") and "outside.raw" in error["message"]
    assert unchanged() == [("admin", "vm.create", "vm/climber", "invalid-config")]
    assert outside.read_bytes() == b"x" * 4096


def test_a_link_that_leads_out_of_a_datastore(cluster, guest):
    outside = cluster.directory / "outside.raw"
    outside.write_bytes(b"x" * 4096)
    link = cluster.shared / "link.raw"
    link.symlink_to(outside)
    before = everything(cluster)
    document = tiny.document("climber", "tcg", disks=[{"datastore": "ds", "path": "link.raw", "format": "raw"}])
    cluster.call("POST", "/v1/vms", {"config": document, "host": "host1"})
    try:
        _, error = refusal(cluster, "POST", "/v1/vms/climber/power", {"action": "start"})
        assert "link.raw" in error["message"], error
        assert not cluster.vm("climber", "host1").directory.exists()
    finally:
        cluster.call("DELETE", "/v1/vms/climber")
    assert everything(cluster) == before and outside.read_bytes() == b"x" * 4096


def agent_request(cluster, host, method, target, body=None, headers=None):
    """As root on the host, past the center: status and answer."""
    connection = UnixConnection(cluster.lab.host(host).runtime_dir / "host.sock", 30)
    try:
        connection.request(method, target, body, headers or {})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


@pytest.mark.parametrize("name", ["..%2fsentinel", "..%2F..%2Fsentinel", "%2e%2e%2fsentinel", "..", "web1%00", "web1%2f.."])
def test_a_name_that_climbs(cluster, unchanged, name):
    sentinel = cluster.lab.host("host1").runtime_dir / "sentinel"
    sentinel.mkdir(exist_ok=True)
    (sentinel / "config.json").write_text("{}")
    for method, rest, body in (("GET", "", None), ("DELETE", "", None), ("POST", "/power", b'{"action":"stop"}')):
        assert 400 <= cluster.request(method, f"/v1/vms/{name}{rest}", body)[0] < 500
        assert 400 <= agent_request(cluster, "host1", method, f"/v1/vms/{name}{rest}", body)[0] < 500
    assert (sentinel / "config.json").read_text() == "{}"
    (sentinel / "config.json").unlink()
    sentinel.rmdir()


# -- Too much


def test_a_body_of_100_mb_for_an_agent(cluster, unchanged):
    """Refused unread, while others are served."""
    connection = UnixConnection(cluster.lab.host("host1").runtime_dir / "host.sock", 30)
    connection.putrequest("POST", "/v1/vms")
    connection.putheader("Content-Length", str(100 << 20))
    connection.endheaders()
    with suppress(OSError):  # the agent may close instead of reading it all
        for n_sent in range(100):
            connection.send(b" " * (1 << 20))
            assert n_sent != 50 or agent_request(cluster, "host1", "GET", "/v1/vms")[0] == 200
    reply = connection.getresponse()
    assert reply.status == 413 and json.loads(reply.read())["error"]["code"] == "invalid-argument"
    connection.close()


@pytest.fixture
def many_files():
    """Two thousand connections need as many descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_idle_connections_and_a_motion(cluster, guest, many_files):
    """A thousand to the center and as many to the agent at the source, while the guest moves: it arrives, and people are
    served."""
    center, agent = (cluster.center.address, CENTER_PORT), (cluster.lab.host("host1").address("mgmt"), HOST_PORT)
    slowest_s = 0.0
    with ExitStack() as idle:
        with netns.entered(cluster.lab.client.netns):
            for _ in range(1000):
                for where in (center, agent):
                    idle.enter_context(socket.create_connection(where, timeout=10))
        task = cluster.migrate("web1", "host2")
        now = {"state": "queued"}
        while now["state"] not in FINAL:
            began = time.monotonic()
            now = cluster.task(task)
            slowest_s = max(slowest_s, time.monotonic() - began)
        assert now["state"] == "completed", now
    assert slowest_s < SERVED_S
    assert cluster.home("web1") == "host2" and cluster.vm("web1", "host2").state() == "running"
    assert tiny.wrong_lines(cluster.vm("web1", "host2")) == []
    wait_until(lambda: not guest.directory.exists(), 10, "the source to be clean")
