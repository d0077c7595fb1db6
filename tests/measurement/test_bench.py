"""Timing, evidence and machine files: laws of the median's interval, resuming, what bad files are told."""

import json
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadFile, BadInput
from speedlight.hardware.catalogue import load_machine
from speedlight.measurement.bench.evidence import Evidence, measurement, read, resumed, write
from speedlight.measurement.bench.machine_file import machine_data, measured_rates, write_machine
from speedlight.measurement.bench.plan import points
from speedlight.measurement.bench.timing import Timed, median_interval, timed

MIB = 2**20
seconds = st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=60)


@given(seconds)
def test_the_median_lies_in_its_interval(samples):
    low, middle, high = median_interval(samples)
    assert min(samples) <= low <= middle <= high <= max(samples)


@given(seconds)
def test_the_interval_follows_the_unit(samples):
    assert median_interval([2 * s for s in samples]) == pytest.approx([2 * s for s in median_interval(samples)])


def test_the_interval_by_the_tables():
    # n = 25, 95 %: the 8th and 18th of the ordered sample (David and Nagaraja 2003, §7.1; any table of order statistics).
    assert median_interval(list(range(1, 26))) == (8, 13, 18)
    assert median_interval([3.0]) == (3.0, 3.0, 3.0)


def test_a_known_pause_is_timed():
    found = timed(lambda: time.sleep(0.004), seconds=0.15)
    assert 0.004 <= found.median < 0.02
    assert found.low <= found.median <= found.high
    assert found.runs == 1
    assert len(found.samples) >= 3


def test_points_have_names_of_their_own():
    plan = points(32 * MIB)
    assert len({p.name for p in plan}) == len(plan)
    quick = [p for p in plan if p.quick]
    assert plan[: len(quick)] == tuple(quick)
    assert 15 <= len(quick) <= 35


def fixed(name, sort, op, sizes, seconds, **more):
    return measurement(name, sort, op, sizes, Timed(seconds, seconds, seconds, (seconds,), 1, True), **more)


def example():
    """A machine of 100 GFLOP/s; 200 GB/s from its first cache, 20 from memory."""
    products = [
        fixed(f"mm{n}", "operator", "mm", {"m": n, "n": n, "k": n, "format": "fp32"}, 2 * n**3 / 1e11)
        for n in (64, 2048)
    ]
    streams = [
        fixed(f"s{size}", "stream", "triad", {"working_set": size}, size / rate, moved=float(size))
        for size, rate in ((8192, 200e9), (256 * MIB, 20e9))
    ]
    return Evidence(
        {"id": "here", "name": "Mine"},
        {"date": "today", "device": "cpu", "versions": {}},
        (*products, *streams),
        {},
        True,
    )


def test_rates_of_a_machine_file(tmp_path):
    machine = load_machine("here")
    rates = measured_rates(example(), machine)
    assert rates["engines.cores.peaks.matmul.fp32.fp32"] == (pytest.approx(1e11), "mm2048")
    assert rates["tiers.dram.bandwidth"][0] == pytest.approx(20e9)
    loaded = load_machine(str(write_machine(tmp_path / "m.yaml", example(), machine)))
    assert loaded.main.bandwidth == pytest.approx(20e9)
    fact = loaded.facts["tiers.dram.bandwidth"]
    assert fact.grade == "measured"
    assert "s268435456" in fact.source
    assert loaded.facts["tiers.dram.latency_s"].grade == "assumed"
    unmeasured = machine_data(Evidence({}, {}), machine, "x")
    assert any("interrupted" in note for note in unmeasured["notes"])


def test_evidence_comes_back_whole(tmp_path):
    write(tmp_path / "e.json", example())
    assert read(tmp_path / "e.json") == example()
    again = resumed(tmp_path / "e.json", {"name": "Mine"}, {"device": "cpu", "versions": {}})
    assert again.done() == {"mm64", "mm2048", "s8192", f"s{256 * MIB}"}
    assert not resumed(tmp_path / "none.json", {"name": "Mine"}, {}).points


@pytest.mark.parametrize(
    ("machine", "context"),
    [({"name": "Other"}, {"device": "cpu", "versions": {}}), ({"name": "Mine"}, {"device": "cuda", "versions": {}})],
)
def test_evidence_of_another_machine_is_refused(tmp_path, machine, context):
    write(tmp_path / "e.json", example())
    with pytest.raises(BadInput, match="another"):
        resumed(tmp_path / "e.json", machine, context)


