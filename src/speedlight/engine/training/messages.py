"""Messages that no block of a graph holds, priced like those that one does: gradients, shards, sends between stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..._foundation.arrays import Value
from ..._foundation.expr import const
from ...costs.calibrated import calibrate
from ...costs.cost import UNCALIBRATED_HIGH, Conditions, Cost, bound_of
from ...costs.price import price
from ...costs.training import trained
from ...graph.ir import Message
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ...stacks.stack import Stack
from ..steps.evaluate import PricedKernel


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


def packing_of(
    name: str, size: Value, count: Value, *, machine: Machine, point: OperatingPoint, stack: Stack, phase: str
) -> PricedKernel:  # fmt: skip
    """What a rank reads and writes in its own memory to make messages smaller and whole again, ``count`` times.

    Args:
        size: bytes, all passes together.
    """
    kernel = Kernel(
        name=name, path=name, kind="quantize", fn="pack", family="stream", members=(name,), work=(), accesses=(), dims={},
        count=const(1), workspace=const(0), library=stack.library, phase=phase,
    )  # fmt: skip
    spent = size / (machine.main.bandwidth * point.memory_clock)
    busy: dict[str, Value] = {machine.main.resource: spent}
    latency = machine.engine.launch_latency_s if stack.device_latency else 0.0
    cost = Cost(
        busy=busy, least=dict(busy), latency=latency, time=spent + latency, limit=spent,
        bound=bound_of(machine, busy, busy, latency), flops=0.0, dense=0.0, bytes=size, high=UNCALIBRATED_HIGH,
        error_key=("stream", machine.device_id, ""),
    )  # fmt: skip
    return PricedKernel(kernel, trained(kernel, machine, cost), count)


NO_DIMS: Mapping[str, Value] = {}
