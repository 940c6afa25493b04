# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks before a motion, each with its condition made for real: datastores, with file systems that are mounted where one of
the hosts has them."""

import subprocess
from pathlib import Path

import checks_rig
import pytest
from checks_rig import checks, every_id_is_found_and_gone  # noqa: F401
from labkit.vm import IMAGE_DIR, wait_until


class Volume:
    """Storage that both hosts see: a file system of its own, mounted once more where host2 has it."""

    def __init__(self, directory: Path) -> None:
        self.storage = directory / "storage"
        self.there = directory / "host2-volume"
        self.mounted: list[Path] = []
        for each in (self.storage, self.there):
            each.mkdir()
        self.mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", self.storage)

    def mount(self, *words: object) -> None:
        subprocess.run(["mount", *map(str, words)], check=True)
        self.mounted.append(Path(words[-1]))

    def unmount(self, where: Path) -> None:
        """The agent looks at it each second, and is not always done at once."""
        wait_until(lambda: subprocess.run(["umount", str(where)], check=False).returncode == 0, 10, f"{where} to be free")
        self.mounted.remove(where)

    def bind(self) -> None:
        """host2 has the storage itself."""
        self.mount("--bind", self.storage, self.there)

    def other(self, *options: str) -> None:
        """host2 has another one in its place."""
        self.unmount(self.there)
        self.mount("-t", "tmpfs", "-o", ",".join(("size=16m", *options)), "tmpfs", self.there)

    def same(self) -> None:
        while self.there in self.mounted:
            self.unmount(self.there)
        self.bind()

    def close(self) -> None:
        for each in reversed(self.mounted):
            subprocess.run(["umount", "--lazy", str(each)], check=True)


@pytest.fixture(scope="module")
def volume(checks, cluster, tmp_path_factory):
    made = Volume(tmp_path_factory.mktemp("volume"))
    try:
        made.bind()
        with (made.storage / "disk.raw").open("wb") as image:
            image.truncate(16 << 20)
        with (
            checks.reconfigured("host1", {"datastore vol": {"path": str(made.storage)}}),
            checks.reconfigured("host2", {"datastore vol": {"path": str(made.there), "mount-point": "yes"}}),
        ):
            yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def stored(checks, volume):
    """A guest with a disk on it."""
    disks = [{"id": "root", "datastore": "vol", "path": "disk.raw", "format": "raw"}]
    with checks.guest("stored", disks=disks) as name:
        yield name


HOLDS = ("'vol'", "host2", "root (/disks/0)")


@pytest.mark.makes("motion.datastore.missing")
@pytest.mark.parametrize("there", [None, "Vol"])
def test_the_destination_has_no_such_datastore(checks, cluster, stored, volume, there):
    keys = cluster.agents["host2"].sections["datastore vol"]
    other = {f"datastore {there}": keys} if there else {}
    with checks.reconfigured("host2", {"datastore vol": None, **other}):
        finding = checks.find(stored, "motion.datastore.missing", *HOLDS, *(["'Vol' there"] if there else []))
        assert str(volume.storage) in finding["source"] and "'ds'" in finding["destination"]
        checks.assert_refused(stored, "motion.datastore.missing")
        assert not there or "rename [datastore Vol] to [datastore vol]" in finding["repair"]
        checks.mend_host(finding, "host2", {f"datastore {there}": None} if there else {})
        cluster.agents["host2"].reconfigure(**{"datastore vol": keys})
        checks.assert_gone(stored, "motion.datastore.missing")


@pytest.mark.makes("motion.datastore.unusable")
def test_nothing_is_mounted_at_the_destination(checks, stored, volume):
    volume.unmount(volume.there)
    try:
        finding = checks.find(stored, "motion.datastore.unusable", *HOLDS, f"nothing is mounted at {volume.there}")
        assert f"mount {volume.there}" in checks_rig.commands_in(finding["repair"])
        checks.assert_printed(stored, finding)
        checks.assert_refused(stored, "motion.datastore.unusable")
    finally:
        volume.bind()  # no fstab has it
    checks.follow("host2", finding["repair"], "godwit-host reload")
    checks.assert_gone(stored, "motion.datastore.unusable")


@pytest.mark.makes("motion.datastore.read-only")
def test_the_destination_has_it_read_only(checks, stored, volume):
    subprocess.run(["mount", "-o", "remount,bind,ro", str(volume.there)], check=True)
    try:
        finding = checks.find(stored, "motion.datastore.read-only", *HOLDS, "read-only")
        assert "read-only" in finding["destination"] and "read-only" not in finding["source"]
        checks.assert_refused(stored, "motion.datastore.read-only")
        checks.follow("host2", finding["repair"], "mount -o remount,rw")
        checks.assert_gone(stored, "motion.datastore.read-only")
    finally:
        volume.same()
    checks.assert_moves(stored)
    checks.assert_moves(stored, "host1")


@pytest.mark.makes("motion.datastore.different")
def test_other_storage_has_the_name(checks, cluster, stored, volume):
    volume.other()
    try:
        finding = checks.find(stored, "motion.datastore.different", *HOLDS, "host1", "another storage")
        assert finding["source"] != finding["destination"]
        assert "storage " in finding["source"] and "storage " in finding["destination"]
        checks.assert_refused(stored, "motion.datastore.different")
        kept = cluster.agents["host2"].sections["datastore vol"]
        with checks.reconfigured("host2", {}):
            checks.mend_host(finding, "host2", {"datastore vol": {"path": str(volume.storage)}})
            checks.assert_gone(stored, "motion.datastore.different")
        assert cluster.agents["host2"].sections["datastore vol"] == kept
    finally:
        volume.same()


@pytest.mark.makes("motion.datastore.unverified")
def test_whether_it_is_the_same_storage_is_not_known(checks, stored, volume):
    """Storage that has no identity yet, and takes none."""
    volume.other("ro")
    try:
        finding = checks.find(stored, "motion.datastore.unverified", *HOLDS, "cannot be told")
        checks.assert_gone(stored, "motion.datastore.different")
        assert any(command.startswith("findmnt -T") for command in checks_rig.commands_in(finding["repair"]))
    finally:
        volume.same()
    checks.assert_gone(stored, "motion.datastore.unverified")


@pytest.mark.makes("motion.cdrom.file", "motion.boot.file")
def test_files_that_are_only_read_are_on_storage_of_each_host(checks, tmp_path):
    stores = {host: tmp_path / host for host in ("host1", "host2")}
    for directory in stores.values():
        directory.mkdir()
        (directory / "tiny.elf").write_bytes((IMAGE_DIR / "tiny.elf").read_bytes())
        (directory / "cd.iso").write_bytes(bytes(1 << 20))
    sections = {host: {"datastore local": {"path": str(directory)}} for host, directory in stores.items()}
    boot = {**checks_rig.document("x")["boot"], "kernel": {"datastore": "local", "path": "tiny.elf"}}
    cdroms = [{"datastore": "local", "path": "cd.iso"}]
    with (
        checks.reconfigured("host1", sections["host1"]),
        checks.reconfigured("host2", sections["host2"]),
        checks.guest("reader", boot=boot, cdroms=cdroms) as vm,
    ):
        finding = checks.find(vm, "motion.cdrom.file", "cd0 (/cdroms/0)", "cd.iso", "'local'", "host2")
        assert str(stores["host1"]) in finding["source"] and str(stores["host2"]) in finding["destination"]
        finding = checks.find(vm, "motion.boot.file", "/boot/kernel", "tiny.elf", "'local'", "host2")
        assert "same storage" in finding["repair"]
        checks.assert_moves(vm)  # a warning stops nothing, and they are the same
        checks.assert_moves(vm, "host1")
        with checks.reconfigured("host2", sections["host1"]):
            checks.assert_gone(vm, "motion.cdrom.file")
            checks.assert_gone(vm, "motion.boot.file")
