# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bench tells the truth: what it makes of runs, that the peer gets godwit's own command line, and a small motion of
the peer that really takes place and is really measured."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from benchkit import plan, results, table  # noqa: E402
from benchkit.accounting import CpuMeter, warm, wire_bytes  # noqa: E402
from benchkit.command_line import Places, UnknownCommandLine, rewrite  # noqa: E402
from benchkit.contender import MOTION_LINK, Bench  # noqa: E402
from benchkit.contender_qemu import QemuContender  # noqa: E402
from benchkit.measurement import Measurement  # noqa: E402
from benchkit.peer import installed  # noqa: E402
from benchkit.plots import plots  # noqa: E402
from benchkit.run import Run  # noqa: E402
from benchkit.scenarios import Scenario  # noqa: E402
from labkit.vm import QEMU  # noqa: E402

pytestmark = pytest.mark.alone


def measured(contender, total_s, pause_ms=10.0, **fields):
    standard = {
        "completed": True, "total_s": total_s, "pause_ms": pause_ms, "live_s": total_s / 2, "gap_ms": pause_ms + 5,
        "gap_before_ms": 3.0, "wire_bytes": 1_000_000_000, "cpu_s": 1.0, "pages_wrong": 0,
    }  # fmt: skip
    return Measurement(contender, **{**standard, **fields})


def failed(contender, reason="not converged in 60 s"):
    return Measurement(contender, completed=False, reason=reason, pages_wrong=0)


def a_row():
    return results.row("writer-50", "veth", {
        "godwit": [measured("godwit", t, iperf3_gbit_s={"1": 20.0}) for t in (0.5, 0.4, 0.9)],
        "multifd_1": [measured("QEMU, multifd 1", t, wire_bytes=2_000_000_000) for t in (2.0, 1.0, 3.0)],
        "multifd_2": [measured("QEMU, multifd 2", t) for t in (4.0, 4.0, 1.0)],
    })  # fmt: skip


def test_a_row_has_medians_the_worst_and_ratios_to_the_best_variant():
    row = a_row()
    assert row["godwit"]["total_time_s"] == {"median": 0.5, "worst": 0.9}
    assert row["peer"]["label"] == "QEMU, multifd 1"
    assert row["ratio"] == {"total_time": 0.25, "pause": 1.0, "bytes": 0.5, "cpu": 1.0}
    assert row["godwit"]["throughput_gbit_s"]["median"] == pytest.approx(32)
    assert row["godwit"]["throughput_gbit_s"]["worst"] == pytest.approx(8 / 0.45)
    assert row["iperf3_gbit_s"] == 20.0
    assert len(row["all_runs"]) == 9


def test_motions_that_did_not_end_are_no_figures_but_reasons():
    runs = {"godwit": [measured("godwit", 5.0), failed("godwit", "link lost")], "multifd_1": [failed("QEMU, multifd 1")]}
    row = results.row("writer-200", "1gbit", runs)
    assert (row["godwit"]["completed"], row["godwit"]["runs"]) == (1, 2)
    assert row["godwit"]["total_time_s"]["median"] == 5.0
    assert row["peer"]["total_time_s"] is None
    assert set(row["ratio"].values()) == {None}
    text = table.block(row)
    assert "QEMU, multifd 1: not converged in 60 s" in text
    assert "godwit: link lost" in text
    assert "0 of 1 came to their end" in plots({"scenarios": [row]})["pause.svg"]


def test_wrong_pages_of_godwit_are_never_hidden():
    runs = {"godwit": [measured("godwit", 1.0), Measurement("godwit", completed=False, reason="x", pages_wrong=3)]}
    row = results.row("idle-2g", "veth", runs)
    assert row["pages_wrong"] == 3
    assert (False, "idle-2g on veth: 3 pages wrong") in results.aims(row)


def test_aims_are_missed_when_they_are():
    row = a_row()
    assert all(met for met, _ in results.aims(row)), results.aims(row)
    row["ratio"]["total_time"] = 0.51
    row["godwit"]["pause_ms"]["median"] = 12.1
    row["godwit"]["throughput_gbit_s"]["median"] = 13.9
    missed = " ".join(text for met, text in results.aims(row) if not met)
    assert "0.51" in missed and "+2.1 ms" in missed and "70 %" in missed


def test_quick_counts_the_trial_and_gives_the_best_variant_as_many_runs_as_godwit():
    runs = {}
    times = {"godwit": 0.5, "godwit_tls": 0.6, "multifd_1": 3.0, "multifd_2": 1.0, "multifd_4": 2.0}
    order = plan.quick(["godwit", "godwit_tls"], runs, 3)
    plan.carry_out(order, runs, lambda key: measured(key, times[key]))
    counts = {key: len(value) for key, value in runs.items()}
    assert counts == {"godwit": 3, "multifd_1": 1, "multifd_2": 3, "multifd_4": 1, "godwit_tls": 1}
    assert results.row("x", "veth", runs)["peer"]["label"] == "multifd_2"


