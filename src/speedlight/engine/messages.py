"""Messages that no block of a graph holds, priced like those that one does: gradients, shards, sends between stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._foundation.arrays import Value
from .._foundation.expr import const
from ..costs.calibrated import calibrate
from ..costs.cost import Conditions, Cost
from ..costs.price import price
from ..costs.training import trained
from ..graph.ir import Message
from ..hardware.machine import Machine, OperatingPoint
from ..lowering.kernels import Kernel, KernelValues
from ..stacks.stack import Stack
from .evaluate import PricedKernel


def message_of(
    name: str, collective: str, axis: tuple[str, ...], payload: Value, spans: Sequence[tuple[Value, Value]], count: Value, *,
    machine: Machine, point: OperatingPoint, stack: Stack, phase: str,
) -> PricedKernel:  # fmt: skip
    """One collective's cost, ``count`` times.

    Args:
        payload: bytes; see :class:`speedlight.graph.ir.Message`.
        spans: (ranks, stride) of each axis it runs over, innermost first.
        count: how often a rank runs it in a step; 0 where it does not.
    """
    ranks: Value = 1.0
    for size, _ in spans:
        ranks = ranks * size
    kernel = Kernel(
        name=name, path=name, kind="collective", fn=collective, family="collective", members=(name,), work=(), accesses=(),
        dims={}, count=const(1), workspace=const(0), message=Message(collective, axis, const(1), const(1)),
        library=stack.library, phase=phase,
    )  # fmt: skip
    values = KernelValues(1.0, 1.0, 1.0, (), (), (), (), (), NO_DIMS, (payload, ranks, tuple(spans)))
    conditions = Conditions("in-model", device_latency=stack.device_latency, step="train")
    cost: Cost = price(kernel, values, machine, point, conditions)
    cost = calibrate(kernel, values, machine, point, conditions, cost)
    return PricedKernel(kernel, trained(kernel, machine, cost), count)


NO_DIMS: Mapping[str, Value] = {}
