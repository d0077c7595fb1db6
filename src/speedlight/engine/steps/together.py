"""Kernels of one structure priced in one call, their numbers along an axis of their own.

A network holds hundreds of kernels and some ten structures (a convolution, a norm, a sum of two …); what a cost takes is mostly
Python, so one call over all of a structure takes little longer than one over one. Pricing is elementwise, so the result is
the same; fits that look at a kernel's attributes or at all points at once are asked kernel by kernel.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..._foundation.arrays import Value, shape_of
from ...costs.calibrated import calibrate
from ...costs.cost import Conditions, Cost
from ...costs.families.module_here import here
from ...costs.families.module_kernels import sees
from ...costs.price import price
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, Numbers, Program, Slots

MOST = 256  # points up to which calls cost more than arithmetic
NUMBERS = ("latency", "time", "limit", "bound", "flops", "dense", "bytes", "low", "high")
Chosen = Mapping[int, tuple[Kernel, Slots]]  # by sort


def stacks(
    program: Program, numbers: Numbers, chosen: Chosen, machine: Machine, point: OperatingPoint, conditions: Conditions,
    may: Callable[[Kernel], bool],
) -> list[tuple[int, ...]]:  # fmt: skip
    """Sorts that can be priced together, at least two of each structure.

    Args:
        may: whether kernels of one's structure may.
    """
    shape = numbers.shape
    if math.prod(shape) > MOST or len(shape_of((machine, point, conditions))) > len(shape):
        return []
    alike: dict[object, list[int]] = {}
    for sort, (kernel, _) in chosen.items():
        if kernel.message is None:
            alike.setdefault(program.structure(kernel), []).append(sort)
    return [tuple(sorts) for sorts in alike.values() if len(sorts) > 1 and may(chosen[sorts[0]][0])]


def elementwise(kernel: Kernel, machine: Machine) -> bool:
    """Whether its cost looks at numbers one by one and at no attribute: no fit's, that of whole modules, or the machine's own."""
    return (
        not kernel.library
        or kernel.efficiency is not None
        or here(kernel, machine) is not None
        or sees(kernel, machine)
    )


def priced(
    program: Program, numbers: Numbers, chosen: Chosen, machine: Machine, point: OperatingPoint, conditions: Conditions
) -> dict[int, Cost]:  # fmt: skip
    """Costs of the sorts that can be priced together."""
    found: dict[int, Cost] = {}
    axes = len(numbers.shape) + 1

    def may(kernel: Kernel) -> bool:
        return elementwise(kernel, machine)

    for sorts in stacks(program, numbers, chosen, machine, point, conditions, may):
        kernel = chosen[sorts[0]][0]
        values = numbers.stacked(sorts, [chosen[sort][1] for sort in sorts])
        cost = calibrate(kernel, values, machine, point, conditions, price(kernel, values, machine, point, conditions))
        found.update(zip(sorts, _apart(cost, len(sorts), axes), strict=True))
    return found


def _apart(cost: Cost, count: int, axes: int) -> list[Cost]:
    """The cost of each kernel of a stack."""

    def rows(value: Value) -> Sequence[Value]:
        if not isinstance(value, np.ndarray) or value.ndim < axes:
            return [value] * count
        found: Sequence[Value] = value.tolist() if axes == 1 else list(value)
        return found

    def tables(record: Mapping[str, Value]) -> list[dict[str, Value]]:
        columns = [rows(value) for value in record.values()]
        return [dict(zip(record, row, strict=True)) for row in zip(*columns, strict=True)] or [{}] * count

    numbers = {name: rows(getattr(cost, name)) for name in NUMBERS}
    busy, least = tables(cost.busy), tables(cost.least)
    return [
        dataclasses.replace(cost, busy=busy[i], least=least[i], **{name: column[i] for name, column in numbers.items()})
        for i in range(count)
    ]


__all__ = ["Chosen", "elementwise", "priced", "stacks"]
