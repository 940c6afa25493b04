# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every kind of device and firmware that a configuration can name is there for the guest, and works."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from labkit.guest import DISK_PORT
from labkit.vm import GODWIT_VM, config, wait_until

pytestmark = pytest.mark.alone

OVMF_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
MIB = 1 << 20


def boot_code(text):
    """Real-mode code that says `text` on the first serial port and halts; at 0x7c00, for a disk or a CD."""
    code = bytes.fromhex("fa 31c0 8ed8 be167c ac 84c0 7406 baf803 ee ebf5 f4 ebfd")
    assert len(code) == 0x16
    return (code + text.encode() + b"\r\n\0").ljust(510, b"\0") + b"\x55\xaa"


def write_disk(path, text, size=16 * MIB):
    """A raw image with that boot sector; SeaBIOS wants at least a cylinder."""
    with path.open("wb") as disk:
        disk.write(boot_code(text))
        disk.truncate(size)


def write_cd(path, text):
    """A CD with the one boot entry that El Torito asks for, and no file system."""
    sector = 2048
    image = bytearray(22 * sector)
    image[16 * sector : 16 * sector + 6] = b"\x01CD001"
    record = b"\0CD001\x01EL TORITO SPECIFICATION".ljust(71, b"\0") + struct.pack("<I", 19)
    image[17 * sector : 17 * sector + len(record)] = record
    image[18 * sector : 18 * sector + 7] = b"\xffCD001\x01"
    validation = bytearray(b"\x01\0\0\0".ljust(28, b"\0") + b"\0\0\x55\xaa")
    struct.pack_into("<H", validation, 28, -sum(struct.unpack("<16H", validation)) & 0xFFFF)
    entry = struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, 20).ljust(32, b"\0")
    image[19 * sector : 19 * sector + 64] = bytes(validation) + entry
    image[20 * sector : 20 * sector + 512] = boot_code(text)
    path.write_bytes(image)


def bios(guest, **changes):
    """A configuration that boots by firmware and has no NIC."""
    return config(guest, boot={"kind": "bios"}, nics=None, memory_mib=64, **changes)


@pytest.mark.parametrize(
    ("machine", "bus", "image_format", "cache"),
    [
        ("pc-i440fx-7.2", "virtio", "raw", "writeback"),
        ("pc-i440fx-7.2", "ide", "raw", "writeback"),
        ("pc-i440fx-7.2", "scsi", "qcow2", "none"),
        ("pc-q35-7.2", "virtio", "qcow2", "writethrough"),
        ("pc-q35-7.2", "sata", "raw", "none"),
        ("pc-q35-7.2", "scsi", "raw", "writeback"),
    ],
)
def test_boots_from_a_disk(vms, machine, bus, image_format, cache):
    text = f"booted {machine} {bus} {image_format} {cache}"
    raw = vms.directory / "disk.raw"
    write_disk(raw, text)
    if image_format == "qcow2":
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, vms.directory / "disk.qcow2"], check=True)
    disk = {"datastore": "ds", "path": f"disk.{image_format}", "format": image_format, "bus": bus, "cache": cache}
    vm = vms.start(bios(vms.guest("boots"), machine=machine, disks=[disk]))
    vm.wait_for_console(text, 20)


@pytest.mark.parametrize("machine", ["pc-i440fx-7.2", "pc-q35-7.2"])
def test_boots_from_a_cd_behind_an_empty_drive(vms, machine):
    write_cd(vms.directory / "boot.iso", "booted from CD")
    vm = vms.start(bios(vms.guest("cd"), machine=machine, cdroms=[{}, {"datastore": "ds", "path": "boot.iso"}]))
    vm.wait_for_console("booted from CD", 20)


@pytest.mark.skipif(not OVMF_VARS.exists(), reason="needs the package ovmf")
def test_boots_by_uefi_and_keeps_its_variables(vms):
    variables = vms.directory / "vars.fd"
    shutil.copy(OVMF_VARS, variables)
    before = variables.read_bytes()
    boot = {"kind": "uefi", "vars": {"datastore": "ds", "path": "vars.fd"}}
    vm = vms.start(config(vms.guest("uefi"), machine="pc-q35-7.2", boot=boot, nics=None))
    vm.wait_for_console("BdsDxe", 60)
    wait_until(lambda: variables.read_bytes() != before, 20, "the firmware to write a variable")