def test_what_does_not_converge_is_not_tried_again():
    runs = {}
    plan.carry_out(plan.full(["godwit"], 5), runs, lambda key: failed(key) if key == "multifd_4" else measured(key, 1.0))
    assert {key: len(value) for key, value in runs.items()} == {
        "godwit": 5, "multifd_1": 5, "multifd_2": 5, "multifd_4": 1,
    }  # fmt: skip


def test_plots_are_wellformed_and_have_a_dot_a_run():
    for drawing in plots({"scenarios": [a_row()]}).values():
        tree = ElementTree.fromstring(drawing)
        assert len(tree.findall("{http://www.w3.org/2000/svg}circle")) == 6  # godwit's three, the best variant's three


def test_a_command_line_that_is_not_understood_is_refused():
    places = Places(9, Path("/k"), Path("/i"), "tap0", Path("/q"), Path("/c"))
    words = ["qemu", "-S", "-kernel", "/proc/self/fd/5", "-initrd", "/proc/self/fd/6", "-netdev", "tap,id=n,fd=7,vhost=off",
             "-chardev", "socket,id=gw.qmp,fd=8,server=on,wait=off",
             "-object", '{"qom-type":"memory-backend-file","mem-path":"/proc/self/fd/4"}']  # fmt: skip
    assert "/proc/self/fd/9" in " ".join(rewrite(words, Path("/qemu"), places, incoming=False))
    assert rewrite(words, Path("/qemu"), places, incoming=True)[-2:] == ["-incoming", "defer"]
    with pytest.raises(UnknownCommandLine):
        rewrite([*words, "-add-fd", "fd=11,set=1"], Path("/qemu"), places, incoming=False)
    with pytest.raises(UnknownCommandLine):
        rewrite(words[:4], Path("/qemu"), places, incoming=False)


def test_cpu_time_and_bytes_are_those_of_the_kernel(lab):
    host1, host2 = lab.hosts[:2]
    with host1.popen(["sh", "-c", "while :; do :; done"]) as busy:
        try:
            meter = CpuMeter([busy.pid])
            time.sleep(0.5)
            used_s = meter.stop()
        finally:
            busy.kill()
    assert 0.1 < used_s < 0.7  # it may have to share its core
    before = wire_bytes(host1, MOTION_LINK)
    host1.run(["ping", "-q", "-c", "10", "-i", "0.01", "-s", "1000", host2.address(MOTION_LINK)], check=True, capture_output=True)
    assert 20_000 < wire_bytes(host1, MOTION_LINK) - before < 30_000  # ten there, ten back, and ARP
    warm(64 << 20)


@pytest.fixture(scope="module", name="bench")
def fixture_bench(lab):
    """One for the lab, since it numbers the guests."""
    return Bench(lab, installed(QEMU), goal_ms=500)


def test_the_peer_moves_a_guest_and_everything_is_measured(bench):
    small = Scenario("small", memory_mib=256, touched_mib=32, working_set_mib=32, rate_mb_s=20)
    run = Run(lambda directory: QemuContender(bench, small, directory, channels=2))
    run.boot()
    found = run.measure(deadline_s=60)
    run.finish()
    assert found.completed, found.reason
    assert 0 < found.pause_ms / 1e3 < found.total_s < 60
    assert found.live_s + found.pause_ms / 1e3 == pytest.approx(found.total_s)
    assert found.gap_ms > found.pause_ms * 0.8
    assert 64 << 20 < found.wire_bytes < 1 << 30
    assert found.cpu_s > 0
    assert found.writer_before_mb_s > 5 and found.writer_mb_s > 1
    assert found.pages_verified >= 16384
    # QEMU before 9.0 may lose updates of a TCG guest: that is told, and no failure of the bench.
    assert found.pages_wrong == 0 or bench.qemu.loses_updates


def test_the_peer_that_does_not_converge_is_called_off_and_its_guest_runs_on(lab, bench):
    bench = replace(bench, goal_ms=10)
    busy = Scenario("busy", memory_mib=256, touched_mib=16, working_set_mib=64, rate_mb_s=40)
    for host in lab.hosts:
        lab.link(host.name, MOTION_LINK).set_rate("100mbit")
    try:
        run = Run(lambda directory: QemuContender(bench, busy, directory, channels=1))
        run.boot()
        began = time.monotonic()
        found = run.measure(deadline_s=8)
        run.finish()
    finally:
        for host in lab.hosts:
            lab.link(host.name, MOTION_LINK).set_rate(None)
    assert not found.completed and "not converged in 8 s" in found.reason
    assert time.monotonic() - began < 40
    assert found.pages_wrong == 0
