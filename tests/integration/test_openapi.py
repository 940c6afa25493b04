# SPDX-License-Identifier: LGPL-2.1-or-later
"""The center's API is what docs/openapi.yaml says, and refuses what it must, with a clear error and nothing changed."""

import json
import os
import socket
import sqlite3
import ssl
import stat
import subprocess
import time

import pytest
from center_rig import API, CENTER, Center
from openapi import Mismatch

UUID = "7d3a4f0e-52c1-4b7e-9a60-1f2e3d4c5b6a"
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def center(tmp_path_factory):
    center = Center(tmp_path_factory.mktemp("center"))
    center.start()
    yield center
    center.stop()


@pytest.fixture(autouse=True)
def nothing_left():
    """A center that a test started and did not come to end."""
    before = set(Center.running)
    yield
    for center in Center.running - before:
        center.kill()


@pytest.fixture(scope="module")
def admin(center):
    return center.login()


@pytest.fixture(scope="module")
def reader(center, admin):
    body = {"name": "bob", "role": "read-only", "password": PASSWORD, "reason": "he looks"}
    assert center.call("POST", "/v1/users", body, admin).status == 201
    return center.login("bob", PASSWORD)


@pytest.fixture(scope="module")
def operator(center, admin):
    body = {"name": "olga", "role": "operator", "password": PASSWORD}
    assert center.call("POST", "/v1/users", body, admin).status == 201
    return center.login("olga", PASSWORD)


def request_pem(directory, name="host1"):
    done = subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
         "-keyout", directory / "key.pem", "-subj", f"/CN={name}"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    return done.stdout


def join_token(center, **body):
    answer = center.call("POST", "/v1/hosts/tokens", body, local=True)
    assert answer.status == 200, answer.body
    return answer.body["token"]


def join(center, directory, token, name="host1", address="127.0.0.1", port=1, **more):
    body = {"token": token, "name": name, "address": address, "port": port, "request": request_pem(directory), **more}
    return center.call("POST", "/v1/join", body)


@pytest.fixture(scope="module")
def host(center, tmp_path_factory):
    """A host that has joined, and whose agent does not answer."""
    answer = join(center, tmp_path_factory.mktemp("host1"), join_token(center))
    assert answer.status == 200, answer.body
    return "host1"


def routes():
    done = subprocess.run([CENTER, "routes"], capture_output=True, text=True, timeout=30, check=True)
    return [line.split() for line in done.stdout.splitlines()]


# -- The document and the server


def test_every_route_is_documented_and_every_documented_one_exists():
    documented = {}
    for method, path, operation in API.operations():
        documented[method, path] = (operation["x-role"].replace("none", "open"), operation.get("x-audit", "-"))
    assert {(method, path): (role, action) for method, path, role, action in routes()} == documented


def test_the_documents_own_rules():
    for method, path, operation in API.operations():
        where = f"{method} {path}"
        assert operation["summary"], where
        assert API.resolve(operation["responses"]["default"])["content"]["application/json"], where
        assert (operation.get("security") == []) == (operation["x-role"] == "none"), where
        item = API.document["paths"][path]
        parameters = [API.resolve(p) for p in item.get("parameters", []) + operation.get("parameters", [])]
        in_path = {p["name"] for p in parameters if p["in"] == "path"}
        assert in_path == {part[1:-1] for part in path.split("/") if part.startswith("{")}, where
        if operation.get("x-audit") and "requestBody" in operation:
            content = API.resolve(operation["requestBody"])["content"]
            schema = API.resolve(content.get("application/json", {}).get("schema", {}))
            assert not schema or "reason" in schema["properties"], where


def test_the_judge_judges():
    good = {"name": "c", "version": "1", "fingerprint": "0" * 64, "ca": "x"}
    API.check_answer("GET", "/v1/about", 200, good)
    for bad in (
        {**good, "more": 1}, {**good, "fingerprint": "xyz"}, {**good, "name": None}, {**good, "name": 3},
        {key: good[key] for key in ("name", "version", "ca")},
    ):  # fmt: skip
        with pytest.raises(Mismatch):
            API.check_answer("GET", "/v1/about", 200, bad)
    with pytest.raises(Mismatch):
        API.check_answer("GET", "/v1/about", 201, good)
    with pytest.raises(Mismatch):
        API.check_answer("GET", "/v1/nothing", 200, good)
    with pytest.raises(Mismatch):
        API.check_answer("GET", "/v1/about", 404, {"error": {"code": "quux", "message": ""}})


def test_nobody_gets_past_without_a_token(center):
    """Each call that needs one: 401, and the body is not even looked at."""
    for method, pattern, access, _ in routes():
        target = pattern.replace("{port}", "0").replace("{", "").replace("}", "")
        answer = center.call(method, target, raw=b"{" if method == "POST" else None)
        if access == "open":
            assert answer.status == (200 if method == "GET" else 400), target
        else:
            assert (answer.status, answer.code) == (401, "not-authenticated"), target
            assert answer.headers["WWW-Authenticate"].startswith("Bearer"), target