@pytest.mark.parametrize(("image_format", "cache"), [("raw", "writeback"), ("raw", "none"), ("qcow2", "none")])
def test_a_verifying_disk_writer_finds_nothing_wrong(lab, vms, image_format, cache):
    path = vms.directory / f"data.{image_format}"
    subprocess.run(["qemu-img", "create", "-q", "-f", image_format, path, "32M"], check=True)
    guest = vms.guest("writer", disk="dev=/dev/vda,ws=16M,rate=8M")
    vm = vms.start_guest(
        guest,
        disks=[{"datastore": "ds", "path": path.name, "format": image_format, "cache": cache, "serial": "DATA-1"}],
    )
    wait_until(lambda: guest.ask(lab, DISK_PORT, "status")["written_pages"] > 1000, 30, "the writer to have written")
    assert guest.ask(lab, DISK_PORT, "verify")["wrong"] == 0
    vm.power("shutdown")
    vm.wait_state("off")
    if image_format == "raw":
        blocks = path.read_bytes()
        assert all(blocks[i : i + 8] == b"GWVPAGE1" for i in range(0, 16 * MIB, 4096))


def test_disk_limits_hold(lab, vms):
    (vms.directory / "slow.raw").write_bytes(b"")
    os.truncate(vms.directory / "slow.raw", 16 * MIB)
    guest = vms.guest("limited", disk="dev=/dev/vda,ws=1M,rate=max,check=0")
    disk = {"datastore": "ds", "path": "slow.raw", "format": "raw", "limits": {"bytes_per_s": 2 * MIB}}
    vms.start_guest(guest, disks=[disk])

    def rate():
        return guest.ask(lab, DISK_PORT, "status")["rate_bytes_per_s"]

    # Throttling lets a burst through first; then it holds.
    wait_until(lambda: 0.5 * MIB < rate() < 2.6 * MIB, 20, "the rate to come down to the limit")
    assert rate() < 2.6 * MIB


def test_read_only_disk_refuses_writes(lab, vms):
    subprocess.run(["qemu-img", "create", "-q", "-f", "raw", vms.directory / "ro.raw", "16M"], check=True)
    before = (vms.directory / "ro.raw").read_bytes()
    guest = vms.guest("readonly")
    disk = {"datastore": "ds", "path": "ro.raw", "format": "raw", "read_only": True}
    vm = vms.start_guest(guest, disks=[disk])
    type_in = ["console", vm.name, "--type", "dd if=/dev/urandom of=/dev/vda bs=4k count=1; echo dd-$?"]
    vm.host.run([GODWIT_VM, *type_in], check=True)
    assert "dd-1" in vm.wait_for_console("dd-1")
    assert (vms.directory / "ro.raw").read_bytes() == before


@pytest.mark.parametrize("model", ["virtio", "e1000", "e1000e"])
def test_nic_models_are_seen(vms, model):
    guest = vms.guest("nic")
    document = config(guest, machine="pc-q35-7.2")
    document["nics"][0]["model"] = model
    vm = vms.start(document)
    ids = {"virtio": "0x1af4", "e1000": "0x8086:0x100e", "e1000e": "0x8086:0x10d3"}
    vm.wait_for_console("/ #", 60)
    line = 'for d in /sys/bus/pci/devices/*; do echo "pci $(cat $d/vendor):$(cat $d/device)"; done; echo listed-$((1 + 1))'
    vm.host.run([GODWIT_VM, "console", vm.name, "--type", line], check=True)
    assert f"pci {ids[model]}" in vm.wait_for_console("listed-2")


def test_two_nics_two_serial_ports_four_vcpus(lab, vms):
    guest = vms.guest("big")
    second = {"port_group": "lan", "mac": "52:54:00:72:ff:01"}
    document = config(
        guest, machine="pc-q35-7.2", vcpus=4, topology={"sockets": 2, "cores": 2, "threads": 1}, serial_ports=2
    )
    document["nics"].append(second)
    vm = vms.start(document)
    vm.wait_ready()
    assert guest.ping(lab)
    vm.host.run([GODWIT_VM, "console", vm.name, "--type", "echo second > /dev/ttyS1; echo cpus-$(nproc)"], check=True)
    vm.wait_for_console("cpus-4")
    wait_until(lambda: "second" in vm.console(1), 10, "output on the second port")
    assert [nic["mac"] for nic in vm.status()["nics"]] == [guest.mac, second["mac"]]
