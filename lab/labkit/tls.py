# SPDX-License-Identifier: LGPL-2.1-or-later
"""Certificates for the hosts of a lab: one authority, and for each host what `godwit-vm run --tls-dir` takes.

    DIR/authority/        ca.pem, ca.key: the lab's authority
    DIR/NAME/             ca.pem, cert.pem, key.pem (0600), each host's

Short-lived keys on P-256; made in some 10 ms each with openssl(1). Never for anything but a lab: the authority's
key lies beside the certificates."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import LabError, UsageError

_TIMEOUT_S = 30
_DAYS = "30"
_RENEW_BEFORE_S = 24 * 3600  # what is about to expire is made anew
_AUTHORITY = "authority"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

# Of our own, since the system's adds extensions that vary from release to release.
_CONFIG = """
[req]
distinguished_name = none
prompt = no
[none]
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[host]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def make(directory: Path, names: Sequence[str]) -> dict[str, Path]:
    """Makes the authority and each host's directory, where they are missing or about to expire. Returns the hosts'
    directories by name."""
    authority = _authority(directory)
    return {name: _host(directory, name, authority, authority) for name in names}


def make_impostor(directory: Path, name: str) -> Path:
    """DIR/NAME of a host that trusts DIR's authority but has its certificate from another: it is to be refused. (One
    that trusts nothing of DIR's either comes from make() with another directory.)"""
    with tempfile.TemporaryDirectory(prefix="godwit-foreign-") as elsewhere:
        return _host(directory, name, _authority(Path(elsewhere)), _authority(directory))


def _authority(directory: Path) -> Path:
    def fill(target: Path) -> None:
        _openssl(target, "authority", "godwit lab authority", "ca.key", "ca.pem")

    authority = directory / _AUTHORITY
    if not _is_good(authority / "ca.pem"):
        _replace(authority, fill)
    return authority


def _host(directory: Path, name: str, issuer: Path, trusted: Path) -> Path:
    def fill(target: Path) -> None:
        signed_by = ["-CA", str(issuer / "ca.pem"), "-CAkey", str(issuer / "ca.key")]
        _openssl(target, "host", name, "key.pem", "cert.pem", *signed_by)
        shutil.copy(trusted / "ca.pem", target / "ca.pem")

    if not _NAME.fullmatch(name) or name == _AUTHORITY:
        raise UsageError(f"'{name}' cannot be the name of a host's certificate")
    host = directory / name
    if not (_is_good(host / "cert.pem") and _is_issued(host / "cert.pem", issuer) and _is_same(host, trusted)):
        _replace(host, fill)
    return host


def _is_good(certificate: Path) -> bool:
    return certificate.exists() and _succeeds("x509", "-in", certificate, "-noout", "-checkend", str(_RENEW_BEFORE_S))


def _is_issued(certificate: Path, issuer: Path) -> bool:
    return _succeeds("verify", "-no-CApath", "-no-CAstore", "-CAfile", issuer / "ca.pem", certificate)


def _is_same(host: Path, trusted: Path) -> bool:
    """Whether its key is there, and the authority that it trusts is the one of today."""
    ca = host / "ca.pem"
    return (host / "key.pem").exists() and ca.exists() and ca.read_bytes() == (trusted / "ca.pem").read_bytes()


def _replace(target: Path, fill: Callable[[Path], None]) -> None:
    """Whoever is interrupted leaves no half of a directory."""
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        fill(made)
        if target.exists():
            shutil.rmtree(target)
        made.rename(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _openssl(target: Path, extensions: str, common_name: str, key: str, certificate: str, *signed_by: str) -> None:
    config = target / "openssl.cnf"
    config.write_text(_CONFIG)
    done = _run(
        "req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-sha256",
        "-days", _DAYS, "-subj", f"/CN={common_name}", "-config", config, "-extensions", extensions,
        "-keyout", target / key, "-out", target / certificate, *signed_by,
    )  # fmt: skip
    if done.returncode != 0:
        raise LabError(f"openssl could not make the certificate of '{common_name}': {done.stderr.strip()}")
    os.chmod(target / key, 0o600)
    config.unlink()


def _succeeds(*arguments: str | Path) -> bool:
    return _run(*arguments).returncode == 0


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["openssl", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except FileNotFoundError as error:
        raise LabError("openssl is not installed: install the package openssl") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"openssl {arguments[0]} did not return within {_TIMEOUT_S} s") from error
