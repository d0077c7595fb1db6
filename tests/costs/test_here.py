"""The curves of a machine's own operators: what they do to a kernel's time, and what never changes."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedlight._foundation.errors import BadInput
from speedlight.api import make_scenario
from speedlight.costs.calibration.blocks import Axis, Block
from speedlight.costs.calibration.model import Fitted, Part, Spread
from speedlight.costs.families import module_here
from speedlight.costs.families.module_views import TERMS
from speedlight.engine import predict as predicting
from speedlight.hardware.catalogue import load_machine
from speedlight.hardware.local_calibrations import local_calibration
from speedlight.hardware.machine import Curve, LocalCalibration, PointErrors
from speedlight.hardware.spec import CurveSpec, LocalCalibrationSpec, PointErrorsSpec

ONE = (("one", 0.0, 1.0, 1.0),)
NONE = PointErrors(0.0, 0.0)


def calibration(*curves, seconds=(), interval=(0.9, 1.2)):
    return LocalCalibration("modules", "torch-eager", (), 9, "2026-11-26", NONE, NONE, interval, "", curves, seconds)


def level(sort, term, log, of=()):
    return Curve(sort, term, of, ONE, (log, log))


def asked(monkeypatch, own):
    """resnet18 on a CPU that carries the calibration."""
    scenario = make_scenario("resnet18", "i9-10940x", phase="forward", stack="torch-eager")
    machine = load_machine("i9-10940x")
    if own is not None:
        machine = dataclasses.replace(machine, calibrations=(own,))
    monkeypatch.setattr("speedlight.engine.questions.resolve.load_machine", lambda *_: machine)
    return predicting.predict(scenario)


@pytest.fixture
def plain(monkeypatch):
    return asked(monkeypatch, None)


def test_curves_bend_their_sort_and_no_other(monkeypatch, plain):
    found = asked(monkeypatch, calibration(level("conv", "matmul", math.log(4))))
    rows = {r.name: float(r.time) for r in plain.ops}
    slower = {r.kind for r in found.ops if r.name in rows and float(r.time) > 1.2 * rows[r.name]}
    assert slower == {"conv"}


def test_a_function_has_curves_of_its_own(monkeypatch):
    base = calibration(level("stream", "launch", 0.0))
    own = calibration(level("stream", "cache", math.log(8), (("op", "relu"),)), level("stream", "launch", 0.0))
    before, after = asked(monkeypatch, base), asked(monkeypatch, own)
    changed = {
        a.name.rpartition(".")[2] for a, b in zip(before.ops, after.ops, strict=True) if float(b.time) > 1.01 * float(a.time)
    }  # fmt: skip
    assert changed
    assert all("act" in name or "relu" in name for name in changed)


@given(st.floats(-3, 3))
def test_no_curve_takes_a_kernel_below_its_limit(log):
    with pytest.MonkeyPatch.context() as patch:
        found = asked(patch, calibration(*(level(s, t, log) for s in ("conv", "stream") for t in ("matmul", "cache"))))
    assert all(float(r.time) >= float(r.limit) * (1 - 1e-9) for r in found.ops)
    assert float(found.low) <= float(found.time) <= float(found.high)


def test_dispatch_is_the_machines_where_it_was_measured(monkeypatch):
    slow, fast = (
        asked(monkeypatch, calibration(level("conv", "launch", 0.0), seconds=(("dispatch", s),))) for s in (1e-4, 1e-6)
    )
    kernels = sum(float(r.count) for r in slow.ops if r.kind != "gap")
    assert float(slow.time) - float(fast.time) == pytest.approx(99e-6 * kernels, rel=0.02)


def test_another_library_keeps_what_ships(monkeypatch, plain):
    own = dataclasses.replace(calibration(level("conv", "matmul", 2.0)), framework="torch-compile")
    assert float(asked(monkeypatch, own).time) == pytest.approx(float(plain.time))


def test_a_fit_is_written_and_read_back():
    axis = Axis("moved", -10, 8, 2)
    table = np.linspace(-1, 1, axis.count)
    block = Block("cache", (axis,), ("op",))
    part = Part(
        TERMS, module_here.SERIAL, 3.0, (Fitted(block, {("gelu",): table}),), Spread((), {}), frozenset(), frozenset()
    )
    curves = module_here.curves_of({("stream",): part})
    again = module_here.part_of(calibration(*curves), "stream")
    assert again is not None
    assert again.blocks[0].block.axes == (axis,)
    assert np.allclose(again.blocks[0].tables["gelu",], table, atol=5e-4)
    assert module_here.part_of(calibration(*curves), "conv") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": [0.0]}, "1 values for 2 nodes"),
        ({"values": [0.0, 99.0]}, "beyond"),
        ({"values": [0.0, float("nan")]}, "beyond"),
        ({"axes": [("one", 1.0, 0.0, 1.0)]}, "the axis one"),
        ({"axes": [("one", 0.0, 1e9, 1e-3)]}, "the axis one"),
        ({"axes": []}, "values for 1 nodes"),
    ],
)  # fmt: skip
def test_files_with_impossible_curves_are_refused(change, said):
    curve = CurveSpec("conv", "matmul", [("one", 0.0, 1.0, 1.0)], [0.0, 0.0])
    for name, value in change.items():
        curve = CurveSpec(**{**{n: getattr(curve, n) for n in curve.__struct_fields__}, name: value})
    spec = LocalCalibrationSpec(
        "modules",
        "torch-eager",
        {},
        3,
        "2026-11-26",
        PointErrorsSpec(0, 0),
        PointErrorsSpec(0, 0),
        (0.9, 1.1),
        "",
        [curve],
    )
    with pytest.raises(BadInput, match=said):
        local_calibration(spec)