def test_roles_are_kept(center, reader, operator, admin):
    """Each call with each role below the one that it needs: 403, which names user, role and what is needed."""
    ranks = ["read-only", "operator", "administrator"]
    tokens = {"read-only": ("bob", reader), "operator": ("olga", operator)}
    for method, pattern, access, action in routes():
        target = pattern.replace("{port}", "0").replace("{", "").replace("}", "")
        for role, (name, token) in tokens.items():
            if access == "open" or ranks.index(role) >= ranks.index(access):
                continue
            answer = center.call(method, target, {} if method == "POST" else None, token)
            assert (answer.status, answer.code) == (403, "not-permitted"), target
            assert answer.message == f"user '{name}' is {role}; '{action if action != '-' else f'{method} {pattern}'}' " \
                f"needs {access}"  # fmt: skip


def test_reads(center, reader, admin, host):
    assert center.call("GET", "/v1/about").body["name"] == "center.test"
    hosts = center.call("GET", "/v1/hosts", token=reader).body["hosts"]
    assert [h["name"] for h in hosts] == ["host1"]
    one = center.call("GET", "/v1/hosts/host1", token=reader).body
    assert (one["address"], one["port"], one["cluster"], one["in_maintenance"]) == ("127.0.0.1", 1, "default", False)
    assert one["state"] == "unreachable" and one["facts"] is None
    for target in ("/v1/networks", "/v1/datastores", "/v1/vms", "/v1/tasks", "/v1/tasks?open=1&vm=a&host=b&limit=5",
                   "/v1/tasks?state=queued"):  # fmt: skip
        answer = center.call("GET", target, token=reader)
        assert answer.status == 200 and list(answer.body.values()) == [[]], target
    assert {u["name"] for u in center.call("GET", "/v1/users", token=admin).body["users"]} >= {"admin", "bob"}
    events = center.call("GET", "/v1/events?history=1&limit=500", token=reader).body["events"]
    assert {"host.joined", "session.login"} <= {e["type"] for e in events}
    assert [e["id"] for e in events] == sorted(e["id"] for e in events)
    later = center.call("GET", f"/v1/events?history=1&after={events[-2]['id']}", token=reader).body["events"]
    assert later[0]["id"] == events[-1]["id"]


def test_what_is_not_there(center, admin, host):
    for method, target in (
        ("GET", "/v1/hosts/none"), ("DELETE", "/v1/hosts/none"), ("GET", "/v1/vms/none"), ("DELETE", "/v1/vms/none"),
        ("GET", "/v1/vms/none/config"), ("GET", "/v1/tasks/none"), ("DELETE", "/v1/tasks/none"),
        ("DELETE", "/v1/users/none"), ("GET", "/v1/vms/none/console/0"), ("GET", "/v1/vms/none/console/9"),
        ("GET", "/v2"), ("GET", "/"),
    ):  # fmt: skip
        answer = center.call(method, target, token=admin)
        assert (answer.status, answer.code) == (404, "not-found"), target
    for target, body in (
        ("/v1/vms/none/power", {"action": "start"}), ("/v1/vms/none/check", {"to": "host1"}),
        ("/v1/vms/none/migrate", {"to": "host1"}), ("/v1/vms/none/resolve", {"outcome": "run", "host": "host1"}),
        ("/v1/hosts/none/maintenance", {"enabled": True}), ("/v1/hosts/none/probe", {"to": "host1"}),
        ("/v1/users/none/role", {"role": "operator"}), ("/v1/users/none/password", {"password": PASSWORD}),
        ("/v1/tasks/none/client-gap", {"gap_ms": 1, "prober": "p"}),
    ):  # fmt: skip
        answer = center.call("POST", target, body, admin)
        assert (answer.status, answer.code) == (404, "not-found"), (target, answer.body)
    answer = center.call("DELETE", "/v1/about", token=admin)
    assert answer.status == 405 and "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("target", "body", "words"),
    [
        ("/v1/vms/a/migrate", {}, "to: missing"),
        ("/v1/vms/a/migrate", {"to": 7}, "to: got 7, expected a string"),
        ("/v1/vms/a/migrate", {"too": "host1"}, "unknown member 'too' (did you mean 'to'?)"),
        ("/v1/vms/a/migrate", {"to": "h", "priority": "urgent"}, 'priority: got "urgent", expected normal or high'),
        ("/v1/vms/a/migrate", {"to": "h", "streams": 9}, "streams: got 9, expected a whole number from 1 to 8"),
        ("/v1/vms/a/migrate", {"to": "h", "overrides": "x"}, "overrides: got"),
        ("/v1/vms/a/migrate", {"to": "h", "tls": "no"}, "tls: got"),
        ("/v1/vms/a/migrate", {"to": "h", "reason": "x" * 501}, "reason: expected"),
        ("/v1/vms/a/migrate", {"to": "h", "reason": 5}, "reason: expected"),
        ("/v1/vms/a/check", {}, "to: expected"),
        ("/v1/vms/a/check", {"to": "h", "all_hosts": True}, "to: expected"),
        ("/v1/vms/a/power", {"action": "explode"}, "action: got"),
        ("/v1/vms/a/resolve", {"outcome": "run"}, "host: missing"),
        ("/v1/vms/a/adopt", {}, "host: missing"),
        ("/v1/vms", {"host": "h"}, "config: missing"),
        ("/v1/vms", {"host": "h", "config": []}, "config: got []"),
        ("/v1/hosts/h/maintenance", {"enabled": "yes"}, "enabled: got"),
        ("/v1/hosts/h/probe", {"to": "h"}, "to: got 'h', expected another host"),
        ("/v1/hosts/tokens", {"valid_s": 0}, "valid_s: got 0"),
        ("/v1/hosts/tokens", {"host": "Not A Host"}, "host: got"),
        ("/v1/users", {"name": "x", "role": "god", "password": PASSWORD}, "role: got"),
        ("/v1/users", {"name": "../x", "role": "operator", "password": PASSWORD}, "../x"),
        ("/v1/users", {"name": "short", "role": "operator", "password": "x"}, "8"),
        ("/v1/tasks/t/client-gap", {"gap_ms": -1, "prober": "p"}, "gap_ms: got -1"),
        ("/v1/join", {"token": "t", "name": "A", "address": "1.2.3.4", "port": 1, "request": "x"}, "name: got 'A'"),
        ("/v1/join", {"token": "t", "name": "a", "address": "example.com", "port": 1, "request": "x"}, "address: got"),
        ("/v1/join", {"token": "t", "name": "a", "address": "1.2.3.4", "port": 0, "request": "x"}, "port: got 0"),
        ("/v1/join", {"token": "t", "name": "a", "address": "1.2.3.4", "port": 1, "request": "x"}, "request"),
        ("/v1/login", {"user": "admin"}, "password: missing"),
        ("/v1/logout", {"tokn": 1}, "unknown member"),
    ],
)
def test_wrong_members(center, admin, target, body, words):
    answer = center.call("POST", target, body, admin)
    assert (answer.status, answer.code) == (400, "invalid-argument"), answer.body
    assert words in answer.message