def test_bad_evidence_is_refused(tmp_path):
    write(tmp_path / "good.json", example())
    good = json.loads((tmp_path / "good.json").read_text())
    bad = [
        "", "[]", "{", '{"schema": 1}', json.dumps({**good, "schema": 9}), json.dumps({**good, "sort": "device"}),
        json.dumps({**good, "points": [{**good["points"][0], "median": -1.0}]}), json.dumps({**good, "points": [{**good["points"][0], "low": "x"}]}),
        '{"points": ' + "[" * 10**6,
    ]  # fmt: skip
    for number, text in enumerate(bad):
        path = tmp_path / f"{number}.json"
        path.write_text(text)
        with pytest.raises(BadFile):
            read(path)


def test_an_interrupted_measurement_goes_on(tmp_path, monkeypatch):
    """A break between points loses nothing that was measured, and what is measured is not measured again."""
    pytest.importorskip("torch")
    from speedlight.measurement.bench import run

    plan = [p for p in points(MIB) if p.sort == "launch"][:3]
    path = tmp_path / "e.json"
    asked = []

    def one(point, device, seconds):
        asked.append(point.name)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return fixed(point.name, point.sort, point.op, point.sizes, 1e-6)

    monkeypatch.setattr(run, "_one", one)
    with pytest.raises(KeyboardInterrupt):
        run.measure(plan, Evidence({"name": "Mine"}, {"device": "cpu"}), path, patience=0)
    kept = read(path)
    assert kept.done() == {plan[0].name, plan[1].name}
    assert not kept.complete
    run.measure(plan, kept, path, patience=0)
    assert asked == [p.name for p in plan] + [plan[2].name]
    assert read(path).complete


@pytest.mark.parametrize("patience", [0, 60])
def test_the_faster_of_two_measurements_counts(monkeypatch, patience):
    pytest.importorskip("torch")
    from speedlight.measurement.bench import run

    plan = [p for p in points(MIB) if p.sort == "launch"][:3]
    took = iter([1.0, 2.0, 3.0, 4.0, 1.5, 3.0])
    monkeypatch.setattr(run, "_one", lambda p, *_: fixed(p.name, p.sort, p.op, p.sizes, next(took)))
    found = run.measure(plan, Evidence({}, {}), None, patience=patience)
    assert [p.median for p in found.points] == ([1.0, 1.5, 3.0] if patience else [1.0, 2.0, 3.0])
    assert found.complete


ALLOCATING = """
import resource, sys
import numpy as np
from speedlight.measurement.bench.allocator import steady
kept = steady()
def mapped():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2_500_000)  # 20 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first = mapped()
print(kept, first, max(mapped() for _ in range(5)))
"""


def test_memory_is_kept_where_the_c_library_can():
    said = subprocess.run([sys.executable, "-c", ALLOCATING], check=True, capture_output=True, text=True).stdout.split()
    if said[0] == "False":
        pytest.skip("not glibc")
    assert int(said[1]) > 10 * int(said[2])  # pages are new once


def test_peaks_come_from_all_large_products():
    points = [
        fixed("a", "operator", "mm", {"m": 1000, "n": 1000, "k": 1000, "format": "fp32"}, 0.02),
        fixed("b", "operator", "linear", {"m": 512, "n": 2048, "k": 1024, "format": "fp32", "backward": 1}, 1e-4),
        fixed("c", "operator", "conv2d", {"b": 8, "channels": 256, "filters": 256, "side": 32, "kernel": 1, "format": "fp32"}, 0.01),
        fixed("d", "operator", "conv2d", {"b": 8, "channels": 256, "filters": 256, "side": 32, "kernel": 3, "format": "fp32"}, 0.01),
        fixed("e", "stream", "copy", {"working_set": 2**28}, 1e-3, moved=1e9),
    ]  # fmt: skip
    rates = measured_rates(Evidence({}, {}, tuple(points)), load_machine("i9-10940x"))
    name = load_machine("i9-10940x").engine.name
    assert rates == {f"engines.{name}.peaks.matmul.fp32.fp32": (pytest.approx(2 * 8 * 32**2 * 256**2 / 0.01), "c")}
