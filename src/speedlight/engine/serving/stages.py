"""An engine's pipeline stages: which blocks each has, what it holds, what it hands on.

Layers are dealt as everywhere (:mod:`speedlight.placement.stages`): embeddings on the first stage, the head on the last, the layers
evenly or as the question states them. Engines give the cache as many blocks as the fullest device has room for (vLLM takes
the least of all workers').
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value
from ..._foundation.expr import const
from ...costs.calibrated import calibrate
from ...costs.cost import Conditions
from ...costs.price import price
from ...graph.ir import Message
from ...hardware.cluster import cluster, port_of
from ...hardware.machine import Machine, OperatingPoint
from ...lowering.kernels import Kernel, KernelValues
from ...placement.serving import Layout, dims_of
from ...placement.stages import deal
from ...workload.workload import Step
from ..questions.resolve import Plan, Resolved, plan, with_fabric
from ..steps.evaluate import bindings

Share = Mapping[str, float]  # block → share of its instances


def shares_of(resolved: Resolved, layout: Layout) -> tuple[Share, ...]:
    """What each stage has of every block, in the order a batch passes them; empty for an engine of one stage."""
    stages = int(layout.pp)
    if stages == 1:
        return ()
    graph = plan(resolved.graph, resolved.stack, None).graph
    cut = deal(graph, dataclasses.replace(resolved.scenario.program.parallel, pp=stages))
    return tuple({name: float(share) for name, share in cut.rank(number).items()} for number in range(stages))


def held(resolved: Resolved, layout: Layout, share: Share, step: Step) -> tuple[Value, Value]:
    """Bytes of (weights, keys and values and states) on a device of a stage while a step runs."""
    made: Plan = plan(resolved.graph, resolved.stack, None)
    dims = {name: float(np.asarray(value)) for name, value in dims_of(resolved.graph, layout).items()}
    groups = [{k: float(v) if isinstance(v, int) else v for k, v in g.env().items()} for g in step.groups]
    holdings = made.holdings.evaluate(bindings(step, dims, {}), groups)
    weights: Value = 0.0
    kept: Value = 0.0
    for name, block in holdings.blocks.items():
        count = holdings.counts[name] * share[name]
        weights = weights + count * (block.weights[0] + block.weights[1])
        kept = kept + count * block.kept
    for users, block in holdings.shared:
        if any(share.get(user, 0.0) > 0 for user in users):
            weights = weights + block.weights[0] + block.weights[1]
    return weights, kept


def boxes(machine: Machine, devices: int) -> Machine:
    """The machine with room for so many devices: a lone one sits in a box of its kind, boxes are joined by their ports."""
    if devices > 1 and not machine.domains:
        return with_fabric(machine, devices)[0]
    if devices > machine.n_devices and port_of(machine) is not None:
        return cluster(machine, -(-devices // machine.n_devices))
    return machine


def send_seconds(resolved: Resolved, layout: Layout, tokens: Value, width: float) -> Value:
    """Seconds until the activations of so many tokens (2 bytes an element) are on the next stage's devices, each of which has
    one that sends to it."""
    machine = boxes(resolved.machine, int(layout.world))
    kernel = Kernel(
        name="stages.send", path="stages.send", kind="collective", fn="send_recv", family="collective", members=(), work=(),
        accesses=(), dims={}, count=const(1), workspace=const(0), message=Message("send_recv", ("pp",), const(1), const(1)),
        library=resolved.stack.library,
    )  # fmt: skip
    moved = np.asarray(tokens, float) * width * 2.0
    values = KernelValues(1.0, 1.0, 1.0, (), (), (), (), (), {}, (moved, 2.0, ((2.0, float(layout.ranks)),)))
    conditions = Conditions("in-model", device_latency=resolved.stack.device_latency, step="decode")
    cost = price(kernel, values, machine, conditions=conditions)
    return calibrate(kernel, values, machine, OperatingPoint(), conditions, cost).time
