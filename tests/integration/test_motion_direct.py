# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest whose disk goes past the page cache (cache=none), moved again and again while it reads and verifies that disk: a
read by O_DIRECT goes around the page tables that the trace watches, and is seen all the same (preload/direct-read.c)."""

import os

import pytest
from labkit.guest import DISK_PORT


def does_direct(directory):
    """Whether the file system can do O_DIRECT at all."""
    path = directory / "direct"
    path.write_bytes(bytes(4096))
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        return False
    return True


def move_often(lab, rig, name, n):
    if not does_direct(rig.directory):
        pytest.skip(f"{rig.directory} is on a file system without O_DIRECT")
    # Many reads beside the writes: every one fills a page of guest memory behind the vCPUs' backs.
    guest = rig.guest(name, memory="ws=16M,rate=10M,fill=random", disk="dev=/dev/vda,ws=32M,rate=4M,check=2000")
    vm = rig.boot(guest, disks=[{**rig.disk(f"{name}.raw"), "cache": "none"}])
    read = []
    for _ in range(n):
        before = guest.ask(lab, DISK_PORT, "status")["verified"]
        vm, _ = rig.move(vm)
        status = guest.ask(lab, DISK_PORT, "status")
        read.append(status["verified"] - before)
        assert (status["wrong"], status["io_errors"]) == (0, 0), status
    assert sum(read) > 50 * n, f"hardly anything was read while it moved: {read}"
    disk = guest.ask(lab, DISK_PORT, "verify")
    assert disk["verified"] > 0 and (disk["wrong"], disk["io_errors"]) == (0, 0), disk
    rig.check_memory(guest)


def test_it_moves_ten_times_and_no_block_is_wrong(lab, rig):
    move_often(lab, rig, "direct10", 10)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_it_moves_fifty_times_and_no_block_is_wrong(lab, rig):
    move_often(lab, rig, "direct50", 50)