@pytest.mark.parametrize(
    "target",
    ["/v1/events?after=x", "/v1/events?after=-1", "/v1/events?history=1&limit=0", "/v1/events?history=2",
     "/v1/audit?limit=1001", "/v1/audit?before=x", "/v1/tasks?limit=0", "/v1/tasks?state=lost", "/v1/tasks?open=yes"],
)  # fmt: skip
def test_wrong_queries(center, admin, target):
    answer = center.call("GET", target, token=admin)
    assert (answer.status, answer.code) == (400, "invalid-argument"), answer.body


def vm_config(name="web1", uuid=UUID):
    return {
        "name": name, "uuid": uuid, "machine": "pc-q35-7.2", "vcpus": 2, "cpu_model": "qemu64", "memory_mib": 64,
        "disks": [{"datastore": "ds", "path": "web1.raw", "format": "raw"}],
        "nics": [{"port_group": "lan", "mac": "52:54:00:00:00:01"}],
    }  # fmt: skip


def test_a_vm_whose_host_does_not_answer(center, operator, reader, admin, host):
    made = center.call("POST", "/v1/vms", {"config": vm_config(), "host": "host1", "reason": "new"}, operator)
    assert made.status == 201, made.body
    assert (made.body["name"], made.body["host"], made.body["state"]) == ("web1", "host1", "unknown")
    assert center.audit()[0]["object"] == "vm/web1"
    assert [vm["name"] for vm in center.call("GET", "/v1/vms", token=reader).body["vms"]] == ["web1"]
    config = center.call("GET", "/v1/vms/web1/config", token=reader).body
    assert config["vcpus"] == 2 and config["accel"] == "auto"
    networks = center.call("GET", "/v1/networks", token=reader).body["networks"]
    assert networks == [{"name": "lan", "hosts": [], "vms": ["web1"]}]
    datastores = center.call("GET", "/v1/datastores", token=reader).body["datastores"]
    assert datastores == [{"name": "ds", "hosts": [], "shared": False, "vms": ["web1"]}]

    again = center.call("POST", "/v1/vms", {"config": vm_config(), "host": "host1"}, operator)
    assert (again.status, again.code) == (409, "exists")
    wrong = center.call("POST", "/v1/vms", {"config": {"name": "x"}, "host": "host1"}, operator)
    assert (wrong.status, wrong.code) == (422, "invalid-config")
    nowhere = center.call("POST", "/v1/vms", {"config": vm_config("web2"), "host": "host7"}, operator)
    assert (nowhere.status, nowhere.code) == (404, "not-found")

    for target, body in (
        ("power", {"action": "start"}), ("console/0", {}),
        ("resolve", {"outcome": "run", "host": "host1"}), ("adopt", {"host": "host1"}),
    ):  # fmt: skip
        answer = center.call("POST", f"/v1/vms/web1/{target}", body, admin)
        assert answer.status in (409, 502), (target, answer.body)
    check = center.call("POST", "/v1/vms/web1/check", {"to": "host1"}, reader).body["checks"][0]
    assert not check["possible"] and "motion.host.unreachable" in [each["id"] for each in check["findings"]], check
    assert center.call("GET", "/v1/vms/web1/console/0?follow=1", token=admin).code == "peer-lost"
    moved = center.call("POST", "/v1/vms/web1/migrate", {"to": "host1"}, operator)
    assert moved.status in (400, 409), moved.body
    assert center.call("GET", "/v1/tasks", token=reader).body == {"tasks": []}
    refused = center.call("DELETE", "/v1/hosts/host1", token=admin)
    assert (refused.status, refused.code) == (409, "wrong-state")
    # Nobody can say that it is off.
    assert center.call("DELETE", "/v1/vms/web1", token=operator).status in (409, 502)


