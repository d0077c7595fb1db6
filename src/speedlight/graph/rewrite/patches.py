"""A network's first block, patch by patch: small activations, borders computed again (MCUNetV2, arXiv 2110.15352 §3.1).

Convolutions and pools at high resolution hold the largest activations of a network and look at small windows. Run for one of
n × n patches at a time, all that is inside the block shrinks to a patch with its halo; what the block hands on is filled in whole.
A tensor of side H whose readers still see r pixels around a patch has patches of side (H + 2·r·(n − 1)) / n on average.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..._foundation.errors import BadInput
from ..._foundation.expr import const
from ..ir import Block, Graph, Op, Operand, Tensor
from .registry import REWRITES

_ROWS = ("m", "rows")  # dimensions that count positions


@REWRITES.register("patches")
def patches(graph: Graph, n: int = 3) -> Graph:
    """The graph with its first block run for each of n × n patches; as it was for n = 1, and once it is patched.

    Raises:
        BadInput: for a number that is no whole one of at least 1.
    """
    if isinstance(n, bool) or int(n) != n or n < 1:
        raise BadInput(f"{n!r} patches a side", expected="a whole number of at least 1")
    first = graph.blocks[0]
    windows = any(op.kind == "conv" for op in first.ops) and first.count.constant == 1
    if n == 1 or graph.attrs.get("patches") or not windows or not first.outputs:
        return graph
    block = _patched(graph, first, int(n))
    once = {
        name: tensor for name, tensor in first.tensors.items() if tensor.persistent is not None
    }  # all patches' weights
    return graph.replace(
        blocks=(block, *graph.blocks[1:]), shared={**graph.shared, **once}, attrs={**graph.attrs, "patches": int(n)}
    )


def _patched(graph: Graph, block: Block, n: int) -> Block:
    shares = _shares(block, n)

    def size(tensor: Tensor) -> Tensor:
        if tensor.name in block.outputs or tensor.cls != "activation" or tensor.name not in shares:
            return tensor
        return dataclasses.replace(tensor, elements=tensor.elements * shares[tensor.name])

    ops = tuple(_op(graph, block, op, shares) for op in block.ops)
    tensors = {name: size(tensor) for name, tensor in block.tensors.items() if tensor.persistent is None}
    return dataclasses.replace(block, ops=ops, tensors=tensors, count=block.count * (n * n))


def _shares(block: Block, n: int) -> dict[str, float]:
    """Of every tensor made in the block, the share of it that one patch needs, halo included."""
    side: dict[str, float] = {}
    for op in block.ops:
        before = next((side[r.tensor] for r in op.reads if r.tensor in side), 0.0)
        own = op.dims["out_h"].constant if "out_h" in op.dims else None
        for write in op.writes:
            side[write.tensor] = float(own) if own is not None else before
    around: dict[str, float] = dict.fromkeys(block.outputs, 0.0)
    for op in reversed(block.ops):
        out = max((around.get(w.tensor, 0.0) for w in op.writes), default=0.0)
        window = op.dims["kernel_h"].constant if "kernel_h" in op.dims else 1.0
        after = max((side[w.tensor] for w in op.writes), default=0.0)
        for read in op.reads:
            if read.tensor in side and after:
                seen = out * side[read.tensor] / after + ((window or 1.0) - 1) / 2
                around[read.tensor] = max(around.get(read.tensor, 0.0), seen)
    found = {}
    for name, height in side.items():
        part = min(1.0, (1.0 + 2.0 * around.get(name, 0.0) * (n - 1) / height) / n) if height else 1.0 / n
        found[name] = part * part
    return found


def _op(graph: Graph, block: Block, op: Op, shares: Mapping[str, float]) -> Op:
    share = max((shares[w.tensor] for w in op.writes if w.tensor in shares), default=1.0)

    def part(operand: Operand) -> Operand:
        tensor = graph.tensor(block, operand.tensor)
        if tensor.cls not in ("activation", "input"):
            return operand
        inside = operand.tensor in shares and operand.tensor not in block.outputs and tensor.cls == "activation"
        if inside and operand.elements is None:
            return operand  # the tensor itself is a patch
        whole = tensor.elements if operand.elements is None else operand.elements
        return dataclasses.replace(operand, elements=whole * shares.get(operand.tensor, share))

    work = tuple(
        dataclasses.replace(w, flops=w.flops * share, dense=None if w.dense is None else w.dense * share)
        for w in op.work
    )
    dims = {name: value * const(share) if name in _ROWS else value for name, value in op.dims.items()}
    return dataclasses.replace(
        op, work=work, dims=dims, reads=tuple(map(part, op.reads)), writes=tuple(map(part, op.writes))
    )
