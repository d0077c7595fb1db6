"""What low-rank adapters of many tenants add to a serving step, as one gathered kernel pair a projection computes it.

Every token multiplies by its own request's A (r × k) and B (n × r); the base model is read once for all of them. A step then
reads the weights of each *distinct* adapter among its sequences once and starts two more kernels a projection (Punica's SGMV,
arXiv 2310.18547 §4: shrink, then expand).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._foundation.arrays import Value
from ..._foundation.expr import evaluate
from ...graph.ir import Graph
from ...hardware.machine import Machine
from ...serving.steps import ZERO, Table, tabulate

TOKENS = np.array([1.0, 64.0, 1024.0, 16384.0])
BYTES = 2.0  # of an adapter's element: adapters stay in 16 bits whatever the base model is in


def adapter_elements(
    graph: Graph, dims: Mapping[str, Value], rank: Value, share: Mapping[str, float] | None = None
) -> tuple[Value, Value]:  # fmt: skip
    """(elements of one adapter on a device, projections that have one), every linear layer of the blocks adapted.

    Args:
        share: of every block on a pipeline stage; None for all of them.
    """
    elements: Value = 0.0
    projections: Value = 0.0
    for block in graph.blocks:
        layers = evaluate(block.count, dims) * (1.0 if share is None else share[block.name])
        for op in block.ops:
            if op.fn != "linear" or op.name.endswith("lm_head"):
                continue
            elements = elements + layers * rank * (evaluate(op.dims["n"], dims) + evaluate(op.dims["k"], dims))
            projections = projections + layers
    return elements, projections


def adapter_table(
    graph: Graph, machine: Machine, dims: Mapping[str, Value], rank: int, most: int, share: Mapping[str, float] | None = None
) -> Table:  # fmt: skip
    """Seconds over (distinct adapters of a step, its new tokens).

    Args:
        dims: of one device of the layout.
        rank: of the adapters; 0 for a step that leaves them out.
        most: adapters a step may meet.
        share: see :func:`adapter_elements`.
    """
    if rank < 1:
        return ZERO
    elements, projections = adapter_elements(graph, dims, float(rank), share)
    bandwidth = float(machine.main.bandwidth)
    rate = float(machine.engine.peak("matmul", "bf16")[0].flops)
    floor = 2.0 * float(machine.engine.launch_latency_s) * float(projections)

    def seconds(adapters: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        read = np.minimum(adapters, tokens) * float(elements) * BYTES / bandwidth
        multiplied = 2.0 * tokens * float(elements) / rate
        return np.asarray(np.maximum(read, multiplied) + floor)

    return tabulate(seconds, np.arange(0.0, max(most, 1) + 1), TOKENS)