# -- Users and sessions


def test_users(center, admin):
    body = {"name": "carol", "role": "operator", "password": PASSWORD}
    created = center.call("POST", "/v1/users", body, admin)
    assert created.status == 201 and created.body["role"] == "operator"
    assert center.call("POST", "/v1/users", body, admin).code == "exists"
    carol = center.login("carol", PASSWORD)
    assert center.call("POST", "/v1/users/carol/role", {"role": "read-only"}, admin).body["role"] == "read-only"
    # A session has the role that its user has now.
    answer = center.call("POST", "/v1/hosts/host1/maintenance", {"enabled": True}, carol)
    assert answer.code == "not-permitted"

    change = {"password": "another password", "old_password": "a wrong one"}
    assert center.call("POST", "/v1/users/carol/password", change, carol).code == "not-permitted"
    assert center.call("POST", "/v1/users/carol/password", {"password": "x" * 9}, carol).code == "invalid-argument"
    assert center.call("POST", "/v1/users/admin/password", {"password": "x" * 9}, carol).code == "not-permitted"
    change["old_password"] = PASSWORD
    assert center.call("POST", "/v1/users/carol/password", change, carol).status == 200
    assert center.call("GET", "/v1/hosts", token=carol).code == "not-authenticated"
    carol = center.login("carol", "another password")
    assert center.call("POST", "/v1/users/carol/password", {"password": PASSWORD}, admin).status == 200
    carol = center.login("carol", PASSWORD)
    assert center.call("DELETE", "/v1/users/carol", {"reason": "left"}, admin).status == 200
    assert center.call("GET", "/v1/hosts", token=carol).code == "not-authenticated"

    for call in (("DELETE", "/v1/users/admin"), ("POST", "/v1/users/admin/role", {"role": "operator"})):
        answer = center.call(*call, token=admin)
        assert answer.code == "wrong-state" and answer.status == 409


def test_wrong_password_and_what_an_attacker_learns(center):
    body = {"name": "dave", "role": "operator", "password": PASSWORD}
    center.call("POST", "/v1/users", body, local=True)
    wrong = center.call("POST", "/v1/login", {"user": "dave", "password": "guess"})
    nobody = center.call("POST", "/v1/login", {"user": "nobody", "password": "guess"})
    assert (wrong.status, wrong.code) == (401, "not-authenticated")
    assert wrong.body == nobody.body
    records = [r for r in center.audit() if r["action"] == "session.login" and r["result"] != "done"]
    assert [r["user"] for r in records[:2]] == ["nobody", "dave"]
    assert records[0]["address"] == "127.0.0.1" and records[0]["details"] is None
    assert records[0]["object"] == "user/nobody" and records[0]["result"] == "not-authenticated"


def test_guessing_is_stopped(tmp_path):
    center = Center(tmp_path)
    center.start()
    for _ in range(5):
        assert center.call("POST", "/v1/login", {"user": "admin", "password": "guess"}).status == 401
    answer = center.call("POST", "/v1/login", {"user": "admin", "password": center.password})
    assert (answer.status, answer.code) == (503, "busy") and "seconds" in answer.message
    center.stop()


def test_expired_token(center, reader):
    token = center.login("bob", PASSWORD)
    with sqlite3.connect(center.data / "center.db") as database:
        rows = database.execute("SELECT token_hash FROM sessions ORDER BY rowid DESC LIMIT 1").fetchall()
        database.execute("UPDATE sessions SET expires_us = 1 WHERE token_hash = ?", rows[0])
    answer = center.call("GET", "/v1/hosts", token=token)
    assert (answer.status, answer.code) == (401, "not-authenticated") and "expired" in answer.message
    assert center.call("GET", "/v1/hosts", token=reader).status == 200


@pytest.mark.parametrize("token", ["x", "gws_" + "A" * 43, "gws_" + "A" * 100000, "ä"])
def test_tokens_that_are_none(center, token):
    try:
        answer = center.call("GET", "/v1/hosts", headers={"Authorization": b"Bearer " + token.encode()})
    except OSError:
        assert len(token) > 10000  # more header than anybody needs: the connection is closed
        return
    assert answer.status in (401, 400, 431)


