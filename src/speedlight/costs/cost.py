"""What a kernel costs: busy seconds per resource, for the best physics allows and for what we expect.

Totals, breakdowns, bounds and sensitivities are computed from these busy vectors and nothing else (DESIGN decision 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .._foundation.arrays import Value, maximum
from .._foundation.provenance import Assumption
from ..hardware.machine import Machine

# An analytic time is optimistic: 10 % and 90 % of bf16 products take 1.19 and 3.05 times as long, averaged over the eight
# devices of the gemm table (studies/2026-11-gemm-limit.md). The band lies above the prediction, which it must contain.
UNCALIBRATED_HIGH = math.log(3.05)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What surrounds the kernel, as far as its cost depends on it.

    Attributes:
        residency: ``in-model`` (weights come cold, activations as the previous kernels left them) or ``repeated``
            (a benchmark loops on the same operands, so that all of them may sit in a cache).
        weights_bytes: all weights of the program: when they fit a cache they may stay there from step to step.
        device_latency: whether the launch floor applies.
        step: the kind of step (``decode``, ``prefill`` …), which decides the kernels a stack takes.
        throttle: core clock under the power limit over the operating point's; slows what we expect, not the limit.
    """

    residency: str = "in-model"
    weights_bytes: Value = float("inf")
    device_latency: bool = True
    throttle: Value = 1.0
    step: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """One kernel instance on one device.

    Attributes:
        busy: seconds each resource works, as we expect it (tiles, passes, residency included).
        least: seconds each resource must work at the hardware's peaks.
        latency: serial seconds that overlap with nothing: launch floor, dependent steps.
        time: what the instance takes on the device: the busiest resource (or the sum of serial parts) + latency.
        limit: the speed of light: the largest of ``least``.
        bound: index into :func:`bound_names` of what sets ``time``.
        flops, dense: matrix FLOPs required, and under the unmasked convention.
        bytes: main-memory bytes moved, as we expect it.
        layer: ``limit``, ``analytic`` or ``calibrated``: what ``time`` rests on.
        basis: the fit's id, or "".
        low, high: logs of the factors from ``time`` to the ends of its 80 % interval (≤ 0 and ≥ 0).
        shared: share of the error's variance that all kernels of ``error_key`` have in common.
        error_key: family of residuals it shares (DESIGN decision 4).
        way: of an analytic message the algorithm and protocol that were taken (``ring/Simple``); where points differ, all of theirs.
        notes: what an answer is to list of how the kernel runs.
    """

    busy: Mapping[str, Value]
    least: Mapping[str, Value]
    latency: Value
    time: Value
    limit: Value
    bound: Value
    flops: Value
    dense: Value
    bytes: Value
    layer: str = "analytic"
    basis: str = ""
    low: Value = 0.0
    high: Value = UNCALIBRATED_HIGH
    shared: float = 1.0
    error_key: tuple[str, str, str] = ("", "", "")
    way: str = ""
    notes: tuple[Assumption, ...] = ()


# Bounds every machine has, in CONTRACT's vocabulary; a kernel's ``bound`` is an index, so that arrays stay numeric.
_FIXED = (
    "matmul",
    "vector",
    "unit:transcendental",
    "cache",
    "hbm",
    "host_dram",
    "disk",
    "sram",
    "unit:near",
    "latency",
    "tile_waste",
)


def bound_names(machine: Machine) -> tuple[str, ...]:
    """Every bound a kernel on this machine can have: its own units and links beside those that all have."""
    return _names(_own(machine))


def _own(machine: Machine) -> tuple[str, ...]:
    units = {
        f"unit:{p.unit}": None for p in machine.engine.peaks if p.unit not in ("matmul", "vector", "transcendental")
    }
    domains = {f"link:{d.name}": None for d in machine.domains}
    host = {f"link:{k.name}": None for k in machine.links if k.role in ("host", "edge")}
    return tuple({**units, **domains, **host})


@lru_cache(maxsize=256)
def _names(own: tuple[str, ...]) -> tuple[str, ...]:
    return (*_FIXED, *own, "launch", "host", "bubble")


def largest(busy: Mapping[str, Value]) -> Value:
    """The busiest resource's seconds."""
    best: Value = 0.0
    for value in busy.values():
        best = maximum(best, value)
    return best


def bound_of(machine: Machine, busy: Mapping[str, Value], least: Mapping[str, Value], latency: Value) -> Value:
    """Index of what sets the time; matrix work whose waste alone makes it the largest is ``tile_waste``."""
    places = _numbered(_own(machine))
    positions = [places["latency"]]
    best: Value = latency
    found: Value = 0  # which of the positions; later ones are larger, so that taking their place is a maximum
    others: Value = latency
    matmul = 0
    for resource, value in busy.items():
        positions.append(places[resource])
        found = _later(value > best, len(positions) - 1, found)
        best = maximum(best, value)
        if resource != "matmul":
            others = maximum(others, value)
        else:
            matmul = len(positions) - 1
    if matmul:
        positions.append(places["tile_waste"])
        found = _later((found == matmul) & (least["matmul"] < others), len(positions) - 1, found)
    return np.array(positions, dtype=np.int8).take(found) if isinstance(found, np.ndarray) else positions[found]


def _later(here: Value, number: int, found: Value) -> Value:
    """The number where it holds; a byte a point, a quarter of the time of ``where``."""
    if isinstance(here, np.ndarray):
        return np.maximum(found, here * np.int8(number))
    return number if here else found


@lru_cache(maxsize=256)
def _numbered(own: tuple[str, ...]) -> Mapping[str, int]:
    return {name: number for number, name in enumerate(_names(own))}
