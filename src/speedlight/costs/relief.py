"""What a kernel would take if what binds it did not: the same busy vector with one resource out of the way.

A kernel takes its busiest resource plus its latency, so with the resource r gone it saves what r needed beyond the next one:

    time without r = time − (work(busy) − work(busy without r)),    never below the limit of what is left

*Tile and wave waste* leaves the matrix unit at what full tiles take, *latency* leaves no start-up and no dependent steps; a wait for
the host (*launch*) is no part of a kernel. What overlapping resources cost each other (a fit's smooth maximum) is not given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .._foundation.arrays import Value, maximum
from ..lowering.kernels import Kernel
from .cost import Cost, largest
from .price import serial_time


@dataclass(frozen=True, slots=True)
class Relief:
    """One kernel instance with one bound out of the way.

    Attributes:
        time: seconds it would take; at most those it takes, at least the limit of what is left.
        busy: seconds each remaining resource works.
        latency: serial seconds that remain.
    """

    time: Value
    busy: Mapping[str, Value]
    latency: Value

    @property
    def bound(self) -> str:
        """What would bind it then; of an array the middle's, "" where nothing is left."""
        seconds = {"latency": self.latency, **self.busy}
        found = {name: float(np.ravel(value)[np.size(value) // 2]) for name, value in seconds.items()}
        name = max(found, key=lambda key: found[key])
        return name if found[name] > 0 else ""


def without(kernel: Kernel, cost: Cost, bound: str) -> Relief:
    """The kernel's cost if ``bound`` (CONTRACT's vocabulary) took no time; unchanged for bounds it does not know."""
    if bound == "latency":
        return Relief(maximum(cost.time - cost.latency, cost.limit), cost.busy, 0.0)
    if bound == "tile_waste":
        if "matmul" not in cost.busy:
            return Relief(cost.time, cost.busy, cost.latency)
        left = {**cost.busy, "matmul": cost.least["matmul"]}
        least: Mapping[str, Value] = cost.least
    else:
        left = {name: seconds for name, seconds in cost.busy.items() if name != bound}
        least = {name: seconds for name, seconds in cost.least.items() if name != bound}
    saved = serial_time(kernel, cost.busy) - serial_time(kernel, left)
    if kernel.efficiency is not None:
        saved = saved / kernel.efficiency
    return Relief(maximum(cost.time - maximum(saved, 0.0), largest(least)), left, cost.latency)
