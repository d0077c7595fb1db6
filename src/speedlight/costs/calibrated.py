"""The calibrated layer: a kernel's analytic cost bent by its family's fit, where one applies.

Families register how they see a lowered kernel (``SEERS``); what they see is what their fit was fitted on, so a kernel in
a model and a row of a table are one thing. Where no family sees a kernel, or no fit is shipped, the analytic cost stands.

Kernel tables loop on warm operands; in a model weights come cold. The view of a kernel in a model says so through its
coordinates (operands larger than the cache), not through another fit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .._foundation.arrays import Value, maximum, minimum, where
from ..hardware.machine import Machine, OperatingPoint
from ..lowering.kernels import Kernel, KernelValues
from . import families  # noqa: F401  registers what each family sees
from .calibration.model import Estimate, Part, estimate
from .calibration.samples import View, architecture_of
from .calibration.seen import SEERS, Seen
from .calibration.store import shipped
from .cost import Conditions, Cost, bound_of


def calibrate(
    kernel: Kernel, values: KernelValues, machine: Machine, point: OperatingPoint, conditions: Conditions, cost: Cost
) -> Cost:
    """The cost with its time, busy seconds and interval by the fit; unchanged where there is none."""
    seer = SEERS.find(kernel.family)
    if seer is None or not kernel.library[0] or kernel.efficiency is not None:
        return cost
    seen = seer(kernel, values, machine, point, conditions, cost)
    fit = shipped(seen.family) if seen is not None else None
    if seen is None or fit is None:
        return cost
    framework, version = kernel.library
    key = {
        "device": machine.device_id, "architecture": architecture_of(machine), "framework": framework,
        "version": version, **seen.key,
    }  # fmt: skip
    part = fit.part(key)
    if part is None:
        return cost
    key["version"] = version or part.version(key)
    return _bent(cost, seen, _estimate(part, key, seen.view), machine, str(fit.header["id"]))


def _estimate(part: Part, key: Mapping[str, str], view: View) -> Estimate:
    """By the kernel the stack chooses; where that differs from point to point, each point by its own."""
    chosen = part.choice.kernels(key, view.coords) if part.choice is not None else ""
    if isinstance(chosen, str):
        return estimate(part, {**key, "kernel": chosen}, view.terms, view.coords, view.limit)
    names = sorted(set(chosen.ravel().tolist()))
    found = [estimate(part, {**key, "kernel": name}, view.terms, view.coords, view.limit) for name in names]
    result = found[0]
    for name, other in zip(names[1:], found[1:], strict=True):
        here = chosen == name
        result = dataclasses.replace(
            result, time=where(here, other.time, result.time), low=where(here, other.low, result.low),
            high=where(here, other.high, result.high),
            busy={term: where(here, seconds, result.busy[term]) for term, seconds in other.busy.items()},
        )  # fmt: skip
    return result


def _bent(cost: Cost, seen: Seen, said: Estimate, machine: Machine, fit_id: str) -> Cost:
    """Busy seconds follow the fit where a term is a resource; other resources stay as analysed, within the time."""
    busy = dict(cost.busy)
    latency: Value = 0.0
    for term, seconds in said.busy.items():
        if term in seen.resources:
            busy[seen.resources[term]] = maximum(seconds, cost.least.get(seen.resources[term], 0.0))
        else:
            latency = latency + seconds
    busy = {resource: minimum(seconds, said.time) for resource, seconds in busy.items()}
    return dataclasses.replace(
        cost, busy=busy, latency=minimum(latency, said.time), time=maximum(said.time, cost.limit),
        bound=bound_of(machine, busy, cost.least, latency), layer="calibrated", basis=f"{fit_id} ({said.depth})",
        low=said.low, high=said.high, shared=said.shared,
        error_key=(seen.family, machine.device_id, said.depth),
    )  # fmt: skip
