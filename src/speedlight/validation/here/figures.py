"""What single operators tell beside the time of kernels: an operator's dispatch, and memory that is new from the system."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from ...costs.families.module_here import RETURNED
from ...measurement.bench.evidence import Measurement
from ...measurement.bench.operators import FP8, MIXED

# The same function into new memory, and into memory that is there.
FRESH = (("relu", "relu_"), ("clone", "copy"))
FLOAT = 4.0  # bytes
HOST_ONLY = ("view", "module", "mixed", "recorded")


def hot_dispatch(points: Sequence[Measurement]) -> float:
    """Seconds that every operator costs the host in a benchmark's loop: those of the cheapest; 0 where none was measured."""
    found = [p.median for p in points if p.sort == "launch" and p.op not in HOST_ONLY]
    return min(found, default=0.0)


def dispatch(points: Sequence[Measurement]) -> float:
    """Seconds an operator costs the host inside a model: in a loop, and what is dearer there.

    A module calls it (what a module adds to a view), and large operators have driven its code and tables out of the core's
    caches (what tiny operators take after a copy beyond what they take in a loop).
    """
    launch = {(p.op, p.sizes.get("operators")): p.median for p in points if p.sort == "launch"}
    by_name: dict[str, float] = {}
    for p in points:  # an operator's cheapest call, which is the one among the mixed ones
        if p.sort == "launch":
            by_name[p.op] = min(by_name.get(p.op, p.median), p.median)
    found = hot_dispatch(points)
    if {"view", "module"} <= set(by_name):
        found += max(by_name["module"] - by_name["view"], 0.0)
    bare, mixed = launch.get(("mixed", 0)), launch.get(("mixed", len(MIXED)))
    known = [by_name[name] for name in MIXED if name in by_name]
    if bare is not None and mixed is not None and known:
        found += max((mixed - bare) / len(MIXED) - sum(known) / len(known), 0.0)
    return found


def page_seconds(points: Sequence[Measurement]) -> float:
    """Seconds a byte of new memory costs: the same function into a block that the allocator takes from the system, less
    into memory that is there; 0 where no such pair was measured."""
    seconds = {(p.op, float(p.sizes["elements"])): p.median for p in points if set(p.sizes) == {"elements"}}
    found = []
    for new, old in FRESH:
        for (op, elements), value in seconds.items():
            if op == new and elements * FLOAT >= RETURNED and (old, elements) in seconds:
                found.append((value - seconds[old, elements]) / (elements * FLOAT))
    return max(median(found), 0.0) if found else 0.0


def told_apart(point: Measurement) -> bool:
    """Points that only serve to tell something else, or tell of two things at once: copies into large blocks that are there, an
    addition's gradients, which autograd hands on as they are, updates of parameters whose temporaries are new memory, and products
    in a format that no capture takes."""
    if point.op == FP8 or (point.sizes.get("backward") and point.op == "add"):
        return True
    return point.op in ("copy", "relu_", "adamw") and float(point.sizes.get("elements", 0)) * FLOAT >= RETURNED


def backward_call(points: Sequence[Measurement]) -> float:
    """Seconds that starting a backward pass takes: those of the gradients of a sum, which are handed on."""
    return min((p.median for p in points if p.op == "add" and p.sizes.get("backward")), default=0.0)


def recorded(points: Sequence[Measurement]) -> float | None:
    """Seconds an operator costs the host in a training step, forward and backward alike: tiny ones that autograd records."""
    found = [p for p in points if p.op == "recorded"]
    if not found:
        return None
    point = found[0]
    return max(point.median - backward_call(points), 0.0) / (2.0 * float(point.sizes["steps"]))
