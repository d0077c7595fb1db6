"""Bounds in words: their names, and in one sentence why a layer takes as long as it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..._foundation.quantity import format_percent, format_si, format_time

_LABELS = {
    "matmul": "matrix units", "vector": "vector units", "sram": "on-chip memory", "cache": "cache bandwidth",
    "hbm": "memory bandwidth", "host_dram": "host memory bandwidth", "disk": "disk bandwidth",
    "launch": "kernel launches", "host": "host time", "latency": "kernel latency", "tile_waste": "tile and wave waste",
    "bubble": "pipeline bubble", "queue": "queueing", "capacity": "memory capacity",
}  # fmt: skip
_PREFIX_LABELS = {"unit": "{} units", "link": "{} link", "stage": "stage {}"}


def bound_label(bound: str) -> str:
    """A bound in words: ``hbm`` → ``memory bandwidth``, ``link:nvlink`` → ``nvlink link``."""
    if bound in _LABELS:
        return _LABELS[bound]
    head, _, rest = bound.partition(":")
    return _PREFIX_LABELS[head].format(rest) if rest and head in _PREFIX_LABELS else bound


@dataclass(slots=True)
class Sums:
    """What a layer's kernels add up to over the call.

    Attributes:
        time, waiting: seconds in all, and those the device waits for the host.
        kernels: kernel instances.
        latency: serial seconds of start-up and dependent steps.
        flops, bytes: matrix FLOPs required, main-memory bytes moved.
        busy, least: seconds by resource: as expected, and at the hardware's peaks.
        spent: seconds under each bound.
    """

    time: float = 0.0
    waiting: float = 0.0
    kernels: float = 0.0
    latency: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0
    busy: dict[str, float] = field(default_factory=dict)
    least: dict[str, float] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)

    def add(self, other: Sums) -> None:
        """Another's figures on top; every field is a sum."""
        for name in ("time", "waiting", "kernels", "latency", "flops", "bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("busy", "least", "spent"):
            into: dict[str, float] = getattr(self, name)
            for key, seconds in getattr(other, name).items():
                into[key] = into.get(key, 0.0) + seconds

    @property
    def bound(self) -> str:
        """What most of the time is spent under; "" where none is."""
        return max(self.spent, key=lambda name: self.spent[name], default="")

    @property
    def limit(self) -> float:
        """The speed of light of all kernels together: the busiest resource's sum."""
        return max(self.least.values(), default=0.0)


def reason(sums: Sums) -> str:
    """Why a layer takes its time, from the busy seconds of its kernels and nothing else."""
    bound, time = sums.bound, sums.time
    if not bound or not (math.isfinite(time) and time > 0):
        return ""
    if bound == "launch" and not sums.kernels:
        return "the host issues kernels more slowly than the device runs them"
    if bound == "launch":
        return f"the device waits for the host to issue kernels, {_share(sums.waiting, time)} of the time"
    if bound == "latency":
        each = format_time(time / sums.kernels) if sums.kernels else "–"
        return (
            f"{sums.kernels:,.0f} kernels of {each}: start-up and dependent steps are {_share(sums.latency, time)}"
            f"{_next(sums, time, '')}"
        )
    if bound == "tile_waste":
        full = sums.least.get("matmul", 0.0)
        return (
            f"partial tiles and waves: matrix units are busy {format_time(sums.busy.get('matmul', 0.0))} with what full "
            f"tiles would take {format_time(full)}"
        )
    amount = ""
    if bound == "hbm" and sums.bytes:
        amount = f" moving {format_si(sums.bytes, 'B')}"
    elif bound == "matmul" and sums.flops:
        amount = f" on {format_si(sums.flops, 'FLOP')}"
    elif bound not in sums.busy:
        return ""
    busy = "are" if bound_label(bound).endswith("units") else "is"
    share = _share(sums.busy.get(bound, 0.0), time)
    return f"{bound_label(bound)} {busy} busy {share} of the time{amount}{_next(sums, time, bound)}"


def _next(sums: Sums, time: float, bound: str) -> str:
    """The busiest other resource."""
    others: Mapping[str, float] = {name: s for name, s in sums.busy.items() if name != bound and s > 0}
    if not others:
        return ""
    name = max(others, key=lambda key: others[key])
    return f"; {bound_label(name)} {_share(others[name], time)}"


def _share(part: float, whole: float) -> str:
    return format_percent(min(part / whole, 1.0), 0) if math.isfinite(part) else "–"
