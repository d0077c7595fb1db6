"""Calibrations in machine files: factors and curves of a person's own measurements, checked."""

from __future__ import annotations

import dataclasses
import math

from .._foundation.errors import BadInput
from .machine import Curve, LocalCalibration, Machine, PointErrors
from .spec import CalibratedSpec, CurveSpec, LocalCalibrationSpec

MOST_NODES = 4096  # of a curve; those that calibrate writes have some tens
STEEPEST = 12.0  # log of a factor


def calibrated(spec: CalibratedSpec, base: Machine) -> Machine:
    """The machine under its own id, with its calibrations; they replace those it had for the same family and framework."""
    if not spec.id:
        raise BadInput("id is empty", expected="a name like my-h100")
    own: dict[tuple[str, str], LocalCalibration] = {}
    for item in spec.calibration:
        place = (item.family, item.framework)
        if place in own:
            raise BadInput(f"calibration of {' / '.join(place)} is stated twice", expected="one for each")
        own[place] = local_calibration(item)
    kept = tuple(c for c in base.calibrations if (c.family, c.framework) not in own)
    return dataclasses.replace(base, id=spec.id, calibrations=(*kept, *own.values()))


def local_calibration(spec: LocalCalibrationSpec) -> LocalCalibration:
    """One calibration, its numbers checked."""
    path = f"calibration.{spec.family}"
    low, high = spec.interval
    for term, factor in spec.factors.items():
        if not (math.isfinite(factor) and factor > 0):
            raise BadInput(f"{path}.factors.{term} is {factor:g}", expected="a positive number")
    if not (0 < low <= 1 <= high < math.inf):
        raise BadInput(f"{path}.interval is [{low:g}, {high:g}]", expected="factors below and above 1, like [0.9, 1.1]")
    for name, value in spec.seconds.items():
        if not 0 <= value < 1:
            raise BadInput(f"{path}.seconds.{name} is {value:g}", expected="a time below a second")
    if spec.points < 1:
        raise BadInput(f"{path}.points is {spec.points}", expected="at least 1")
    before, after = (PointErrors(e.median_ape, e.mape) for e in (spec.before, spec.after))
    return LocalCalibration(
        spec.family,
        spec.framework,
        tuple(spec.factors.items()),
        spec.points,
        spec.date,
        before,
        after,
        (low, high),
        spec.source,
        tuple(_curve(c, f"{path}.curves.{number}") for number, c in enumerate(spec.curves)),
        tuple(spec.seconds.items()),
    )


def _curve(spec: CurveSpec, path: str) -> Curve:
    """One curve: as many values as its axes have nodes, all of them numbers a factor can have."""
    nodes = 1
    for coord, low, high, step in spec.axes:
        if not (
            all(map(math.isfinite, (low, high, step))) and step > 0 and low < high and (high - low) / step < MOST_NODES
        ):
            raise BadInput(f"{path} has the axis {coord} from {low:g} to {high:g} by {step:g}", expected="rising nodes")
        nodes *= round((high - low) / step) + 1
    if not spec.axes or nodes > MOST_NODES or len(spec.values) != nodes:
        raise BadInput(
            f"{path} has {len(spec.values)} values for {nodes} nodes", expected=f"as many, at most {MOST_NODES}"
        )
    if not all(abs(value) <= STEEPEST for value in spec.values):
        raise BadInput(f"{path} has values beyond ±{STEEPEST:g}", expected="logarithms of factors")
    return Curve(spec.sort, spec.term, tuple(spec.of.items()), tuple(spec.axes), tuple(spec.values))