def test_logout(center, reader):
    token = center.login("bob", PASSWORD)
    assert center.call("POST", "/v1/logout", {}, token).status == 200
    assert center.call("POST", "/v1/logout", {}, token).code == "not-authenticated"
    assert center.call("GET", "/v1/hosts", token=reader).status == 200
    assert center.call("POST", "/v1/logout", local=True).status == 200


# -- Audit


def test_audit_says_who_what_why(center, operator, admin, host):
    call = ("POST", "/v1/hosts/host1/maintenance", {"enabled": True, "reason": "a new fan"})
    assert center.call(*call, token=operator).body["in_maintenance"] is True
    center.call("POST", "/v1/hosts/host1/maintenance", {"enabled": False}, admin)
    second, first = center.audit()[:2]
    assert (first["user"], first["address"], first["action"], first["object"]) == (
        "olga", "127.0.0.1", "host.maintenance", "host/host1")  # fmt: skip
    assert (first["details"], first["reason"], first["result"]) == ({"enabled": True}, "a new fan", "done")
    assert (second["user"], second["reason"], second["id"]) == ("admin", None, first["id"] + 1)
    center.call("POST", "/v1/hosts/host1/maintenance", {"enabled": False}, local=True)
    third = center.audit()[0]
    assert (third["user"], third["address"]) == ("root@local", "")
    older = center.call("GET", f"/v1/audit?before={third['id']}&limit=1", token=admin).body["audit"]
    assert older == [second]


def test_no_secret_is_in_audit_log_or_store(center, admin, tmp_path):
    secret = "s3cret-that-nobody-may-see"
    body = {"name": "eve", "role": "read-only", "password": secret}
    assert center.call("POST", "/v1/users", body, admin).status == 201
    token = center.login("eve", secret)
    join_secret = join_token(center)
    assert join(center, tmp_path, join_secret, name="host-e").status == 200
    assert center.call("DELETE", "/v1/hosts/host-e", token=admin).status == 200
    change = {"password": secret + "2", "old_password": secret}
    assert center.call("POST", "/v1/users/eve/password", change, token).status == 200
    kept = json.dumps(center.audit(500)).encode() + center.log.read_bytes()
    for file in center.data.glob("center.db*"):
        kept += file.read_bytes()
    for word in (secret, token, join_secret.split(".")[0], center.password):
        assert word.encode() not in kept
    assert {"role": "read-only", "name": "eve"} in [r["details"] for r in center.audit(500)]


def test_refused_attempts_are_in_the_audit_log(center, reader, host):
    before = center.audit()[0]["id"]
    center.call("POST", "/v1/vms/web1/migrate", {"to": "host1", "reason": "I want to"}, reader)
    center.call("POST", "/v1/vms/web1/migrate", {"to": "host1"})
    center.call("GET", "/v1/vms", token="wrong")  # a read changes nothing and is not recorded
    stranger, refused = [r for r in center.audit() if r["id"] > before]
    assert (refused["user"], refused["action"], refused["object"], refused["result"]) == (
        "bob", "vm.migrate", "vm/web1", "not-permitted")  # fmt: skip
    assert (stranger["user"], stranger["action"], stranger["result"]) == ("", "vm.migrate", "not-authenticated")


