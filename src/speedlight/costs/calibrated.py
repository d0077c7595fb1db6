"""The calibrated layer: a kernel's analytic cost bent by its family's fit, where one applies.

Families register how they see a lowered kernel (``SEERS``, by its function or else by its cost family); what they see is what
their fit was fitted on, so a kernel in a model and a row of a table are one thing. Where no family sees a kernel, or no fit is
shipped, the analytic cost stands.

A machine that carries its owner's own measurements (``Machine.calibrations``) has them layered over the fit, or over the
analytic terms where none is shipped.

Kernel tables loop on warm operands; in a model weights come cold. The view of a kernel in a model says so through its
coordinates (operands larger than the cache), not through another fit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from .._foundation.arrays import Value, maximum, minimum, where
from .._foundation.folding import Folded, at_points
from ..hardware.machine import LocalCalibration, Machine, OperatingPoint
from ..lowering.kernels import BLOCKS, Kernel, KernelValues
from . import families  # noqa: F401  registers what each family sees
from .calibration.local import bare, family_of, local_of, localised, unbent
from .calibration.model import Bends, Estimate, Part, bends, bent
from .calibration.samples import architecture_of
from .calibration.seen import SEERS, Seen, framework_of
from .calibration.store import shipped
from .cost import Conditions, Cost, bound_of
from .families.module_here import along, here, part_of, sight

# Kinds of engines that no table measured, and whose kernels have nothing in common with a GPU's.
UNMEASURED = ("dataflow", "in-memory")


def calibrate(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost,
    folded: Folded | None = None,
) -> Cost:  # fmt: skip
    """The cost with its time, busy seconds and interval by the fit; unchanged where there is none.

    Args:
        folded: points whose sizes are equal although their rates differ; their coordinates are looked at once.
    """
    apart = (
        kernel.efficiency is not None or kernel.rates or kernel.even or BLOCKS in kernel.dims
    )  # a kernel other than those measured
    if not kernel.library or apart or machine.engine.kind in UNMEASURED:
        return cost
    own = here(kernel, machine)
    if own is not None:
        return _measured_here(kernel, values, machine, cost, own)
    seen = _seen(kernel, values, machine, point, conditions, cost)
    if seen is None:
        return cost
    fit = shipped(seen.family)
    framework = seen.key.get("framework") or framework_of(kernel.library, seen.family, seen.key.get("format", ""))
    if not framework:
        return cost
    key = {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": framework,
        **seen.key,
    }  # fmt: skip
    local = local_of(machine.calibrations, seen.family, framework)
    part = fit.part(key) if fit is not None else None
    if part is None or fit is None:
        family = family_of(seen.family)
        if local is None or family is None:
            return cost
        part = bare(family.parallel, family.serial)
        found = localised(part, unbent(), local)
        return _bent(cost, seen, bent(part, found, seen.terms, cost.limit), machine, f"local {seen.family}")
    key["version"] = key.get("version") or part.version(key)
    if folded is None:
        found = _bends(part, key, seen.coords(values, conditions), seen.terms)
    else:
        points, sorts = folded
        size = sorts.size
        coords = seen.coords(at_points(values, points, size), at_points(conditions, points, size))
        found = at_points(_bends(part, key, coords, seen.terms), sorts, points.size)
    basis = str(fit.header["id"])
    if framework not in (kernel.library.get("", framework), seen.family):
        basis = f"{basis} by {framework}"  # the stack takes another's kernels here
    if local is not None:
        found, basis = localised(part, found, local), f"{basis} + local {seen.family}"
    return _bent(cost, seen, bent(part, found, seen.terms, cost.limit), machine, basis)


def _measured_here(kernel: Kernel, values: KernelValues, machine: Machine, cost: Cost, own: LocalCalibration) -> Cost:
    """By the curves of the machine's own operators, over whatever ships."""
    seen = sight(kernel, values, machine, cost)
    part = part_of(own, seen.key["sort"])
    assert part is not None
    found = along(part, seen, seen.coords(values, Conditions()), own)
    return _bent(cost, seen, bent(part, found, seen.terms, cost.limit), machine, f"local {own.family}")


