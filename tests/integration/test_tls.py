# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab's certificates: what they vouch for, made once, and an impostor's that nobody believes."""

import stat
import subprocess

import pytest
from labkit import tls
from labkit.errors import UsageError


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=30)


def is_believed(certificate, ca):
    return openssl("verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", ca, certificate).returncode == 0


def contents(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_hosts_believe_each_other(tmp_path):
    hosts = tls.make(tmp_path, ["host1", "host2"])
    assert hosts == {"host1": tmp_path / "host1", "host2": tmp_path / "host2"}
    for one in hosts.values():
        assert sorted(path.name for path in one.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
        assert stat.S_IMODE((one / "key.pem").stat().st_mode) == 0o600
        for other in hosts.values():
            assert is_believed(one / "cert.pem", other / "ca.pem")
        public = openssl("x509", "-in", one / "cert.pem", "-noout", "-pubkey").stdout
        assert public and public == openssl("pkey", "-in", one / "key.pem", "-pubout").stdout
    assert "CN = host1" in openssl("x509", "-in", hosts["host1"] / "cert.pem", "-noout", "-subject").stdout


def test_made_once(tmp_path):
    tls.make(tmp_path, ["host1"])
    before = contents(tmp_path)
    tls.make(tmp_path, ["host1", "host2"])
    after = contents(tmp_path)
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 3
    (tmp_path / "host1/key.pem").unlink()  # what is missing is made again
    assert is_believed(tls.make(tmp_path, ["host1"])["host1"] / "cert.pem", tmp_path / "host2/ca.pem")
    assert (tmp_path / "host1/key.pem").exists()


def test_another_authority(tmp_path):
    ours = tls.make(tmp_path / "ours", ["host1"])["host1"]
    theirs = tls.make(tmp_path / "theirs", ["host1"])["host1"]
    assert not is_believed(theirs / "cert.pem", ours / "ca.pem")
    impostor = tls.make_impostor(tmp_path / "ours", "impostor")
    assert not is_believed(impostor / "cert.pem", ours / "ca.pem")
    assert (impostor / "ca.pem").read_bytes() == (ours / "ca.pem").read_bytes()


def test_a_host_is_no_authority(tmp_path):
    host = tls.make(tmp_path, ["host1"])["host1"]
    assert "CA:FALSE" in openssl("x509", "-in", host / "cert.pem", "-noout", "-text").stdout


@pytest.mark.parametrize("name", ["", "..", "a/b", "authority", "-x", "a" * 64])
def test_names(tmp_path, name):
    with pytest.raises(UsageError):
        tls.make(tmp_path, [name])