@pytest.fixture
def small_disk(tmp_path):
    """A directory on a file system of 4 MiB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", directory], check=True, timeout=30)
    yield directory
    subprocess.run(["umount", "-l", directory], check=True, timeout=30)


def test_a_change_that_cannot_be_recorded_is_not_made(small_disk):
    center = Center(small_disk)
    center.log = small_disk.parent / "center.log"
    center.start()
    admin = center.login()
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"x" * 4096)
    body = {"name": "mallory", "role": "administrator", "password": PASSWORD}
    answer = center.call("POST", "/v1/users", body, admin)
    assert (answer.status, answer.code) == (500, "io")
    assert "user.add is not done, for it cannot be recorded" in answer.message and "center.db" in answer.message
    assert [u["name"] for u in center.call("GET", "/v1/users", token=admin).body["users"]] == ["admin"]
    assert center.call("POST", "/v1/login", {"user": "admin", "password": center.password}).status == 500
    filler.unlink()
    assert center.call("POST", "/v1/users", body, admin).status == 201
    center.stop()


# -- Hosts that join


def test_join(center, tmp_path, host):
    token = join_token(center, reason="a new host")
    answer = join(center, tmp_path, token, name="host-j", address="127.0.0.2", port=2)
    assert answer.status == 200, answer.body
    certificate, ca = tmp_path / "cert.pem", tmp_path / "ca.pem"
    certificate.write_text(answer.body["certificate"])
    ca.write_text(answer.body["ca"])
    subprocess.run(["openssl", "verify", "-CAfile", ca, certificate], check=True, capture_output=True, timeout=30)
    text = subprocess.run(
        ["openssl", "x509", "-in", certificate, "-noout", "-text"], check=True, capture_output=True, text=True
    ).stdout
    assert "CN = host-j" in text and "OU = host" in text and "DNS:host-j" in text and "127.0.0.2" in text
    record = next(r for r in center.audit() if r["action"] == "host.join")
    assert (record["user"], record["object"], record["result"]) == ("join-token", "host/host-j", "done")
    assert record["details"] == {"name": "host-j", "address": "127.0.0.2", "port": 2}

    used = join(center, tmp_path, token, name="host-k")
    assert (used.status, used.code) == (403, "not-permitted") and "used already" in used.message
    assert center.call("DELETE", "/v1/hosts/host-j", local=True).status == 200


def lasting(host):
    """Without why it cannot be reached, which each attempt says anew."""
    return {name: value for name, value in host.items() if name != "error"}


def test_a_host_is_replaced_only_with_a_token_for_it(center, tmp_path, host):
    before = lasting(center.call("GET", "/v1/hosts/host1", local=True).body)
    taken = join(center, tmp_path, join_token(center), address="127.0.0.3")
    assert (taken.status, taken.code) == (409, "exists") and "--host host1" in taken.message
    assert lasting(center.call("GET", "/v1/hosts/host1", local=True).body) == before
    other = join(center, tmp_path, join_token(center, host="host9"), address="127.0.0.3")
    assert (other.status, other.code) == (403, "not-permitted") and "is for host 'host9'" in other.message
    assert join(center, tmp_path, join_token(center, host="host1"), address="127.0.0.3").status == 200
    assert center.call("GET", "/v1/hosts/host1", local=True).body["address"] == "127.0.0.3"
    assert join(center, tmp_path, join_token(center, host="host1")).status == 200


def test_join_tokens_that_are_no_good(center, tmp_path):
    hosts = [lasting(host) for host in center.call("GET", "/v1/hosts", local=True).body["hosts"]]
    for token in ("x", "0" * 32, "0" * 32 + "." + "0" * 64):
        answer = join(center, tmp_path, token, name="host-n")
        assert (answer.status, answer.code) == (403, "not-permitted"), answer.body
    token = join_token(center)
    with sqlite3.connect(center.data / "center.db") as database:
        database.execute("UPDATE join_tokens SET expires_us = 1 WHERE used_us IS NULL")
    answer = join(center, tmp_path, token, name="host-n")
    assert answer.code == "not-permitted" and "expired" in answer.message
    # A request that is no good does not cost a token.
    token = join_token(center)
    broken = request_pem(tmp_path).replace("MI", "ML", 1)
    answer = join(center, tmp_path, token, name="host-n", request=broken)
    assert answer.code == "invalid-argument"
    assert [lasting(host) for host in center.call("GET", "/v1/hosts", local=True).body["hosts"]] == hosts


# -- The event stream


class Events:
    """A follower of /v1/events."""

    def __init__(self, center, target="/v1/events", token=None, headers=None):
        self.connection = center.connection()
        sent = {"Authorization": f"Bearer {token}", **(headers or {})}
        self.connection.request("GET", target, headers=sent)
        self.response = self.connection.getresponse()
        assert self.response.status == 200
        assert self.response.getheader("Content-Type") == "text/event-stream"

    def lines(self):
        """Until the stream ends."""
        while line := self.response.readline():
            yield line.decode().rstrip("\n")

    def next(self, *types):
        """The next event, of one of the types if there are any, as (id, type, data)."""
        event = {}
        for line in self.lines():
            if line.startswith(":"):
                continue
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
            elif event and (not types or event["event"] in types):
                return int(event["id"]) if "id" in event else None, event["event"], json.loads(event["data"])
            else:
                event = {}
        return None

    def close(self):
        self.connection.close()


def test_events_live_and_again(center, reader, operator, host):
    events = Events(center, token=reader)
    center.call("POST", "/v1/hosts/host1/maintenance", {"enabled": True}, operator)
    first, _, data = events.next("host.maintenance")
    assert data["host"] == "host1" and data["type"] == "host.maintenance"
    events.close()
    center.call("POST", "/v1/hosts/host1/maintenance", {"enabled": False}, operator)
    for again in (
        Events(center, f"/v1/events?after={first}", reader),
        Events(center, "/v1/events", reader, {"Last-Event-ID": str(first)}),
        Events(center, "/v1/events?after=1", reader, {"Last-Event-ID": str(first)}),
    ):
        second, _, data = again.next("host.maintenance")
        assert second > first
        again.close()


def test_a_heartbeat_comes(center, reader):
    events = Events(center, token=reader)
    lines = events.lines()
    assert next(lines) == ":"  # at once
    began = time.monotonic()
    for line in lines:
        if line == ":":
            break
    assert time.monotonic() - began < 7
    events.close()


@pytest.mark.parametrize("end", ["logout", "user removed", "expired"])
def test_a_stream_ends_with_its_session(center, end):
    center.call("POST", "/v1/users", {"name": "fred", "role": "read-only", "password": PASSWORD}, local=True)
    token = center.login("fred", PASSWORD)
    events = Events(center, token=token)
    others = Events(center, token=center.login("bob", PASSWORD))
    if end == "logout":
        center.call("POST", "/v1/logout", token=token)
    elif end == "expired":
        with sqlite3.connect(center.data / "center.db") as database:
            database.execute("UPDATE sessions SET expires_us = 1 WHERE user_name = 'fred'")
    else:
        center.call("DELETE", "/v1/users/fred", local=True)
    began = time.monotonic()
    for _ in events.lines():
        pass
    assert time.monotonic() - began < (7 if end == "expired" else 2)
    center.login("bob", PASSWORD)
    assert others.next("session.login")
    events.close()
    others.close()
    center.call("DELETE", "/v1/users/fred", local=True)


# -- What is thrown at the server


def test_malformed_json(center, admin):
    for raw in (b"{", b"[]", b'"x"', b"\xff\xfe", b'{"user": "a\x00b"}', b"[" * 100000, b'{"enabled": tru}', b"null"):
        answer = center.call("POST", "/v1/hosts/host1/maintenance", token=admin, raw=raw)
        assert (answer.status, answer.code) == (400, "invalid-argument"), raw[:20]


def test_a_body_of_100_mb_is_refused_unread(center, admin):
    """Others are served meanwhile, and the center does not grow."""

    def resident_kib():
        with open(f"/proc/{center.process.pid}/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

    vms = center.call("GET", "/v1/vms", token=admin).body
    before = resident_kib()
    connection = center.connection()
    connection.putrequest("POST", "/v1/vms")
    connection.putheader("Authorization", f"Bearer {admin}")
    connection.putheader("Content-Length", str(100 * 1024 * 1024))
    connection.endheaders()
    piece = b'{"config": "' + b"x" * (1024 * 1024 - 12)
    try:
        for i in range(100):
            connection.send(piece)
            if i == 50:
                assert center.call("GET", "/v1/hosts", token=admin).status == 200
    except OSError:
        pass  # the server may close instead of reading it all
    try:
        response = connection.getresponse()
        body = json.loads(response.read())
        assert response.status == 413 and body["error"]["code"] == "invalid-argument" and "1 MiB" in body["error"]["message"]
    except OSError:
        pytest.fail("the connection was closed without an answer")
    assert resident_kib() - before < 20 * 1024
    assert center.call("GET", "/v1/vms", token=admin).body == vms


def test_plain_http_on_the_tls_port(center):
    with socket.create_connection(("127.0.0.1", center.port), timeout=10) as plain:
        plain.sendall(b"GET /v1/about HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            answer = plain.recv(65536)
        except ConnectionResetError:
            answer = b""
    assert b"HTTP/1" not in answer and b"fingerprint" not in answer
    assert center.call("GET", "/v1/about").status == 200


def pinned(center, version):
    context = ssl.create_default_context(cadata=center.call("GET", "/v1/about", local=True).body["ca"])
    context.set_ciphers("ALL:@SECLEVEL=0")  # or the client would not even offer TLS 1.1
    context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_old_tls(center):
    with pytest.raises(ssl.SSLError, match="(?i)alert protocol version|alert handshake failure"):
        center.connection(pinned(center, ssl.TLSVersion.TLSv1_1)).request("GET", "/v1/about")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        connection = center.connection(pinned(center, version))
        connection.request("GET", "/v1/about")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_thousand_idle_connections(center, reader):
    """They are in the way of nobody, whether they have begun TLS, ended its handshake, or half sent a request."""
    idle = []
    try:
        for i in range(1000):
            one = socket.create_connection(("127.0.0.1", center.port), timeout=10)
            idle.append(one)
            if i % 20 == 0:
                idle[-1] = one = center.context.wrap_socket(one, server_hostname="localhost")
                one.sendall(b"POST /v1/login HTTP/1.1\r\nContent-Le" if i % 40 == 0 else b"")
            if i % 100 == 50:
                began = time.monotonic()
                assert center.call("GET", "/v1/hosts", token=reader).status == 200
                assert time.monotonic() - began < 2
        for _ in range(5):
            began = time.monotonic()
            assert center.call("GET", "/v1/hosts", token=reader).status == 200
            assert time.monotonic() - began < 2
    finally:
        for one in idle:
            one.close()
    assert center.call("GET", "/v1/hosts", token=reader).status == 200


# -- The program


def test_the_socket_and_files_are_roots_alone(center):
    assert stat.S_IMODE(center.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(center.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((center.data / "center.db").stat().st_mode) == 0o600
    assert not (center.data / "initial-password").exists()  # it was shown


def test_first_password_in_a_file(tmp_path):
    """Without a terminal: in a file until it is changed, and in no log."""
    center = Center(tmp_path)
    with center.log.open("wb") as log:
        center.process = subprocess.Popen(
            [CENTER, "run", "--config", center.config], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
        )
    Center.running.add(center)
    center.wait_ready()
    file = center.data / "initial-password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    password = file.read_text().strip()
    assert str(file) in center.log.read_text() and password not in center.log.read_text()
    token = center.login("admin", password)
    change = {"password": PASSWORD, "old_password": password}
    assert center.call("POST", "/v1/users/admin/password", change, token).status == 200
    assert not file.exists()
    center.stop()


def reset_password(center, user="admin"):
    return subprocess.run(
        [CENTER, "reset-password", "--config", center.config, user], capture_output=True, text=True, timeout=30
    )


def test_reset_password(tmp_path):
    center = Center(tmp_path)
    center.start()
    first = center.password
    done = reset_password(center)  # the center runs
    assert done.returncode == 0, done.stderr
    center.password = done.stdout.strip()
    token = center.login()
    assert center.call("POST", "/v1/login", {"user": "admin", "password": first}).status == 401
    unknown = reset_password(center, "nobody")
    assert unknown.returncode == 1 and "nobody" in unknown.stderr
    assert center.stop() < 5
    done = reset_password(center)  # it does not
    assert done.returncode == 0, done.stderr
    center.password = done.stdout.strip()
    center.start()
    center.login()
    assert center.call("GET", "/v1/hosts", token=token).code == "not-authenticated"
    resets = [r for r in center.audit() if r["action"] == "user.password"]
    assert {r["user"] for r in resets} == {"root@local"} and len(resets) == 3
    center.stop()


def test_killed_and_started_again(tmp_path):
    """Sessions, users and hosts are as before."""
    center = Center(tmp_path)
    center.start()
    token = center.login()
    assert join(center, tmp_path, join_token(center)).status == 200
    center.kill()
    center.start()
    assert [h["name"] for h in center.call("GET", "/v1/hosts", token=token).body["hosts"]] == ["host1"]
    assert center.call("GET", "/v1/about", token=token).status == 200
    center.stop()


def test_one_center_at_a_time(center):
    done = subprocess.run(
        [CENTER, "run", "--config", center.config], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1 and "center.db" in done.stderr
    assert center.call("GET", "/v1/about").status == 200


def test_ends_promptly_with_streams_and_clients_open(tmp_path):
    center = Center(tmp_path)
    center.start()
    events = Events(center, token=center.login())
    idle = socket.create_connection(("127.0.0.1", center.port))
    assert center.stop() < 5
    assert all(line in (":", "") or line for line in events.lines())  # it ends
    idle.close()
    assert not center.socket.exists()


def silent_agent():
    """Takes connections and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=50)
    return listener, listener.getsockname()[1]


