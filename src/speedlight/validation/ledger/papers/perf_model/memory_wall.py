"""AI and Memory Wall: peaks grow faster than memory, memory faster than links.

Growth is the slope of a figure's logarithm over the years in which machines came, here of the catalogue's, with the error of the slope.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .....hardware.machine import Machine
from ...bench import Bench
from ...finding import Finding, Span, over
from ...registry import derives

NVIDIA = (
    "k80-die",
    "p100-sxm2-16gb",
    "v100-sxm2-16gb",
    "a100-sxm-40gb",
    "a100-sxm-80gb",
    "h100-sxm-80gb",
    "h200-sxm-141gb",
    "b200-sxm-180gb",
)
OTHERS = ("tpu-v3", "tpu-v4", "tpu-v5p", "tpu-v6e", "tpu-v7x", "mi100", "mi250x-gcd", "mi300x", "mi355x")


def _growth(bench: Bench, figure: Callable[[Machine], float | None]) -> list[Span]:
    spans = []
    for names in bench.unstated("machines", (NVIDIA, NVIDIA + OTHERS), "server accelerators, one vendor's or several"):
        found = [(m.release_year, value) for m in map(bench.machine, names) if m.release_year and (value := figure(m))]
        slope, error = _line([year for year, _ in found], [math.log(value) for _, value in found])
        spans.append(Span(*(math.exp(2.0 * (slope + k * 1.28 * error)) for k in (-1, 0, 1))))
    return spans


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope of the least squares, and its standard error."""
    a, b = np.asarray(x, float), np.asarray(y, float)
    slope, base = np.polyfit(a, b, 1)
    rest = b - (slope * a + base)
    return float(slope), float(np.sqrt(rest @ rest / (len(a) - 2) / ((a - a.mean()) @ (a - a.mean()))))


def _peak(machine: Machine) -> float | None:
    """The largest dense rate in 16 bits or more."""
    rates = [
        float(p.flops)
        for p in machine.engine.peaks
        if p.unit in ("matmul", "vector") and p.format in ("fp16", "bf16", "fp32")
    ]
    return max(rates, default=None)


def _link(role: str) -> Callable[[Machine], float | None]:
    """Of the links of a role: NVLink and its like between devices, PCIe to the host."""
    return lambda machine: max((float(link.bandwidth) for link in machine.links if link.role == role), default=None)


WHY = "the slope over the catalogue's accelerators since 2014; the source counts twenty years and CPUs too"


@derives("ai-and-memory-wall#1")
def peaks(bench: Bench) -> Finding:
    """Times in two years."""
    return over(_growth(bench, _peak), WHY)


@derives("ai-and-memory-wall#2")
def memories(bench: Bench) -> Finding:
    """Of the main memory's bandwidth."""
    return over(_growth(bench, lambda m: float(m.main.bandwidth)), WHY)


@derives("ai-and-memory-wall#3")
def links(bench: Bench) -> Finding:
    """Of links between devices, and of those to the host."""
    spans = [
        span
        for role in bench.unstated(
            "link", ("scale_up", "host"), "between devices (NVLink and its like) or to the host (PCIe)"
        )
        for span in _growth(bench, _link(role))
    ]
    return over(spans, WHY)
