"""A stretch of a network: the blocks from one share of its work to another, for running the rest elsewhere."""

from __future__ import annotations

from ..._foundation.errors import BadInput
from ..._foundation.expr import compile_tape, total
from ..ir import Block, Graph
from ..stats import step_symbols, unsharded
from .layers import closed_up, some
from .registry import REWRITES


@REWRITES.register("part")
def part(graph: Graph, start: float = 0.0, stop: float = 1.0) -> Graph:
    """The blocks whose work lies between two shares of the whole; cuts fall between layers.

    Parts that meet hold every layer once. A network that is a part already, or wanted whole, stays as it is.

    Args:
        start, stop: shares of the matrix work, in the order of the blocks.

    Raises:
        BadInput: for shares that are none, or a part without a layer.
    """
    if not 0.0 <= start < stop <= 1.0:
        raise BadInput(f"the part from {start!r} to {stop!r} of a network", expected="0 ≤ start < stop ≤ 1")
    if graph.attrs.get("part") or (start, stop) == (0.0, 1.0):
        return graph
    kept: list[Block] = []
    at = 0.0
    shares = _shares(graph)
    for block, share in zip(graph.blocks, shares, strict=True):
        count = block.count.constant
        ends = [min(max((edge - at) / share, 0.0), 1.0) if share else float(edge > at) for edge in (start, stop)]
        at += share
        if count is None:
            inside = ends[1] - ends[0] > 0.5
            if inside:
                kept.append(block)
            continue
        first, last = (round(count * end) for end in ends)
        run = some(block, first, last - first)
        if run is not None:
            kept.append(run)
    if not kept:
        raise BadInput(f"the part from {start:g} to {stop:g} of {graph.name} holds no layer", expected="a wider part")
    used = {operand.tensor for block in kept for op in block.ops for operand in (*op.reads, *op.writes)}
    shared = {name: tensor for name, tensor in graph.shared.items() if name in used or tensor.persistent is None}
    return graph.replace(blocks=closed_up(kept), shared=shared, attrs={**graph.attrs, "part": (start, stop)})


def _shares(graph: Graph) -> list[float]:
    """Each block's part of the matrix FLOPs, of a short step."""
    sums = [total(op.flops("matmul") * op.count for op in block.ops) * block.count for block in graph.blocks]
    symbols = {k: 1.0 if v is None else v for k, v in graph.symbols.items()}
    env = {**symbols, **unsharded(graph), **step_symbols(1, 128, 0), "caching": 1, "training": 0}
    work = [float(w) for w in compile_tape(sums).run(env, [{"count": 1, "new": 128, "cached": 0}])]
    whole = sum(work) or 1.0
    return [w / whole for w in work]