def test_ends_while_an_order_waits_for_a_host(tmp_path):
    listener, port = silent_agent()
    center = Center(tmp_path)
    center.start()
    assert join(center, tmp_path, join_token(center), port=port).status == 200
    assert center.call("POST", "/v1/vms", {"config": vm_config(), "host": "host1"}, local=True).status == 201
    order = center.connection()
    body = json.dumps({"action": "start"}).encode()
    order.request("POST", "/v1/vms/web1/power", body, {"Authorization": f"Bearer {center.login()}"})
    deadline = time.monotonic() + 10
    while True:  # it is under way when its record is open
        with sqlite3.connect(center.data / "center.db") as database:
            if database.execute("SELECT count(*) FROM audit_open").fetchone()[0]:
                break
        assert time.monotonic() < deadline
    assert center.stop() < 8
    center.start()
    record = next(r for r in center.audit() if r["action"] == "vm.power")
    assert record["result"] not in ("done", "unknown"), record
    center.stop()
    listener.close()


def test_sighup_keeps_serving(center):
    center.process.send_signal(1)
    deadline = time.monotonic() + 10
    while "read anew" not in center.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert center.call("GET", "/v1/about").status == 200


def run(*arguments):
    return subprocess.run([CENTER, *arguments], capture_output=True, text=True, timeout=30)