def _seen(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Seen | None:
    """What the first family to know the kernel sees: families the stack's library names come first."""
    named = [SEERS.find(name) for name in kernel.library]
    for seer in (*named, SEERS.find(kernel.fn) or SEERS.find(kernel.family)):
        if seer is not None:
            seen = seer(kernel, values, machine, point, conditions, cost)
            if seen is not None:
                return seen
    return None


def _bends(part: Part, key: Mapping[str, str], coords: Mapping[str, Value], names: Iterable[str]) -> Bends:
    """By the kernel the stack chooses; where that differs from point to point, each point by its own."""
    chosen = part.choice.codes(key, coords) if part.choice is not None else ""
    if isinstance(chosen, str):
        return bends(part, {**key, "kernel": chosen}, coords, names)
    kernels, codes = chosen
    shape = np.broadcast_shapes(codes.shape, *(np.shape(v) for v in coords.values()))
    flat = np.broadcast_to(codes, shape).reshape(-1)
    low, high = np.empty(flat.size), np.empty(flat.size)
    factor: dict[str, np.ndarray] = {}
    for number in np.flatnonzero(np.bincount(flat)).tolist():
        rows = np.flatnonzero(flat == number)
        own = {n: _at_rows(value, shape, rows) for n, value in coords.items()}
        found = bends(part, {**key, "kernel": kernels[number]}, own, names)
        low[rows], high[rows] = found.low, found.high
        for term, value in found.factor.items():
            factor.setdefault(term, np.ones(flat.size))[rows] = value
    shaped = {term: value.reshape(shape) for term, value in factor.items()}
    return dataclasses.replace(found, factor=shaped, low=low.reshape(shape), high=high.reshape(shape))


def _at_rows(value: Value, shape: tuple[int, ...], rows: np.ndarray) -> Value:
    """Some of a coordinate's values, counted over the whole shape; a number is that of every point."""
    return np.broadcast_to(value, shape).reshape(-1)[rows] if isinstance(value, np.ndarray) else value


def _bent(cost: Cost, seen: Seen, said: Estimate, machine: Machine, fit_id: str) -> Cost:
    """Busy seconds follow the fit where a term is a resource; other resources stay as analysed, within the time."""
    fitted: dict[str, Value] = {}
    latency: Value = seen.gap
    for term, seconds in said.busy.items():
        resource = seen.resources.get(term)
        if resource is not None:
            fitted[resource] = maximum(seconds, fitted.get(resource, cost.least.get(resource, 0.0)))
        else:
            latency = latency + seconds
    time = said.time + seen.gap
    busy = {resource: minimum(seconds, time) for resource, seconds in {**cost.busy, **fitted}.items()}
    full = dataclasses.replace(
        cost, busy=busy, latency=minimum(latency, time), time=maximum(time, cost.limit),
        bound=bound_of(machine, busy, cost.least, latency), layer="calibrated", basis=fit_id,
        low=said.low, high=said.high, shared=said.shared,
        error_key=(seen.family, machine.device_id, said.depth), notes=seen.notes,
    )  # fmt: skip
    return full if seen.applies is True else _partly(seen.applies, full, cost)


def _partly(here: Value, fitted: Cost, cost: Cost) -> Cost:
    """The fitted cost where it applies, the longer of it and the analytic one elsewhere."""
    longer = here | (fitted.time > cost.time)
    if not np.any(longer):
        return cost

    def pick(mine: Value, other: Value) -> Value:
        return where(longer, mine, other)

    def pick_where(mine: Value, other: Value) -> Value:
        return where(here, mine, other)

    return dataclasses.replace(
        fitted,
        busy={name: pick(seconds, cost.busy.get(name, 0.0)) for name, seconds in fitted.busy.items()},
        latency=pick(fitted.latency, cost.latency), time=pick(fitted.time, cost.time), bound=pick(fitted.bound, cost.bound),
        low=pick_where(fitted.low, cost.low), high=pick_where(fitted.high, cost.high),
        shared=pick_where(fitted.shared, cost.shared),
    )  # fmt: skip
