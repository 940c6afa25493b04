# SPDX-License-Identifier: LGPL-2.1-or-later
"""A whole Debian under a supervisor: systemd, SSH and a database at work, over the supervisor's death."""

import subprocess

import pytest
from labkit.vm import BUILD, ROOT, config, wait_until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def image():
    directory = BUILD / "debian-image"
    subprocess.run([ROOT / "lab/guest/build-debian-image", "--output", directory], check=True, timeout=1800)
    return directory


class Session:
    """A login from the lab's client, by the image's key."""

    def __init__(self, lab, image, address):
        self.lab = lab
        self.words = [
            "ssh", "-i", image / "debian-ssh-key", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", f"root@{address}",
        ]  # fmt: skip

    def run(self, command, check=True):
        return self.lab.client.run(
            [*self.words, command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=120, check=check
        )

    def start(self, command):
        return self.lab.client.popen(
            [*self.words, command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )


def test_a_database_works_on_while_its_supervisor_dies(lab, vms, image):
    guest = vms.guest("debian")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", image / "debian.qcow2", vms.directory / "root.qcow2"], check=True)
    boot = {
        "kind": "kernel",
        "kernel": {"datastore": "debian", "path": "debian-vmlinuz"},
        "initrd": {"datastore": "debian", "path": "debian-initrd.img"},
        "command_line": f"{guest.command_line} root=/dev/vda",
    }
    disks = [{"datastore": "ds", "path": "root.qcow2", "format": "qcow2"}]
    document = config(
        guest, machine="pc-q35-7.2", vcpus=2, cpu_model="max", memory_mib=1024, boot=boot, disks=disks
    )
    vm = vms.start(document, datastores={"debian": image})
    vm.wait_for_console("GODWIT-GUEST-READY", 300)

    session = Session(lab, image, guest.address)
    sql = f"psql -h {guest.address} -U postgres -At bench"
    assert session.run(f"{sql} -c 'select 1'").stdout == "1\n"
    session.run(f"{sql} -c 'create table entry (number integer primary key)'")
    writer = session.start(
        f"for n in $(seq 1 60); do {sql} -qc \"insert into entry values ($n)\" && echo $n; done"
    )
    assert writer.stdout.readline() == "1\n"
    qemu = vm.qemu_pid()
    vm.kill_supervisor()
    vm.adopt()
    assert vm.qemu_pid() == qemu
    # The same SSH connection, the same transactions: nobody noticed.
    assert [int(line) for line in writer.stdout] == list(range(2, 61))
    assert writer.wait(timeout=60) == 0
    assert session.run(f"{sql} -c 'select count(*), max(number) from entry'").stdout == "60|60\n"

    vm.power("shutdown")
    wait_until(lambda: vm.state() == "off", 120, "systemd to power the machine off")
    assert vm.status()["last_exit"]["reason"] == "guest-shutdown"