def test_command_line(center, tmp_path):
    assert run("--version").stdout.startswith("godwit-center ")
    assert "check-config" in run("--help").stdout
    assert run().returncode == 2
    assert run("explode").returncode == 2
    assert run("reset-password").returncode == 2
    assert run("check-config", "--config", center.config).returncode == 0
    wrong = tmp_path / "center.conf"
    wrong.write_text("[center]\nport=0\nlisten=x\nprot=1\n")
    done = run("check-config", "--config", wrong)
    assert done.returncode == 2 and "3 errors" in done.stderr and "[center] prot" in done.stderr
    assert run("run", "--config", wrong).returncode == 2
    assert run("run", "--config", tmp_path / "none.conf").returncode == 1


def test_runs_as_another_user(tmp_path):
    os.chmod(tmp_path, 0o755)
    for parent in tmp_path.parents[:3]:
        os.chmod(parent, os.stat(parent).st_mode | 0o011)
    center = Center(tmp_path, user="nobody", socket=tmp_path / "run/center.sock")
    center.socket = tmp_path / "run/center.sock"
    center.start()
    status = open(f"/proc/{center.process.pid}/status").read()
    uid = center.data.stat().st_uid
    assert uid != 0 and f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status
    center.login()
    center.stop()
    done = reset_password(center)
    assert done.returncode == 0, done.stderr
    assert {file.stat().st_uid for file in center.data.rglob("*")} == {uid}
